import { scoreFour, scoreOne } from './attention-tiles';
import { keyAt, keyScalesOffset, keyWidth, valueScalesOffset, valuesOffset, valueWidth } from './kv';
import { laneMask, loadUpTo4 } from './lanes';

/** The keys of a call: spans of slots one after another, and the extra keys gathered out of them. */

/** Fields of a span: its block, its first slot, how many. */
export const BLOCK: usize = 0;
export const SLOT: usize = 4;
export const SIZE: usize = 8;
export const SPAN: usize = 12;

/** Value scales of one head, in key order. offset: of the head's slot 0 in a block. */
export function gatherScales(spans: usize, spansEnd: usize, offset: usize, to: usize): void {
  for (; spans < spansEnd; spans += SPAN) {
    const bytes = (<usize>load<u32>(spans, SIZE)) << 2;
    const slot = <usize>load<u32>(spans, SLOT);
    memory.copy(to, <usize>load<u32>(spans, BLOCK) + offset + (slot << 2), bytes);
    to += bytes;
  }
}

/**
 * The extra keys of one head as a block of one head: keys, then values, key scales and value scales at the addresses given.
 * first: cell of the head's slot 0 in the spans' blocks of `cells` cells.
 */
export function gatherExtras(
  extras: usize,
  extraCount: i32,
  spans: usize,
  cells: usize,
  first: usize,
  d: i32,
  keys: usize,
  values: usize,
  keyScales: usize,
  valueScales: usize,
): void {
  const dk = keyWidth(d);
  const dv = valueWidth(d);
  let base: u32 = 0;
  for (let i: usize = 0; i < <usize>extraCount; i++) {
    const x = load<u32>(extras + (i << 2));
    while (x - base >= load<u32>(spans, SIZE)) {
      base += load<u32>(spans, SIZE);
      spans += SPAN;
    }
    const block = <usize>load<u32>(spans, BLOCK);
    const slot = <usize>(load<u32>(spans, SLOT) + x - base);
    const cell = first + slot;
    const key = keyAt(block, dk, first, slot);
    const to = keyAt(keys, dk, 0, i);
    for (let at: usize = 0; at < dk << 3; at += 32) store<u32>(to + at, load<u32>(key + at));
    memory.copy(values + i * dv, block + valuesOffset(cells, d) + cell * dv, dv);
    store<f32>(keyScales + (i << 2), load<f32>(block + keyScalesOffset(cells, d) + (cell << 2)));
    store<f32>(valueScales + (i << 2), load<f32>(block + valueScalesOffset(cells, d) + (cell << 2)));
  }
}

/** Scores of the extra keys that a query with the window low..high does not see become −∞. */
export function hideUnseen(scores: usize, extras: usize, extraCount: i32, low: i32, high: i32, causal: i32): void {
  const before = i32x4.splat(low);
  const past = i32x4.splat(causal ? i32.MAX_VALUE : high);
  for (; extraCount > 0; extraCount -= 4, extras += 16, scores += 16) {
    const x = loadUpTo4(extras, extraCount);
    const seen = v128.or(i32x4.lt_s(x, before), i32x4.gt_s(x, past));
    v128.store(scores, v128.bitselect(v128.load(scores), f32x4.splat(-Infinity), seen));
  }
}

/** Scores of holes become −∞ in four rows. */
function hideHoles(keyScales: usize, start: usize, end: usize, rows: usize, stride: usize): void {
  for (let slot = start; slot < end; slot += 4, rows += 16) {
    const hole = f32x4.eq(v128.load(keyScales + (slot << 2)), f32x4.splat(0));
    let p = rows;
    for (let t = 0; t < 4; t++, p += stride) {
      v128.store(p, v128.bitselect(f32x4.splat(-Infinity), v128.load(p), hole));
    }
  }
}

/** Scores of slots start..end-1, both multiples of 4, holes −∞. one: of the first query alone. */
export function score(
  one: bool,
  queries: usize,
  dk: usize,
  keys: usize,
  keyScales: usize,
  start: usize,
  end: usize,
  rows: usize,
  stride: usize,
  meta: usize,
): void {
  const holes = one
    ? scoreOne(queries, dk, keys, keyScales, start, end, rows, meta)
    : scoreFour(queries, dk, keys, keyScales, start, end, rows, stride, meta);
  if (holes) hideHoles(keyScales, start, end, rows, stride);
}

/** The same after an earlier piece's scores: the first `kept` lanes, slots before this piece's first, stay as they are. */
export function scoreAfter(
  kept: i32,
  one: bool,
  queries: usize,
  dk: usize,
  keys: usize,
  keyScales: usize,
  start: usize,
  end: usize,
  rows: usize,
  stride: usize,
  meta: usize,
): void {
  const r1 = rows + stride;
  const r2 = r1 + stride;
  const r3 = r2 + stride;
  const s0 = v128.load(rows);
  const s1 = v128.load(r1);
  const s2 = v128.load(r2);
  const s3 = v128.load(r3);
  score(one, queries, dk, keys, keyScales, start, end, rows, stride, meta);
  const old = laneMask(kept);
  v128.store(rows, v128.bitselect(s0, v128.load(rows), old));
  v128.store(r1, v128.bitselect(s1, v128.load(r1), old));
  v128.store(r2, v128.bitselect(s2, v128.load(r2), old));
  v128.store(r3, v128.bitselect(s3, v128.load(r3), old));
}
