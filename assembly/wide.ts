import { BLOCK, BLOCK_BYTES, BLOCK_HEAD, blockAdd, blockSum, half4 } from './int4';
import { dotAdd, finish8, groupAdd, HEAD } from './tiles';

/**
 * Many rows: a panel's codes are widened to i16 in scratch once, and tiles of four rows read them there.
 * Why there are `break`s between unrolled steps: see tiles.ts.
 */

/** A panel's codes as i16 [kp/2][8 outputs][2 inputs] at w, int7's offset taken off: 16 · kp bytes. */
export function widen(codes: usize, kp: i32, w: usize, int7: bool): void {
  const offset = i16x8.splat(int7 ? 64 : 0);
  for (; kp > 0; kp -= 4, codes += 32, w += 64) {
    const o01 = i16x8.sub(v128.load8x8_s(codes), offset);
    const o23 = i16x8.sub(v128.load8x8_s(codes, 8), offset);
    const o45 = i16x8.sub(v128.load8x8_s(codes, 16), offset);
    const o67 = i16x8.sub(v128.load8x8_s(codes, 24), offset);
    v128.store(w, v128.shuffle<i32>(o01, o23, 0, 2, 4, 6));
    v128.store(w, v128.shuffle<i32>(o45, o67, 0, 2, 4, 6), 16);
    v128.store(w, v128.shuffle<i32>(o01, o23, 1, 3, 5, 7), 32);
    v128.store(w, v128.shuffle<i32>(o45, o67, 1, 3, 5, 7), 48);
  }
}

/** The nibbles of blocks, kp inputs in all, as i16 in the same order. kp a multiple of 8. */
export function widen4(block: usize, kp: i32, w: usize): void {
  const nibble = i8x16.splat(15);
  let codes = block;
  for (let i = 0; i < kp; i += 8, codes += 32, w += 128) {
    if ((i & 31) === 0) codes += BLOCK_HEAD;
    const low = v128.load(codes);
    const high = v128.load(codes, 16);
    pairs4(v128.and(low, nibble), v128.and(high, nibble), w);
    pairs4(v128.and(i16x8.shr_u(low, 4), nibble), v128.and(i16x8.shr_u(high, 4), nibble), w + 64);
  }
}

/** Four inputs of outputs 0..3 and 4..7, u8 [4 outputs][4 inputs] each, as i16 [2][8 outputs][2 inputs] at w. */
// @ts-ignore: decorator
@inline
function pairs4(low: v128, high: v128, w: usize): void {
  const o01 = i16x8.extend_low_i8x16_u(low);
  const o23 = i16x8.extend_high_i8x16_u(low);
  const o45 = i16x8.extend_low_i8x16_u(high);
  const o67 = i16x8.extend_high_i8x16_u(high);
  v128.store(w, v128.shuffle<i32>(o01, o23, 0, 2, 4, 6));
  v128.store(w, v128.shuffle<i32>(o45, o67, 0, 2, 4, 6), 16);
  v128.store(w, v128.shuffle<i32>(o01, o23, 1, 3, 5, 7), 32);
  v128.store(w, v128.shuffle<i32>(o45, o67, 1, 3, 5, 7), 48);
}

