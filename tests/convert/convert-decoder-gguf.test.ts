import { describe, expect, test } from '@jest/globals';
import { convert, type ConvertOptions } from '../../src/convert/convert.js';
import { floatLogits } from '../../src/convert/decoder-float.js';
import { ggufDecoder, openGguf } from '../../src/convert/gguf/index.js';
import { GGML_TYPES, type GgmlType } from '../../src/convert/gguf/types.js';
import { MincutGatedTransformer } from '../../src/core.node.js';
import { parseHeader, type ModelFile } from '../../src/format/file.js';
import { Rng } from '../support/rng.js';
import { cosine } from './fixtures.js';
import { half, writeGguf, type Metadata, type Tensor } from './gguf-writer.js';
import { memorySource } from './make-bert.js';
import { decoderFiles } from './make-decoder.js';
import { gpt2Gguf, llamaGguf, type GgufRecipe, type MadeGguf } from './make-gguf.js';

const SHAPE = {
  vocab: 261,
  hidden: 96,
  heads: 6,
  kvHeads: 3,
  headDim: 16,
  ffn: 160,
  context: 20,
  std: 0.05,
  seed: 5,
} as const;
const made = (recipe: GgufRecipe = {}): MadeGguf => llamaGguf({ ...SHAPE, ...recipe });
const all = (type: GgmlType) => (): GgmlType => type;

type Converted = Awaited<ReturnType<typeof convert>>;
interface Result extends Converted {
  readonly head: ModelFile;
  readonly payload: Uint8Array;
}
async function converted(file: Uint8Array, options: ConvertOptions = {}): Promise<Result> {
  const result = await convert(file, { allowNoise: true, ...options });
  const head = parseHeader(result.bytes, result.bytes.length);
  return { ...result, head, payload: result.bytes.subarray(head.payloadOffset) };
}
/** The Hugging Face directory of the same weights. */
const directory = async ({ config, tensors }: MadeGguf, options: ConvertOptions = {}): Promise<Converted> =>
  convert(memorySource(decoderFiles(config, tensors)), { allowNoise: true, ...options });

/** Weights f32[outputs][inputs] of a tensor of a file, from the layouts as src/format/tensors.ts draws them. */
function weightsOf({ head, payload }: Result, name: string, wanted = 'panel-i4'): Float32Array {
  const { shape, offset, kind } = head.weights.tensors.find((tensor) => tensor.name === name)!;
  if (kind !== wanted) throw new Error(`${name} is ${kind}`);
  const [outputs = 0, inputs = 0] = shape;
  const eights = Math.ceil(inputs / 8);
  const view = new DataView(payload.buffer, payload.byteOffset + offset);
  const halfAt = (at: number): number => {
    const bits = view.getUint16(at, true);
    const exponent = (bits >> 10) & 31;
    const size = exponent === 0 ? (bits & 1023) * 2 ** -24 : (1024 + (bits & 1023)) * 2 ** (exponent - 25);
    return bits & 0x8000 ? -size : size;
  };
  const weight = (n: number, k: number): number => {
    const [group, lane] = [Math.floor(n / 8), n % 8];
    if (kind === 'panel-i8') {
      const at = group * (64 + 64 * eights);
      return view.getFloat32(at + 4 * lane, true) * view.getInt8(at + 64 + 32 * Math.floor(k / 4) + 4 * lane + (k % 4));
    }
    const at = group * 64 * Math.ceil((64 + 32 * Math.ceil(inputs / 32) + 32 * eights) / 64);
    const block = at + 64 + 160 * Math.floor(k / 32);
    const byte = view.getUint8(block + 32 + 32 * Math.floor((k % 32) / 8) + 4 * lane + (k % 4));
    const q = k % 8 < 4 ? byte & 15 : byte >> 4;
    return view.getFloat32(at + 4 * lane, true) * (halfAt(block + 2 * lane) * q + halfAt(block + 16 + 2 * lane));
  };
  return Float32Array.from({ length: outputs * inputs }, (_, i) => weight(Math.floor(i / inputs), i % inputs));
}
/** Root of Σ(found − value)² / Σ value². */
const loss = (found: Float32Array, values: Float32Array): number =>
  Math.sqrt(found.reduce((sum, v, i) => sum + (v - values[i]!) ** 2, 0) / values.reduce((sum, v) => sum + v * v, 0));

