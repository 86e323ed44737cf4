import { exp4 } from './exp';
import { hmax, hsum, laneMask, loadUpTo4, pairSums, storeUpTo4 } from './lanes';
import { absMax, codes4, scaleOf } from './quantize';

/**
 * Attention of blocks of four queries that share one KV head: four rows of a head, or with grouped heads and few rows,
 * rows of several. K and V are read once for the four. A query's weight is 0 for keys outside its own range, which changes
 * no bit: sums start at +0, and f(s + ±0) = s. Each query's sum of exponentials starts its lanes at its own first key.
 *
 * scratch: four rows of widened query codes i16[4][dk], then from the next multiple of 64 four score rows of slots + 8 f32;
 * a row's last 16 bytes hold the query's factor c, its first and last key, and its sum Z.
 */
const C: usize = 0;
const FIRST: usize = 4;
const LAST: usize = 8;
const Z: usize = 12;

/** Codes of one query of d inputs, widened, zero up to a multiple of four. Returns its scale. */
function quantizeQuery(q: usize, d: i32, codes: usize): f32 {
  const scale = scaleOf(absMax(q, d));
  for (let i = 0; i < d; i += 4, q += 16, codes += 8) {
    const c = codes4(loadUpTo4(q, d - i), f32x4.splat(scale));
    v128.store64_lane(codes, i16x8.narrow_i32x4_s(c, c), 0);
  }
  return scale;
}

// @ts-ignore: decorator
@inline
function dotAdd(sum: v128, x: v128, w: v128): v128 {
  return i32x4.add(sum, i32x4.dot_i16x8_s(x, w));
}

/** s_j = f(f32(Σ q·k_j) · f(c · ks_j)) of four keys. */
// @ts-ignore: decorator
@inline
function score(low: v128, high: v128, c: f32, keyScales: v128): v128 {
  return f32x4.mul(f32x4.convert_i32x4_s(pairSums(low, high)), f32x4.mul(f32x4.splat(c), keyScales));
}

/** Scores of four queries against the slots start..end-1, four slots at a time; both multiples of 4. */
function scoreBlock(
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
  const c0 = load<f32>(meta + C);
  const c1 = load<f32>(meta + stride + C);
  const c2 = load<f32>(meta + 2 * stride + C);
  const c3 = load<f32>(meta + 3 * stride + C);
  const width = dk << 1;
  for (let slot = start; slot < end; slot += 4, rows += 16) {
    let k = keys + (((slot >> 3) * dk) << 3) + ((slot & 4) << 2);
    let l0 = i32x4.splat(0);
    let h0 = l0;
    let l1 = l0;
    let h1 = l0;
    let l2 = l0;
    let h2 = l0;
    let l3 = l0;
    let h3 = l0;
    const queryEnd = queries + width;
    for (let q = queries; q < queryEnd; q += 8, k += 32) {
      const low = v128.load8x8_s(k);
      const high = v128.load8x8_s(k, 8);
      let x = v128.load64_splat(q);
      l0 = dotAdd(l0, x, low);
      h0 = dotAdd(h0, x, high);
      x = v128.load64_splat(q + width);
      l1 = dotAdd(l1, x, low);
      h1 = dotAdd(h1, x, high);
      x = v128.load64_splat(q + 2 * width);
      l2 = dotAdd(l2, x, low);
      h2 = dotAdd(h2, x, high);
      x = v128.load64_splat(q + 3 * width);
      l3 = dotAdd(l3, x, low);
      h3 = dotAdd(h3, x, high);
    }
    const scales = v128.load(keyScales + (slot << 2));
    v128.store(rows, score(l0, h0, c0, scales));
    v128.store(rows + stride, score(l1, h1, c1, scales));
    v128.store(rows + 2 * stride, score(l2, h2, c2, scales));
    v128.store(rows + 3 * stride, score(l3, h3, c3, scales));
  }
}

/** n ≥ 1 scores at s → weights w_j = f(e_j · vs_j), in place. Returns Z = sum4(e). */
function weigh(s: usize, n: i32, valueScales: usize): f32 {
  let peak = f32x4.splat(load<f32>(s));
  for (let i = 0; i < n; i += 4) {
    const v = v128.load(s + ((<usize>i) << 2));
    peak = f32x4.max(peak, i + 4 <= n ? v : v128.bitselect(v, peak, laneMask(n - i)));
  }
  const highest = f32x4.splat(hmax(peak));
  let sum = f32x4.splat(0.0);
  for (let i = 0; i < n; i += 4, s += 16, valueScales += 16) {
    const e = exp4(f32x4.sub(v128.load(s), highest));
    if (i + 4 <= n) {
      sum = f32x4.add(sum, e);
      v128.store(s, f32x4.mul(e, v128.load(valueScales)));
    } else {
      sum = f32x4.add(sum, v128.and(e, laneMask(n - i)));
      storeUpTo4(s, f32x4.mul(e, loadUpTo4(valueScales, n - i)), n - i);
    }
  }
  return hsum(sum);
}

