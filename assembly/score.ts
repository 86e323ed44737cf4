import { exp4, ROUND } from './exp';
import { hsum, kept, laneMask, loadUpTo4 } from './lanes';

/**
 * What a distribution over n ≥ 1 logits at x is judged by (docs/numbers.md "Exit scores"): m the largest, s the second largest,
 * d_i = f(x_i − m), e_i = exp(d_i). out f32[3]: Z = sum4(e), T = sum4(f(e·d)), exp(f(s − m)). Reads the logits twice.
 */
export function logitStats(x: usize, n: i32, out: usize): void {
  const none = f32x4.splat(-Infinity);
  let first = none;
  let second = none;
  let at = x;
  let left = n;
  for (; left >= 4; left -= 4, at += 16) {
    const v = v128.load(at);
    second = f32x4.pmax(second, f32x4.pmin(first, v));
    first = f32x4.pmax(first, v);
  }
  if (left > 0) {
    const v = v128.bitselect(loadUpTo4(at, left), none, laneMask(left));
    second = f32x4.pmax(second, f32x4.pmin(first, v));
    first = f32x4.pmax(first, v);
  }
  // Two lanes made one, twice: the second largest of both is the largest of their seconds and the lower of their firsts.
  let other = v128.shuffle<f32>(first, first, 2, 3, 0, 1);
  second = f32x4.pmax(f32x4.pmax(second, v128.shuffle<f32>(second, second, 2, 3, 0, 1)), f32x4.pmin(first, other));
  first = f32x4.pmax(first, other);
  other = v128.shuffle<f32>(first, first, 1, 0, 3, 2);
  second = f32x4.pmax(f32x4.pmax(second, v128.shuffle<f32>(second, second, 1, 0, 3, 2)), f32x4.pmin(first, other));
  const most = f32x4.splat(f32x4.extract_lane(f32x4.pmax(first, other), 0));

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
  let z = f32x4.splat(0.0);
  let t = f32x4.splat(0.0);
  for (left = n; left >= 16; left -= 16, x += 64) {
    const da = f32x4.sub(v128.load(x), most);
    const db = f32x4.sub(v128.load(x, 16), most);
    const dc = f32x4.sub(v128.load(x, 32), most);
    const dd = f32x4.sub(v128.load(x, 48), most);
    const a = exp4(da, low, high, log2e, round, hi, lo, c0, c1, c2, c3, c4, c5, one);
    const b = exp4(db, low, high, log2e, round, hi, lo, c0, c1, c2, c3, c4, c5, one);
    const c = exp4(dc, low, high, log2e, round, hi, lo, c0, c1, c2, c3, c4, c5, one);
    const d = exp4(dd, low, high, log2e, round, hi, lo, c0, c1, c2, c3, c4, c5, one);
    z = f32x4.add(f32x4.add(f32x4.add(f32x4.add(z, a), b), c), d);
    t = f32x4.add(f32x4.add(t, f32x4.mul(a, da)), f32x4.mul(b, db));
    t = f32x4.add(f32x4.add(t, f32x4.mul(c, dc)), f32x4.mul(d, dd));
  }
  for (; left > 0; left -= 4, x += 16) {
    const d = f32x4.sub(loadUpTo4(x, left), most);
    const mask = laneMask(left);
    const e = v128.and(exp4(d, low, high, log2e, round, hi, lo, c0, c1, c2, c3, c4, c5, one), mask);
    z = f32x4.add(z, e);
    t = f32x4.add(t, v128.and(f32x4.mul(e, d), mask));
  }
  const e = exp4(f32x4.sub(second, most), low, high, log2e, round, hi, lo, c0, c1, c2, c3, c4, c5, one);
  store<f32>(out, hsum(z));
  store<f32>(out, hsum(t), 4);
  store<f32>(out, f32x4.extract_lane(e, 0), 8);
}

/** Cosine of two vectors of n elements: f(xy / f(f(√xx) · f(√yy))), the three sums by sum4. NaN where one of them is zero. */
export function cosine(x: usize, y: usize, n: i32): f32 {
  let xy = f32x4.splat(0.0);
  let xx = f32x4.splat(0.0);
  let yy = f32x4.splat(0.0);
  for (; n > 0; n -= 4, x += 16, y += 16) {
    const a = loadUpTo4(x, n);
    const b = loadUpTo4(y, n);
    xy = f32x4.add(xy, f32x4.mul(a, b));
    xx = f32x4.add(xx, f32x4.mul(a, a));
    yy = f32x4.add(yy, f32x4.mul(b, b));
  }
  return hsum(xy) / (sqrt<f32>(hsum(xx)) * sqrt<f32>(hsum(yy)));
}
