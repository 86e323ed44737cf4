import { hmax, hsum, kept, laneMask, loadUpTo4, storeUpTo4 } from './lanes';

/** 1.5 · 2²³: f(x + ROUND) − ROUND is nearest-even(x), and the sum's low bits are that integer, for |x| < 2²². */
export const ROUND: f32 = 12582912.0;

/**
 * exp of four lanes (docs/numbers.md "exp"): x < −86 → 0, x > 88 → exp(88), NaN stays NaN. Max relative error 2e-7.
 * The constants come as vectors that the caller made with `kept` before its loop; EXP is c0..c5, one, one.
 */
// @ts-ignore: decorator
@inline
export function exp4(
  x: v128,
  low: v128,
  high: v128,
  log2e: v128,
  round: v128,
  ln2High: v128,
  ln2Low: v128,
  c0: v128,
  c1: v128,
  c2: v128,
  c3: v128,
  c4: v128,
  c5: v128,
  one: v128,
): v128 {
  const vanishes = f32x4.lt(x, low);
  const t = f32x4.pmin(x, high);
  const shifted = f32x4.add(f32x4.mul(t, log2e), round);
  const n = f32x4.sub(shifted, round);
  const r = f32x4.sub(f32x4.sub(t, f32x4.mul(n, ln2High)), f32x4.mul(n, ln2Low));
  let p = f32x4.add(f32x4.mul(c0, r), c1);
  p = f32x4.add(f32x4.mul(p, r), c2);
  p = f32x4.add(f32x4.mul(p, r), c3);
  p = f32x4.add(f32x4.mul(p, r), c4);
  p = f32x4.add(f32x4.mul(p, r), c5);
  p = f32x4.add(f32x4.mul(p, r), one);
  p = f32x4.add(f32x4.mul(p, r), one);
  // The shift drops ROUND's own bits and leaves n in the exponent field.
  return v128.andnot(i32x4.add(p, i32x4.shl(shifted, 23)), vanishes);
}

/** Largest of n ≥ 1 elements at x. */
export function highest(x: usize, n: i32): f32 {
  let peak = v128.load32_splat(x);
  for (; n >= 4; n -= 4, x += 16) peak = f32x4.pmax(peak, v128.load(x));
  if (n > 0) peak = f32x4.pmax(peak, v128.bitselect(loadUpTo4(x, n), peak, laneMask(n)));
  return hmax(peak);
}

/**
 * n elements at x, in place: e_i = exp(f(x_i − peak)), stored as f(e_i · factor_i); factors 0: as e_i. Returns sum4(e).
 */
export function expSum(x: usize, n: i32, peak: f32, factors: usize): f32 {
  const low = kept(-86.0, n);
  const high = kept(88.0, n);
  const log2e = kept(1.4426950408889634, n);
  const round = kept(ROUND, n);
  const hi = kept(0.693359375, n);
  const lo = kept(-2.1219444e-4, n);
  const c0 = kept(1.98756915e-4, n);
  const c1 = kept(1.3981999507e-3, n);
  const c2 = kept(8.3334519073e-3, n);
  const c3 = kept(4.1665795894e-2, n);
  const c4 = kept(1.6666665459e-1, n);
  const c5 = kept(5.0000001201e-1, n);
  const one = kept(1.0, n);
  const most = f32x4.splat(peak);
  const step: usize = factors ? 64 : 0;
  let sum = f32x4.splat(0.0);
  for (; n >= 16; n -= 16, x += 64, factors += step) {
    const xa = f32x4.sub(v128.load(x), most);
    const xb = f32x4.sub(v128.load(x, 16), most);
    const xc = f32x4.sub(v128.load(x, 32), most);
    const xd = f32x4.sub(v128.load(x, 48), most);
    const a = exp4(xa, low, high, log2e, round, hi, lo, c0, c1, c2, c3, c4, c5, one);
    const b = exp4(xb, low, high, log2e, round, hi, lo, c0, c1, c2, c3, c4, c5, one);
    const c = exp4(xc, low, high, log2e, round, hi, lo, c0, c1, c2, c3, c4, c5, one);
    const d = exp4(xd, low, high, log2e, round, hi, lo, c0, c1, c2, c3, c4, c5, one);
    sum = f32x4.add(f32x4.add(f32x4.add(f32x4.add(sum, a), b), c), d);
    if (factors) {
      v128.store(x, f32x4.mul(a, v128.load(factors)));
      v128.store(x, f32x4.mul(b, v128.load(factors, 16)), 16);
      v128.store(x, f32x4.mul(c, v128.load(factors, 32)), 32);
      v128.store(x, f32x4.mul(d, v128.load(factors, 48)), 48);
    } else {
      v128.store(x, a);
      v128.store(x, b, 16);
      v128.store(x, c, 32);
      v128.store(x, d, 48);
    }
  }
  for (; n > 0; n -= 4, x += 16, factors += step >> 2) {
    const t = f32x4.sub(loadUpTo4(x, n), most);
    // Lanes past the end weigh nothing in the sum.
    const e = v128.and(exp4(t, low, high, log2e, round, hi, lo, c0, c1, c2, c3, c4, c5, one), laneMask(n));
    sum = f32x4.add(sum, e);
    storeUpTo4(x, factors ? f32x4.mul(e, loadUpTo4(factors, n)) : e, n);
  }
  return hsum(sum);
}
