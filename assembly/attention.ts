import { BLOCK, gatherExtras, gatherScales, hideUnseen, score, scoreAfter, SIZE, SLOT, SPAN } from './attention-keys';
import { C, contextFour, contextOne, COUNT, FIRST, LAST, PIECE, VALUES, WEIGHTS, Z } from './attention-tiles';
import { expSum, highest } from './exp';
import { keyScalesOffset, keyWidth, valueScalesOffset, valuesOffset, valueWidth } from './kv';
import { loadUpTo4 } from './lanes';
import { absMax, codes4, scaleOf } from './quantize';

/**
 * Attention of blocks of four queries that share one KV head: four rows of a head, or with grouped heads and few rows,
 * rows of several. K and V are read once for the four. A query's weight is 0 for keys of the block outside its own range
 * and for holes, which changes no bit: sums start at +0, and f(s + ±0) = s. Each query's sum of exponentials starts at its
 * own first key. A block's keys are pieces, one for each span they lie in: their scores stand side by side in key order,
 * and each context runs through the pieces' values in one go, so that cuts change no bit either. Extra keys are gathered
 * once per KV head and are the first piece.
 *
 * scratch, E extra keys and `keys` window keys, each up to a multiple of 4 (8 where gathered):
 *   codes i16[4][dk] of the queries, up to a multiple of 64;
 *   rows f32[4][E + 4 + keys + 12]: extra scores, room for a piece's lanes before the first, scores from the first one's
 *   group of four slots on, in the last 16 bytes the query's record;
 *   value scales f32[keys] where there is more than one span; pieces [spans + 1];
 *   extra keys i8[E/8][dk/4][8][4], values i8[E][dv], key and value scales f32[E].
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

/**
 * A query's scores to weights f(e_j · vs_j), zeros outside its range, and its Z. row: where the block's first key would
 * stand if it were key 0; extraScores: of its row.
 */
