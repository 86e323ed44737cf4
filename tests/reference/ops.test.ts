import { describe, expect, test } from '@jest/globals';
import { MgtError } from '../../src/errors.js';
import { packPayload } from '../../src/format/pack.js';
import { planWeights } from '../../src/format/tensors.js';
import { exp, sum4 } from '../../src/reference/math.js';
import * as ops from '../../src/reference/ops.js';
import { exp64, ln64, sinCos64 } from '../../src/reference/rope.js';
import type { Panels } from '../../src/reference/weights.js';
import { nearestEven } from '../../src/round.js';
import { ACTIVATIONS } from '../support/float64.js';
import { oddEncoder } from '../support/models.js';
import { Rng } from '../support/rng.js';

const f32 = (...values: number[]): Float32Array => Float32Array.from(values);
const worst = (n: number, error: (i: number) => number): number => {
  let max = 0;
  for (let i = 0; i < n; i++) max = Math.max(max, error(i));
  return max;
};

/** Integer rows as codes of scale 1, integer weights of scale 1: linear layers without any rounding. */
function codes(rows: readonly (readonly number[])[]): ops.Codes {
  const inputs = rows[0]!.length;
  const groups = Math.ceil(inputs / 64);
  return {
    ...{ rows: rows.length, inputs, groups, q: Int8Array.from(rows.flat()) },
    ...{ scales: new Float32Array(rows.length * groups).fill(1), sums: new Int16Array(rows.length * groups * 2) },
    halved: false,
  };
}
function integerPanels(rows: readonly (readonly number[])[], bias: readonly number[] = [], stored = 0): Panels {
  const inputs = rows[0]!.length;
  const stride = 64 + 8 * Math.ceil(inputs / 8) * 8;
  const bytes = new Uint8Array(Math.ceil(rows.length / 8) * stride);
  const view = new DataView(bytes.buffer);
  rows.forEach((row, n) => {
    const at = Math.floor(n / 8) * stride;
    view.setFloat32(at + 4 * (n % 8), 1, true);
    view.setFloat32(at + 32 + 4 * (n % 8), bias[n] ?? 0, true);
    row.forEach((w, k) => view.setInt8(at + 64 + 32 * Math.floor(k / 4) + 4 * (n % 8) + (k % 4), w + stored));
  });
  return { bytes, kind: stored ? 'panel-i7' : 'panel-i8', outputs: rows.length, inputs };
}

describe('linear layers', () => {
  const unitRows = [
    [1, 0, 0],
    [0, 1, 0],
    [0, 0, 1],
    [1, 1, 1],
  ];
  test('Q1: rows of units pick elements, a row of ones sums them, bias is added', () => {
    const a = codes([
      [1, 2, 3],
      [4, 5, 6],
    ]);
    for (const w of [integerPanels(unitRows), integerPanels(unitRows, [], 64)]) {
      expect([...ops.gemmI8(a, w)]).toEqual([1, 2, 3, 6, 4, 5, 6, 15]);
    }
    const ones = [
      [1, 1],
      [1, 1],
    ];
    expect([...ops.gemmI8(codes(ones), integerPanels(ones, [10, 20]))]).toEqual([12, 22, 12, 22]);
    const identity = [
      [1, 0],
      [0, 1],
    ];
    expect([...ops.gemvI8(codes([[1, 2]]), integerPanels(identity))]).toEqual([1, 2]);
  });

  test('Q2: exact integers at the extremes, whatever the number of inputs', () => {
    for (const inputs of [1, 15, 17, 63, 65, 200]) {
      const row = (value: number): number[] => Array.from({ length: inputs }, () => value);
      const x = codes([row(127), row(-127)]);
      expect([...ops.gemmI8(x, integerPanels([row(127), row(-127)]))]).toEqual(
        [1, -1, -1, 1].map((sign) => sign * inputs * 127 * 127),
      );
      expect([...ops.gemmI7(x, integerPanels([row(63), row(-63)], [], 64))]).toEqual(
        [1, -1, -1, 1].map((sign) => sign * inputs * 127 * 63),
      );
    }
  });

  test('Q2: a tensor of the wrong size is an error, not zeros', () => {
    const short = (): unknown => packPayload(oddEncoder, () => ({ values: new Float32Array(7) }));
    expect(short).toThrow(MgtError);
    expect(short).toThrow(/"embeddings.token" expected 24672 values, got 7/);
  });

  test('Q3: codes come back within a hundredth; ±max are ±127; zeros have scale 1', () => {
    const values = [0.5, -0.25, 1, -1];
    const { q, scales } = ops.quantize(f32(...values), 1, 4);
    expect(worst(4, (i) => Math.abs(q[i]! * scales[0]! - values[i]!))).toBeLessThan(0.01);
    expect([...ops.quantize(f32(1, -1), 1, 2).q]).toEqual([127, -127]);
    const zero = ops.quantize(f32(0, -0, 0), 1, 3);
    expect([...zero.q, ...zero.scales, ...zero.sums]).toEqual([0, 0, 0, 1, 0, 0]);
  });

  test('ties go to the even code, groups of 64 have their own scales and sums', () => {
    const x = new Float32Array(70);
    x.set([127, 0.5, 1.5, 2.5, -0.5, -1.5]);
    x.set([2 * 127, 3, 5], 64);
    const { q, scales, sums } = ops.quantize(x, 1, 70);
    expect([...q.subarray(0, 6)]).toEqual([127, 0, 2, 2, 0, -2]);
    expect([...q.subarray(64, 67)]).toEqual([127, 2, 2]);
    expect([...scales]).toEqual([1, 2]);
    expect([...sums]).toEqual([129, 0, 131, 0]);
    x.set([-127, 5], 31);
    expect([...ops.quantize(x, 1, 70).sums]).toEqual([2, 5, 131, 0]);
  });

  test('a group below 2⁻¹⁰⁰ counts as zero, one at it does not', () => {
    expect([...ops.quantize(f32(2 ** -101), 1, 1).q]).toEqual([0]);
    expect([...ops.quantize(f32(2 ** -100), 1, 1).q]).toEqual([127]);
  });
});

