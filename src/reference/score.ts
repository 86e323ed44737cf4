import { exp, f, sum4 } from './math.js';

/** Of logits, m the largest: Σ e, Σ e·d and exp(second largest − m), where d = x − m, e = exp(d). The largest may stand twice. */
export function logitStats(x: Float32Array): Float32Array {
  let [m, second] = [-Infinity, -Infinity];
  for (const v of x) {
    if (v > m) [m, second] = [v, m];
    else if (v > second) second = v;
  }
  const d = x.map((v) => f(v - m));
  const e = d.map(exp);
  return Float32Array.of(sum4(e), sum4(e.map((v, i) => f(v * d[i]!))), exp(f(second - m)));
}

/** Cosine of two vectors of one length; NaN where one of them is zero. */
export function cosine(x: Float32Array, y: Float32Array): number {
  const dot = (a: Float32Array, b: Float32Array): number => sum4(a.map((v, i) => f(v * b[i]!)));
  return f(dot(x, y) / f(f(Math.sqrt(dot(x, x))) * f(Math.sqrt(dot(y, y)))));
}
