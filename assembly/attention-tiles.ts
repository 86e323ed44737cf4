import { pairSums, storeUpTo4 } from './lanes';

/**
 * The two products of attention on four queries of one KV head, and on one. Query codes are i16[4][dk], score and weight
 * rows f32[4] a stride apart, and each row's `meta` record lies a stride after the last one's.
 */

/**
 * Fields of a piece, a run of values in the order the contexts add them: address of the first value, of its weight in the
 * first row, how many.
 */
export const VALUES: usize = 0;
export const WEIGHTS: usize = 4;
export const COUNT: usize = 8;
export const PIECE: usize = 12;

/** Fields of a query's record: its factor c = f(qs · f(1 / f(sqrt(d)))), its first and last key, its sum Z. */
export const C: usize = 0;
export const FIRST: usize = 4;
export const LAST: usize = 8;
export const Z: usize = 12;

// @ts-ignore: decorator
@inline
function dotAdd(sum: v128, x: v128, w: v128): v128 {
  return i32x4.add(sum, i32x4.dot_i16x8_s(x, w));
}

/** s_j = f(f32(Σ q·k_j) · f(c · ks_j)) of four keys. */
// @ts-ignore: decorator
@inline
function score(low: v128, high: v128, c: v128, keyScales: v128): v128 {
  return f32x4.mul(f32x4.convert_i32x4_s(pairSums(low, high)), f32x4.mul(c, keyScales));
}

// @ts-ignore: decorator
@inline
function anyZero(scales: v128): bool {
  return v128.any_true(f32x4.eq(scales, f32x4.splat(0)));
}

/** Codes of slot, slot + 1, … of a head's keys; slot a multiple of 4. */
// @ts-ignore: decorator
@inline
function keyCodes(keys: usize, dk: usize, slot: usize): usize {
  return keys + (((slot >> 3) * dk) << 3) + ((slot & 4) << 2);
}

/**
 * Scores of four queries against the slots start..end-1, four slots at a time; both multiples of 4. A hole scores ±0.
 * Returns whether any scale among them is 0.
 */
export function scoreFour(
  queries: usize,
  dk: usize,
  keys: usize,
  keyScales: usize,
  start: usize,
  end: usize,
  rows: usize,
  stride: usize,
  meta: usize,
): bool {
  const c0 = v128.load32_splat(meta, C);
  const c1 = v128.load32_splat(meta + stride, C);
  const c2 = v128.load32_splat(meta + 2 * stride, C);
  const c3 = v128.load32_splat(meta + 3 * stride, C);
  const width = dk << 1;
  let least = f32x4.splat(1.0);
  for (let slot = start; slot < end; slot += 4, rows += 16) {
    let k = keyCodes(keys, dk, slot);
    let l0 = i32x4.splat(0);
    let h0 = l0;
    let l1 = l0;
    let h1 = l0;
    let l2 = l0;
    let h2 = l0;
    let l3 = l0;
    let h3 = l0;
    let x0 = queries;
    let x1 = x0 + width;
    let x2 = x1 + width;
    let x3 = x2 + width;
    const past = x1;
    do {
      const low = v128.load8x8_s(k);
      const high = v128.load8x8_s(k, 8);
      let x = v128.load64_splat(x0);
      l0 = dotAdd(l0, x, low);
      h0 = dotAdd(h0, x, high);
      x = v128.load64_splat(x1);
      l1 = dotAdd(l1, x, low);
      h1 = dotAdd(h1, x, high);
      x = v128.load64_splat(x2);
      l2 = dotAdd(l2, x, low);
      h2 = dotAdd(h2, x, high);
      x = v128.load64_splat(x3);
      l3 = dotAdd(l3, x, low);
      h3 = dotAdd(h3, x, high);
      k += 32;
      x0 += 8;
      x1 += 8;
      x2 += 8;
      x3 += 8;
    } while (x0 < past);
    const scales = v128.load(keyScales + (slot << 2));
    least = f32x4.pmin(least, scales);
    v128.store(rows, score(l0, h0, c0, scales));
    v128.store(rows + stride, score(l1, h1, c1, scales));
    v128.store(rows + 2 * stride, score(l2, h2, c2, scales));
    v128.store(rows + 3 * stride, score(l3, h3, c3, scales));
  }
  return anyZero(least);
}

