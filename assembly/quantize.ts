import { ROUND } from './exp';
import { hmaxAbs, loadTail, loadUpTo4, maxAbs } from './lanes';

/**
 * f32 → int8 codes by the one rounding rule (docs/numbers.md "Quantise"). A code is nearest-even(f(y / scale)): the scale
 * is f(max / 127), so |y / scale| cannot round past 127 and no clamp is needed for finite inputs.
 */

/** The group's scale from its largest magnitude; below 2⁻¹⁰⁰ the group counts as zero. */
export function scaleOf(peak: f32): f32 {
  return peak < <f32>7.888609052210118e-31 ? <f32>1.0 : peak / <f32>127.0;
}

/** Codes of four values, i32x4. Adding ROUND leaves the nearest even integer in the low bits of the f32. */
// @ts-ignore: decorator
@inline
export function codes4(y: v128, scale: v128): v128 {
  const shifted = f32x4.add(f32x4.div(y, scale), f32x4.splat(ROUND));
  return i32x4.sub(shifted, i32x4.splat(reinterpret<i32>(ROUND)));
}

/** Largest magnitude of n values at x. */
export function absMax(x: usize, n: i32): f32 {
  let peak = f32x4.splat(0.0);
  for (; n >= 4; n -= 4, x += 16) peak = maxAbs(peak, v128.load(x));
  if (n > 0) peak = maxAbs(peak, loadTail(x, n));
  return hmaxAbs(peak);
}

/** y of up to four elements at byte offset i of the row. */
// @ts-ignore: decorator
@inline
function smoothed(x: usize, smooth: usize, i: usize): v128 {
  return smooth ? f32x4.mul(v128.load(x + i), v128.load(smooth + i)) : v128.load(x + i);
}

// @ts-ignore: decorator
@inline
function smoothedUpTo4(x: usize, smooth: usize, i: usize, n: i32): v128 {
  const v = loadUpTo4(x + i, n);
  return smooth ? f32x4.mul(v, loadUpTo4(smooth + i, n)) : v;
}

// @ts-ignore: decorator
@inline
function hsumI32(v: v128): i32 {
  const pairs = i32x4.add(v, v128.shuffle<i32>(v, v, 2, 3, 0, 1));
  return i32x4.extract_lane(pairs, 0) + i32x4.extract_lane(pairs, 1);
}

/** Whole groups: 64 values with one scale (bytes 256), or 32 (bytes 128). A sum for every 32. */
function group(x: usize, smooth: usize, bytes: usize, q8: usize, q16: usize, scaleOut: usize, sumOut: usize): void {
  let peak = f32x4.splat(0.0);
  for (let i: usize = 0; i < bytes; i += 32) {
    peak = maxAbs(peak, smoothed(x, smooth, i));
    peak = maxAbs(peak, smoothed(x, smooth, i + 16));
  }
  const scale = scaleOf(hmaxAbs(peak));
  const divisor = f32x4.splat(scale);
  store<f32>(scaleOut, scale);
  for (let i: usize = 0; i < bytes; i += 128, sumOut += 2) {
    let sum = i32x4.splat(0);
    for (let j: usize = i; j < i + 128; j += 64, q8 += 16, q16 += 32) {
      const a = codes4(smoothed(x, smooth, j), divisor);
      const b = codes4(smoothed(x, smooth, j + 16), divisor);
      const c = codes4(smoothed(x, smooth, j + 32), divisor);
      const d = codes4(smoothed(x, smooth, j + 48), divisor);
      const ab = i16x8.narrow_i32x4_s(a, b);
      const cd = i16x8.narrow_i32x4_s(c, d);
      v128.store(q16, ab);
      v128.store(q16, cd, 16);
      v128.store(q8, i8x16.narrow_i16x8_s(ab, cd));
      sum = i32x4.add(sum, i32x4.add(i32x4.add(a, b), i32x4.add(c, d)));
    }
    store<i16>(sumOut, <i16>hsumI32(sum));
  }
}

/** The last elements of a row; codes up to the next multiple of 8 become zero. Returns the sum of those beyond 32. */
function groupTail(x: usize, smooth: usize, n: i32, q8: usize, q16: usize, scaleOut: usize, sumOut: usize): i32 {
  let peak = f32x4.splat(0.0);
  for (let i = 0; i < n; i += 4) {
    peak = maxAbs(peak, smoothedUpTo4(x, smooth, (<usize>i) << 2, n - i));
  }
  const scale = scaleOf(hmaxAbs(peak));
  const divisor = f32x4.splat(scale);
  let sum = i32x4.splat(0);
  let first = 0;
  for (let i = 0; i < n; i += 8, q8 += 8, q16 += 16) {
    const a = codes4(smoothedUpTo4(x, smooth, (<usize>i) << 2, n - i), divisor);
    const b = codes4(smoothedUpTo4(x, smooth, ((<usize>i) << 2) + 16, n - i - 4), divisor);
    const ab = i16x8.narrow_i32x4_s(a, b);
    v128.store(q16, ab);
    v128.store64_lane(q8, i8x16.narrow_i16x8_s(ab, ab), 0);
    sum = i32x4.add(sum, i32x4.add(a, b));
    if (i === 24) {
      first = hsumI32(sum);
      sum = i32x4.splat(0);
    }
  }
  const last = hsumI32(sum);
  store<f32>(scaleOut, scale);
  store<i16>(sumOut, <i16>(n > 24 ? first : last));
  return n > 24 ? last : 0;
}

/** scales: one a group of 64, or with `halved` two, one for each 32 inputs (int4 layers); 1 where a row ends before. */
export function quantize(
  x: usize,
  m: i32,
  k: i32,
  smooth: usize,
  q8: usize,
  q16: usize,
  scales: usize,
  sums: usize,
  halved: i32,
): void {
  const size = halved ? 32 : 64;
  const bytes = (<usize>size) << 2;
  const whole = k / size;
  const tail = k & (size - 1);
  const tailCodes = <usize>((tail + 7) & ~7);
  // A row that ends in the first half of its last group: the other half is empty.
  const open = halved && ((k + 31) >> 5) & 1;
  for (let row = 0; row < m; row++) {
    let s = smooth;
    for (let g = 0; g < whole; g++, x += bytes, q8 += size, q16 += size << 1, scales += 4, sums += bytes >> 6) {
      group(x, s, bytes, q8, q16, scales, sums);
      if (smooth) s += bytes;
    }
    if (tail) {
      const rest = groupTail(x, s, tail, q8, q16, scales, sums);
      if (!halved) store<i16>(sums, <i16>rest, 2);
      x += (<usize>tail) << 2;
      q8 += tailCodes;
      q16 += tailCodes << 1;
      scales += 4;
      sums += bytes >> 6;
    }
    if (open) {
      store<f32>(scales, 1.0);
      store<i16>(sums, 0);
      scales += 4;
      sums += 2;
    }
  }
}
