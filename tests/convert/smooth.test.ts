import { describe, expect, test } from '@jest/globals';
import type { BertModel, Linear } from '../../src/convert/bert.js';
import { floatForward, type Site } from '../../src/convert/float.js';
import { readHuggingFace } from '../../src/convert/huggingface.js';
import { encoderConfig, encoderWeights } from '../../src/convert/mapping.js';
import { smoothing, startCalibration } from '../../src/convert/smooth.js';
import { planWeights } from '../../src/format/tensors.js';
import { Rng } from '../support/rng.js';
import { bertFiles, memorySource, type BertRecipe } from './make-bert.js';

const RECIPE: BertRecipe = { vocab: 31, hidden: 24, heads: 3, ffn: 40, std: 0.1, outliers: { every: 7, times: 12 } };
const load = async (recipe = RECIPE): Promise<BertModel> =>
  (await readHuggingFace(memorySource(bertFiles(recipe)))).bert;
const ids = (seed: number): number[][] => {
  const rng = new Rng(seed);
  return Array.from({ length: 12 }, (_, i) => Array.from({ length: 1 + 2 * i }, () => rng.int(0, 30)));
};

test('calibration keeps the largest magnitude of every channel', async () => {
  const bert = await load();
  const { maxima, observe } = startCalibration(bert);
  const all: Record<Site, number[]> = { attention: [], context: [], up: [], down: [] };
  floatForward(bert, ids(1), 'mean', (layer, site, x, rows, width) => {
    observe(layer, site, x, rows, width);
    if (layer === 1) for (let r = 0; r < rows; r++) all[site].push(Math.abs(x[r * width + 5]!));
  });
  for (const [site, values] of Object.entries(all)) expect(maxima[1]![site as Site][5]).toBe(Math.max(...values));
});

describe('factors', () => {
  test('are quarter powers of two around 1, smaller where activations are larger', async () => {
    const bert = await load();
    const { maxima, observe } = startCalibration(bert);
    floatForward(bert, ids(2), 'mean', observe);
    for (const layer of smoothing(bert, maxima)) {
      for (const vector of Object.values(layer)) {
        for (const m of vector) expect(Math.abs(4 * Math.log2(m) - Math.round(4 * Math.log2(m)))).toBeLessThan(1e-5);
        const mean = vector.reduce((sum, m) => sum + Math.log2(m), 0) / vector.length;
        expect(Math.abs(mean)).toBeLessThan(0.13);
      }
      // Channels 3, 10, 17 have twelve times the gamma: their inputs are divided more.
      const others = layer.up.filter((_, c) => c % 7 !== 3);
      for (const c of [3, 10, 17]) expect(layer.up[c]).toBeLessThan(Math.min(...others));
    }
  });

  test('stay finite and positive for channels that are never awake or never read', async () => {
    const bert = await load();
    const { maxima } = startCalibration(bert); // nothing observed: all zero
    bert.layers[0]!.up.weight.fill(0);
    maxima[1]!.down[4] = 1e30;
    for (const layer of smoothing(bert, maxima)) {
      for (const vector of Object.values(layer)) for (const m of vector) expect(m > 0 && Number.isFinite(m)).toBe(true);
    }
  });
});

test('smoothed weights on smoothed inputs are the same function', async () => {
  const bert = await load();
  const { maxima, observe } = startCalibration(bert);
  floatForward(bert, ids(3), 'mean', observe);
  const smooth = smoothing(bert, maxima);
  const options = { pooling: 'mean', normalize: true, quant: 'int8', smoothed: true } as const;
  const plan = planWeights(encoderConfig(bert, options)).tensors;
  const weights = encoderWeights(bert, smooth);
  const values = (name: string): Float32Array => weights(plan.find((tensor) => tensor.name === name)!).values;
  const bias = (name: string): Float32Array => weights(plan.find((tensor) => tensor.name === name)!).bias!;
  // Every tensor of the plan has values of its size.
  for (const tensor of plan) expect(weights(tensor).values).toHaveLength(tensor.shape.reduce((a, b) => a * b));
  const rng = new Rng(9);
  const product = (weight: Float32Array, x: number[], row: number): number =>
    x.reduce((sum, v, c) => sum + v * weight[row * x.length + c]!, 0);
  const check = (linear: Linear, file: string, vector: string): void => {
    const x = Array.from({ length: linear.inputs }, () => rng.uniform(-1, 1));
    const m = values(vector);
    const smoothed = x.map((v, c) => v * m[c]!);
    for (let n = 0; n < linear.outputs; n++) {
      expect(product(values(file), smoothed, n)).toBeCloseTo(product(linear.weight, x, n), 5);
    }
  };
  bert.layers.forEach((layer, i) => {
    const p = `layers.${i}`;
    check(layer.query, `${p}.attention.query`, `${p}.attention.smooth`);
    check(layer.key, `${p}.attention.key`, `${p}.attention.smooth`);
    check(layer.up, `${p}.ffn.up`, `${p}.ffn.up.smooth`);
    check(layer.down, `${p}.ffn.down`, `${p}.ffn.down.smooth`);
    // V and O share a factor that no vector holds: Σ_c O[n][c] · V[c](x) must not change, bias included.
    const x = Array.from({ length: 24 }, () => rng.uniform(-1, 1));
    const m = values(`${p}.attention.smooth`);
    const context = (weight: Float32Array, b: Float32Array, input: number[]): number[] =>
      Array.from(b, (v, c) => v + product(weight, input, c));
    const before = context(layer.value.weight, layer.value.bias, x);
    const after = context(values(`${p}.attention.value`), bias(`${p}.attention.value`), x.map((v, c) => v * m[c]!)); // prettier-ignore
    expect(after).not.toEqual(before);
    for (let n = 0; n < 24; n++) {
      expect(product(values(`${p}.attention.output`), after, n)).toBeCloseTo(
        product(layer.output.weight, before, n),
        5,
      );
    }
  });
});
