import { describe, expect, test } from '@jest/globals';
import type { ModelConfig } from '../../src/config.js';
import { referenceForward } from '../../src/reference/forward.js';
import { floatForward, type FloatWeights } from '../support/float64.js';
import { models } from '../support/models.js';
import { Rng } from '../support/rng.js';
import { packed, randomWeights } from '../support/weights.js';

/** Root of Σ(a − b)² / Σ b². */
function distance(a: ArrayLike<number>, b: readonly number[]): number {
  const lost = b.reduce((sum, v, i) => sum + (a[i]! - v) ** 2, 0);
  return Math.sqrt(lost / b.reduce((sum, v) => sum + v * v, 0));
}
/** Quantisation moves these models by 0.004 to 0.041 (measured); a wrong structure moves them by more than twice the limit. */
const LIMIT = 0.06;
/** Four bits lose more: 0.05 to 0.2. */
const LIMIT4 = 0.3;

function setUp(config: ModelConfig) {
  const weights = randomWeights(config, 11);
  const floats: FloatWeights = (name) => weights.get(name)!;
  return { floats, ...packed(config, weights) };
}
const tokensOf = (config: ModelConfig, n: number): number[] => new Rng(n).ints(n, 0, config.vocab - 1);
const count = (n: number, from = 0): number[] => Array.from({ length: n }, (_, i) => from + i);

describe('the forward pass is the float64 transformer but for quantisation', () => {
  const n = 9;
  test.each(Object.entries(models))('%s: no layer, one, all; with and without a window', (_name, config) => {
    const { floats, model, payload } = setUp(config);
    const tokens = tokensOf(config, n);
    for (const [layers, window] of [
      [0, n],
      [1, 3],
      [config.layers, n],
    ] as const) {
      const { values } = referenceForward(model, payload, { tokens, layers, window });
      const expected = floatForward(config, floats, { tokens, positions: count(n), layers, window });
      expect(values).toHaveLength(expected.length);
      expect(distance(values, expected)).toBeLessThan(config.quant === 'int4' ? LIMIT4 : LIMIT);
    }
  });

  const decoder = models['odd decoder']!;
  const encoder = models['odd encoder']!;
  test.each<[string, ModelConfig, Partial<ModelConfig>, { window?: number; shift?: number; layers?: number }]>([
    ['causality of a decoder', decoder, { causal: false }, { layers: 2 }],
    ['RoPE', decoder, { positions: 'none' }, {}],
    ['the RoPE base', decoder, { ropeBase: 100 }, {}],
    ['the scale of RoPE', models['turned decoder']!, { rope: { ...models['turned decoder']!.rope!, scale: 1 } }, {}],
    [
      'the factors of RoPE',
      models['turned decoder']!,
      { rope: { ...models['turned decoder']!.rope!, factors: false } },
      {},
    ],
    ['dynamic NTK', models['dynamic NTK decoder']!, { rope: undefined as never }, {}],
    ['the activation', decoder, { activation: 'relu' }, {}],
    ['the kind of norm', decoder, { norm: 'layernorm' }, {}],
    ['the window', decoder, {}, { window: 3 }],
    ['the last layer', decoder, {}, { layers: 1 }],
    ['causality of an encoder', encoder, { causal: true }, {}],
    ['learned positions', encoder, {}, { shift: 1 }],
    ['pooling', encoder, { pooling: 'cls' }, {}],
    ['normalisation', encoder, { normalize: false }, {}],
    ['smoothing', encoder, { smoothed: false }, {}],
  ])('and %s is seen by this comparison', (_what, config, other, call) => {
    const { floats, model, payload } = setUp(config);
    const tokens = tokensOf(config, n);
    const { values } = referenceForward(model, payload, { tokens, layers: config.layers, window: n });
    // Missing norm biases are zeros where the other configuration has them.
    const weights: FloatWeights = (name) => (name.endsWith('norm.bias') ? biasOf(floats, name, config) : floats(name));
    const wrong = floatForward({ ...config, ...other }, weights, {
      tokens,
      positions: count(n, call.shift ?? 0),
      layers: call.layers ?? config.layers,
      window: call.window ?? n,
    });
    expect(distance(values, wrong)).toBeGreaterThan(2 * LIMIT);
  });

  test('positions given by the caller are the ones used; distances go by row', () => {
    for (const config of [encoder, models['gpt-like']!]) {
      const { floats, model, payload } = setUp(config);
      const tokens = tokensOf(config, 6);
      const positions = [0, 1, 9, 10, 11, 30];
      const call = { tokens, positions, layers: config.layers, window: 3 };
      const { values } = referenceForward(model, payload, call);
      expect(distance(values, floatForward(config, floats, call))).toBeLessThan(LIMIT);
      expect(distance(values, floatForward(config, floats, { ...call, positions: count(6) }))).toBeGreaterThan(LIMIT);
    }
  });

  test('with RoPE only differences of positions matter', () => {
    const { model, payload } = setUp(decoder);
    const tokens = tokensOf(decoder, 6);
    const run = (positions: number[]): number[] =>
      Array.from(referenceForward(model, payload, { tokens, positions, layers: 2, window: 6 }).values);
    expect(distance(run(count(6, 20)), run(count(6)))).toBeLessThan(LIMIT);
    expect(distance(run([0, 5, 10, 15, 20, 25]), run(count(6)))).toBeGreaterThan(2 * LIMIT);
  });
});