/** Positions of a tensor where two lists differ; −0 is 0. */
const differing = (a: Float32Array, b: Float32Array): number =>
  a.length === b.length ? a.reduce((n, v, i) => n + (v === b[i] ? 0 : 1), 0) : NaN;

const HF: Readonly<Record<string, string>> = {
  'attention.query': 'self_attn.q_proj',
  'attention.key': 'self_attn.k_proj',
  'attention.value': 'self_attn.v_proj',
  'attention.output': 'self_attn.o_proj',
  'ffn.gate': 'mlp.gate_proj',
  'ffn.up': 'mlp.up_proj',
  'ffn.down': 'mlp.down_proj',
};
const LINEAR = [0, 1].flatMap((i) => Object.keys(HF).map((name) => `layers.${i}.${name}`));
const valuesOf = ({ tensors }: MadeGguf, ours: string): Float32Array => {
  const [, layer, name] = /^layers\.(\d+)\.(.+)$/.exec(ours) ?? [];
  return tensors.get(name ? `model.layers.${layer}.${HF[name]}.weight` : 'lm_head.weight')!.values;
};

describe('a GGUF file is the directory of the same weights: the same payload, byte for byte', () => {
  const types = Object.keys(GGML_TYPES) as GgmlType[];
  test.each(types)('llama of %s in int8, queries and keys in halves again', async (type) => {
    const source = made({ type: all(type) });
    const { head, payload } = await converted(source.file, { quant: 'int8' });
    const other = await directory(source, { quant: 'int8' });
    expect(head.config.quant).toBe('int8');
    expect(Buffer.compare(payload, other.bytes.subarray(-payload.length))).toBe(0);
    const config = parseHeader(other.bytes).config;
    expect({ ...head.config, normEps: 0 }).toEqual({ ...config, normEps: 0 });
    expect(head.config.normEps).toBeCloseTo(config.normEps, 9);
  });

  test.each([
    ['biases of all layers', 'int4', made({ bias: 'all' })],
    ['qwen2', 'int8', made({ bias: 'qkv', architecture: 'qwen2', tied: true })],
    ['gpt2', 'int7', gpt2Gguf({ ...SHAPE, type: all('F16') })],
    ['gpt2 with a head of its own', 'int4', gpt2Gguf({ ...SHAPE, tied: false })],
    ['odd sizes', 'int4', llamaGguf({ std: 0.05, context: 20 })],
  ] as const)('%s, in %s', async (_, quant, source) => {
    const { payload } = await converted(source.file, { quant });
    const other = await directory(source, { quant });
    expect(Buffer.compare(payload, other.bytes.subarray(-payload.length))).toBe(0);
  });

  test('a tied file with a copy of the table for a head', async () => {
    const tied = made({ tied: true });
    const { type, shape, data } = tied.parts[0]!;
    const copy = writeGguf(tied.metadata, [...tied.parts, { name: 'output.weight', type, shape, data }]);
    expect(Buffer.compare((await converted(copy)).payload, (await converted(tied.file)).payload)).toBe(0);
  });
});

describe('without a wish: int4 of a Q4 file, else int8', () => {
  test.each([
    ['F32', 'int8'],
    ['F16', 'int8'],
    ['BF16', 'int8'],
    ['Q8_0', 'int8'],
    ['Q4_0', 'int4'],
    ['Q4_1', 'int4'],
  ] as const)('%s: %s', async (type, quant) => {
    const { head, report } = await converted(made({ type: all(type) }).file);
    expect([head.config.quant, report.quant]).toEqual([quant, quant]);
    expect(head.config.int8Tensors).toBeUndefined();
  });

  test('a quantised table alone makes no int4 file', async () => {
    const table = (name: string): GgmlType => (name === 'token_embd.weight' ? 'Q4_0' : 'Q8_0');
    expect((await converted(made({ type: table }).file)).head.config.quant).toBe('int8');
  });
});