/** The same of the first query alone. */
export function scoreOne(
  queries: usize,
  dk: usize,
  keys: usize,
  keyScales: usize,
  start: usize,
  end: usize,
  rows: usize,
  meta: usize,
): bool {
  const c = v128.load32_splat(meta, C);
  const past = queries + (dk << 1);
  let least = f32x4.splat(1.0);
  for (let slot = start; slot < end; slot += 4, rows += 16) {
    let k = keyCodes(keys, dk, slot);
    let low = i32x4.splat(0);
    let high = low;
    let q = queries;
    do {
      const x = v128.load64_splat(q);
      low = dotAdd(low, x, v128.load8x8_s(k));
      high = dotAdd(high, x, v128.load8x8_s(k, 8));
      k += 32;
      q += 8;
    } while (q < past);
    const scales = v128.load(keyScales + (slot << 2));
    least = f32x4.pmin(least, scales);
    v128.store(rows, score(low, high, c, scales));
  }
  return anyZero(least);
}

// @ts-ignore: decorator
@inline
function weighed(sum: v128, weight: v128, value: v128): v128 {
  return f32x4.add(sum, f32x4.mul(weight, value));
}

/** out_d = f(ctx_d / Z) of the first min(left, 8) of eight dimensions. */
function storeContext(out: usize, a: v128, b: v128, meta: usize, left: i32): void {
  const total = v128.load32_splat(meta, Z);
  storeUpTo4(out, f32x4.div(a, total), left);
  if (left > 4) storeUpTo4(out + 16, f32x4.div(b, total), left - 4);
}

/**
 * Eight dimensions, `at` on, of four contexts over the pieces in order. out0..3: where the four lie; left: dimensions from
 * here to d. Stored last to first: a short block names its last real query again for the rows it lacks.
 */
export function contextFour(
  pieces: usize,
  piecesEnd: usize,
  at: usize,
  dv: usize,
  stride: usize,
  meta: usize,
  out0: usize,
  out1: usize,
  out2: usize,
  out3: usize,
  left: i32,
): void {
  let a0 = f32x4.splat(0.0);
  let b0 = a0;
  let a1 = a0;
  let b1 = a0;
  let a2 = a0;
  let b2 = a0;
  let a3 = a0;
  let b3 = a0;
  do {
    let values = <usize>load<u32>(pieces, VALUES) + at;
    let count = load<i32>(pieces, COUNT);
    let w0 = <usize>load<u32>(pieces, WEIGHTS);
    let w1 = w0 + stride;
    let w2 = w1 + stride;
    let w3 = w2 + stride;
    do {
      const wide = v128.load8x8_s(values);
      const low = f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(wide));
      const high = f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(wide));
      let w = v128.load32_splat(w0);
      a0 = weighed(a0, w, low);
      b0 = weighed(b0, w, high);
      w = v128.load32_splat(w1);
      a1 = weighed(a1, w, low);
      b1 = weighed(b1, w, high);
      w = v128.load32_splat(w2);
      a2 = weighed(a2, w, low);
      b2 = weighed(b2, w, high);
      w = v128.load32_splat(w3);
      a3 = weighed(a3, w, low);
      b3 = weighed(b3, w, high);
      values += dv;
      w0 += 4;
      w1 += 4;
      w2 += 4;
      w3 += 4;
      count--;
    } while (count > 0);
    pieces += PIECE;
  } while (pieces < piecesEnd);
  storeContext(out3, a3, b3, meta + 3 * stride, left);
  storeContext(out2, a2, b2, meta + 2 * stride, left);
  storeContext(out1, a1, b1, meta + stride, left);
  storeContext(out0, a0, b0, meta, left);
}

/** The same of the first query alone. */
export function contextOne(
  pieces: usize,
  piecesEnd: usize,
  at: usize,
  dv: usize,
  meta: usize,
  out: usize,
  left: i32,
): void {
  let a = f32x4.splat(0.0);
  let b = a;
  do {
    let values = <usize>load<u32>(pieces, VALUES) + at;
    let weights = <usize>load<u32>(pieces, WEIGHTS);
    let count = load<i32>(pieces, COUNT);
    do {
      const wide = v128.load8x8_s(values);
      const w = v128.load32_splat(weights);
      a = weighed(a, w, f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(wide)));
      b = weighed(b, w, f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(wide)));
      values += dv;
      weights += 4;
      count--;
    } while (count > 0);
    pieces += PIECE;
  } while (pieces < piecesEnd);
  storeContext(out, a, b, meta, left);
}
