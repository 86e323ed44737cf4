import { MAX_EXIT_LAYER, type Activation } from '../config.js';
import { MgtError } from '../errors.js';
import type { DecoderFacts } from './decoder.js';
import { asObject, type JsonObject } from './json.js';
import { NO_SCALING, readRopeScaling, type RopeScaling } from './rope-scaling.js';

/** What config.json says of a decoder: facts but for the head, which the tensors decide too, and which biases it has. */
export interface DecoderConfig {
  readonly family: 'llama' | 'gpt2';
  readonly facts: Omit<DecoderFacts, 'tiedHead'>;
  /** `tie_word_embeddings`; `undefined` where the file does not say and the family's default is a head of its own. */
  readonly tied: boolean | undefined;
  /** Biases of q, k and v; of the attention's output; of the feed-forward layers. */
  readonly bias: { readonly qkv: boolean; readonly output: boolean; readonly ffn: boolean };
  /** f32[headDim / 2] where `facts.ropeFactors`. */
  readonly ropeFactors: Float32Array | undefined;
  /** `_name_or_path`, where it is a text. */
  readonly name: string | undefined;
}

/** Values of `model_type` and the architectures each has. A body without its head (`…Model`) has the tied one. */
const ARCHITECTURES: Readonly<Record<string, readonly string[]>> = {
  llama: ['LlamaForCausalLM', 'LlamaModel'],
  mistral: ['MistralForCausalLM', 'MistralModel'],
  qwen2: ['Qwen2ForCausalLM', 'Qwen2Model'],
  gpt2: ['GPT2LMHeadModel', 'GPT2Model'],
};

const ACTIVATIONS: Readonly<Record<string, Activation>> = {
  ...{ silu: 'silu', swish: 'silu', relu: 'relu' },
  ...{
    gelu: 'gelu',
    gelu_python: 'gelu',
    gelu_new: 'gelu_tanh',
    gelu_pytorch_tanh: 'gelu_tanh',
    gelu_fast: 'gelu_tanh',
  },
};

/**
 * Fields that change what is computed, with the values that do not; absent and null do not either. The second half are
 * fields of families derived from Llama, met in files that call themselves llama. What stands in no list is ignored.
 */
const NEUTRAL: Readonly<Record<string, readonly unknown[]>> = {
  ...{ quantization_config: [], is_encoder_decoder: [false], add_cross_attention: [false], partial_rotary_factor: [1] },
  ...{ scale_attn_weights: [true], scale_attn_by_inverse_layer_idx: [false], rope_interleaved: [false] },
  ...{ embedding_multiplier: [1], residual_multiplier: [1], logits_scaling: [1], logit_scale: [1], clip_qkv: [] },
  ...{ attention_multiplier: [], attn_logit_softcapping: [], final_logit_softcapping: [], no_rope_layers: [] },
  ...{ qk_norm: [false], use_qk_norm: [false], qk_layernorm: [false], use_parallel_residual: [false] },
  ...{ num_local_experts: [0, 1], num_experts: [0, 1], use_mrope: [false], alibi: [false] },
};

const MAX_SIZE = 2 ** 24;

/** Values of `model_type` that this importer reads. */
export const DECODERS: readonly string[] = Object.keys(ARCHITECTURES);

/**
 * Reads config.json of a Llama-like (llama, mistral, qwen2) or GPT-2-like directory.
 *
 * `facts.context` is `max_position_embeddings`; a sliding window cuts it to the window, inside of which sliding and full
 * attention are the same. A model with scaled RoPE can be run beyond it: nothing here has a table of that length.
 * @param generation generation_config.json, whose end tokens go before those of config.json
 * @throws MgtError `UnsupportedArchitecture` naming what this importer does not know, `BadFile` naming what is malformed
 */
export function readDecoderConfig(raw: JsonObject, generation: JsonObject = {}): DecoderConfig {
  const type = raw.model_type;
  if (typeof type !== 'string') throw bad('model_type', 'a text', type);
  const known = Object.hasOwn(ARCHITECTURES, type) ? ARCHITECTURES[type] : undefined;
  if (!known) throw unsupported('model_type', `one of ${Object.keys(ARCHITECTURES).join(', ')}`, type);
  for (const name of Array.isArray(raw.architectures) ? (raw.architectures as unknown[]) : []) {
    if (!known.includes(name as string)) throw unsupported('architectures', `one of ${known.join(', ')}`, name);
  }
  for (const [key, neutral] of Object.entries(NEUTRAL)) {
    const value = raw[key] ?? undefined;
    if (value === undefined || neutral.includes(value)) continue;
    throw unsupported(key, neutral.length > 0 ? `${neutral.map(String).join(' or ')}, or absent` : 'absent', value);
  }
  if (Object.keys(raw.pruned_heads ?? {}).length > 0) throw unsupported('pruned_heads', 'none', raw.pruned_heads);
  const config = type === 'gpt2' ? readGpt2(raw) : readLlama(raw, type);
  return {
    ...config,
    facts: {
      ...config.facts,
      ...exitLayers(raw, config.facts.layers),
      ...specialIds(raw, generation, config.facts.vocab),
    },
    name: typeof raw._name_or_path === 'string' ? raw._name_or_path : undefined,
  };
}

