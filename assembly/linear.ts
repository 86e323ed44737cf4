import { pairSums, storeUpTo4 } from './lanes';

/** Linear layers over panels of 8 outputs: docs/numbers.md "Linear", layout in src/format/tensors.ts. */

const HEAD: usize = 64;

// @ts-ignore: decorator
@inline
function dotAdd(sum: v128, x: v128, w: v128): v128 {
  return i32x4.add(sum, i32x4.dot_i16x8_s(x, w));
}

// @ts-ignore: decorator
@inline
function groupAdd(acc: v128, isum: v128, scale: usize): v128 {
  return f32x4.add(acc, f32x4.mul(f32x4.convert_i32x4_s(isum), v128.load32_splat(scale)));
}

// @ts-ignore: decorator
@inline
function finish(acc: v128, half: usize): v128 {
  return f32x4.add(f32x4.mul(acc, v128.load(half)), v128.load(half, 32));
}

/** 64 · Σ q of a group: what the +64 of stored int7 codes adds to every output. */
// @ts-ignore: decorator
@inline
function offset7(sum: usize): v128 {
  return i32x4.shl(v128.load32_splat(sum), 6);
}

/** Four rows × four outputs. half: the panel + 16·(0|1). */
// @ts-ignore: decorator
@inline
function tile4(
  x: usize,
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
  let f0 = f32x4.splat(0.0);
  let f1 = f0;
  let f2 = f0;
  let f3 = f0;
  let w = half + HEAD;
  let x1 = x + xStride;
  let x2 = x1 + xStride;
  let x3 = x2 + xStride;
  for (let left = kp; left > 0; left -= 64, scales += 4, sums += 4) {
    let a0 = i32x4.splat(0);
    let b0 = a0;
    let a1 = a0;
    let b1 = a0;
    let a2 = a0;
    let b2 = a0;
    let a3 = a0;
    let b3 = a0;
    for (let i = min(left, 64); i > 0; i -= 4, x += 8, x1 += 8, x2 += 8, x3 += 8, w += 32) {
      const wa = v128.load8x8_s(w);
      const wb = v128.load8x8_s(w, 8);
      let v = v128.load64_splat(x);
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
    }
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
    f0 = groupAdd(f0, i0, scales);
    f1 = groupAdd(f1, i1, scales + groups);
    f2 = groupAdd(f2, i2, scales + 2 * groups);
    f3 = groupAdd(f3, i3, scales + 3 * groups);
  }
  storeUpTo4(out, finish(f0, half), count);
  storeUpTo4(out + outStride, finish(f1, half), count);
  storeUpTo4(out + 2 * outStride, finish(f2, half), count);
  storeUpTo4(out + 3 * outStride, finish(f3, half), count);
}

/** One row × eight outputs. */
// @ts-ignore: decorator
@inline
function row8(x: usize, scales: usize, sums: usize, panel: usize, kp: i32, out: usize, count: i32, int7: bool): void {
  let f0 = f32x4.splat(0.0);
  let f1 = f0;
  let w = panel + HEAD;
  for (let left = kp; left > 0; left -= 64, scales += 4, sums += 4) {
    let a = i32x4.splat(0);
    let b = a;
    let c = a;
    let d = a;
    for (let i = min(left, 64); i > 0; i -= 4, x += 8, w += 32) {
      const v = v128.load64_splat(x);
      a = dotAdd(a, v, v128.load8x8_s(w));
      b = dotAdd(b, v, v128.load8x8_s(w, 8));
      c = dotAdd(c, v, v128.load8x8_s(w, 16));
      d = dotAdd(d, v, v128.load8x8_s(w, 24));
    }
    let i0 = pairSums(a, b);
    let i1 = pairSums(c, d);
    if (int7) {
      i0 = i32x4.sub(i0, offset7(sums));
      i1 = i32x4.sub(i1, offset7(sums));
    }
    f0 = groupAdd(f0, i0, scales);
    f1 = groupAdd(f1, i1, scales);
  }
  storeUpTo4(out, finish(f0, panel), count);
  if (count > 4) storeUpTo4(out + 16, finish(f1, panel + 16), count - 4);
}

// @ts-ignore: decorator
@inline
function dot7Add(sum: v128, x: v128, w: v128): v128 {
  return i32x4.relaxed_dot_i8x16_i7x16_add_s(x, w, sum);
}

