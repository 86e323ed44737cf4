import { rowRelaxed, tileRelaxed } from './relaxed';
import { HEAD, row8, tileBytes } from './tiles';
import { tileWide, widen } from './wide';

/**
 * Linear layers: out f32[m][n] = rows of codes × panels. One loop for every build: each panel in turn meets four rows at a
 * time, so the weights stream once per block of rows and a panel stays in the first-level cache.
 */

/** Rows whose widened codes stay in the second-level cache while every panel passes. */
const BLOCK_BYTES: usize = 262144;
/** From this many rows on, widening a panel once costs less than widening it per tile (measured with weights that stream from memory). */
const WIDE_ROWS: i32 = 12;

// @ts-ignore: decorator
@inline
function row(
  q8: usize,
  q16: usize,
  scales: usize,
  sums: usize,
  panel: usize,
  kp: i32,
  out: usize,
  count: i32,
  int7: bool,
): void {
  if (ASC_FEATURE_RELAXED_SIMD) {
    if (int7) {
      rowRelaxed(q8, scales, sums, panel, kp, out, count);
      return;
    }
  }
  row8(q16, scales, sums, panel, kp, out, count, int7);
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
    row(q8, q16, scales, sums, panels, kp, out, n - o, int7);
  }
}

/** Four rows × one panel. */
// @ts-ignore: decorator
@inline
function tile(
  q8: usize,
  q16: usize,
  scales: usize,
  sums: usize,
  groups: usize,
  panel: usize,
  kp: i32,
  out: usize,
  outStride: usize,
  count: i32,
  int7: bool,
  wide: usize,
): void {
  if (ASC_FEATURE_RELAXED_SIMD) {
    if (int7) {
      tileRelaxed(q8, <usize>kp, scales, sums, groups, panel, kp, out, outStride, count);
      return;
    }
  }
  const xStride = (<usize>kp) << 1;
  if (wide) {
    tileWide(q16, xStride, scales, groups, panel, wide, kp, out, outStride, count);
    return;
  }
  for (let half: usize = 0; half < 32 && count > 0; half += 16, out += 16, count -= 4) {
    tileBytes(q16, xStride, scales, sums, groups, panel + half, kp, out, outStride, count, int7);
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
  scratch: usize,
  int7: bool,
): void {
  const kp = (k + 7) & ~7;
  const codes = <usize>kp;
  const panelBytes = HEAD + (codes << 3);
  const groups = (<usize>((k + 63) >> 6)) << 2;
  const outStride = (<usize>n) << 2;
  const blockRows = max(4, (<i32>(BLOCK_BYTES / (codes << 1))) & ~3);
  const widens = !(ASC_FEATURE_RELAXED_SIMD && int7);
  const wide = widens && m >= WIDE_ROWS ? scratch : 0;
  for (let first = 0; first < m; first += blockRows) {
    const end = min(m, first + blockRows);
    let panel = panels;
    // The next panel is widened bit by bit between this one's tiles, so that its way from memory hides behind their work
    // (measured: 3 % of MiniLM at 32 tokens).
    let now = wide;
    let next = wide ? wide + (codes << 4) : 0;
    // Inputs widened after each tile: at least an equal share each, so that the last tile finds nothing left.
    const share = (kp / ((end - first + 3) >> 2) + 15) & ~7;
    if (wide) widen(panel + HEAD, kp, now, int7);
    for (let o = 0; o < n; o += 8, panel += panelBytes) {
      const column = out + ((<usize>o) << 2);
      const more = wide && o + 8 < n;
      let done = 0;
      let r = first;
      while (r < end) {
        // Three rows left over: a tile that repeats the row before costs less than three rows alone.
        if (end - r === 3 && end >= 4) r = end - 4;
        const at = <usize>r;
        const s = scales + at * groups;
        const z = sums + at * groups;
        const to = column + at * outStride;
        if (end - r >= 4) {
          tile(q8 + at * codes, q16 + at * (codes << 1), s, z, groups, panel, kp, to, outStride, n - o, int7, now);
          r += 4;
        } else {
          row(q8 + at * codes, q16 + at * (codes << 1), s, z, panel, kp, to, n - o, int7);
          r += 1;
        }
        if (more && done < kp) {
          const take = min(share, kp - done);
          widen(panel + panelBytes + HEAD + ((<usize>done) << 3), take, next + ((<usize>done) << 4), int7);
          done += take;
        }
      }
      if (more) {
        const swap = now;
        now = next;
        next = swap;
      }
    }
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

/** scratch: 32 · Kp bytes for two widened panels, or 0 for none. */
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
  scratch: usize,
): void {
  gemm(q8, q16, scales, sums, panels, m, n, k, out, scratch, false);
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
  scratch: usize,
): void {
  gemm(q8, q16, scales, sums, panels, m, n, k, out, scratch, true);
}
