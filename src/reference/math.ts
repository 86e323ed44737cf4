import { nearestEven } from '../round.js';

/** Rounds to f32. Around each single + − × ÷ or sqrt of f32 values it gives exactly the f32 operation. */
export const f = Math.fround;

/** docs/numbers.md `sum4`: lane i mod 4 takes element i, then (0+1) + (2+3). Elements from..to−1; lane 0 is `from`. */
export function sum4(x: Float32Array, from = 0, to = x.length): number {
  const s = [0, 0, 0, 0] as [number, number, number, number];
  for (let i = from; i < to; i++) {
    const lane = (i - from) & 3;
    s[lane] = f(s[lane]! + x[i]!);
  }
  return f(f(s[0] + s[1]) + f(s[2] + s[3]));
}

const LOG2E = f(1.4426950408889634);
const LN2_HI = f(0.693359375);
const LN2_LO = f(-2.1219444e-4);
/** Cephes expf: e^r on |r| ≤ ln2 / 2, highest power first. */
const EXP = Float32Array.of(
  1.98756915e-4,
  1.3981999507e-3,
  8.3334519073e-3,
  4.1665795894e-2,
  1.6666665459e-1,
  5.0000001201e-1,
  1,
  1,
);

/** Horner's rule in f32, highest power first. */
export function horner(coefficients: Float32Array, x: number): number {
  let p = coefficients[0]!;
  for (let i = 1; i < coefficients.length; i++) p = f(f(p * x) + coefficients[i]!);
  return p;
}

const word = new Int32Array(1);
const float = new Float32Array(word.buffer);

/** e^x of an f32; 0 below −86 (and for NaN), e^88 above 88. Relative error ≤ 2e-7. */
export function exp(x: number): number {
  if (!(x >= -86)) return 0;
  const y = x < 88 ? x : 88;
  const n = nearestEven(f(y * LOG2E));
  const r = f(f(y - f(n * LN2_HI)) - f(n * LN2_LO));
  float[0] = horner(EXP, r);
  word[0] = word[0]! + (n << 23); // n joins the exponent bits: × 2ⁿ
  return float[0];
}
