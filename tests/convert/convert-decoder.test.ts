import { describe, expect, test } from '@jest/globals';
import type { Quant } from '../../src/config.js';
import { convert, type ConvertOptions } from '../../src/convert/convert.js';
import { floatLogits } from '../../src/convert/decoder-float.js';
import { chooseInputs } from '../../src/convert/inputs.js';
import { MincutGatedTransformer } from '../../src/core.node.js';
import { parseHeader, type DecoderAccuracy } from '../../src/format/file.js';
import { Rng } from '../support/rng.js';
import { cosine, refusal } from './fixtures.js';
import { json, memorySource, tokenizerJson, type Files } from './make-bert.js';
import {
  decoderFiles,
  type DecoderRecipe,
  fixture,
  fixtureFiles,
  type Goldens,
  gpt2Files,
  llamaConfig,
  llamaFiles,
  openFiles,
  randomLlama,
} from './make-decoder.js';

const convertFiles = async (files: Files, options: ConvertOptions = {}): ReturnType<typeof convert> =>
  convert(memorySource(files, 'random'), options);

/** Logits of every position, f32[n][vocab]. */
async function engineLogits(
  bytes: Uint8Array,
  sequences: readonly number[][],
  context?: number,
): Promise<Float32Array[]> {
  const model = await MincutGatedTransformer.load(bytes, { context });
  try {
    return sequences.map((tokens) => model.infer({ tokens, all: true }).logits!);
  } finally {
    model.dispose();
  }
}

/** Cosine of every row of logits to that of float arithmetic. */
async function cosines(files: Files, quant?: Quant): Promise<number[]> {
  const { bytes } = await convertFiles(files, { quant, allowNoise: true });
  const { model } = await openFiles(files);
  const { vocab, context } = model.facts;
  const rng = new Rng('sequences');
  const sequences = [1, 2, 33, context].map((n) => rng.ints(n, 0, vocab - 1));
  const found = await engineLogits(bytes, sequences);
  return sequences.flatMap((tokens, s) => {
    const float = floatLogits(model, tokens);
    return tokens.map((_, p) => {
      const row = [p * vocab, (p + 1) * vocab] as const;
      return cosine(float.subarray(...row), found[s]!.subarray(...row));
    });
  });
}
const mean = (x: readonly number[]): number => x.reduce((a, b) => a + b) / x.length;

const ODD = { vocab: 257, hidden: 96, heads: 6, kvHeads: 6, headDim: 16, ffn: 176 } as const;
const LARGE = { ...ODD, vocab: 2801, ffn: 2805, layers: 1, bias: 'all', context: 33, std: 0.05 } as const;
const shapes: Record<string, readonly [make: (recipe: DecoderRecipe) => Files, recipe: DecoderRecipe]> = {
  'llama, hidden 96, 6 heads, FFN 176, vocabulary 257': [llamaFiles, ODD],
  'heads of 20, three of them for K and V, a head of its own': [llamaFiles, {}],
  'heads wider than hidden / heads, tied': [llamaFiles, { ...ODD, hidden: 60, kvHeads: 2, headDim: 14, tied: true }],
  'one KV head, one layer': [llamaFiles, { ...ODD, kvHeads: 1, layers: 1 }],
  'biases as Qwen2': [llamaFiles, { ...ODD, bias: 'qkv', tied: true }],
  'all biases': [llamaFiles, { bias: 'all' }],
  mistral: [llamaFiles, { config: { model_type: 'mistral', sliding_window: null } }],
  'F16 in three shards': [llamaFiles, { dtype: 'F16', shards: 3 }],
  'BF16, names without a prefix': [llamaFiles, { dtype: 'BF16', prefix: false }],
  'six layers': [llamaFiles, { layers: 6 }],
  // Beyond 2730 rows a matrix of 96 inputs is packed in parts.
  'large matrices': [llamaFiles, LARGE],
  'as transformers initialises': [llamaFiles, { std: 0.02 }],
  'gpt2 as transformers initialises': [gpt2Files, { std: 0.02 }],
  'gpt2, heads of 20': [gpt2Files, {}],
  'gpt2, a head of its own, FFN of four times the width': [
    gpt2Files,
    { tied: false, ffn: 480, config: { n_inner: null } },
  ],
  'gpt2, F16 in shards, ReLU': [gpt2Files, { dtype: 'F16', shards: 4, config: { activation_function: 'relu' } }],
};