type Read = Omit<DecoderConfig, 'facts' | 'name'> & {
  readonly facts: Omit<DecoderConfig['facts'], 'bos' | 'eos' | 'pad'>;
};

/** True of every decoder. */
const DECODER = { kind: 'decoder', normPlace: 'pre', causal: true, pooling: 'none', normalize: false } as const;

function readLlama(raw: JsonObject, type: string): Read {
  const hidden = size(raw, 'hidden_size');
  const heads = size(raw, 'num_attention_heads');
  const kvHeads = size(raw, 'num_key_value_heads', type === 'mistral' ? 8 : heads);
  const headDim = raw.head_dim === undefined || raw.head_dim === null ? hidden / heads : size(raw, 'head_dim');
  if (!Number.isInteger(headDim)) throw bad('num_attention_heads', `a divisor of hidden_size ${hidden}`, heads);
  if (heads % kvHeads !== 0) throw bad('num_key_value_heads', `a divisor of ${heads} heads`, kvHeads);
  if (headDim % 2 !== 0) throw bad('head_dim', 'an even number with RoPE', headDim);
  const positions = size(raw, 'max_position_embeddings');
  const { base, scaling } = readRope(raw, headDim, positions);
  const attentionBias = type === 'llama' && flag(raw, 'attention_bias', false);
  return {
    family: 'llama',
    facts: {
      ...DECODER,
      vocab: size(raw, 'vocab_size'),
      ...{ hidden, heads, kvHeads, headDim },
      layers: size(raw, 'num_hidden_layers'),
      ffn: size(raw, 'intermediate_size'),
      context: Math.min(positions, slidingWindow(raw, type)),
      norm: 'rmsnorm',
      normEps: epsilon(raw, 'rms_norm_eps', 1e-6),
      positions: 'rope',
      ropeBase: base,
      ropeFactors: scaling.factors !== undefined,
      ropeScale: scaling.scale,
      ropeDynamic: scaling.dynamic,
      ropeOriginal: scaling.original,
      activation: activation(raw, 'hidden_act', 'silu'),
      gatedFfn: true,
    },
    tied: optionalFlag(raw, 'tie_word_embeddings'),
    bias: {
      qkv: attentionBias || type === 'qwen2',
      output: attentionBias,
      ffn: type === 'llama' && flag(raw, 'mlp_bias', false),
    },
    ropeFactors: scaling.factors,
  };
}

/** Base and scaling. `rope_scaling` goes before `rope_parameters`, a base inside of them before `rope_theta`: as transformers 5. */
function readRope(raw: JsonObject, headDim: number, context: number): { base: number; scaling: RopeScaling } {
  const objectAt = (key: string): JsonObject => asObject(`config.json.${key}`, raw[key] ?? {});
  const parameters = objectAt('rope_parameters');
  const old = objectAt('rope_scaling');
  const key = Object.keys(old).length > 0 ? 'rope_scaling' : 'rope_parameters';
  const given = key === 'rope_scaling' ? old : parameters;
  for (const [name, value] of Object.entries(given)) {
    if (typeof value === 'object' && value !== null) {
      throw unsupported(`${key}.${name}`, 'one scaling for all layers and frequencies', value);
    }
  }
  const partial = given.partial_rotary_factor ?? 1;
  if (partial !== 1) throw unsupported(`${key}.partial_rotary_factor`, '1 or absent', partial);
  const base = given.rope_theta ?? raw.rope_theta ?? parameters.rope_theta ?? 10_000;
  if (typeof base !== 'number' || !(base >= 1 && base <= 1e12)) throw bad('rope_theta', 'a number in 1..1e12', base);
  const absent = raw.original_max_position_embeddings ?? undefined;
  const original = absent === undefined ? undefined : size(raw, 'original_max_position_embeddings');
  const scaling = readRopeScaling(given, `config.json.${key}`, { headDim, base, context, original });
  return { base, scaling };
}

