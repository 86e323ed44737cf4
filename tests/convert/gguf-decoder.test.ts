import { describe, expect, test } from '@jest/globals';
import type { DecoderModel } from '../../src/convert/decoder.js';
import { ggufDecoder, openGguf } from '../../src/convert/gguf/index.js';
import type { GgmlType } from '../../src/convert/gguf/types.js';
import { yarnFactors } from '../../src/convert/rope-scaling.js';
import { MgtError } from '../../src/errors.js';
import { Rng } from '../support/rng.js';
import { encode, writeGguf, type Metadata, type Tensor } from './gguf-writer.js';

const HIDDEN = 64;
const HEADS = 4;
const KV_HEADS = 2;
const HEAD = 32; // not HIDDEN / HEADS
const FFN = 96;
const VOCAB = 40;
const CONTEXT = 24;
const LAYERS = 2;

/** A file's tensors, and the values that each should give by our names. */
interface Made {
  readonly tensors: Tensor[];
  readonly expected: Map<string, Float32Array>;
}

const F32 = (values: Float32Array): Uint8Array => new Uint8Array(values.slice().buffer);

class Maker {
  readonly #rng: Rng;
  readonly made: Made = { tensors: [], expected: new Map() };
  constructor(seed: string) {
    this.#rng = new Rng(seed);
  }
  random = (): number => this.#rng.uniform();
  matrix(ours: string, theirs: string, type: GgmlType, rows: number, columns: number): Float32Array {
    const { data, values } = encode(type, rows * columns, this.random);
    this.made.tensors.push({ name: theirs, type, shape: [rows, columns], data });
    this.made.expected.set(ours, values);
    return values;
  }
  vector(ours: string, theirs: string, n: number): Float32Array {
    const { data, values } = encode('F32', n, this.random);
    this.made.tensors.push({ name: theirs, type: 'F32', shape: [n], data });
    this.made.expected.set(ours, values);
    return values;
  }
}

/** llama.cpp's converter: reshape(heads, 2, HEAD / 2, columns).swapaxes(1, 2), on the order that transformers has. */
function permuted(values: Float32Array, columns: number): Float32Array {
  const out = new Float32Array(values.length);
  const heads = values.length / columns / HEAD;
  let row = 0;
  for (let head = 0; head < heads; head++) {
    for (let i = 0; i < HEAD / 2; i++) {
      for (let half = 0; half < 2; half++, row++) {
        const source = (head * HEAD + half * (HEAD / 2) + i) * columns;
        out.set(values.subarray(source, source + columns), row * columns);
      }
    }
  }
  return out;
}

/** Turns what `expected` holds, in the file's order, into transformers' order. */
function unpermute({ expected }: Made, name: string, columns: number): void {
  const stored = expected.get(name)!;
  const rows = stored.length / columns;
  const order = permuted(
    Float32Array.from({ length: rows }, (_, i) => i),
    1,
  );
  const out = new Float32Array(stored.length);
  order.forEach((row, i) => out.set(stored.subarray(i * columns, (i + 1) * columns), row * columns));
  expected.set(name, out);
}

function makeLlama(architecture: 'llama' | 'qwen2'): Made {
  const maker = new Maker(architecture);
  maker.matrix('embeddings.token', 'token_embd.weight', 'Q8_0', VOCAB, HIDDEN);
  for (let i = 0; i < LAYERS; i++) {
    const [l, b] = [`layers.${i}`, `blk.${i}`];
    maker.vector(`${l}.attention.norm.weight`, `${b}.attn_norm.weight`, HIDDEN);
    maker.matrix(`${l}.attention.query`, `${b}.attn_q.weight`, 'Q4_1', HEADS * HEAD, HIDDEN);
    maker.matrix(`${l}.attention.key`, `${b}.attn_k.weight`, 'Q4_0', KV_HEADS * HEAD, HIDDEN);
    maker.matrix(`${l}.attention.value`, `${b}.attn_v.weight`, 'F16', KV_HEADS * HEAD, HIDDEN);
    maker.vector(`${l}.attention.query.bias`, `${b}.attn_q.bias`, HEADS * HEAD);
    maker.vector(`${l}.attention.key.bias`, `${b}.attn_k.bias`, KV_HEADS * HEAD);
    maker.vector(`${l}.attention.value.bias`, `${b}.attn_v.bias`, KV_HEADS * HEAD);
    maker.matrix(`${l}.attention.output`, `${b}.attn_output.weight`, 'BF16', HIDDEN, HEADS * HEAD);
    maker.vector(`${l}.ffn.norm.weight`, `${b}.ffn_norm.weight`, HIDDEN);
    maker.matrix(`${l}.ffn.gate`, `${b}.ffn_gate.weight`, 'Q4_1', FFN, HIDDEN);
    maker.matrix(`${l}.ffn.up`, `${b}.ffn_up.weight`, 'Q4_0', FFN, HIDDEN);
    maker.matrix(`${l}.ffn.down`, `${b}.ffn_down.weight`, 'F32', HIDDEN, FFN);
    if (architecture === 'qwen2') continue;
    unpermute(maker.made, `${l}.attention.query`, HIDDEN);
    unpermute(maker.made, `${l}.attention.key`, HIDDEN);
    unpermute(maker.made, `${l}.attention.query.bias`, 1);
    unpermute(maker.made, `${l}.attention.key.bias`, 1);
  }
  maker.vector('final.norm.weight', 'output_norm.weight', HIDDEN);
  return maker.made;
}

