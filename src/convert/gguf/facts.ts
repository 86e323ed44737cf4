import { MgtError } from '../../errors.js';
import type { DecoderFacts } from '../decoder.js';
import { linearFactors, NO_SCALING, yarnFactors, yarnScale, type RopeScaling } from '../rope-scaling.js';
import type { GgufFile } from './file.js';

/** `general.architecture` of the models that are read. */
const ARCHITECTURES = ['llama', 'qwen2', 'gpt2'] as const;
export type GgufArchitecture = (typeof ARCHITECTURES)[number];

/** What the header says of a decoder: facts but for the head, which the tensors decide. */
export interface GgufFacts {
  readonly architecture: GgufArchitecture;
  readonly facts: Omit<DecoderFacts, 'tiedHead'>;
  /** f32[headDim / 2] where `facts.ropeFactors`. */
  readonly ropeFactors: Float32Array | undefined;
}

/** Keys below the architecture's name that change what is computed, with the value that does not. */
const NEUTRAL: Readonly<Record<string, number>> = {
  ...{ expert_count: 0, logit_scale: 1, embedding_scale: 1, residual_scale: 1, embedding_length_out: 0 },
  ...{ 'attention.clamp_kqv': 0, 'attention.max_alibi_bias': 0, attn_logit_softcapping: 0, final_logit_softcapping: 0 },
};

const MAX_SIZE = 2 ** 24;
const DECODER = { kind: 'decoder', normPlace: 'pre', causal: true, pooling: 'none', normalize: false } as const;

/**
 * Reads the configuration of a decoder. Sizes that a tensor repeats are checked against it later, where it is read.
 * @throws MgtError `UnsupportedArchitecture` naming what is not known, `BadFile` naming the key or tensor
 */
export function readFacts(file: GgufFile): GgufFacts {
  const { metadata } = file;
  const architecture = metadata.text('general.architecture');
  if (!isKnown(architecture)) {
    const expected = `one of ${ARCHITECTURES.join(', ')}`;
    throw new MgtError('UnsupportedArchitecture', `${file.name}.general.architecture`, expected, architecture);
  }
  const parts = metadata.integer('split.count', 0, MAX_SIZE, 1);
  if (parts > 1) throw new MgtError('UnsupportedMode', `${file.name}.split.count`, 'a model in one file', parts);
  const size = (key: string, missing?: number): number =>
    metadata.integer(`${architecture}.${key}`, 1, MAX_SIZE, missing);
  checkNeutral(file, architecture);
  const hidden = size('embedding_length');
  const heads = size('attention.head_count');
  const kvHeads = size('attention.head_count_kv', heads);
  const headDim = size('attention.key_length', hidden % heads === 0 ? hidden / heads : undefined);
  const bad = (key: string, expected: string, got: unknown): MgtError =>
    new MgtError('BadFile', `${file.name}.${architecture}.${key}`, expected, got);
  if (heads % kvHeads !== 0) throw bad('attention.head_count_kv', `a divisor of ${heads} heads`, kvHeads);
  if (size('attention.value_length', headDim) !== headDim) {
    const key = `${file.name}.${architecture}.attention.value_length`;
    throw new MgtError(
      'UnsupportedArchitecture',
      key,
      `${headDim}, the length of keys`,
      size('attention.value_length'),
    );
  }
  const tokens = file.tensor('token_embd.weight').shape;
  if (tokens.length !== 2 || tokens[0]! > MAX_SIZE) {
    throw new MgtError('BadFile', `${file.name}.token_embd.weight`, `[vocabulary, ${hidden}]`, tokens);
  }
  const vocab = tokens[0]!;
  const common = {
    ...DECODER,
    ...{ vocab, hidden, heads, kvHeads, headDim },
    layers: size('block_count'),
    ffn: size('feed_forward_length'),
    ...specialIds(file, vocab),
  };
  if (architecture === 'gpt2') {
    if (kvHeads !== heads) throw bad('attention.head_count_kv', `${heads}`, kvHeads);
    return {
      architecture,
      facts: {
        ...common,
        context: size('context_length'),
        norm: 'layernorm',
        normEps: epsilon(file, `${architecture}.attention.layer_norm_epsilon`),
        positions: 'learned',
        ropeBase: 0,
        ropeFactors: false,
        ropeScale: NO_SCALING.scale,
        ropeDynamic: NO_SCALING.dynamic,
        ropeOriginal: NO_SCALING.original,
        activation: 'gelu_tanh',
        gatedFfn: false,
      },
      ropeFactors: undefined,
    };
  }
  if (headDim % 2 !== 0) throw bad('attention.key_length', 'an even number with RoPE', headDim);
  const turned = size('rope.dimension_count', headDim);
  if (turned !== headDim) {
    const key = `${file.name}.${architecture}.rope.dimension_count`;
    throw new MgtError('UnsupportedArchitecture', key, `${headDim}, the whole head`, turned);
  }
  const base = metadata.real(`${architecture}.rope.freq_base`, 10_000);
  if (!(base >= 1 && base <= 1e12)) throw bad('rope.freq_base', 'a number in 1..1e12', base);
  const positions = size('context_length');
  const scaling = readScaling(file, architecture, headDim, base, positions);
  return {
    architecture,
    facts: {
      ...common,
      // Inside of a sliding window full attention is the same.
      context: Math.min(positions, size('attention.sliding_window', MAX_SIZE)),
      norm: 'rmsnorm',
      normEps: epsilon(file, `${architecture}.attention.layer_norm_rms_epsilon`),
      positions: 'rope',
      ropeBase: base,
      ropeFactors: scaling.factors !== undefined,
      ropeScale: scaling.scale,
      ropeDynamic: scaling.dynamic,
      ropeOriginal: scaling.original,
      activation: 'silu',
      gatedFfn: true,
    },
    ropeFactors: scaling.factors,
  };
}