function biasOf(floats: FloatWeights, name: string, config: ModelConfig) {
  return config.norm === 'layernorm' ? floats(name) : { values: new Float32Array(config.hidden) };
}

describe('calls by kernel name', () => {
  const calls = (config: ModelConfig, n: number, layers: number): Record<string, number> => {
    const { model, payload } = setUp(config);
    return referenceForward(model, payload, { tokens: tokensOf(config, n), layers, window: n }).kernelCalls;
  };

  test('an encoder of two layers', () => {
    const perLayer = { quantize: 4, gemmI8: 6, kvAppend: 1, attention: 1, add: 2, gelu: 1, layerNorm: 2 };
    const twice = Object.fromEntries(Object.entries(perLayer).map(([name, times]) => [name, 2 * times]));
    expect(calls(models['odd encoder']!, 5, 2)).toEqual({
      ...twice,
      layerNorm: 5,
      embed: 1,
      addRows: 1,
      poolMean: 1,
      l2Normalize: 1,
    });
  });

  test('a gated decoder of int7 weights: one row takes the GEMVs, the head is always one row', () => {
    const config = models['odd decoder int7']!;
    const shared = { embed: 1, rmsNorm: 5, rope: 4, kvAppend: 2, attention: 2, add: 4, silu: 2, mul: 2, quantize: 9 };
    expect(calls(config, 3, 2)).toEqual({ ...shared, gemmI7: 14, gemvI7: 1 });
    expect(calls(config, 1, 2)).toEqual({ ...shared, gemvI7: 15 });
  });

  test('no layer: the embedding, its norm and what follows the last layer', () => {
    expect(calls(models['odd decoder']!, 4, 0)).toEqual({ embed: 1, rmsNorm: 1, quantize: 1, gemvI8: 1 });
    expect(calls(models['one head, cls']!, 4, 0)).toEqual({ embed: 1, addRows: 1, layerNorm: 1 });
  });
});

test('the payload is read anew on every call', () => {
  const config = models['odd encoder']!;
  const { model, payload } = setUp(config);
  const call = { tokens: [3, 5, 7], layers: 2, window: 3 };
  const before = referenceForward(model, payload, call).values;
  expect(referenceForward(model, payload, call).values).toEqual(before);
  const { offset } = model.weights.tensors.find((t) => t.name === 'layers.1.ffn.down')!;
  payload.fill(100, offset + 64, offset + 96);
  expect(referenceForward(model, payload, call).values).not.toEqual(before);
});

test('an output that is not finite is refused by name', () => {
  const config = models['odd decoder']!;
  const { model, payload } = setUp(config);
  const { offset } = model.weights.tensors.find((t) => t.name === 'final.norm.weight')!;
  new DataView(payload.buffer).setFloat32(offset, Infinity, true); // reaches every logit by the quantised last row
  expect(() => referenceForward(model, payload, { tokens: [1, 2], layers: 1, window: 2 })).toThrow(
    expect.objectContaining({ code: 'BadWeights', field: 'output[0]', expected: 'finite values' }),
  );
});