const keys = (architecture: 'llama' | 'qwen2', extra: Metadata = {}): Metadata => ({
  'general.architecture': { text: architecture },
  ...Object.fromEntries(
    Object.entries({
      block_count: { u32: LAYERS },
      context_length: { u32: CONTEXT },
      embedding_length: { u32: HIDDEN },
      feed_forward_length: { u32: FFN },
      'attention.head_count': { u32: HEADS },
      'attention.head_count_kv': { u32: KV_HEADS },
      'attention.key_length': { u32: HEAD },
      'attention.value_length': { u32: HEAD },
      'attention.layer_norm_rms_epsilon': { f32: 0.25 },
      'rope.freq_base': { f32: 5000 },
      'rope.dimension_count': { u32: HEAD },
    } satisfies Metadata).map(([key, value]) => [`${architecture}.${key}`, value]),
  ),
  'tokenizer.ggml.bos_token_id': { u32: 3 },
  'tokenizer.ggml.eos_token_id': { u32: 4 },
  'tokenizer.ggml.eot_token_id': { u32: 5 },
  'tokenizer.ggml.padding_token_id': { u32: 4_294_967_295 },
  ...extra,
});

const open = async (metadata: Metadata, tensors: readonly Tensor[]): Promise<DecoderModel> =>
  ggufDecoder(await openGguf(writeGguf(metadata, tensors)));

const llama = makeLlama('llama');
const openLlama = (extra?: Metadata, added: readonly Tensor[] = []): Promise<DecoderModel> =>
  open(keys('llama', extra), [...llama.tensors, ...added]);

