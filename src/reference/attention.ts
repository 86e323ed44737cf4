import { quantizeGroup } from './linear.js';
import { exp, f, sum4 } from './math.js';

const { max, min } = Math;

/** K and V of one layer: int8 codes with one scale per slot and head. A slot whose K scale is 0 is a hole. */
export interface KvRows {
  readonly heads: number;
  /** Inputs of one head. */
  readonly d: number;
  readonly k: Int8Array; // [slots][heads][d]
  readonly v: Int8Array; // [slots][heads][d]
  readonly kScales: Float32Array; // [slots][heads]
  readonly vScales: Float32Array; // [slots][heads]
}

export function kvRows(slots: number, heads: number, d: number): KvRows {
  const codes = (): Int8Array => new Int8Array(slots * heads * d);
  const scales = (): Float32Array => new Float32Array(slots * heads);
  return { heads, d, k: codes(), v: codes(), kScales: scales(), vScales: scales() };
}

/** Quantises k and v f32[n][heads · d] into slots slot0..slot0+n−1, the head as the group. */
export function kvAppend(kv: KvRows, k: Float32Array, v: Float32Array, slot0: number): void {
  const { d } = kv;
  const first = slot0 * kv.heads;
  for (let i = 0; i * d < k.length; i++) {
    const to = (first + i) * d;
    kv.kScales[first + i] = quantizeGroup(k.subarray(i * d, (i + 1) * d), kv.k.subarray(to, to + d));
    kv.vScales[first + i] = quantizeGroup(v.subarray(i * d, (i + 1) * d), kv.v.subarray(to, to + d));
  }
}

/** Slots slot0..slot0+n−1 become holes: codes and scales 0. */
export function kvErase(kv: KvRows, n: number, slot0: number): void {
  const first = slot0 * kv.heads;
  const past = (slot0 + n) * kv.heads;
  for (const codes of [kv.k, kv.v]) codes.fill(0, first * kv.d, past * kv.d);
  for (const scales of [kv.kScales, kv.vScales]) scales.fill(0, first, past);
}

/** Slots from..from+n−1 of one take the place of slots to.. of the other. */
export function kvCopy(n: number, source: KvRows, from: number, target: KvRows, to: number): void {
  const { heads, d } = source;
  const [first, past, at] = [from * heads, (from + n) * heads, to * heads];
  for (const codes of ['k', 'v'] as const) target[codes].set(source[codes].subarray(first * d, past * d), at * d);
  for (const scales of ['kScales', 'vScales'] as const) target[scales].set(source[scales].subarray(first, past), at);
}

/** A copy of slots from..to−1. */
export function sliceKv(kv: KvRows, from: number, to: number): KvRows {
  const { heads, d } = kv;
  const [first, past] = [from * heads, to * heads];
  return {
    ...{ heads, d, k: kv.k.slice(first * d, past * d), v: kv.v.slice(first * d, past * d) },
    ...{ kScales: kv.kScales.slice(first, past), vScales: kv.vScales.slice(first, past) },
  };
}

/** The slots of all parts, in order, copied; at least one part, all of the same heads and d. */
export function concatKv(parts: readonly KvRows[]): KvRows {
  const { heads, d } = parts[0]!;
  const whole = kvRows(parts.reduce((slots, part) => slots + part.kScales.length, 0) / heads, heads, d);
  let first = 0;
  for (const part of parts) {
    whole.k.set(part.k, first * d);
    whole.v.set(part.v, first * d);
    whole.kScales.set(part.kScales, first);
    whole.vScales.set(part.vScales, first);
    first += part.kScales.length;
  }
  return whole;
}

/** Forgets everything. */
export function kvFlush(kv: KvRows): void {
  for (const part of [kv.k, kv.v, kv.kScales, kv.vScales]) part.fill(0);
}

/** Which keys a query sees. Index i of the segment is slot keyFirst + i. */
export interface Segment {
  readonly keyFirst: number;
  readonly keyCount: number;
  /** Index of query row 0 in the segment. */
  readonly queryFirst: number;
  readonly causal: boolean;
  /** Causal: the query and window − 1 keys before it. Bidirectional: |i − j| < window. At least 1. */
  readonly window: number;
  /** Key indices, ascending, below keyCount: seen by the queries whose window they lie outside of, never the future. */
  readonly extras?: ArrayLike<number> | undefined;
}

/** First and last (inclusive) key index that the query at index p of the segment sees. */
export function visible(p: number, { keyCount, causal, window }: Segment): readonly [number, number] {
  return [max(0, p - window + 1), causal ? p : min(keyCount - 1, p + window - 1)];
}