describe('int8 logits at every position, from one token to the whole context', () => {
  // Worst of these: 0.9991.
  test.each(Object.entries(shapes))('%s: within cosine 0.998 of float', async (_, [make, recipe]) => {
    expect(Math.min(...(await cosines(make({ seed: 3, std: 0.05, context: 40, ...recipe }))))).toBeGreaterThan(0.998);
  });

  // Each layer loses some 0.6 %, which random layers multiply from weights of 1 / √hidden on. Here single positions fall below
  // 0.998: measured least 0.9939 and mean 0.9992 (llama), 0.9991 and 0.9996 (gpt2).
  test.each([
    ['llama', llamaFiles({ std: 0.1 }), 0.99, 0.9985],
    ['gpt2', gpt2Files({ std: 0.1 }), 0.998, 0.999],
  ])('%s of weights 1 / √hidden: the mean is, single positions may not be', async (_, files, least, average) => {
    const found = await cosines(files);
    expect(Math.min(...found)).toBeGreaterThan(least);
    expect(mean(found)).toBeGreaterThan(average);
  });

  test.each([
    ['int7', 'llama', llamaFiles({ std: 0.05 }), 0.997],
    ['int7', 'gpt2', gpt2Files({ std: 0.05 }), 0.998],
    ['int4', 'llama', llamaFiles({ std: 0.05 }), 0.95],
    ['int4', 'gpt2', gpt2Files({ std: 0.05 }), 0.97],
    ['int4', 'llama of large matrices', llamaFiles(LARGE), 0.95],
  ] as const)('%s of %s: less near', async (quant, _, files, least) => {
    const found = mean(await cosines(files, quant));
    expect(found).toBeGreaterThan(least);
    expect(found).toBeLessThan(mean(await cosines(files)));
  });
});

// Channels are evened before they are quantised: what has nothing in it, or far too much, must come through that.
test.each<[string, string, (value: number, i: number) => number]>([
  ['a norm of zeros', 'layers.0.input_layernorm', () => 0],
  ['a norm of subnormal numbers', 'layers.0.input_layernorm', () => 1e-42],
  ['a norm of either sign with zeros', 'layers.1.post_attention_layernorm', (v, i) => v * ((i % 3) - 1)],
  ['channels of a norm twenty times the others', 'layers.0.post_attention_layernorm', (v, i) => (i % 20 ? v : 20 * v)],
  ['a channel of the table a thousand times the others', 'embed_tokens', (v, i) => (i % 120 === 5 ? 1000 * v : v)],
  ['rows of zeros', 'layers.0.mlp.up_proj', (v, i) => (i < 120 * 40 ? 0 : v)],
  ['columns of zeros', 'layers.0.mlp.down_proj', (v, i) => (i % 77 < 40 ? 0 : v)],
  ['a matrix of zeros', 'layers.1.self_attn.v_proj', () => 0],
  ['weights of 10¹⁵', 'layers.0.mlp.up_proj', (v) => v * 1e15],
])('%s: within cosine 0.998 of float', async (_, name, change) => {
  const recipe = { context: 40, std: 0.05 };
  const tensors = randomLlama(recipe);
  const { values } = tensors.get(`model.${name}.weight`)!;
  values.forEach((value, i) => (values[i] = change(value, i)));
  expect(Math.min(...(await cosines(decoderFiles(llamaConfig(recipe), tensors))))).toBeGreaterThan(0.998);
});

describe('RoPE as PyTorch has it', () => {
  const golden = fixture('expected.json') as Goldens;
  const names = Object.keys(golden.rope);
  const context = golden.long.length;

  /** The directory that PyTorch ran beyond its 16 tokens: only dynamic NTK may be loaded so, the others are told 40. */
  const filesOf = (name: string, config: Record<string, unknown>): Files => {
    const original = name === 'yarn-attention' ? { original_max_position_embeddings: 16 } : {};
    const longer = name === 'dynamic' ? {} : { max_position_embeddings: context, ...original };
    return fixtureFiles('llama', { ...longer, ...config });
  };
  /** Least cosine to PyTorch's rows for the long sequence. */
  function nearness(logits: Float32Array, name: string): number {
    const rows = golden.logits[name]!.long;
    const vocab = rows[0]!.length;
    const at = (p: number): Float32Array => logits.subarray(p * vocab, (p + 1) * vocab);
    return Math.min(...rows.map((row, r) => cosine(row, at(golden.positions[r]!))));
  }

  // Weights are wild here: float is left by up to 0.0022 of cosine (YaRN), another scaling's by 0.07 and more.
  test.each(names)('%s, and none of the others', async (name) => {
    const parameters = golden.rope[name]!;
    const { bytes } = await convertFiles(filesOf(name, { rope_parameters: parameters }));
    const [logits] = await engineLogits(bytes, [golden.long], context);
    expect(nearness(logits!, `llama ${name}`)).toBeGreaterThan(0.997);
    for (const other of names) if (other !== name) expect(nearness(logits!, `llama ${other}`)).toBeLessThan(0.95);
    const { rope_theta, rope_type, ...rest } = parameters;
    for (const spelling of ['type', 'rope_type']) {
      const old = { rope_theta, rope_parameters: undefined, rope_scaling: { [spelling]: rope_type, ...rest } };
      expect(Buffer.compare((await convertFiles(filesOf(name, old))).bytes, bytes)).toBe(0);
    }
  });

  test('dynamic NTK goes by the context that is loaded', async () => {
    const files = fixtureFiles('llama', { rope_parameters: golden.rope.dynamic });
    const { bytes } = await convertFiles(files);
    const { model } = await openFiles(files);
    const tokens = golden.long.slice(0, 12);
    const [trained, longer] = await Promise.all([16, 64].map((n) => engineLogits(bytes, [tokens], n)));
    for (const [found, n] of [
      [trained![0]!, 16],
      [longer![0]!, 64],
    ] as const) {
      expect(cosine(found, floatLogits(model, tokens, { context: n }))).toBeGreaterThan(0.998);
      expect(cosine(found, floatLogits(model, tokens, { context: 80 - n }))).toBeLessThan(0.98);
    }
  });

  test.each(['qwen2', 'gpt2'])('%s', async (name) => {
    const { bytes } = await convertFiles(fixtureFiles(name));
    const [logits] = await engineLogits(bytes, [golden.long]);
    expect(nearness(logits!, name)).toBeGreaterThan(0.998);
  });
});

