import { dotAdd, finish8, HEAD } from './tiles';

/**
 * 4-bit weights: docs/numbers.md "Linear", panel layout in src/format/tensors.ts. Every 32 inputs, a block, have a scale and
 * a minimum per output, which lie before the block's codes: a panel is one stream.
 */

/** Inputs of a block. */
export const BLOCK: i32 = 32;
/** Scales f16[8], minimums f16[8]. */
export const BLOCK_HEAD: usize = 32;

/** 2¹¹²: the exponent of an f16, read as an f32's, is 112 too low. Right for denormals too, and exact. */
const F16_FACTOR: f32 = 5192296858534827628530496329220096.0;
/** Sign, exponent and mantissa of an f16 that was widened with its sign and shifted by 13. */
const F16_PLACES: i32 = 0x8fffe000;

/**
 * Constants of the row kernels, in scratch: engines keep what a load gave, where V8 builds a constant that it can see anew in
 * every block (24 instructions beside some 150 of work).
 */
const PLACES: usize = 0;
const FACTOR: usize = 16;
/** The scales' factor where sums are 256 times too large. */
const FACTOR_256: usize = 32;
/** Relaxed: a nibble's bits in every byte, and ones in i16. Plain: the first three nibbles' bits in every i16. */
const MASKS: usize = 48;
/** Bytes of all constants; below `gemmScratchBytes(1)`, less 16 for one widened row. */
export const CONSTANTS: usize = 96;

export function storeConstants(p: usize): void {
  v128.store(p + PLACES, i32x4.splat(F16_PLACES));
  v128.store(p + FACTOR, f32x4.splat(F16_FACTOR));
  v128.store(p + FACTOR_256, f32x4.splat(F16_FACTOR / 256));
  v128.store(p + MASKS, ASC_FEATURE_RELAXED_SIMD ? i8x16.splat(15) : i16x8.splat(0x000f));
  v128.store(p + MASKS + 16, ASC_FEATURE_RELAXED_SIMD ? i16x8.splat(1) : i16x8.splat(0x00f0));
  v128.store(p + MASKS + 32, i16x8.splat(0x0f00));
}

// @ts-ignore: decorator
@inline
export function places(constants: usize): v128 {
  return v128.load(constants + PLACES);
}
// @ts-ignore: decorator
@inline
export function factor(constants: usize): v128 {
  return v128.load(constants + FACTOR);
}
// @ts-ignore: decorator
@inline
export function mask(constants: usize, i: usize): v128 {
  return v128.load(constants + MASKS + (i << 4));
}

/** Bytes of a whole block: its head, then codes [4][8 outputs][4]. The last block may end early. */
export const BLOCK_BYTES: usize = 160;

// @ts-ignore: decorator
@inline
export function panelBytes4(k: i32): usize {
  const heads = <usize>((k + 31) >> 5) * BLOCK_HEAD;
  return (HEAD + heads + ((<usize>((k + 7) & ~7)) << 2) + 63) & ~63;
}

/** Four f16 at p as f32. */
// @ts-ignore: decorator
@inline
export function half4By(p: usize, places: v128, factor: v128): v128 {
  return f32x4.mul(v128.and(i32x4.shl(v128.load16x4_s(p), 13), places), factor);
}
// @ts-ignore: decorator
@inline
export function half4(p: usize): v128 {
  return half4By(p, i32x4.splat(F16_PLACES), f32x4.splat(F16_FACTOR));
}

/** Σ q of a block of activations. */
// @ts-ignore: decorator
@inline
export function blockSum(p: usize): v128 {
  return f32x4.splat(<f32>load<i16>(p));
}

/** acc = f(acc + f(f(f(d · f32(isum)) + f(m · f32(S))) · scale_x)) on four outputs. */
// @ts-ignore: decorator
@inline
export function blockAdd(acc: v128, isum: v128, d: v128, m: v128, sum: v128, scale: v128): v128 {
  const t = f32x4.add(f32x4.mul(d, f32x4.convert_i32x4_s(isum)), f32x4.mul(m, sum));
  return f32x4.add(acc, f32x4.mul(t, scale));
}

/**
 * A row's codes for `row4`: of each eight inputs the i16 pairs that meet the four nibbles of a panel's words, times 256 over
 * the nibble's place, so that masked nibbles need no shift and all products have the factor 256.
 */
export function spread4(q16: usize, kp: i32, x: usize): void {
  const factors = i16x8(256, 256, 16, 16, 1, 1, 256, 256);
  for (; kp > 0; kp -= 8, q16 += 16, x += 16) {
    const v = v128.load(q16);
    v128.store(x, i16x8.mul(v128.shuffle<i16>(v, v, 0, 2, 4, 6, 1, 3, 5, 7), factors));
  }
}