/**
 * Query rows q f32[n][heads · d] over the segment → f32[n][heads · d].
 * Query head h reads KV head floor(h / (heads / kv.heads)). Every row must see a key that is no hole.
 */
export function attention(q: Float32Array, heads: number, kv: KvRows, segment: Segment): Float32Array {
  const { d } = kv;
  const { keyFirst, keyCount, causal } = segment;
  const extras = Array.from(segment.extras ?? []);
  const shared = heads / kv.heads;
  const out = new Float32Array(q.length);
  const codes = new Int8Array(d);
  const perRoot = f(1 / f(Math.sqrt(d)));
  const e = new Float32Array(keyCount);
  const extraE = new Float32Array(extras.length);
  for (let row = 0; row * d < q.length; row++) {
    const head = row % heads;
    const kvHead = Math.floor(head / shared);
    const [lo, hi] = visible(segment.queryFirst + Math.floor(row / heads), segment);
    const c = f(quantizeGroup(q.subarray(row * d, (row + 1) * d), codes) * perRoot);
    const cell = (j: number): number => (keyFirst + j) * kv.heads + kvHead;
    const score = (j: number): number => {
      const at = cell(j);
      const scale = kv.kScales[at]!;
      return scale === 0 ? -Infinity : f(dot(codes, kv.k, at * d) * f(c * scale));
    };

    extras.forEach((j, i) => (extraE[i] = j < lo || (!causal && j > hi) ? score(j) : -Infinity));
    for (let j = lo; j <= hi; j++) e[j] = score(j);
    const peak = max(highest(extraE, 0, extras.length), highest(e, lo, hi + 1));
    for (let i = 0; i < extras.length; i++) extraE[i] = exp(f(extraE[i]! - peak));
    for (let j = lo; j <= hi; j++) e[j] = exp(f(e[j]! - peak));
    // Without extras sum4 is +0, and adding it changes nothing.
    const z = f(sum4(extraE) + sum4(e, lo, hi + 1));

    const context = out.subarray(row * d, (row + 1) * d);
    const add = (j: number, ej: number): void => {
      const at = cell(j);
      const weight = f(ej * kv.vScales[at]!);
      for (let i = 0; i < d; i++) context[i] = context[i]! + f(weight * kv.v[at * d + i]!);
    };
    extras.forEach((j, i) => add(j, extraE[i]!));
    for (let j = lo; j <= hi; j++) add(j, e[j]!);
    for (let i = 0; i < d; i++) context[i] = context[i]! / z;
  }
  return out;
}

/** The keys of a row of a mask: those it names, and the extra keys before the row. Ascending, its own last. */
export const rowKeys = (row: number, keys: readonly number[], extras: readonly number[]): number[] =>
  [...new Set([...keys, ...extras.filter((x) => x < row)])].sort((a, b) => a - b);

/**
 * Attention under a mask, row by row: each query's row and the keys it names, ascending, its own last. A row is as the last one over its
 * own keys alone: window and extra keys go by the place among these.
 */
export function maskedAttention(
  q: Float32Array,
  heads: number,
  kv: KvRows,
  seen: readonly (readonly [row: number, keys: readonly number[]])[],
  window: number,
  extras: readonly number[],
): Float32Array {
  const out = new Float32Array(q.length);
  const width = heads * kv.d;
  seen.forEach(([row, named], i) => {
    const keys = rowKeys(row, named, extras);
    const keyCount = keys.length;
    const segment = { keyFirst: 0, keyCount, queryFirst: keyCount - 1, causal: true, window };
    const places = extras.map((x) => keys.indexOf(x)).filter((place) => place >= 0);
    const own = concatKv(keys.map((j) => sliceKv(kv, j, j + 1)));
    const query = q.subarray(i * width, (i + 1) * width);
    out.set(attention(query, heads, own, { ...segment, extras: places }), i * width);
  });
  return out;
}

function highest(x: Float32Array, from: number, to: number): number {
  let peak = -Infinity;
  for (let i = from; i < to; i++) peak = max(peak, x[i]!);
  return peak;
}

function dot(q: Int8Array, k: Int8Array, at: number): number {
  let sum = 0;
  for (let i = 0; i < q.length; i++) sum = (sum + q[i]! * k[at + i]!) | 0;
  return sum;
}

/** Softmax of each row of x f32[rows][n], in place. */
export function softmax(x: Float32Array, n: number): void {
  for (let at = 0; at < x.length; at += n) {
    const row = x.subarray(at, at + n);
    const peak = row.reduce((a, b) => max(a, b), -Infinity);
    for (let i = 0; i < n; i++) row[i] = exp(f(row[i]! - peak));
    const z = sum4(row);
    for (let i = 0; i < n; i++) row[i] = row[i]! / z;
  }
}