describe('the report', () => {
  const files = llamaFiles({ std: 0.1 });

  /** By the definition, in f64, of all positions of all sequences. */
  async function measured(bytes: Uint8Array, source: Files): Promise<DecoderAccuracy> {
    const { model } = await openFiles(source);
    const { vocab } = model.facts;
    const sequences = chooseInputs(undefined, model.facts).accuracy;
    const found = await engineLogits(bytes, sequences);
    const sum = { kl: 0, top1: 0, tokens: 0 };
    sequences.forEach((tokens, s) => {
      const float = floatLogits(model, tokens);
      for (let at = 0; at < float.length; at += vocab) {
        const [p, q] = [float, found[s]!].map((logits) => {
          const row = [...logits.subarray(at, at + vocab)];
          const total = row.reduce((z, x) => z + Math.exp(x), 0);
          return row.map((x) => Math.exp(x) / total);
        });
        sum.kl += p!.reduce((kl, x, i) => kl + x * Math.log(x / q![i]!), 0);
        if (p!.indexOf(Math.max(...p!)) === q!.indexOf(Math.max(...q!))) sum.top1++;
        sum.tokens++;
      }
    });
    return { kl: sum.kl / sum.tokens, top1: sum.top1 / sum.tokens, tokens: sum.tokens };
  }

  test.each(['int8', 'int4'] as const)('%s: its accuracy is that of the file, and stands in it', async (quant) => {
    const { bytes, report } = await convertFiles(files, { quant });
    const accuracy = report.accuracy as DecoderAccuracy;
    const { kl, top1, tokens } = await measured(bytes, files);
    expect(accuracy.kl / kl).toBeCloseTo(1, 5);
    expect(accuracy).toMatchObject({ top1, tokens });
    expect(tokens).toBeGreaterThan(500);
    const { meta } = parseHeader(bytes, bytes.length);
    expect(meta.report).toMatchObject({ accuracy, worstTensor: report.worstTensor, measuredOn: 'random ids' });
    expect(meta.report.scheme).toContain(quant);
    expect(meta.report.allowNoise).toBeUndefined();
    expect([report.bytes, report.quant, report.tokenizer]).toEqual([bytes.length, quant, false]);
    expect(report.worstTensor.error).toBeGreaterThan(quant === 'int4' ? 0.05 : 0.005);
  });

  test('noise is refused, unless it is allowed and recorded', async () => {
    const noise = llamaFiles({ std: 1, layers: 1 });
    const { code, field, got } = await refusal(() => convertFiles(noise));
    expect([code, field]).toEqual(['NoisyModel', 'accuracy.kl']);
    const { bytes, report } = await convertFiles(noise, { allowNoise: true });
    expect((report.accuracy as DecoderAccuracy).kl).toBe(Number(got));
    expect(Number(got)).toBeGreaterThan(0.1);
    expect(parseHeader(bytes, bytes.length).meta.report).toMatchObject({ allowNoise: true, accuracy: report.accuracy });
    const model = await MincutGatedTransformer.load(bytes);
    expect(model.info.quantisation).toMatchObject({ allowNoise: true });
  });

  test('texts where there is a tokenizer, which comes along with the chat template beside it', async () => {
    const settings = json({ bos_token: '[CLS]' });
    const with_ = new Map(files).set('tokenizer.json', json(tokenizerJson())).set('tokenizer_config.json', settings);
    with_.set('chat_template.jinja', new TextEncoder().encode('{{ messages }}'));
    with_.set('generation_config.json', json({ eos_token_id: [3, 2] }));
    const { bytes, report } = await convertFiles(with_);
    expect([report.measuredOn, report.tokenizer]).toEqual(['texts', true]);
    const { meta } = parseHeader(bytes, bytes.length);
    expect(JSON.parse(meta.tokenizer!.json)).toEqual(tokenizerJson());
    expect(JSON.parse(meta.tokenizer!.config)).toEqual({ bos_token: '[CLS]', chat_template: '{{ messages }}' });
    expect(meta.endTokens).toEqual([3, 2]);
  });
});
