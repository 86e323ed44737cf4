import { HEAD, finish8, groupAdd, offset7 } from './tiles';

/**
 * int7 tiles by relaxed dot, the relaxed build alone: four products and three additions per lane at once, on bytes.
 * Exact on every engine, as the second operand (stored codes) is in 1..127 and 2·127·127 fits the i16 between.
 */

// @ts-ignore: decorator
@inline
function dotAdd7(sum: v128, x: v128, w: v128): v128 {
  return i32x4.relaxed_dot_i8x16_i7x16_add_s(x, w, sum);
}

/** Four rows × eight outputs. The `break` between steps: see tiles.ts. */
export function tileRelaxed(
  x0: usize,
  xStride: usize,
  scales: usize,
  sums: usize,
  groups: usize,
  panel: usize,
  kp: i32,
  out: usize,
  outStride: usize,
  count: i32,
): void {
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
      let wa = v128.load(w);
      let wb = v128.load(w, 16);
      let v = v128.load32_splat(x0);
      a0 = dotAdd7(a0, v, wa);
      b0 = dotAdd7(b0, v, wb);
      v = v128.load32_splat(x1);
      a1 = dotAdd7(a1, v, wa);
      b1 = dotAdd7(b1, v, wb);
      v = v128.load32_splat(x2);
      a2 = dotAdd7(a2, v, wa);
      b2 = dotAdd7(b2, v, wb);
      v = v128.load32_splat(x3);
      a3 = dotAdd7(a3, v, wa);
      b3 = dotAdd7(b3, v, wb);
      if (i <= 4) break;
      wa = v128.load(w, 32);
      wb = v128.load(w, 48);
      v = v128.load32_splat(x0, 4);
      a0 = dotAdd7(a0, v, wa);
      b0 = dotAdd7(b0, v, wb);
      v = v128.load32_splat(x1, 4);
      a1 = dotAdd7(a1, v, wa);
      b1 = dotAdd7(b1, v, wb);
      v = v128.load32_splat(x2, 4);
      a2 = dotAdd7(a2, v, wa);
      b2 = dotAdd7(b2, v, wb);
      v = v128.load32_splat(x3, 4);
      a3 = dotAdd7(a3, v, wa);
      b3 = dotAdd7(b3, v, wb);
      w += 64;
      x0 += 8;
      x1 += 8;
      x2 += 8;
      x3 += 8;
      i -= 8;
    } while (i > 0);
    let offset = offset7(sums);
    let s = v128.load32_splat(scales);
    f0 = groupAdd(f0, i32x4.sub(a0, offset), s);
    g0 = groupAdd(g0, i32x4.sub(b0, offset), s);
    offset = offset7(sums + groups);
    s = v128.load32_splat(scales + groups);
    f1 = groupAdd(f1, i32x4.sub(a1, offset), s);
    g1 = groupAdd(g1, i32x4.sub(b1, offset), s);
    offset = offset7(sums + 2 * groups);
    s = v128.load32_splat(scales + 2 * groups);
    f2 = groupAdd(f2, i32x4.sub(a2, offset), s);
    g2 = groupAdd(g2, i32x4.sub(b2, offset), s);
    offset = offset7(sums + 3 * groups);
    s = v128.load32_splat(scales + 3 * groups);
    f3 = groupAdd(f3, i32x4.sub(a3, offset), s);
    g3 = groupAdd(g3, i32x4.sub(b3, offset), s);
  }
  finish8(f0, g0, panel, out, count);
  finish8(f1, g1, panel, out + outStride, count);
  finish8(f2, g2, panel, out + 2 * outStride, count);
  finish8(f3, g3, panel, out + 3 * outStride, count);
}

/** One row × eight outputs. */
export function rowRelaxed(x: usize, scales: usize, sums: usize, panel: usize, kp: i32, out: usize, count: i32): void {
  let w = panel + HEAD;
  let low = f32x4.splat(0.0);
  let high = low;
  for (let left = kp; left > 0; left -= 64, scales += 4, sums += 4) {
    let a = i32x4.splat(0);
    let b = a;
    let i = min(left, 64);
    do {
      let v = v128.load32_splat(x);
      a = dotAdd7(a, v, v128.load(w));
      b = dotAdd7(b, v, v128.load(w, 16));
      v = v128.load32_splat(x, 4);
      a = dotAdd7(a, v, v128.load(w, 32));
      b = dotAdd7(b, v, v128.load(w, 48));
      w += 64;
      x += 8;
      i -= 8;
    } while (i > 0);
    const offset = offset7(sums);
    const s = v128.load32_splat(scales);
    low = groupAdd(low, i32x4.sub(a, offset), s);
    high = groupAdd(high, i32x4.sub(b, offset), s);
  }
  finish8(low, high, panel, out, count);
}
