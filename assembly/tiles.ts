import { pairSums, storeUpTo4 } from './lanes';

/**
 * Integer tiles of a linear layer, every build: docs/numbers.md "Linear", panel layout in src/format/tensors.ts.
 * Sums of codes are exact i32 per group of 64 inputs, then f32 in ascending groups; tiles differ in speed, not in a bit.
 *
 * The `break`s between unrolled steps never fire inside a group. V8 keeps loads in order but sinks pure
 * operations to the end of their block, so without an exit between them all loads of the unrolled body come first
 * and the sums spill (measured: 55 % of the multiply-add roof instead of 84 %).
 */

/** Scales and biases before a panel's codes. */
export const HEAD: usize = 64;

// @ts-ignore: decorator
@inline
export function dotAdd(sum: v128, x: v128, w: v128): v128 {
  return i32x4.add(sum, i32x4.dot_i16x8_s(x, w));
}

/** acc = f(acc + f(f32(isum) · scale_x)) on four outputs. */
// @ts-ignore: decorator
@inline
export function groupAdd(acc: v128, isum: v128, scale: v128): v128 {
  return f32x4.add(acc, f32x4.mul(f32x4.convert_i32x4_s(isum), scale));
}

/** f(f(acc · scale_w) + bias) to the first `count` of eight outputs. */
// @ts-ignore: decorator
@inline
export function finish8(low: v128, high: v128, panel: usize, out: usize, count: i32): void {
  storeUpTo4(out, f32x4.add(f32x4.mul(low, v128.load(panel)), v128.load(panel, 32)), count);
  if (count > 4)
    storeUpTo4(out + 16, f32x4.add(f32x4.mul(high, v128.load(panel, 16)), v128.load(panel, 48)), count - 4);
}

/** 64 · Σ q of a group, from the sums of its halves: what the +64 of stored int7 codes adds to every output. */
// @ts-ignore: decorator
@inline
export function offset7(sum: usize): v128 {
  return i32x4.dot_i16x8_s(v128.load32_splat(sum), i16x8.splat(64));
}

/** Four rows × four outputs straight from the panel, widening each code once for the four. half: panel + 16 · (0 | 1). */
// @ts-ignore: decorator
@inline
export function tileBytes(
  x0: usize,
  xStride: usize,
  scales: usize,
  sums: usize,
  groups: usize,
  half: usize,
  kp: i32,
  out: usize,
  outStride: usize,
  count: i32,
  int7: bool,
): void {
  let x1 = x0 + xStride;
  let x2 = x1 + xStride;
  let x3 = x2 + xStride;
  let w = half + HEAD;
  let f0 = f32x4.splat(0.0);
  let f1 = f0;
  let f2 = f0;
  let f3 = f0;
  for (let left = kp; left > 0; left -= 64, scales += 4, sums += 4) {
    let a0 = i32x4.splat(0);
    let b0 = a0;
    let a1 = a0;
    let b1 = a0;
    let a2 = a0;
    let b2 = a0;
    let a3 = a0;
    let b3 = a0;
    let i = min(left, 64);
    do {
      const wa = v128.load8x8_s(w);
      const wb = v128.load8x8_s(w, 8);
      let v = v128.load64_splat(x0);
      a0 = dotAdd(a0, v, wa);
      b0 = dotAdd(b0, v, wb);
      v = v128.load64_splat(x1);
      a1 = dotAdd(a1, v, wa);
      b1 = dotAdd(b1, v, wb);
      v = v128.load64_splat(x2);
      a2 = dotAdd(a2, v, wa);
      b2 = dotAdd(b2, v, wb);
      v = v128.load64_splat(x3);
      a3 = dotAdd(a3, v, wa);
      b3 = dotAdd(b3, v, wb);
      w += 32;
      x0 += 8;
      x1 += 8;
      x2 += 8;
      x3 += 8;
      i -= 4;
    } while (i > 0);
    let i0 = pairSums(a0, b0);
    let i1 = pairSums(a1, b1);
    let i2 = pairSums(a2, b2);
    let i3 = pairSums(a3, b3);
    if (int7) {
      i0 = i32x4.sub(i0, offset7(sums));
      i1 = i32x4.sub(i1, offset7(sums + groups));
      i2 = i32x4.sub(i2, offset7(sums + 2 * groups));
      i3 = i32x4.sub(i3, offset7(sums + 3 * groups));
    }
    f0 = groupAdd(f0, i0, v128.load32_splat(scales));
    f1 = groupAdd(f1, i1, v128.load32_splat(scales + groups));
    f2 = groupAdd(f2, i2, v128.load32_splat(scales + 2 * groups));
    f3 = groupAdd(f3, i3, v128.load32_splat(scales + 3 * groups));
  }
  const scale = v128.load(half);
  const bias = v128.load(half, 32);
  storeUpTo4(out, f32x4.add(f32x4.mul(f0, scale), bias), count);
  storeUpTo4(out + outStride, f32x4.add(f32x4.mul(f1, scale), bias), count);
  storeUpTo4(out + 2 * outStride, f32x4.add(f32x4.mul(f2, scale), bias), count);
  storeUpTo4(out + 3 * outStride, f32x4.add(f32x4.mul(f3, scale), bias), count);
}

/** One row × eight outputs. */
// @ts-ignore: decorator
@inline
export function row8(
  x: usize,
  scales: usize,
  sums: usize,
  panel: usize,
  kp: i32,
  out: usize,
  count: i32,
  int7: bool,
): void {
  let w = panel + HEAD;
  let low = f32x4.splat(0.0);
  let high = low;
  for (let left = kp; left > 0; left -= 64, scales += 4, sums += 4) {
    let a = i32x4.splat(0);
    let b = a;
    let c = a;
    let d = a;
    let i = min(left, 64);
    do {
      const v = v128.load64_splat(x);
      a = dotAdd(a, v, v128.load8x8_s(w));
      b = dotAdd(b, v, v128.load8x8_s(w, 8));
      c = dotAdd(c, v, v128.load8x8_s(w, 16));
      d = dotAdd(d, v, v128.load8x8_s(w, 24));
      w += 32;
      x += 8;
      i -= 4;
    } while (i > 0);
    let i0 = pairSums(a, b);
    let i1 = pairSums(c, d);
    if (int7) {
      i0 = i32x4.sub(i0, offset7(sums));
      i1 = i32x4.sub(i1, offset7(sums));
    }
    low = groupAdd(low, i0, v128.load32_splat(scales));
    high = groupAdd(high, i1, v128.load32_splat(scales));
  }
  finish8(low, high, panel, out, count);
}
