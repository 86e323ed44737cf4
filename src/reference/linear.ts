import { GROUP, INT8_LIMIT, quantize as code, scaleOf } from '../round.js';
import { f } from './math.js';
import { unpackPanel, type Panels } from './weights.js';

/** Quantised rows: one scale and one sum of codes per group of 64 inputs (the last group may be shorter). */
export interface Codes {
  readonly rows: number;
  readonly inputs: number;
  /** ceil(inputs / 64) */
  readonly groups: number;
  readonly q: Int8Array; // [rows][inputs]
  readonly scales: Float32Array; // [rows][groups]
  readonly sums: Int32Array; // [rows][groups]
}

/** x f32[rows][inputs], times `smooth` f32[inputs] where given → codes. */
export function quantize(x: Float32Array, rows: number, inputs: number, smooth?: Float32Array): Codes {
  const groups = Math.ceil(inputs / GROUP);
  const q = new Int8Array(rows * inputs);
  const scales = new Float32Array(rows * groups);
  const sums = new Int32Array(rows * groups);
  const y = new Float32Array(inputs);
  for (let r = 0; r < rows; r++) {
    for (let k = 0; k < inputs; k++) y[k] = smooth ? x[r * inputs + k]! * smooth[k]! : x[r * inputs + k]!;
    for (let g = 0; g < groups; g++) {
      const group = y.subarray(g * GROUP, (g + 1) * GROUP);
      const out = q.subarray(r * inputs + g * GROUP, r * inputs + g * GROUP + group.length);
      scales[r * groups + g] = quantizeGroup(group, out);
      sums[r * groups + g] = out.reduce((sum, c) => sum + c, 0);
    }
  }
  return { rows, inputs, groups, q, scales, sums };
}

/** One group y → codes `out`; returns the scale, so that y ≈ out · scale. */
export function quantizeGroup(y: Float32Array, out: Int8Array): number {
  let max = 0;
  for (const v of y) {
    const a = Math.abs(v);
    if (a > max) max = a;
  }
  const scale = scaleOf(max, INT8_LIMIT);
  for (let i = 0; i < y.length; i++) out[i] = code(y[i]!, scale, INT8_LIMIT);
  return scale;
}

/** Linear layer: x (rows × inputs) · wᵀ + bias → f32[rows][outputs]. Integer sums per group are exact. */
export function linear(x: Codes, w: Panels): Float32Array {
  const { rows, inputs, groups } = x;
  const out = new Float32Array(rows * w.outputs);
  const isum = new Int32Array(8);
  const acc = new Float32Array(8);
  for (let panel = 0; panel * 8 < w.outputs; panel++) {
    const { codes, scales, bias } = unpackPanel(w, panel);
    const lanes = Math.min(8, w.outputs - panel * 8);
    for (let r = 0; r < rows; r++) {
      acc.fill(0);
      for (let g = 0; g < groups; g++) {
        const from = g * GROUP;
        dot4(x.q, r * inputs, codes, 0, inputs, from, Math.min(inputs, from + GROUP), isum, 0);
        dot4(x.q, r * inputs, codes, 4 * inputs, inputs, from, Math.min(inputs, from + GROUP), isum, 4);
        const scale = x.scales[r * groups + g]!;
        for (let n = 0; n < 8; n++) acc[n] = acc[n]! + f(isum[n]! * scale);
      }
      for (let n = 0; n < lanes; n++) out[r * w.outputs + panel * 8 + n] = f(acc[n]! * scales[n]!) + bias[n]!;
    }
  }
  return out;
}

/** Σ x·w over inputs from..to−1 for four weight rows at once: x is read once for four products. */
function dot4(
  x: Int8Array,
  xAt: number,
  w: Int8Array,
  wAt: number,
  stride: number,
  from: number,
  to: number,
  out: Int32Array,
  outAt: number,
): void {
  const w1 = wAt + stride;
  const w2 = w1 + stride;
  const w3 = w2 + stride;
  let a = 0;
  let b = 0;
  let c = 0;
  let d = 0;
  for (let k = from; k < to; k++) {
    const v = x[xAt + k]!;
    a = (a + v * w[wAt + k]!) | 0;
    b = (b + v * w[w1 + k]!) | 0;
    c = (c + v * w[w2 + k]!) | 0;
    d = (d + v * w[w3 + k]!) | 0;
  }
  out[outAt] = a;
  out[outAt + 1] = b;
  out[outAt + 2] = c;
  out[outAt + 3] = d;
}

/** Token rows f32[n][dim] of the token table. */
export function embed(tokens: ArrayLike<number>, table: Panels): Float32Array {
  const dim = table.inputs;
  const out = new Float32Array(tokens.length * dim);
  for (let i = 0; i < tokens.length; i++) {
    const token = tokens[i]!;
    const { codes, scales } = unpackPanel(table, token >> 3);
    for (let k = 0; k < dim; k++) out[i * dim + k] = codes[(token & 7) * dim + k]! * scales[token & 7]!;
  }
  return out;
}
