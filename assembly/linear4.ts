import { BLOCK, BLOCK_BYTES, CONSTANTS, panelBytes4, row4, spread4, storeConstants } from './int4';
import { rowRelaxed4, tileRelaxed4 } from './relaxed4';
import { HEAD } from './tiles';
import { tileWide4, widen4 } from './wide';

/** Linear layers of 4-bit weights, activations with a scale for every 32 inputs: the relaxed build reads nibbles as they lie, the plain one widens panels for many rows. */

/** Row blocks as in linear.ts: their widened codes stay in the second-level cache while every panel passes. */
const ROWS_BYTES: usize = 262144;

/** scratch: 32 · Kp bytes, of which 96 + 2 · Kp are used. */
export function gemvI4(
  q8: usize,
  q16: usize,
  scales: usize,
  sums: usize,
  panels: usize,
  n: i32,
  k: i32,
  out: usize,
  scratch: usize,
): void {
  const bytes = panelBytes4(k);
  const spread = scratch + CONSTANTS;
  storeConstants(scratch);
  if (!ASC_FEATURE_RELAXED_SIMD) spread4(q16, (k + 7) & ~7, spread);
  for (let o = 0; o < n; o += 8, panels += bytes, out += 32) {
    if (ASC_FEATURE_RELAXED_SIMD) rowRelaxed4(q8, scales, sums, panels, k, out, n - o, scratch);
    else row4(spread, scales, sums, panels, k, out, n - o, scratch);
  }
}

/** scratch: 32 · Kp bytes. */
export function gemmI4(
  q8: usize,
  q16: usize,
  scales: usize,
  sums: usize,
  panels: usize,
  m: i32,
  n: i32,
  k: i32,
  out: usize,
  scratch: usize,
): void {
  const codes = <usize>((k + 7) & ~7);
  const groups = (<usize>((k + 63) >> 6)) << 2;
  const outStride = (<usize>n) << 2;
  // Three rows left over: a tile that repeats the row before costs less than three rows alone.
  const tiled = m < 4 ? 0 : (m & 3) === 3 ? m : m & ~3;
  if (ASC_FEATURE_RELAXED_SIMD) tilesRelaxed(q8, scales, sums, panels, tiled, n, k, out, scratch);
  else tilesWide(q16, scales, sums, panels, tiled, n, k, out, scratch);
  for (let r = tiled; r < m; r++) {
    const at = <usize>r;
    const s = scales + at * 2 * groups;
    const z = sums + at * groups;
    gemvI4(q8 + at * codes, q16 + at * (codes << 1), s, z, panels, n, k, out + at * outStride, scratch);
  }
}

function tilesRelaxed(
  q8: usize,
  scales: usize,
  sums: usize,
  panels: usize,
  m: i32,
  n: i32,
  k: i32,
  out: usize,
  scratch: usize,
): void {
  const codes = <usize>((k + 7) & ~7);
  const bytes = panelBytes4(k);
  const groups = (<usize>((k + 63) >> 6)) << 2;
  const outStride = (<usize>n) << 2;
  const blockRows = max(4, (<i32>(ROWS_BYTES / codes)) & ~3);
  storeConstants(scratch);
  for (let first = 0; first < m; first += blockRows) {
    const end = min(m, first + blockRows);
    let panel = panels;
    for (let o = 0; o < n; o += 8, panel += bytes) {
      for (let r = first; r < end; r += 4) {
        const at = <usize>min(r, m - 4);
        const s = scales + at * 2 * groups;
        const to = out + at * outStride + ((<usize>o) << 2);
        tileRelaxed4(q8 + at * codes, codes, s, sums + at * groups, groups, panel, k, to, outStride, n - o, scratch);
      }
    }
  }
}

/** The next panel is widened bit by bit between this one's tiles: see linear.ts. */
function tilesWide(
  q16: usize,
  scales: usize,
  sums: usize,
  panels: usize,
  m: i32,
  n: i32,
  k: i32,
  out: usize,
  scratch: usize,
): void {
  const kp = (k + 7) & ~7;
  const xStride = (<usize>kp) << 1;
  const bytes = panelBytes4(k);
  const groups = (<usize>((k + 63) >> 6)) << 2;
  const outStride = (<usize>n) << 2;
  const blockRows = max(4, (<i32>(ROWS_BYTES / xStride)) & ~3);
  for (let first = 0; first < m; first += blockRows) {
    const end = min(m, first + blockRows);
    let panel = panels;
    let now = scratch;
    let next = scratch + ((<usize>kp) << 4);
    // Inputs widened after each tile: whole blocks, at least an equal share, so that the last tile finds nothing left.
    const share = (kp / ((end - first + 3) >> 2) + 2 * BLOCK - 1) & ~(BLOCK - 1);
    widen4(panel + HEAD, kp, now);
    for (let o = 0; o < n; o += 8, panel += bytes) {
      let left = o + 8 < n ? kp : 0;
      let from = panel + bytes + HEAD;
      let to = next;
      for (let r = first; r < end; r += 4) {
        const at = <usize>min(r, m - 4);
        const s = scales + at * 2 * groups;
        const z = sums + at * groups;
        const column = out + at * outStride + ((<usize>o) << 2);
        tileWide4(q16 + at * xStride, xStride, s, z, groups, panel, now, kp, column, outStride, n - o);
        if (left > 0) {
          const take = min(share, left);
          widen4(from, take, to);
          from += <usize>(take >> 5) * BLOCK_BYTES;
          to += (<usize>take) << 4;
          left -= take;
        }
      }
      const swap = now;
      now = next;
      next = swap;
    }
  }
}