/** i32 lanes → f32 → times the weight, added. */
// @ts-ignore: decorator
@inline
function weighed(sum: v128, weight: v128, value: v128): v128 {
  return f32x4.add(sum, f32x4.mul(weight, value));
}

/** Eight dimensions of four contexts: keys ascending. out0..3: where the four rows lie; left: dimensions of d from here on. */
function contextBlock(
  values: usize,
  dv: usize,
  count: i32,
  weights: usize,
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
  for (; count > 0; count--, weights += 4, values += dv) {
    const wide = v128.load8x8_s(values);
    const low = f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(wide));
    const high = f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(wide));
    let w = v128.load32_splat(weights);
    a0 = weighed(a0, w, low);
    b0 = weighed(b0, w, high);
    w = v128.load32_splat(weights + stride);
    a1 = weighed(a1, w, low);
    b1 = weighed(b1, w, high);
    w = v128.load32_splat(weights + 2 * stride);
    a2 = weighed(a2, w, low);
    b2 = weighed(b2, w, high);
    w = v128.load32_splat(weights + 3 * stride);
    a3 = weighed(a3, w, low);
    b3 = weighed(b3, w, high);
  }
  storeContext(out0, a0, b0, load<f32>(meta + Z), left);
  storeContext(out1, a1, b1, load<f32>(meta + stride + Z), left);
  storeContext(out2, a2, b2, load<f32>(meta + 2 * stride + Z), left);
  storeContext(out3, a3, b3, load<f32>(meta + 3 * stride + Z), left);
}

function storeContext(out: usize, a: v128, b: v128, z: f32, left: i32): void {
  const total = f32x4.splat(z);
  storeUpTo4(out, f32x4.div(a, total), left);
  if (left > 4) storeUpTo4(out + 16, f32x4.div(b, total), left - 4);
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
    const keys = kCache + <usize>(kv * slots) * dk;
    const keyScales = kScales + ((<usize>(kv * slots)) << 2);
    const values = vCache + <usize>(kv * slots) * dv;
    const valueScales = vScales + ((<usize>(kv * slots)) << 2);
    for (let unit = 0; unit < units; unit += 4) {
      let low = keyCount;
      let high = 0;
      for (let t = 0; t < 4; t++) {
        // Past the last query the block repeats it: the same bits land in the same place.
        const u = min(unit + t, units - 1);
        const row = u % n;
        const at = (<usize>((row * heads + kv * group + u / n) * d)) << 2;
        const scale = quantizeQuery(q + at, d, scratch + <usize>t * (dk << 1));
        const p = queryFirst + row;
        const first = max(0, p - window + 1);
        const last = min(keyCount - 1, causal ? p : p + window - 1);
        const own = meta + <usize>t * stride;
        store<f32>(own + C, scale * inverseRoot);
        store<i32>(own + FIRST, first);
        store<i32>(own + LAST, last);
        low = min(low, first);
        high = max(high, last);
      }
      const lowSlot = keyFirst + low;
      const start = lowSlot & ~3;
      const end = (keyFirst + high + 4) & ~3;
      scoreBlock(scratch, dk, keys, keyScales, <usize>start, <usize>end, rows, stride, meta);
      for (let t = 0; t < 4; t++) {
        const scores = rows + <usize>t * stride;
        const own = meta + <usize>t * stride;
        const firstSlot = keyFirst + load<i32>(own + FIRST);
        const pastSlot = keyFirst + load<i32>(own + LAST) + 1;
        const z = weigh(
          scores + ((<usize>(firstSlot - start)) << 2),
          pastSlot - firstSlot,
          valueScales + ((<usize>firstSlot) << 2),
        );
        store<f32>(own + Z, z);
        memory.fill(scores, 0, (<usize>(firstSlot - start)) << 2);
        memory.fill(scores + ((<usize>(pastSlot - start)) << 2), 0, (<usize>(end - pastSlot)) << 2);
      }
      const weights = rows + ((<usize>(lowSlot - start)) << 2);
      const o0 = out + outOffset(unit, units, n, heads, kv * group, d);
      const o1 = out + outOffset(unit + 1, units, n, heads, kv * group, d);
      const o2 = out + outOffset(unit + 2, units, n, heads, kv * group, d);
      const o3 = out + outOffset(unit + 3, units, n, heads, kv * group, d);
      for (let i = 0; i < d; i += 8) {
        const at = (<usize>i) << 2;
        const v = values + <usize>lowSlot * dv + <usize>i;
        contextBlock(v, dv, high - low + 1, weights, stride, meta, o0 + at, o1 + at, o2 + at, o3 + at, d - i);
      }
    }
  }
}

/** Byte offset of query unit u (head-major inside a group) in f32[n][heads · d]. */
function outOffset(u: i32, units: i32, n: i32, heads: i32, firstHead: i32, d: i32): usize {
  u = min(u, units - 1);
  return (<usize>(((u % n) * heads + firstHead + u / n) * d)) << 2;
}
