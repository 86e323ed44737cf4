/** 1.5 · 2²³: f(x + ROUND) − ROUND is nearest-even(x), and the sum's low bits are that integer, for |x| < 2²². */
export const ROUND: f32 = 12582912.0;

/** exp of four lanes (docs/numbers.md "exp"): x < −86 → 0, x > 88 → exp(88). Max relative error 2e-7. */
// @ts-ignore: decorator
@inline
export function exp4(x: v128): v128 {
  const keep = f32x4.ge(x, f32x4.splat(-86.0));
  const t = f32x4.pmin(f32x4.splat(88.0), x);
  const shifted = f32x4.add(f32x4.mul(t, f32x4.splat(1.4426950408889634)), f32x4.splat(ROUND));
  const n = f32x4.sub(shifted, f32x4.splat(ROUND));
  const high = f32x4.sub(t, f32x4.mul(n, f32x4.splat(0.693359375)));
  const r = f32x4.sub(high, f32x4.mul(n, f32x4.splat(-2.1219444e-4)));
  let p = f32x4.splat(1.98756915e-4);
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(1.3981999507e-3));
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(8.3334519073e-3));
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(4.1665795894e-2));
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(1.6666665459e-1));
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(5.0000001201e-1));
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(1.0));
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(1.0));
  // The shift drops ROUND's own bits and leaves n in the exponent field.
  return v128.and(i32x4.add(p, i32x4.shl(shifted, 23)), keep);
}
