import { BLOCK, BLOCK_BYTES, BLOCK_HEAD, blockAdd, blockSum, factor, half4By, mask, places } from './int4';
import { finish8, HEAD } from './tiles';

/**
 * int4 tiles by relaxed dot, the relaxed build alone. Nibbles are in 0..15, where every engine is exact. The dot is that of
 * pairs, kept in i16: a pair is at most 2·127·15 = 3810 and a block adds eight of them, 30,480. On x86 that is two
 * instructions for 16 products, where the dot of fours into i32 takes five (measured: GEMM 48 GMAC/s against 32).
 */

// @ts-ignore: decorator
@inline
function dot(x: v128, w: v128): v128 {
  return i16x8.relaxed_dot_i8x16_i7x16_s(x, w);
}

// @ts-ignore: decorator
@inline
function dotAdd(sum: v128, x: v128, w: v128): v128 {
  return i16x8.add(sum, dot(x, w));
}

/** One row × eight outputs. */
export function rowRelaxed4(
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
  const by = factor(constants);
  const nibble = mask(constants, 0);
  const ones = mask(constants, 1);
  let w = panel + HEAD;
  let low = f32x4.splat(0.0);
  let high = low;
  for (; k > 0; k -= BLOCK, x += 32, w += BLOCK_BYTES, sums += 2) {
    let a: v128, b: v128, c: v128, d: v128, v: v128;
    do {
      c = v128.load(w, 32);
      d = v128.load(w, 48);
      v = v128.load32_splat(x);
      a = dot(v, v128.and(c, nibble));
      b = dot(v, v128.and(d, nibble));
      v = v128.load32_splat(x, 4);
      a = dotAdd(a, v, v128.and(i16x8.shr_u(c, 4), nibble));
      b = dotAdd(b, v, v128.and(i16x8.shr_u(d, 4), nibble));
      if (k <= 8) break;
      c = v128.load(w, 64);
      d = v128.load(w, 80);
      v = v128.load32_splat(x, 8);
      a = dotAdd(a, v, v128.and(c, nibble));
      b = dotAdd(b, v, v128.and(d, nibble));
      v = v128.load32_splat(x, 12);
      a = dotAdd(a, v, v128.and(i16x8.shr_u(c, 4), nibble));
      b = dotAdd(b, v, v128.and(i16x8.shr_u(d, 4), nibble));
      if (k <= 16) break;
      c = v128.load(w, 96);
      d = v128.load(w, 112);
      v = v128.load32_splat(x, 16);
      a = dotAdd(a, v, v128.and(c, nibble));
      b = dotAdd(b, v, v128.and(d, nibble));
      v = v128.load32_splat(x, 20);
      a = dotAdd(a, v, v128.and(i16x8.shr_u(c, 4), nibble));
      b = dotAdd(b, v, v128.and(i16x8.shr_u(d, 4), nibble));
      if (k <= 24) break;
      c = v128.load(w, 128);
      d = v128.load(w, 144);
      v = v128.load32_splat(x, 24);
      a = dotAdd(a, v, v128.and(c, nibble));
      b = dotAdd(b, v, v128.and(d, nibble));
      v = v128.load32_splat(x, 28);
      a = dotAdd(a, v, v128.and(i16x8.shr_u(c, 4), nibble));
      b = dotAdd(b, v, v128.and(i16x8.shr_u(d, 4), nibble));
    } while (false);
    const s = v128.load32_splat(scales);
    const z = blockSum(sums);
    const ia = i32x4.dot_i16x8_s(a, ones);
    const ib = i32x4.dot_i16x8_s(b, ones);
    low = blockAdd(low, ia, half4By(w, place, by), half4By(w + 16, place, by), z, s);
    high = blockAdd(high, ib, half4By(w + 8, place, by), half4By(w + 24, place, by), z, s);
    scales += 4;
  }
  finish8(low, high, panel, out, count);
}

