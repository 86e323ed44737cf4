import { C, contextFour, contextOne, FIRST, LAST, scoreFour, scoreOne, Z } from './attention-tiles';
import { expSum, highest } from './exp';
import { loadUpTo4 } from './lanes';
import { absMax, codes4, scaleOf } from './quantize';

/**
 * Attention of blocks of four queries that share one KV head: four rows of a head, or with grouped heads and few rows,
 * rows of several. K and V are read once for the four. A query's weight is 0 for keys of the block outside its own range,
 * which changes no bit: sums start at +0, and f(s + ±0) = s. Each query's sum of exponentials starts at its own first key.
 *
 * scratch: four rows of widened query codes i16[4][dk], then from the next multiple of 64 four score rows of slots + 8 f32,
 * whose last 16 bytes hold the query's record.
 */

/** Codes of one query of d inputs, widened, zero up to a multiple of four. Returns its scale. */
function quantizeQuery(q: usize, d: i32, codes: usize): f32 {
  const scale = scaleOf(absMax(q, d));
  for (let i = 0; i < d; i += 4, q += 16, codes += 8) {
    const c = codes4(loadUpTo4(q, d - i), f32x4.splat(scale));
    v128.store64_lane(codes, i16x8.narrow_i32x4_s(c, c), 0);
  }
  return scale;
}

/** A query's scores, `from` the block's first slot on, to weights w_j = f(e_j · vs_j) and zeros outside its range. */
function weigh(scores: usize, first: i32, past: i32, end: i32, valueScales: usize, meta: usize): void {
  const own = scores + ((<usize>first) << 2);
  const ownPast = scores + ((<usize>past) << 2);
  const rowEnd = scores + ((<usize>end) << 2);
  store<f32>(meta + Z, expSum(own, past - first, highest(own, past - first), valueScales + ((<usize>first) << 2)));
  for (let p = scores; p < own; p += 4) store<f32>(p, 0);
  for (let p = ownPast; p < rowEnd; p += 4) store<f32>(p, 0);
}

/** Byte offset of query unit u (head-major inside a group) in f32[n][heads · d]. */
// @ts-ignore: decorator
@inline
function offsetOf(u: i32, n: i32, heads: i32, firstHead: i32, d: i32): usize {
  return (<usize>(((u % n) * heads + firstHead + u / n) * d)) << 2;
}

export function attention(
  q: usize,
  n: i32,
  heads: i32,
  kvHeads: i32,
  d: i32,
  slots: i32,
  kCache: usize,
  kScales: usize,
  vCache: usize,
  vScales: usize,
  keyFirst: i32,
  keyCount: i32,
  queryFirst: i32,
  causal: i32,
  window: i32,
  scratch: usize,
  out: usize,
): void {
  const dk = <usize>((d + 3) & ~3);
  const dv = <usize>((d + 7) & ~7);
  const group = heads / kvHeads;
  const units = n * group;
  const stride = (<usize>(slots + 8)) << 2;
  const rows = scratch + ((8 * dk + 63) & ~63);
  const meta = rows + stride - 16;
  const inverseRoot = <f32>1.0 / sqrt<f32>(<f32>d);
  for (let kv = 0; kv < kvHeads; kv++) {
    const firstHead = kv * group;
    const keys = kCache + <usize>(kv * slots) * dk;
    const keyScales = kScales + ((<usize>(kv * slots)) << 2);
    const values = vCache + <usize>(kv * slots) * dv;
    const valueScales = vScales + ((<usize>(kv * slots)) << 2);
    for (let unit = 0; unit < units; unit += 4) {
      const count = min(4, units - unit);
      let low = keyCount;
      let high = 0;
      for (let t = 0; t < count; t++) {
        const from = q + offsetOf(unit + t, n, heads, firstHead, d);
        const scale = quantizeQuery(from, d, scratch + <usize>t * (dk << 1));
        const p = queryFirst + ((unit + t) % n);
        const first = max(0, p - window + 1);
        const last = min(keyCount - 1, causal ? p : p + window - 1);
        const own = meta + <usize>t * stride;
        store<f32>(own + C, scale * inverseRoot);
        store<i32>(own + FIRST, first);
        store<i32>(own + LAST, last);
        low = min(low, first);
        high = max(high, last);
      }
      const start = (keyFirst + low) & ~3;
      const end = (keyFirst + high + 4) & ~3;
      if (count === 1) scoreOne(scratch, dk, keys, keyScales, start, end, rows, meta);
      else scoreFour(scratch, dk, keys, keyScales, start, end, rows, stride, meta);
      const skip = keyFirst - start;
      for (let t = 0; t < count; t++) {
        const own = meta + <usize>t * stride;
        const first = skip + load<i32>(own + FIRST);
        const past = skip + load<i32>(own + LAST) + 1;
        weigh(rows + <usize>t * stride, first, past, end - start, valueScales + ((<usize>start) << 2), own);
      }
      const weights = rows + ((<usize>(skip + low)) << 2);
      const value = values + <usize>(keyFirst + low) * dv;
      const reach = high - low + 1;
      const last = units - 1;
      const o0 = out + offsetOf(unit, n, heads, firstHead, d);
      const o1 = out + offsetOf(min(unit + 1, last), n, heads, firstHead, d);
      const o2 = out + offsetOf(min(unit + 2, last), n, heads, firstHead, d);
      const o3 = out + offsetOf(min(unit + 3, last), n, heads, firstHead, d);
      for (let i = 0; i < d; i += 8) {
        const at = (<usize>i) << 2;
        const v = value + <usize>i;
        if (count === 1) contextOne(v, dv, reach, weights, meta, o0 + at, d - i);
        else contextFour(v, dv, reach, weights, stride, meta, o0 + at, o1 + at, o2 + at, o3 + at, d - i);
      }
    }
  }
}