async function failure(action: () => unknown): Promise<MgtError> {
  try {
    await action();
  } catch (error) {
    if (error instanceof MgtError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

/** Every matrix whole, in parts and row by row; every vector. */
function expectAll(model: DecoderModel, { expected }: Made, columnsOf: (name: string) => number): void {
  for (const [name, values] of expected) {
    if (/(bias|norm\.weight)$/.test(name)) {
      expect([name, model.vector(name)]).toEqual([name, values]);
      continue;
    }
    const columns = columnsOf(name);
    const rows = values.length / columns;
    expect([name, model.rows(name, 0, rows)]).toEqual([name, values]);
    expect(model.rows(name, 3, 8)).toEqual(values.slice(3 * columns, 8 * columns));
    expect(model.rows(name, rows - 1, rows)).toEqual(values.slice((rows - 1) * columns));
  }
}

const columnsOf = (name: string): number =>
  name.endsWith('attention.output') ? HEADS * HEAD : name.endsWith('down') ? FFN : HIDDEN;

describe.each(['llama', 'qwen2'] as const)('%s', (architecture) => {
  const made = architecture === 'llama' ? llama : makeLlama(architecture);

  test('facts', async () => {
    const { facts } = await open(keys(architecture), made.tensors);
    expect(facts).toEqual({
      kind: 'decoder',
      vocab: VOCAB,
      hidden: HIDDEN,
      layers: LAYERS,
      heads: HEADS,
      kvHeads: KV_HEADS,
      headDim: HEAD,
      ffn: FFN,
      context: CONTEXT,
      norm: 'rmsnorm',
      normPlace: 'pre',
      normEps: 0.25,
      positions: 'rope',
      ropeBase: 5000,
      ropeFactors: false,
      ropeScale: 1,
      ropeDynamic: 0,
      ropeOriginal: 0,
      activation: 'silu',
      gatedFfn: true,
      causal: true,
      tiedHead: true,
      pooling: 'none',
      normalize: false,
      bos: 3,
      eos: [4, 5],
      pad: undefined,
    });
  });

  test('rows and vectors, queries and keys in halves', async () => {
    const model = await open(keys(architecture), made.tensors);
    expectAll(model, made, columnsOf);
    expect(model.vector('layers.0.ffn.up.bias')).toBeUndefined();
    expect(model.vector('rope.factors')).toBeUndefined();
  });

  test('grids belong to the same rows', async () => {
    const model = await open(keys(architecture), made.tensors);
    for (const name of ['layers.1.attention.query', 'layers.0.attention.key', 'layers.1.ffn.gate']) {
      for (const row of [0, 1, 17, 63]) {
        const { q, scales, mins } = model.grid!(name, row)!;
        const weights = Float32Array.from(q, (code, i) => code * scales[i >> 5]! + mins[i >> 5]! + 0);
        expect(weights).toEqual(model.rows(name, row, row + 1).map((v) => v + 0));
      }
    }
    expect(model.grid!('layers.0.attention.value', 0)).toBeUndefined();
    expect(await failure(() => model.grid!('layers.0.ffn.up', FFN))).toMatchObject({ code: 'BadInput' });
  });
});

describe('Heads', () => {
  const head = (type: GgmlType, data?: Uint8Array): Tensor => {
    const made = encode(type, VOCAB * HIDDEN, new Maker('head').random);
    return { name: 'output.weight', type, shape: [VOCAB, HIDDEN], data: data ?? made.data };
  };

  test('one of its own', async () => {
    const model = await openLlama({}, [head('Q4_1')]);
    expect(model.facts.tiedHead).toBe(false);
    expect(model.rows('head', 0, VOCAB)).toEqual(encode('Q4_1', VOCAB * HIDDEN, new Maker('head').random).values);
  });

  test('a copy of the token table is the tied head, one changed byte makes it another', async () => {
    const table = llama.tensors[0]!.data;
    const tied = await openLlama({}, [head('Q8_0', table)]);
    expect(tied.facts.tiedHead).toBe(true);
    expect(await failure(() => tied.rows('head', 0, 1))).toMatchObject({ code: 'BadInput' });
    const other = table.slice();
    other[other.length - 1]! ^= 1;
    expect((await openLlama({}, [head('Q8_0', other)])).facts.tiedHead).toBe(false);
  });
});

describe('RoPE', () => {
  const divisors = Float32Array.from({ length: HEAD / 2 }, (_, i) => 1 + i / 8);
  const table: Tensor = { name: 'rope_freqs.weight', type: 'F32', shape: [HEAD / 2], data: F32(divisors) };

  test('linear, by its old key too', async () => {
    const keysOf = [
      { 'llama.rope.scaling.type': { text: 'linear' }, 'llama.rope.scaling.factor': { f32: 4 } },
      { 'llama.rope.scale_linear': { f32: 4 } },
    ];
    for (const extra of keysOf) {
      const model = await openLlama(extra);
      expect(model.facts).toMatchObject({ ropeFactors: true, ropeScale: 1 });
      expect(model.vector('rope.factors')).toEqual(new Float32Array(HEAD / 2).fill(0.25));
    }
  });

  test('a table of divisors, alone and over a scaling', async () => {
    const alone = await openLlama({}, [table]);
    expect(alone.facts.ropeFactors).toBe(true);
    expect(alone.vector('rope.factors')).toEqual(divisors.map((x) => 1 / x));
    const linear = { 'llama.rope.scaling.type': { text: 'linear' }, 'llama.rope.scaling.factor': { f32: 2 } };
    expect((await openLlama(linear, [table])).vector('rope.factors')).toEqual(divisors.map((x) => 0.5 / x));
  });

  test('YaRN', async () => {
    const model = await openLlama({
      'llama.rope.scaling.type': { text: 'yarn' },
      'llama.rope.scaling.factor': { f32: 8 },
      'llama.rope.scaling.original_context_length': { u32: 300 },
    });
    const yarn = { base: 5000, factor: 8, original: 300, betaFast: 32, betaSlow: 1, truncate: true };
    expect(model.vector('rope.factors')).toEqual(yarnFactors(HEAD, yarn));
    expect(model.facts.ropeScale).toBeCloseTo(0.1 * Math.log(8) + 1, 12);
  });

  test.each([
    [{ 'llama.rope.scaling.type': { text: 'longrope' } }, 'UnsupportedArchitecture'],
    [{ 'llama.rope.scaling.type': { text: 'linear' }, 'llama.rope.scaling.factor': { f32: -1 } }, 'BadFile'],
    [{ 'llama.rope.dimension_count': { u32: 16 } }, 'UnsupportedArchitecture'],
    [{ 'llama.rope.freq_base': { f32: 0 } }, 'BadFile'],
    [{ 'llama.rope.freq_base': { f32: NaN } }, 'BadFile'],
  ] as const)('refused: %j', async (extra, code) => {
    expect(await failure(() => openLlama(extra))).toMatchObject({ code });
  });

  test('divisors of another length, or not above 0', async () => {
    const short = { ...table, shape: [4], data: table.data.slice(0, 16) };
    expect(await failure(() => openLlama({}, [short]))).toMatchObject({ code: 'BadFile' });
    const zero = { ...table, data: F32(divisors.map((x, i) => (i === 3 ? 0 : x))) };
    expect(await failure(() => openLlama({}, [zero]))).toMatchObject({ field: 'model.gguf.rope_freqs.weight[3]' });
  });
});

test('a sliding window cuts the context', async () => {
  expect((await openLlama({ 'llama.attention.sliding_window': { u32: 7 } })).facts.context).toBe(7);
});

describe('gpt2', () => {
  const maker = new Maker('gpt2');
  const values = new Map<string, Float32Array>();
  maker.matrix('embeddings.token', 'token_embd.weight', 'F16', VOCAB, HIDDEN);
  maker.matrix('embeddings.position', 'position_embd.weight', 'F32', CONTEXT, HIDDEN);
  for (const part of ['weight', 'bias']) maker.vector(`final.norm.${part}`, `output_norm.${part}`, HIDDEN);
  const both = (ours: string, theirs: string, rows: number, columns: number): void => {
    maker.matrix(ours, `${theirs}.weight`, 'Q8_0', rows, columns);
    maker.vector(`${ours}.bias`, `${theirs}.bias`, rows);
  };
  for (let i = 0; i < LAYERS; i++) {
    const [l, b] = [`layers.${i}`, `blk.${i}`];
    for (const part of ['weight', 'bias']) {
      maker.vector(`${l}.attention.norm.${part}`, `${b}.attn_norm.${part}`, HIDDEN);
      maker.vector(`${l}.ffn.norm.${part}`, `${b}.ffn_norm.${part}`, HIDDEN);
    }
    both('fused', `${b}.attn_qkv`, 3 * HIDDEN, HIDDEN);
    both(`${l}.attention.output`, `${b}.attn_output`, HIDDEN, HIDDEN);
    both(`${l}.ffn.up`, `${b}.ffn_up`, FFN, HIDDEN);
    both(`${l}.ffn.down`, `${b}.ffn_down`, HIDDEN, FFN);
    const { expected } = maker.made;
    ['query', 'key', 'value'].forEach((part, third) => {
      const cut = (name: string, n: number): Float32Array => expected.get(name)!.slice(third * n, (third + 1) * n);
      values.set(`${l}.attention.${part}`, cut('fused', HIDDEN * HIDDEN));
      values.set(`${l}.attention.${part}.bias`, cut('fused.bias', HIDDEN));
    });
  }
  const { tensors, expected } = maker.made;
  expected.delete('fused');
  expected.delete('fused.bias');
  const metadata: Metadata = {
    'general.architecture': { text: 'gpt2' },
    'gpt2.block_count': { u32: LAYERS },
    'gpt2.context_length': { u32: CONTEXT },
    'gpt2.embedding_length': { u32: HIDDEN },
    'gpt2.feed_forward_length': { u32: FFN },
    'gpt2.attention.head_count': { u32: HEADS },
    'gpt2.attention.layer_norm_epsilon': { f32: 0.125 },
  };

  test('fused layers split; positions; biases', async () => {
    const model = await open(metadata, tensors);
    expect(model.facts).toMatchObject({
      ...{ norm: 'layernorm', normEps: 0.125, positions: 'learned', activation: 'gelu_tanh', gatedFfn: false },
      ...{ heads: HEADS, kvHeads: HEADS, headDim: 16, vocab: VOCAB, context: CONTEXT, ropeBase: 0, tiedHead: true },
      ...{ bos: undefined, eos: [], pad: undefined },
    });
    expectAll(model, { tensors, expected: new Map([...expected, ...values]) }, (name) =>
      name.endsWith('down') ? FFN : HIDDEN,
    );
  });

  test('positions fewer than the context', async () => {
    const error = await failure(() => open({ ...metadata, 'gpt2.context_length': { u32: 25 } }, tensors));
    expect(error).toMatchObject({ code: 'BadFile', field: 'model.gguf.position_embd.weight shape' });
  });
});

describe('Bad models', () => {
  test.each([
    [{ 'general.architecture': { text: 'bert' } }, 'UnsupportedArchitecture', 'general.architecture'],
    [{ 'general.architecture': { u32: 3 } }, 'BadFile', 'general.architecture'],
    [{ 'llama.block_count': { u32: 3 } }, 'BadFile', 'blk.2.attn_norm.weight'],
    [{ 'llama.block_count': { u32: 1 } }, 'UnsupportedArchitecture', 'blk.1.attn_norm.weight'],
    [{ 'llama.block_count': { u32: 4_294_967_295 } }, 'BadFile', 'llama.block_count'],
    [{ 'llama.embedding_length': { u32: 128 } }, 'BadFile', 'token_embd.weight shape'],
    [{ 'llama.feed_forward_length': { u32: 64 } }, 'BadFile', 'blk.0.ffn_gate.weight shape'],
    [{ 'llama.feed_forward_length': { i32s: [96, 64] } }, 'UnsupportedArchitecture', 'llama.feed_forward_length'],
    [{ 'llama.attention.head_count_kv': { u32: 3 } }, 'BadFile', 'llama.attention.head_count_kv'],
    [{ 'llama.attention.head_count': { u32: 0 } }, 'BadFile', 'llama.attention.head_count'],
    [{ 'llama.attention.value_length': { u32: 16 } }, 'UnsupportedArchitecture', 'llama.attention.value_length'],
    [{ 'llama.attention.layer_norm_rms_epsilon': { f32: 0 } }, 'BadFile', 'llama.attention.layer_norm_rms_epsilon'],
    [{ 'split.count': { u32: 2 } }, 'UnsupportedMode', 'split.count'],
    [{ 'llama.expert_count': { u32: 8 } }, 'UnsupportedArchitecture', 'llama.expert_count'],
    [{ 'llama.context_length': { text: '8' } }, 'BadFile', 'llama.context_length'],
  ] as const)('%j', async (extra, code, at) => {
    expect(await failure(() => openLlama(extra))).toMatchObject({ code, field: `model.gguf.${at}` });
  });

  test('a tensor missing, of another shape, or unknown', async () => {
    for (const { name } of llama.tensors.filter((tensor) => !tensor.name.endsWith('bias'))) {
      const rest = llama.tensors.filter((tensor) => tensor.name !== name);
      const error = await failure(() => open(keys('llama'), rest));
      expect([error.code, error.field]).toEqual(['BadFile', `model.gguf.${name}`]);
    }
    const turned = llama.tensors.map((tensor) =>
      tensor.name === 'blk.1.ffn_down.weight' ? { ...tensor, shape: [FFN, HIDDEN] } : tensor,
    );
    expect(await failure(() => open(keys('llama'), turned))).toMatchObject({
      ...{ code: 'BadFile', field: 'model.gguf.blk.1.ffn_down.weight shape', expected: `[${HIDDEN},${FFN}]` },
    });
    const extra = { ...llama.tensors[1]!, name: 'blk.0.attn_q_norm.weight' };
    expect(await failure(() => openLlama({}, [extra]))).toMatchObject({
      ...{ code: 'UnsupportedArchitecture', field: 'model.gguf.blk.0.attn_q_norm.weight' },
    });
  });

  test('names and rows that the model lacks', async () => {
    const model = await openLlama();
    expect(await failure(() => model.rows('layers.2.ffn.up', 0, 1))).toMatchObject({ code: 'BadInput' });
    expect(await failure(() => model.rows('layers.1.ffn.up', 0, FFN + 1))).toMatchObject({ code: 'BadInput' });
    expect(await failure(() => model.rows('layers.1.attention.query', -1, 1))).toMatchObject({ code: 'BadInput' });
  });
});