/** Four rows × eight outputs over a widened panel: a pair of inputs per step, no unpacking, no shuffles. */
// @ts-ignore: decorator
@inline
function tile(
  x0: usize,
  xStride: usize,
  scales: usize,
  sums: usize,
  groups: usize,
  panel: usize,
  w: usize,
  kp: i32,
  out: usize,
  outStride: usize,
  count: i32,
  int4: bool,
): void {
  let x1 = x0 + xStride;
  let x2 = x1 + xStride;
  let x3 = x2 + xStride;
  let f0 = f32x4.splat(0.0);
  let g0 = f0;
  let f1 = f0;
  let g1 = f0;
  let f2 = f0;
  let g2 = f0;
  let f3 = f0;
  let g3 = f0;
  const length = int4 ? BLOCK : 64;
  let heads = panel + HEAD;
  for (let left = kp; left > 0; left -= length) {
    let a0 = i32x4.splat(0);
    let b0 = a0;
    let a1 = a0;
    let b1 = a0;
    let a2 = a0;
    let b2 = a0;
    let a3 = a0;
    let b3 = a0;
    let i = min(left, length);
    do {
      let wa = v128.load(w);
      let wb = v128.load(w, 16);
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
      if (i <= 2) break;
      wa = v128.load(w, 32);
      wb = v128.load(w, 48);
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
      if (i <= 4) break;
      wa = v128.load(w, 64);
      wb = v128.load(w, 80);
      v = v128.load32_splat(x0, 8);
      a0 = dotAdd(a0, v, wa);
      b0 = dotAdd(b0, v, wb);
      v = v128.load32_splat(x1, 8);
      a1 = dotAdd(a1, v, wa);
      b1 = dotAdd(b1, v, wb);
      v = v128.load32_splat(x2, 8);
      a2 = dotAdd(a2, v, wa);
      b2 = dotAdd(b2, v, wb);
      v = v128.load32_splat(x3, 8);
      a3 = dotAdd(a3, v, wa);
      b3 = dotAdd(b3, v, wb);
      if (i <= 6) break;
      wa = v128.load(w, 96);
      wb = v128.load(w, 112);
      v = v128.load32_splat(x0, 12);
      a0 = dotAdd(a0, v, wa);
      b0 = dotAdd(b0, v, wb);
      v = v128.load32_splat(x1, 12);
      a1 = dotAdd(a1, v, wa);
      b1 = dotAdd(b1, v, wb);
      v = v128.load32_splat(x2, 12);
      a2 = dotAdd(a2, v, wa);
      b2 = dotAdd(b2, v, wb);
      v = v128.load32_splat(x3, 12);
      a3 = dotAdd(a3, v, wa);
      b3 = dotAdd(b3, v, wb);
      w += 128;
      x0 += 16;
      x1 += 16;
      x2 += 16;
      x3 += 16;
      i -= 8;
    } while (i > 0);
    if (int4) {
      const da = half4(heads);
      const db = half4(heads + 8);
      const ma = half4(heads + 16);
      const mb = half4(heads + 24);
      const s0 = v128.load32_splat(scales);
      const z0 = blockSum(sums);
      f0 = blockAdd(f0, a0, da, ma, z0, s0);
      g0 = blockAdd(g0, b0, db, mb, z0, s0);
      const s1 = v128.load32_splat(scales + 2 * groups);
      const z1 = blockSum(sums + groups);
      f1 = blockAdd(f1, a1, da, ma, z1, s1);
      g1 = blockAdd(g1, b1, db, mb, z1, s1);
      const s2 = v128.load32_splat(scales + 4 * groups);
      const z2 = blockSum(sums + 2 * groups);
      f2 = blockAdd(f2, a2, da, ma, z2, s2);
      g2 = blockAdd(g2, b2, db, mb, z2, s2);
      const s3 = v128.load32_splat(scales + 6 * groups);
      const z3 = blockSum(sums + 3 * groups);
      f3 = blockAdd(f3, a3, da, ma, z3, s3);
      g3 = blockAdd(g3, b3, db, mb, z3, s3);
      heads += BLOCK_BYTES;
      sums += 2;
      scales += 4;
    } else {
      const s0 = v128.load32_splat(scales);
      f0 = groupAdd(f0, a0, s0);
      g0 = groupAdd(g0, b0, s0);
      const s1 = v128.load32_splat(scales + groups);
      f1 = groupAdd(f1, a1, s1);
      g1 = groupAdd(g1, b1, s1);
      const s2 = v128.load32_splat(scales + 2 * groups);
      f2 = groupAdd(f2, a2, s2);
      g2 = groupAdd(g2, b2, s2);
      const s3 = v128.load32_splat(scales + 3 * groups);
      f3 = groupAdd(f3, a3, s3);
      g3 = groupAdd(g3, b3, s3);
      scales += 4;
    }
  }
  finish8(f0, g0, panel, out, count);
  finish8(f1, g1, panel, out + outStride, count);
  finish8(f2, g2, panel, out + 2 * outStride, count);
  finish8(f3, g3, panel, out + 3 * outStride, count);
}

export function tileWide(
  x: usize,
  xStride: usize,
  scales: usize,
  groups: usize,
  panel: usize,
  w: usize,
  kp: i32,
  out: usize,
  outStride: usize,
  count: i32,
): void {
  tile(x, xStride, scales, 0, groups, panel, w, kp, out, outStride, count, false);
}

export function tileWide4(
  x: usize,
  xStride: usize,
  scales: usize,
  sums: usize,
  groups: usize,
  panel: usize,
  w: usize,
  kp: i32,
  out: usize,
  outStride: usize,
  count: i32,
): void {
  tile(x, xStride, scales, sums, groups, panel, w, kp, out, outStride, count, true);
}