describe('functions against Math.*', () => {
  test('exp: relative error below 3e-7 on −86..88, 0 below, e^88 above', () => {
    const error = worst(200001, (i) => {
      const x = Math.fround(-86 + (i * 174) / 200000);
      return Math.abs(exp(x) / Math.exp(x) - 1);
    });
    expect(error).toBeLessThan(3e-7);
    expect([exp(0), exp(-86.1), exp(-1e30), exp(1e30)]).toEqual([1, 0, 0, exp(88)]);
  });

  const kernels = { gelu: ops.gelu, gelu_tanh: ops.geluTanh, relu: ops.relu, silu: ops.silu };
  test.each(Object.entries(kernels))('%s: error below 2e-6 on −8..8', (name, kernel) => {
    const x = Float32Array.from({ length: 160001 }, (_, i) => -8 + i / 10000);
    const y = x.slice();
    kernel(y);
    const exact = ACTIVATIONS[name as keyof typeof kernels];
    expect(worst(x.length, (i) => Math.abs(y[i]! - exact(x[i]!)))).toBeLessThan(2e-6);
  });

  test('FF1, D12 gelu: gelu(0) = 0, monotone above 0, gelu(3) near 3, gelu(−5) in [−0.01, 0]; never above 0 on the left', () => {
    for (const gelu of [ops.gelu, ops.geluTanh]) {
      const x = f32(0, 0.5, 1, 2, 3, -5, -10, 10, -1e30, 1e30);
      gelu(x);
      const [zero, half, one, two, three, far, farther, right, minus, plus] = x;
      expect(zero).toBe(0);
      expect(half! < one! && one! < two!).toBe(true);
      expect(Math.abs(three! - 3)).toBeLessThan(0.1);
      for (const y of [far!, farther!, minus!]) {
        expect(y).toBeLessThanOrEqual(0);
        expect(y).toBeGreaterThan(-0.01);
      }
      expect(right).toBeCloseTo(10, 5);
      expect(plus).toBe(Math.fround(1e30));
      const left = Float32Array.from({ length: 80000 }, (_, i) => -i / 10000);
      gelu(left);
      expect(Math.max(...left)).toBe(0);
    }
  });

  test('FF1: the integers 100, −100, 0, 50 at scale 0.01 through relu', () => {
    const x = f32(...[100, -100, 0, 50].map((q) => q * 0.01));
    ops.relu(x);
    expect([...x]).toEqual([1, 0, 0, 0.5]);
  });

  test('softmax: rows sum to 1, order kept, shift changes nothing, far values vanish', () => {
    const x = new Rng(1).normals(3 * 25, 4);
    const y = x.slice();
    ops.softmax(y, 25);
    for (let r = 0; r < 3; r++) {
      const row = [...x.subarray(25 * r, 25 * r + 25)];
      const z = row.reduce((sum, v) => sum + Math.exp(v), 0);
      expect(worst(25, (i) => Math.abs(y[25 * r + i]! / (Math.exp(row[i]!) / z) - 1))).toBeLessThan(2e-6);
    }
    const shifted = f32(1000, 1001, 900);
    ops.softmax(shifted, 3);
    expect([...shifted].map((v) => Number(v.toFixed(6)))).toEqual([0.268941, 0.731059, 0]);
  });

  test('sum4 adds by lanes: the order is part of the result', () => {
    const x = f32(1e8, 1, 2, 3, -1e8, 4, 5, 6);
    expect(sum4(x)).toBe(21);
    expect(sum4(f32(1e8, 1, -1e8, 1))).toBe(0); // (1e8 + 1) + (−1e8 + 1) in f32
    expect(sum4(f32(9, 1, 2, 3), 1)).toBe(6);
  });

  test('exp64, ln64, sin and cos: within 4e-16 of Math.*, absolute for the turns', () => {
    const rng = new Rng(3);
    expect(worst(2000, () => Math.abs(sinCosError(rng.uniform(0, 2 ** 16))))).toBeLessThan(1e-11);
    expect(worst(2000, () => Math.abs(sinCosError(rng.uniform(0, 100))))).toBeLessThan(1e-15);
    const relative = (got: number, exact: number): number => Math.abs(got / exact - 1);
    expect(worst(2000, () => relativeAt(exp64, Math.exp, rng.uniform(-28, 0)))).toBeLessThan(4e-16);
    expect(worst(2000, () => relativeAt(ln64, Math.log, rng.uniform(1.5, 1e6)))).toBeLessThan(4e-16);
    expect(relative(ln64(1e12), Math.log(1e12))).toBeLessThan(4e-16);
    expect(ln64(1)).toBe(0);
  });
});