/** Tokens that a layer sees, the smallest over all layers; Infinity where all see everything. */
function slidingWindow(raw: JsonObject, type: string): number {
  const { layer_types: types } = raw;
  const sliding = (name: unknown): boolean => name === 'sliding_attention';
  if (Array.isArray(types)) {
    const odd = (types as unknown[]).find((name) => name !== 'full_attention' && !sliding(name));
    if (odd !== undefined) throw unsupported('layer_types', 'full_attention or sliding_attention', odd);
    if (!(types as unknown[]).some(sliding)) return Infinity;
  } else if (type === 'llama') return Infinity;
  else if (type === 'qwen2') {
    const first = raw.max_window_layers ?? 28; // layers before it see everything
    if (!flag(raw, 'use_sliding_window', false) || Number(first) >= size(raw, 'num_hidden_layers')) return Infinity;
  }
  return raw.sliding_window === null ? Infinity : size(raw, 'sliding_window', 4096);
}

function readGpt2(raw: JsonObject): Read {
  const hidden = size(raw, 'n_embd', 768);
  const heads = size(raw, 'n_head', 12);
  if (hidden % heads !== 0) throw bad('n_head', `a divisor of n_embd ${hidden}`, heads);
  return {
    family: 'gpt2',
    facts: {
      ...DECODER,
      vocab: size(raw, 'vocab_size', 50257),
      ...{ hidden, heads, kvHeads: heads, headDim: hidden / heads },
      layers: size(raw, 'n_layer', 12),
      ffn: size(raw, 'n_inner', 4 * hidden),
      context: size(raw, 'n_positions', 1024),
      norm: 'layernorm',
      normEps: epsilon(raw, 'layer_norm_epsilon', 1e-5),
      positions: 'learned',
      ropeBase: 0,
      ropeFactors: false,
      ropeScale: NO_SCALING.scale,
      ropeDynamic: NO_SCALING.dynamic,
      ropeOriginal: NO_SCALING.original,
      activation: activation(raw, 'activation_function', 'gelu_new'),
      gatedFfn: false,
    },
    tied: flag(raw, 'tie_word_embeddings', true),
    bias: { qkv: true, output: true, ffn: true },
    ropeFactors: undefined,
  };
}

/** `exit_layers`, of models trained to stop early (training/): after how many layers, ascending; the last one is no exit. */
function exitLayers(raw: JsonObject, layers: number): Pick<DecoderFacts, 'exitLayers'> {
  const list = raw.exit_layers ?? undefined;
  if (list === undefined) return {};
  const most = Math.min(layers - 1, MAX_EXIT_LAYER);
  const isLayer = (layer: unknown, i: number): boolean =>
    Number.isInteger(layer) &&
    (layer as number) > (i > 0 ? Number((list as unknown[])[i - 1]) : 0) &&
    (layer as number) <= most;
  if (Array.isArray(list) && list.length > 0 && list.every(isLayer)) return { exitLayers: list as number[] };
  throw bad('exit_layers', `ascending integers in 1..${most}`, list);
}

/** Ids outside of the vocabulary count as not named: transformers writes its defaults into small models' files. */
function specialIds(raw: JsonObject, generation: JsonObject, vocab: number): Pick<DecoderFacts, 'bos' | 'eos' | 'pad'> {
  const ids = (key: string): number[] => {
    const value = generation[key] ?? raw[key];
    const list = (Array.isArray(value) ? value : [value]) as unknown[];
    return list.filter((id): id is number => Number.isInteger(id) && (id as number) >= 0 && (id as number) < vocab);
  };
  return { bos: ids('bos_token_id')[0], eos: [...new Set(ids('eos_token_id'))], pad: ids('pad_token_id')[0] };
}

const bad = (key: string, expected: string, got: unknown): MgtError =>
  new MgtError('BadFile', `config.json.${key}`, expected, got);

const unsupported = (key: string, expected: string, got: unknown): MgtError =>
  new MgtError('UnsupportedArchitecture', `config.json.${key}`, expected, got);

function size(raw: JsonObject, key: string, missing?: number): number {
  const value = raw[key] ?? missing;
  if (typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= MAX_SIZE) return value;
  throw bad(key, `an integer in 1..${MAX_SIZE}`, value);
}

function optionalFlag(raw: JsonObject, key: string): boolean | undefined {
  const value = raw[key] ?? undefined;
  if (value === undefined || typeof value === 'boolean') return value;
  throw bad(key, 'true or false', value);
}

const flag = (raw: JsonObject, key: string, missing: boolean): boolean => optionalFlag(raw, key) ?? missing;

function epsilon(raw: JsonObject, key: string, missing: number): number {
  const value = raw[key] ?? missing;
  if (typeof value === 'number' && value > 0 && value <= 1) return value;
  throw bad(key, 'a number above 0, at most 1', value);
}

function activation(raw: JsonObject, key: string, missing: string): Activation {
  const value = raw[key] ?? missing;
  if (typeof value !== 'string') throw bad(key, 'a text', value);
  if (Object.hasOwn(ACTIVATIONS, value)) return ACTIVATIONS[value]!;
  throw unsupported(key, `one of ${Object.keys(ACTIVATIONS).join(', ')}`, value);
}