describe("int4 keeps the source's own grid", () => {
  test.each(['Q4_0', 'Q4_1'] as const)('%s: every weight of every layer is that of the file', async (type) => {
    const source = made({ type: all(type) });
    const result = await converted(source.file);
    for (const name of [...LINEAR, 'head']) {
      expect([name, differing(weightsOf(result, name), valuesOf(source, name))]).toEqual([name, 0]);
    }
    expect([result.report.worstTensor.name, result.report.smoothed]).toEqual(['embeddings.token', false]);
    const { worstTensor, smoothed } = (await converted(source.file, { quant: 'int8' })).report;
    expect([worstTensor.error > 0.005, smoothed]).toEqual([true, true]);
  });

  test('layers without one lose what a grid of 16 steps does', async () => {
    const { error } = (await converted(made().file, { quant: 'int4' })).report.worstTensor;
    expect(error).toBeGreaterThan(0.05);
    expect(error).toBeLessThan(0.1);
  });

  test('what is not Q4 stays int8: Q8_0 and F16 layers, the head', async () => {
    const wide: Readonly<Record<string, GgmlType>> = {
      'blk.0.ffn_down.weight': 'Q8_0',
      'blk.1.attn_v.weight': 'F16',
      'output.weight': 'Q8_0',
      'token_embd.weight': 'Q8_0',
    };
    const source = made({ type: (name) => wide[name] ?? (name.includes('attn') ? 'Q4_0' : 'Q4_1') });
    for (const options of [{}, { quant: 'int4' }] as const) {
      const result = await converted(source.file, options);
      const int8 = ['layers.0.ffn.down', 'layers.1.attention.value', 'head'];
      expect(result.head.config).toMatchObject({ quant: 'int4', int8Tensors: int8 });
      for (const name of LINEAR.filter((n) => !int8.includes(n))) {
        expect([name, differing(weightsOf(result, name), valuesOf(source, name))]).toEqual([name, 0]);
      }
      for (const name of int8) {
        const lost = loss(weightsOf(result, name, 'panel-i8'), valuesOf(source, name));
        expect([name, lost > 0.001 && lost < 0.01]).toEqual([name, true]);
      }
    }
  });

  test('gpt2: rows of the fused layer', async () => {
    const source = gpt2Gguf({ ...SHAPE, type: (name) => (name.includes('attn') ? 'Q4_1' : 'Q8_0') });
    const result = await converted(source.file);
    const { shape, values } = source.tensors.get('transformer.h.1.attn.c_attn.weight')!;
    const [inputs = 0, width = 0] = shape;
    ['query', 'key', 'value'].forEach((part, third) => {
      const at = (i: number): number => (i % inputs) * width + third * inputs + Math.floor(i / inputs);
      const expected = Float32Array.from({ length: inputs * inputs }, (_, i) => values[at(i)]!);
      expect(differing(weightsOf(result, `layers.1.attention.${part}`), expected)).toBe(0);
    });
  });

  test('scales beyond what eight times an f16 is, of either sign: a factor takes them', async () => {
    const source = made({ type: all('Q4_0'), std: 1e-4 });
    const parts = source.parts.map((part): Tensor => {
      if (part.name !== 'blk.0.ffn_up.weight') return part;
      const data = part.data.slice();
      const view = new DataView(data.buffer);
      // Row 0: q − 8 times ±16384, so the least weight is no f16. Row 1: subnormal and zero scales.
      [16384, -16384, 8192].forEach((scale, b) => view.setUint16(18 * b, half(scale), true));
      [0x0001, 0x8003, 0x0000].forEach((bits, b) => view.setUint16(18 * (3 + b), bits, true));
      return { ...part, data };
    });
    const file = writeGguf(source.metadata, parts);
    const result = await converted(file);
    const model = ggufDecoder(await openGguf(file));
    const weights = weightsOf(result, 'layers.0.ffn.up');
    expect(differing(weights, model.rows('layers.0.ffn.up', 0, 160))).toBe(0);
    expect(Math.max(...weights.subarray(0, 96))).toBeGreaterThan(65504);
    expect(weights.subarray(96, 192).some((w) => w !== 0 && Math.abs(w) < 1e-5)).toBe(true);
  });
});