const isKnown = (name: string): name is GgufArchitecture => (ARCHITECTURES as readonly string[]).includes(name);

function checkNeutral({ metadata, name }: GgufFile, architecture: GgufArchitecture): void {
  for (const [key, neutral] of Object.entries(NEUTRAL)) {
    const full = `${architecture}.${key}`;
    const value = metadata.real(full, neutral);
    if (value !== neutral && value !== 0) {
      throw new MgtError('UnsupportedArchitecture', `${name}.${full}`, `${neutral}, or absent`, value);
    }
  }
}

function epsilon({ metadata, name }: GgufFile, key: string): number {
  const value = metadata.real(key);
  if (value > 0 && value <= 1) return value;
  throw new MgtError('BadFile', `${name}.${key}`, 'a number above 0, at most 1', value);
}

/** Ids outside of the vocabulary count as not named, as in llama.cpp. */
function specialIds({ metadata }: GgufFile, vocab: number): Pick<DecoderFacts, 'bos' | 'eos' | 'pad'> {
  const id = (name: string): number[] => {
    const key = `tokenizer.ggml.${name}_token_id`;
    const value = metadata.has(key) ? metadata.integer(key, -1, 2 ** 32) : -1;
    return value >= 0 && value < vocab ? [value] : [];
  };
  return { bos: id('bos')[0], eos: [...new Set([...id('eos'), ...id('eot'), ...id('eom')])], pad: id('padding')[0] };
}

/**
 * `rope.scaling.*` and the tensor rope_freqs.weight, f32[headDim / 2] of divisors (Llama 3.1's scaling comes this way). Where a
 * file has both, both count, as in ggml's `rope`.
 */
function readScaling(
  file: GgufFile,
  architecture: GgufArchitecture,
  headDim: number,
  base: number,
  context: number,
): RopeScaling {
  const { metadata, name } = file;
  const at = (key: string): string => `${architecture}.rope.${key}`;
  const positive = (key: string, missing?: number): number => {
    const value = metadata.real(at(key), missing);
    if (value > 0) return value;
    throw new MgtError('BadFile', `${name}.${at(key)}`, 'a number above 0', value);
  };
  const old = at('scale_linear'); // before there was scaling.type
  const type = metadata.text(at('scaling.type'), metadata.has(old) ? 'linear' : 'none');
  // 0 is ggml's word for none.
  const factor = metadata.real(at('scaling.factor'), metadata.real(old, 0)) === 0 ? 1 : undefined;
  let scaling: RopeScaling = NO_SCALING;
  if (type === 'linear') {
    const by = factor ?? positive(metadata.has(at('scaling.factor')) ? 'scaling.factor' : 'scale_linear');
    if (by !== 1) scaling = { ...NO_SCALING, factors: linearFactors(headDim, by) };
  } else if (type === 'yarn') {
    const by = factor ?? positive('scaling.factor');
    const original = metadata.integer(at('scaling.original_context_length'), 1, MAX_SIZE, context);
    if (base <= 1) throw new MgtError('BadFile', `${name}.${at('freq_base')}`, 'a number above 1 with yarn', base);
    for (const [key, neutral] of [
      ['yarn_ext_factor', 1],
      ['yarn_attn_factor', 1],
      ['yarn_log_multiplier', 0],
    ] as const) {
      const value = metadata.real(at(`scaling.${key}`), neutral);
      if (value !== neutral) {
        throw new MgtError('UnsupportedArchitecture', `${name}.${at(`scaling.${key}`)}`, String(neutral), value);
      }
    }
    const betas = {
      betaFast: positive('scaling.yarn_beta_fast', 32),
      betaSlow: positive('scaling.yarn_beta_slow', 1),
    };
    scaling = {
      ...NO_SCALING,
      factors: yarnFactors(headDim, { base, factor: by, original, truncate: true, ...betas }),
      scale: yarnScale(by) * positive('scaling.attn_factor', 1),
    };
  } else if (type !== 'none') {
    throw new MgtError('UnsupportedArchitecture', `${name}.${at('scaling.type')}`, 'none, linear or yarn', type);
  }
  if (!file.has('rope_freqs.weight')) return scaling;
  const divisors = file.tensor('rope_freqs.weight');
  if (divisors.shape.length !== 1 || divisors.shape[0] !== headDim / 2) {
    throw new MgtError('BadFile', `${name}.rope_freqs.weight`, `[${headDim / 2}]`, divisors.shape);
  }
  const factors = divisors.rows(0, 1).map((divisor, i) => {
    if (!(divisor > 0)) throw new MgtError('BadFile', `${name}.rope_freqs.weight[${i}]`, 'a number above 0', divisor);
    return (scaling.factors?.[i] ?? 1) / divisor;
  });
  return { ...scaling, factors };
}