function sinCosError(x: number): number {
  const [sin, cos] = sinCos64(x);
  return Math.max(Math.abs(sin - Math.sin(x)), Math.abs(cos - Math.cos(x)));
}
const relativeAt = (own: (x: number) => number, exact: (x: number) => number, x: number): number =>
  Math.abs(own(x) / exact(x) - 1);

describe('norms', () => {
  const ones = new Float32Array(4).fill(1);
  const mean = (x: Float32Array): number => x.reduce((a, b) => a + b) / x.length;

  test('N1: LayerNorm of 1, 2, 3, 4 has mean 0 and variance 1', () => {
    const y = ops.layerNorm(f32(1, 2, 3, 4), ones, new Float32Array(4), 1e-5);
    expect(mean(y)).toBeCloseTo(0, 6);
    expect(mean(y.map((v) => v * v))).toBeCloseTo(1, 4);
  });

  test('N1: zeros give the bias; RMSNorm of ones is ones', () => {
    const two = new Float32Array(4).fill(2);
    expect([...ops.layerNorm(new Float32Array(4), two, ones, 1e-5)]).toEqual([1, 1, 1, 1]);
    for (const v of ops.rmsNorm(ones, ones, 1e-5)) expect(v).toBeCloseTo(1, 4);
  });

  test('rows stand alone, and follow the f64 formula', () => {
    const rng = new Rng(5);
    const [x, weight, bias] = [rng.normals(3 * 25, 3), rng.normals(25), rng.normals(25)];
    const layer = ops.layerNorm(x, weight, bias, 1e-5);
    const rms = ops.rmsNorm(x, weight, 1e-5);
    for (let r = 0; r < 3; r++) {
      const row = x.subarray(25 * r, 25 * r + 25);
      const m = mean(row);
      const variance = mean(row.map((v) => (v - m) ** 2));
      const power = mean(row.map((v) => v * v));
      expect(ops.layerNorm(row, weight, bias, 1e-5)).toEqual(layer.slice(25 * r, 25 * r + 25));
      for (let i = 0; i < 25; i++) {
        const normal = ((row[i]! - m) / Math.sqrt(variance + 1e-5)) * weight[i]! + bias[i]!;
        expect(layer[25 * r + i]).toBeCloseTo(normal, 5);
        expect(rms[25 * r + i]).toBeCloseTo((row[i]! / Math.sqrt(power + 1e-5)) * weight[i]!, 5);
      }
    }
  });

  test('L2: length 1, zeros stay zeros; the mean of rows', () => {
    const x = f32(3, 4);
    ops.l2Normalize(x);
    expect([...x]).toEqual([Math.fround(0.6), Math.fround(0.8)]);
    const zero = f32(0, 0, 0);
    ops.l2Normalize(zero);
    expect([...zero]).toEqual([0, 0, 0]);
    expect([...ops.poolMean(f32(1, 2, 3, 6), 2)]).toEqual([2, 4]);
  });
});

describe('tables', () => {
  test('embedding rows are dequantised codes; a row of another table is added', () => {
    const table = integerPanels([...Array(11).keys()].map((n) => [n, -n, 2 * n]));
    const x = ops.embed([10, 0, 9], table);
    expect([...x]).toEqual([10, -10, 20, 0, -0, 0, 9, -9, 18].map((v) => v + 0));
    ops.addRows(x, 3, f32(0, 0, 0, 1, 2, 3), [1, 0, 1]);
    expect([...x]).toEqual([11, -8, 23, 0, 0, 0, 10, -7, 21]);
  });

  test('the plan names every tensor once', () => {
    const names = planWeights(oddEncoder).tensors.map((t) => t.name);
    expect(new Set(names).size).toBe(names.length);
  });

  test('the one rounding rule: nearest, ties to even', () => {
    expect([0.5, 1.5, 2.5, -0.5, -2.5, 2.4999998, 8388609].map((x) => nearestEven(x) + 0)).toEqual([
      0, 2, 2, 0, -2, 2, 8388609,
    ]);
  });
});