describe('in the engine', () => {
  test.each([
    ['Q4_1 as int4', made({ type: all('Q4_1') }), 0.999],
    ['Q4_0 with Q8_0, as int4', made({ type: (n) => (n.includes('ffn') ? 'Q8_0' : 'Q4_0'), bias: 'all' }), 0.998],
    ['Q8_0 as int8', made({ type: all('Q8_0') }), 0.999],
    ['gpt2, Q4_1', gpt2Gguf({ ...SHAPE, type: all('Q4_1') }), 0.999],
  ])('%s: logits near float on the dequantised weights', async (_, { file }, least) => {
    const { bytes, report } = await converted(file);
    const float = ggufDecoder(await openGguf(file));
    const engine = await MincutGatedTransformer.load(bytes);
    const tokens = new Rng(3).ints(20, 0, SHAPE.vocab - 1);
    const { logits } = engine.infer({ tokens, all: true });
    const expected = floatLogits(float, tokens);
    engine.dispose();
    for (let at = 0; at < expected.length; at += SHAPE.vocab) {
      const row = [at, at + SHAPE.vocab] as const;
      expect(cosine(logits!.subarray(...row), expected.subarray(...row))).toBeGreaterThan(least);
    }
    expect((report.accuracy as { kl: number }).kl).toBeLessThan(2e-4);
  });

  test('divisors of RoPE', async () => {
    const divisors = Float32Array.from({ length: 8 }, (_, i) => 1 + i);
    const extra: Tensor = { name: 'rope_freqs.weight', type: 'F32', shape: [8], data: new Uint8Array(divisors.buffer) };
    const { head, payload } = await converted(made({ extra: [extra] }).file);
    expect(head.config.rope).toEqual({ factors: true, scale: 1, dynamic: 0, original: 0 });
    const { offset } = head.weights.tensors.find(({ name }) => name === 'rope.factors')!;
    const view = new DataView(payload.buffer, payload.byteOffset + offset);
    for (let i = 0; i < 8; i++) expect(view.getFloat32(4 * i, true)).toBe(Math.fround(1 / (1 + i)));
  });
});

describe('what comes along', () => {
  const letters = [...'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.,?!Ġ0123456789-'];
  const words = [...letters, '<s>', '</s>', '<|im_end|>'];
  const vocabulary: Metadata = {
    'tokenizer.ggml.model': { text: 'gpt2' },
    'tokenizer.ggml.pre': { text: 'gpt-2' },
    'tokenizer.ggml.tokens': { texts: words },
    'tokenizer.ggml.token_type': { i32s: words.map((word) => (word.length > 1 ? 3 : 1)) },
    'tokenizer.ggml.merges': { texts: [] },
    'tokenizer.ggml.bos_token_id': { u32: words.indexOf('<s>') },
    'tokenizer.ggml.eos_token_id': { u32: words.indexOf('</s>') },
    'tokenizer.ggml.eot_token_id': { u32: words.indexOf('<|im_end|>') },
    'tokenizer.chat_template': { text: '{{ bos_token }}{{ messages[0].content }}' },
  };

  test('tokenizer, chat template, end tokens', async () => {
    const { head, report } = await converted(made({ metadata: vocabulary }).file);
    expect([report.tokenizer, report.measuredOn]).toEqual([true, 'texts']);
    const { tokenizer, endTokens } = head.meta;
    expect(endTokens).toEqual(['</s>', '<|im_end|>'].map((word) => words.indexOf(word)));
    expect(JSON.parse(tokenizer!.config)).toMatchObject({
      ...{ bos_token: '<s>', eos_token: '</s>', chat_template: '{{ bos_token }}{{ messages[0].content }}' },
    });
    expect((JSON.parse(tokenizer!.json) as { model: { vocab: object } }).model.vocab).toMatchObject({ a: 0, Ġ: 56 });
    expect((await converted(made().file)).head.meta.tokenizer).toBeUndefined();
  });

  test.each([
    [{ 'general.name': { text: 'Sea 135M' }, 'general.license': { text: 'apache-2.0' } }, 'Sea 135M', 'apache-2.0'],
    [{ 'general.name': { text: 'owner/sea' } }, 'owner/sea', 'unknown'],
    [{ 'general.license': { text: 'MIT, see https://example.org/license' } }, 'model', 'MIT, see'],
    [{ 'general.name': { text: '/home/someone/models/sea' } }, 'sea', 'unknown'],
    [{ 'general.name': { text: 'C:\\models\\sea' } }, 'sea', 'unknown'],
    [{ 'general.name': { text: 'https://example.org/owner/sea' } }, 'sea', 'unknown'],
    [{ 'general.name': { text: ' a\n\u001b[1mb ' }, 'general.license': { text: 'MIT\u0007' } }, 'a [1mb', 'MIT'],
    [{}, 'model', 'unknown'],
  ] as const)('%j: name %j, licence %j', async (metadata, name, license) => {
    const { head, report } = await converted(made({ metadata, layers: 1 }).file);
    expect(head.meta.source).toEqual({ name, license });
    expect(report).toMatchObject({ name, license });
  });
});