function weigh(
  row: usize,
  low: i32,
  high: i32,
  valueScales: usize,
  extraScores: usize,
  extras: usize,
  extraCount: i32,
  extraValueScales: usize,
  causal: i32,
  meta: usize,
): void {
  const first = load<i32>(meta, FIRST);
  const last = load<i32>(meta, LAST);
  const own = row + ((<usize>first) << 2);
  const ownPast = row + ((<usize>(last + 1)) << 2);
  const past = row + ((<usize>(high + 1)) << 2);
  const count = last - first + 1;
  const scales = valueScales + ((<usize>first) << 2);
  let peak = highest(own, count);
  let sum: f32;
  if (extraCount) {
    hideUnseen(extraScores, extras, extraCount, first, last, causal);
    peak = max(peak, highest(extraScores, extraCount));
    sum = expSum(extraScores, extraCount, peak, extraValueScales);
    sum = sum + expSum(own, count, peak, scales);
  } else {
    sum = expSum(own, count, peak, scales);
  }
  store<f32>(meta, sum, Z);
  for (let p = row + ((<usize>low) << 2); p < own; p += 4) store<f32>(p, 0);
  for (let p = ownPast; p < past; p += 4) store<f32>(p, 0);
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
  spans: usize,
  spanCount: i32,
  queryFirst: i32,
  causal: i32,
  window: i32,
  extras: usize,
  extraCount: i32,
  scratch: usize,
  out: usize,
): void {
  const dk = keyWidth(d);
  const dv = valueWidth(d);
  const cells = <usize>kvHeads * <usize>slots;
  const valuesAt = valuesOffset(cells, d);
  const keyScalesAt = keyScalesOffset(cells, d);
  const valueScalesAt = valueScalesOffset(cells, d);
  const group = heads / kvHeads;
  const units = n * group;
  const spansEnd = spans + <usize>spanCount * SPAN;
  let keyCount = 0;
  for (let span = spans; span < spansEnd; span += SPAN) keyCount += load<i32>(span, SIZE);

  const keysUp = (<usize>(keyCount + 3)) & ~3;
  const extra4 = (<usize>(extraCount + 3)) & ~3;
  const extra8 = (<usize>(extraCount + 7)) & ~7;
  const stride = (extra4 + keysUp + 16) << 2;
  const extraScores = scratch + ((8 * dk + 63) & ~63);
  const rows = extraScores + ((extra4 + 4) << 2);
  const meta = extraScores + stride - 16;
  const gathered = extraScores + 4 * stride;
  const pieces = gathered + (keysUp << 2);
  const extraKeys = pieces + ((<usize>(spanCount + 1) * PIECE + 15) & ~15);
  const extraValues = extraKeys + extra8 * dk;
  const extraKeyScales = extraValues + extra8 * dv;
  const extraValueScales = extraKeyScales + (extra8 << 2);

  const inverseRoot = <f32>1.0 / sqrt<f32>(<f32>d);
  for (let kv = 0; kv < kvHeads; kv++) {
    const firstHead = kv * group;
    const firstCell = <usize>kv * <usize>slots;
    let valueScales = valueScalesAt + (firstCell << 2);
    if (spanCount === 1) {
      valueScales += <usize>load<u32>(spans, BLOCK) + ((<usize>load<u32>(spans, SLOT)) << 2);
    } else {
      gatherScales(spans, spansEnd, valueScales, gathered);
      valueScales = gathered;
    }
    if (extraCount) {
      gatherExtras(
        extras,
        extraCount,
        spans,
        cells,
        firstCell,
        d,
        extraKeys,
        extraValues,
        extraKeyScales,
        extraValueScales,
      );
    }
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

      const one = count === 1;
      let piece = pieces;
      if (extraCount) {
        score(one, scratch, dk, extraKeys, extraKeyScales, 0, extra4, extraScores, stride, meta);
        store<u32>(piece, <u32>extraValues, VALUES);
        store<u32>(piece, <u32>extraScores, WEIGHTS);
        store<i32>(piece, extraCount, COUNT);
        piece += PIECE;
      }
      let lowAt: usize = 0;
      let span = spans;
      for (let base = 0; base <= high; span += SPAN) {
        const size = load<i32>(span, SIZE);
        const from = max(low, base);
        const past = min(high + 1, base + size);
        if (from < past) {
          const block = <usize>load<u32>(span, BLOCK);
          const slot = <usize>(load<i32>(span, SLOT) + from - base);
          const number = <usize>(past - from);
          const skip = slot & 3;
          const start = slot - skip;
          const end = (slot + number + 3) & ~3;
          const keys = block + firstCell * dk;
          const keyScales = block + keyScalesAt + (firstCell << 2);
          let weights: usize;
          if (from === low) {
            lowAt = rows + (skip << 2);
            weights = lowAt;
            score(one, scratch, dk, keys, keyScales, start, end, rows, stride, meta);
          } else {
            weights = lowAt + ((<usize>(from - low)) << 2);
            const at = weights - (skip << 2);
            scoreAfter(<i32>skip, one, scratch, dk, keys, keyScales, start, end, at, stride, meta);
          }
          store<u32>(piece, <u32>(block + valuesAt + (firstCell + slot) * dv), VALUES);
          store<u32>(piece, <u32>weights, WEIGHTS);
          store<i32>(piece, <i32>number, COUNT);
          piece += PIECE;
        }
        base += size;
      }

      const row = lowAt - ((<usize>low) << 2);
      for (let t = 0; t < count; t++) {
        const shift = <usize>t * stride;
        weigh(
          row + shift,
          low,
          high,
          valueScales,
          extraScores + shift,
          extras,
          extraCount,
          extraValueScales,
          causal,
          meta + shift,
        );
      }
      const last = units - 1;
      const o0 = out + offsetOf(unit, n, heads, firstHead, d);
      const o1 = out + offsetOf(min(unit + 1, last), n, heads, firstHead, d);
      const o2 = out + offsetOf(min(unit + 2, last), n, heads, firstHead, d);
      const o3 = out + offsetOf(min(unit + 3, last), n, heads, firstHead, d);
      for (let i = 0; i < d; i += 8) {
        const at = (<usize>i) << 2;
        if (one) contextOne(pieces, piece, <usize>i, dv, meta, o0 + at, d - i);
        else contextFour(pieces, piece, <usize>i, dv, stride, meta, o0 + at, o1 + at, o2 + at, o3 + at, d - i);
      }
    }
  }
}