/** Four rows × eight outputs. */
export function tileRelaxed4(
  x0: usize,
  xStride: usize,
  scales: usize,
  sums: usize,
  groups: usize,
  panel: usize,
  k: i32,
  out: usize,
  outStride: usize,
  count: i32,
  constants: usize,
): void {
  const place = places(constants);
  const by = factor(constants);
  const nibble = mask(constants, 0);
  const ones = mask(constants, 1);
  let x1 = x0 + xStride;
  let x2 = x1 + xStride;
  let x3 = x2 + xStride;
  let w = panel + HEAD;
  let f0 = f32x4.splat(0.0);
  let g0 = f0;
  let f1 = f0;
  let g1 = f0;
  let f2 = f0;
  let g2 = f0;
  let f3 = f0;
  let g3 = f0;
  for (; k > 0; k -= BLOCK, sums += 2) {
    let a0 = i16x8.splat(0);
    let b0 = a0;
    let a1 = a0;
    let b1 = a0;
    let a2 = a0;
    let b2 = a0;
    let a3 = a0;
    let b3 = a0;
    const heads = w;
    w += BLOCK_HEAD;
    let i = min(k, BLOCK);
    do {
      let wa = v128.and(v128.load(w), nibble);
      let wb = v128.and(v128.load(w, 16), nibble);
      let v = v128.load32_splat(x0);
      a0 = dotAdd(a0, v, wa);
      b0 = dotAdd(b0, v, wb);
      v = v128.load32_splat(x1);
      a1 = dotAdd(a1, v, wa);
      b1 = dotAdd(b1, v, wb);
      v = v128.load32_splat(x2);
      a2 = dotAdd(a2, v, wa);
      b2 = dotAdd(b2, v, wb);
      v = v128.load32_splat(x3);
      a3 = dotAdd(a3, v, wa);
      b3 = dotAdd(b3, v, wb);
      if (i <= 4) break;
      wa = v128.and(i16x8.shr_u(v128.load(w), 4), nibble);
      wb = v128.and(i16x8.shr_u(v128.load(w, 16), 4), nibble);
      v = v128.load32_splat(x0, 4);
      a0 = dotAdd(a0, v, wa);
      b0 = dotAdd(b0, v, wb);
      v = v128.load32_splat(x1, 4);
      a1 = dotAdd(a1, v, wa);
      b1 = dotAdd(b1, v, wb);
      v = v128.load32_splat(x2, 4);
      a2 = dotAdd(a2, v, wa);
      b2 = dotAdd(b2, v, wb);
      v = v128.load32_splat(x3, 4);
      a3 = dotAdd(a3, v, wa);
      b3 = dotAdd(b3, v, wb);
      w += 32;
      x0 += 8;
      x1 += 8;
      x2 += 8;
      x3 += 8;
      i -= 8;
    } while (i > 0);
    const da = half4By(heads, place, by);
    const db = half4By(heads + 8, place, by);
    const ma = half4By(heads + 16, place, by);
    const mb = half4By(heads + 24, place, by);
    const s0 = v128.load32_splat(scales);
    const z0 = blockSum(sums);
    f0 = blockAdd(f0, i32x4.dot_i16x8_s(a0, ones), da, ma, z0, s0);
    g0 = blockAdd(g0, i32x4.dot_i16x8_s(b0, ones), db, mb, z0, s0);
    const s1 = v128.load32_splat(scales + 2 * groups);
    const z1 = blockSum(sums + groups);
    f1 = blockAdd(f1, i32x4.dot_i16x8_s(a1, ones), da, ma, z1, s1);
    g1 = blockAdd(g1, i32x4.dot_i16x8_s(b1, ones), db, mb, z1, s1);
    const s2 = v128.load32_splat(scales + 4 * groups);
    const z2 = blockSum(sums + 2 * groups);
    f2 = blockAdd(f2, i32x4.dot_i16x8_s(a2, ones), da, ma, z2, s2);
    g2 = blockAdd(g2, i32x4.dot_i16x8_s(b2, ones), db, mb, z2, s2);
    const s3 = v128.load32_splat(scales + 6 * groups);
    const z3 = blockSum(sums + 3 * groups);
    f3 = blockAdd(f3, i32x4.dot_i16x8_s(a3, ones), da, ma, z3, s3);
    g3 = blockAdd(g3, i32x4.dot_i16x8_s(b3, ones), db, mb, z3, s3);
    scales += 4;
  }
  finish8(f0, g0, panel, out, count);
  finish8(f1, g1, panel, out + outStride, count);
  finish8(f2, g2, panel, out + 2 * outStride, count);
  finish8(f3, g3, panel, out + 3 * outStride, count);
}