// @ts-ignore: decorator
@inline
function dot(x: v128, w: v128): v128 {
  return i32x4.dot_i16x8_s(x, w);
}

/** One spread row × eight outputs, straight from the nibbles. */
export function row4(
  x: usize,
  scales: usize,
  sums: usize,
  panel: usize,
  k: i32,
  out: usize,
  count: i32,
  constants: usize,
): void {
  const place = places(constants);
  const whole = factor(constants);
  const part = v128.load(constants + FACTOR_256);
  const m0 = mask(constants, 0);
  const m1 = mask(constants, 1);
  const m2 = mask(constants, 2);
  let w = panel + HEAD;
  let low = f32x4.splat(0.0);
  let high = low;
  for (; k > 0; k -= BLOCK, x += 64, w += BLOCK_BYTES, sums += 2) {
    let a: v128, b: v128, c: v128, d: v128, v: v128;
    do {
      c = v128.load(w, 32);
      d = v128.load(w, 48);
      v = v128.load32_splat(x);
      a = dot(v, v128.and(c, m0));
      b = dot(v, v128.and(d, m0));
      v = v128.load32_splat(x, 4);
      a = dotAdd(a, v, v128.and(c, m1));
      b = dotAdd(b, v, v128.and(d, m1));
      v = v128.load32_splat(x, 8);
      a = dotAdd(a, v, v128.and(c, m2));
      b = dotAdd(b, v, v128.and(d, m2));
      v = v128.load32_splat(x, 12);
      a = dotAdd(a, v, i16x8.shr_u(c, 12));
      b = dotAdd(b, v, i16x8.shr_u(d, 12));
      if (k <= 8) break;
      c = v128.load(w, 64);
      d = v128.load(w, 80);
      v = v128.load32_splat(x, 16);
      a = dotAdd(a, v, v128.and(c, m0));
      b = dotAdd(b, v, v128.and(d, m0));
      v = v128.load32_splat(x, 20);
      a = dotAdd(a, v, v128.and(c, m1));
      b = dotAdd(b, v, v128.and(d, m1));
      v = v128.load32_splat(x, 24);
      a = dotAdd(a, v, v128.and(c, m2));
      b = dotAdd(b, v, v128.and(d, m2));
      v = v128.load32_splat(x, 28);
      a = dotAdd(a, v, i16x8.shr_u(c, 12));
      b = dotAdd(b, v, i16x8.shr_u(d, 12));
      if (k <= 16) break;
      c = v128.load(w, 96);
      d = v128.load(w, 112);
      v = v128.load32_splat(x, 32);
      a = dotAdd(a, v, v128.and(c, m0));
      b = dotAdd(b, v, v128.and(d, m0));
      v = v128.load32_splat(x, 36);
      a = dotAdd(a, v, v128.and(c, m1));
      b = dotAdd(b, v, v128.and(d, m1));
      v = v128.load32_splat(x, 40);
      a = dotAdd(a, v, v128.and(c, m2));
      b = dotAdd(b, v, v128.and(d, m2));
      v = v128.load32_splat(x, 44);
      a = dotAdd(a, v, i16x8.shr_u(c, 12));
      b = dotAdd(b, v, i16x8.shr_u(d, 12));
      if (k <= 24) break;
      c = v128.load(w, 128);
      d = v128.load(w, 144);
      v = v128.load32_splat(x, 48);
      a = dotAdd(a, v, v128.and(c, m0));
      b = dotAdd(b, v, v128.and(d, m0));
      v = v128.load32_splat(x, 52);
      a = dotAdd(a, v, v128.and(c, m1));
      b = dotAdd(b, v, v128.and(d, m1));
      v = v128.load32_splat(x, 56);
      a = dotAdd(a, v, v128.and(c, m2));
      b = dotAdd(b, v, v128.and(d, m2));
      v = v128.load32_splat(x, 60);
      a = dotAdd(a, v, i16x8.shr_u(c, 12));
      b = dotAdd(b, v, i16x8.shr_u(d, 12));
    } while (false);
    const s = v128.load32_splat(scales);
    const z = blockSum(sums);
    low = blockAdd(low, a, half4By(w, place, part), half4By(w + 16, place, whole), z, s);
    high = blockAdd(high, b, half4By(w + 8, place, part), half4By(w + 24, place, whole), z, s);
    scales += 4;
  }
  finish8(low, high, panel, out, count);
}
