import { describe, expect, test } from '@jest/globals';
import type { GgmlType } from '../../src/convert/gguf/types.js';
import { yarnFactors } from '../../src/convert/rope-scaling.js';
import { encode, type Metadata, type Tensor } from './gguf-writer.js';
import {
  HIDDEN,
  HEADS,
  KV_HEADS,
  HEAD,
  FFN,
  VOCAB,
  CONTEXT,
  LAYERS,
  F32,
  Maker,
  makeLlama,
  keys,
  open,
  llama,
  openLlama,
  failure,
  expectAll,
  columnsOf,
} from './gguf-decoder-models.js';

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
