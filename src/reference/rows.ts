import { f, sum4 } from './math.js';

/** Row operations, in place where the kernel of the same name is. */

/** y = (x − mean) / √(var + eps) · weight + bias for each row of x f32[n][dim]. Out of place; the kernel may also run in place. */
export function layerNorm(x: Float32Array, weight: Float32Array, bias: Float32Array, eps: number): Float32Array {
  const dim = weight.length;
  const out = new Float32Array(x.length);
  const d = new Float32Array(dim);
  const square = new Float32Array(dim);
  for (let at = 0; at < x.length; at += dim) {
    const mean = f(sum4(x, at, at + dim) / dim);
    for (let i = 0; i < dim; i++) {
      d[i] = x[at + i]! - mean;
      square[i] = d[i]! * d[i]!;
    }
    const variance = f(sum4(square) / dim);
    const r = f(1 / f(Math.sqrt(f(variance + f(eps)))));
    for (let i = 0; i < dim; i++) out[at + i] = f(f(d[i]! * r) * weight[i]!) + bias[i]!;
  }
  return out;
}

/** y = x / √(mean(x²) + eps) · weight for each row of x f32[n][dim]. */
export function rmsNorm(x: Float32Array, weight: Float32Array, eps: number): Float32Array {
  const dim = weight.length;
  const out = new Float32Array(x.length);
  const square = new Float32Array(dim);
  for (let at = 0; at < x.length; at += dim) {
    for (let i = 0; i < dim; i++) square[i] = x[at + i]! * x[at + i]!;
    const r = f(1 / f(Math.sqrt(f(f(sum4(square) / dim) + f(eps)))));
    for (let i = 0; i < dim; i++) out[at + i] = f(x[at + i]! * r) * weight[i]!;
  }
  return out;
}

/** x += y, elementwise. */
export function add(x: Float32Array, y: Float32Array): void {
  for (let i = 0; i < x.length; i++) x[i] = x[i]! + y[i]!;
}

/** x *= y, elementwise. */
export function mul(x: Float32Array, y: Float32Array): void {
  for (let i = 0; i < x.length; i++) x[i] = x[i]! * y[i]!;
}

/** Row i of x f32[n][dim] += row index[i] of table f32[*][dim]. */
export function addRows(x: Float32Array, dim: number, table: Float32Array, index: ArrayLike<number>): void {
  for (let i = 0; i < index.length; i++) add(x.subarray(i * dim, (i + 1) * dim), table.subarray(index[i]! * dim));
}

/** Mean of the rows of x f32[n][dim] → f32[dim], rows in ascending order. */
export function poolMean(x: Float32Array, dim: number): Float32Array {
  const out = new Float32Array(dim);
  for (let at = 0; at < x.length; at += dim) add(out, x.subarray(at, at + dim));
  const n = x.length / dim;
  for (let i = 0; i < dim; i++) out[i] = out[i]! / n;
  return out;
}

/** x /= max(‖x‖₂, 1e-12): a zero vector stays zero. */
export function l2Normalize(x: Float32Array): void {
  const norm = Math.max(f(Math.sqrt(sum4(x.map((v) => v * v)))), f(1e-12));
  for (let i = 0; i < x.length; i++) x[i] = x[i]! / norm;
}