/** One row × eight outputs of int7 codes by relaxed dot: exact, as its second operand is in 0..127. */
// @ts-ignore: decorator
@inline
function row8Relaxed(x: usize, scales: usize, sums: usize, panel: usize, kp: i32, out: usize, count: i32): void {
  let f0 = f32x4.splat(0.0);
  let f1 = f0;
  let w = panel + HEAD;
  for (let left = kp; left > 0; left -= 64, scales += 4, sums += 4) {
    let a = i32x4.splat(0);
    let b = a;
    for (let i = min(left, 64); i > 0; i -= 4, x += 4, w += 32) {
      const v = v128.load32_splat(x);
      a = dot7Add(a, v, v128.load(w));
      b = dot7Add(b, v, v128.load(w, 16));
    }
    const offset = offset7(sums);
    f0 = groupAdd(f0, i32x4.sub(a, offset), scales);
    f1 = groupAdd(f1, i32x4.sub(b, offset), scales);
  }
  storeUpTo4(out, finish(f0, panel), count);
  if (count > 4) storeUpTo4(out + 16, finish(f1, panel + 16), count - 4);
}

// @ts-ignore: decorator
@inline
function gemv(
  q8: usize,
  q16: usize,
  scales: usize,
  sums: usize,
  panels: usize,
  n: i32,
  k: i32,
  out: usize,
  int7: bool,
): void {
  const kp = (k + 7) & ~7;
  const panelBytes = HEAD + ((<usize>kp) << 3);
  for (let o = 0; o < n; o += 8, panels += panelBytes, out += 32) {
    if (ASC_FEATURE_RELAXED_SIMD) {
      if (int7) row8Relaxed(q8, scales, sums, panels, kp, out, n - o);
      else row8(q16, scales, sums, panels, kp, out, n - o, false);
    } else {
      row8(q16, scales, sums, panels, kp, out, n - o, int7);
    }
  }
}

// @ts-ignore: decorator
@inline
function gemm(
  q8: usize,
  q16: usize,
  scales: usize,
  sums: usize,
  panels: usize,
  m: i32,
  n: i32,
  k: i32,
  out: usize,
  int7: bool,
): void {
  const kp = (k + 7) & ~7;
  const panelBytes = HEAD + ((<usize>kp) << 3);
  const groups = (<usize>((k + 63) >> 6)) << 2;
  const xStride = (<usize>kp) << 1;
  const outStride = (<usize>n) << 2;
  let r = 0;
  for (; r + 4 <= m; r += 4) {
    let panel = panels;
    for (let o = 0; o < n; o += 4) {
      tile4(
        q16 + <usize>r * xStride,
        xStride,
        scales + <usize>r * groups,
        sums + <usize>r * groups,
        groups,
        panel + ((o & 4) << 2),
        kp,
        out + <usize>r * outStride + ((<usize>o) << 2),
        outStride,
        n - o,
        int7,
      );
      if (o & 4) panel += panelBytes;
    }
  }
  for (; r < m; r++) {
    const row = <usize>r;
    if (int7)
      gemvI7(
        q8 + row * <usize>kp,
        q16 + row * xStride,
        scales + row * groups,
        sums + row * groups,
        panels,
        n,
        k,
        out + row * outStride,
      );
    else
      gemvI8(
        q8 + row * <usize>kp,
        q16 + row * xStride,
        scales + row * groups,
        sums + row * groups,
        panels,
        n,
        k,
        out + row * outStride,
      );
  }
}

export function gemvI8(
  q8: usize,
  q16: usize,
  scales: usize,
  sums: usize,
  panels: usize,
  n: i32,
  k: i32,
  out: usize,
): void {
  gemv(q8, q16, scales, sums, panels, n, k, out, false);
}
export function gemvI7(
  q8: usize,
  q16: usize,
  scales: usize,
  sums: usize,
  panels: usize,
  n: i32,
  k: i32,
  out: usize,
): void {
  gemv(q8, q16, scales, sums, panels, n, k, out, true);
}
export function gemmI8(
  q8: usize,
  q16: usize,
  scales: usize,
  sums: usize,
  panels: usize,
  m: i32,
  n: i32,
  k: i32,
  out: usize,
): void {
  gemm(q8, q16, scales, sums, panels, m, n, k, out, false);
}
export function gemmI7(
  q8: usize,
  q16: usize,
  scales: usize,
  sums: usize,
  panels: usize,
  m: i32,
  n: i32,
  k: i32,
  out: usize,
): void {
  gemm(q8, q16, scales, sums, panels, m, n, k, out, true);
}
