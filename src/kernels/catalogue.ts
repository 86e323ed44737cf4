/**
 * The kernels, one row each: what a build of `assembly/` exports. Addresses are byte offsets into the
 * one memory, 64-byte aligned unless said otherwise; counts are elements. No kernel allocates, keeps
 * state, or writes outside the regions listed under "writes". Arithmetic: docs/numbers.md.
 *
 * Activation buffers of a quantised row block of M rows × K inputs (Kp = K rounded up to 8, G = ceil(K/64)):
 *   q8 i8[M][Kp] · q16 i16[M][Kp] (the same codes widened) · scales f32[M][G] · sums i16[M][G][2] (codes 0..31, 32..63)
 * KV block of one layer, one region, `slots` a multiple of 8, dk = d rounded up to 4, dv = d rounded up to 8; offsets of
 * its parts: `kvBlockLayout`. A slot whose K scale is 0 is a hole of that head: attention leaves it out.
 *   k i8[kvHeads][slots/8][dk/4][8 slots][4] · v i8[kvHeads][slots][dv] · kScales, vScales f32[kvHeads][slots]
 */
export type KernelExports = {
  /** First byte above AssemblyScript's static data; at most 65536, where the arena starts. */
  heapBase(): number;
  /** docs/numbers.md "Checksum" of `bytes` bytes at ptr. Returned as a signed i64 (BigInt). */
  checksum(ptr: number, bytes: number): bigint;
  /** Token rows: out f32[n][dim] from an int8 panel table. tokens u32[n]. Writes out. */
  embed(tokens: number, n: number, table: number, dim: number, out: number): void;
  /** x[i] += table[index[i]]: x f32[n][dim], table f32[*][dim], index u32[n]. Writes x. */
  addRows(x: number, n: number, dim: number, table: number, index: number): void;
  /** out f32[n][dim] from x f32[n][dim]; out may be x. Writes out. */
  layerNorm(x: number, n: number, dim: number, weight: number, bias: number, eps: number, out: number): void;
  /** out f32[n][dim] from x f32[n][dim]; out may be x. Writes out. */
  rmsNorm(x: number, n: number, dim: number, weight: number, eps: number, out: number): void;
  /**
   * x f32[m][k], smooth f32[k] or 0 (none). Writes q8, q16, scales, sums; padding codes become zero. scales f32[m][ceil(k / 64)]; with
   * `halved` not 0 f32[m][ceil(k / 64)][2], one for each 32 inputs, as int4 layers take them, and 1 where a row ends before.
   */
  quantize(
    x: number,
    m: number,
    k: number,
    smooth: number,
    q8: number,
    q16: number,
    scales: number,
    sums: number,
    halved?: number,
  ): void;
  /**
   * out f32[m][n] = x · panelsᵀ; int8 panels; m ≥ 1. Writes out, scratch. scratch: `gemmScratchBytes(k)`, or left out:
   * the same bits, some 15 % slower from 16 rows on.
   */
  gemmI8(
    q8: number,
    q16: number,
    scales: number,
    sums: number,
    panels: number,
    m: number,
    n: number,
    k: number,
    out: number,
    scratch?: number,
  ): void;
  /** The same for one row. Writes out f32[n]. */
  gemvI8(
    q8: number,
    q16: number,
    scales: number,
    sums: number,
    panels: number,
    n: number,
    k: number,
    out: number,
  ): void;
  /** int7 panels (u8 = code + 64). The relaxed build runs relaxed_dot here, without scratch. Writes out, scratch. */
  gemmI7(
    q8: number,
    q16: number,
    scales: number,
    sums: number,
    panels: number,
    m: number,
    n: number,
    k: number,
    out: number,
    scratch?: number,
  ): void;
  gemvI7(
    q8: number,
    q16: number,
    scales: number,
    sums: number,
    panels: number,
    n: number,
    k: number,
    out: number,
  ): void;
  /** int4 panels; codes of `quantize` with `halved`. scratch: `gemmScratchBytes(k)`, required; the relaxed build uses 96 bytes of it. Writes out, scratch. */
  gemmI4(
    q8: number,
    q16: number,
    scales: number,
    sums: number,
    panels: number,
    m: number,
    n: number,
    k: number,
    out: number,
    scratch: number,
  ): void;
  /** The same for one row. scratch: `gemmScratchBytes(k)`, required. Writes out f32[n], scratch. */
  gemvI4(
    q8: number,
    q16: number,
    scales: number,
    sums: number,
    panels: number,
    n: number,
    k: number,
    out: number,
    scratch: number,
  ): void;
  /** x[i] = f(x[i] + y[i]), i < n. Writes x. */
  add(x: number, y: number, n: number): void;
  /** x[i] = f(x[i] · y[i]), i < n. Writes x. */
  mul(x: number, y: number, n: number): void;
  /** Activations in place over n elements. Write x. */
  gelu(x: number, n: number): void;
  geluTanh(x: number, n: number): void;
  relu(x: number, n: number): void;
  silu(x: number, n: number): void;
  /** Rows of n elements in place: x f32[rows][n] → softmax. Writes x. */
  softmax(x: number, rows: number, n: number): void;
  /**
   * out f32[rows][d]: cos of d/2 frequencies, then sin, times scale. Row r is position first + r < 2²⁰. base, scale, ntk are f64; factors
   * f32[d/2] in (0, 1] or 0 (none); ntk 1: the base as it is. Writes out.
   */
  ropeTable(
    out: number, rows: number, d: number, base: number, first: number, factors: number, scale: number, ntk: number,
  ): void; // prettier-ignore
  /** Rotates x f32[n][heads · d] in place by table rows positions u32[n]. Writes x. */
  rope(x: number, n: number, heads: number, d: number, table: number, positions: number): void;
  /**
   * Quantises k and v f32[n][kvHeads · d] per token and head into slots slot0..slot0+n-1 of a block (no wrap: the host
   * splits at the ring's end). Padding inputs become zero. Writes the codes and scales of those slots only.
   */
  kvAppend(
    k: number,
    v: number,
    n: number,
    kvHeads: number,
    d: number,
    slots: number,
    slot0: number,
    block: number,
  ): void;
  /** Slots slot0..slot0+n-1 become holes: their codes and scales, of all heads, become 0. Writes nothing else. */
  kvErase(n: number, kvHeads: number, d: number, slots: number, slot0: number, block: number): void;
  /** Slots from..from+n-1 of one block, codes and scales, to slots to.. of another of the same shape. Writes target at those slots only. */
  kvCopy(
    n: number, kvHeads: number, d: number, slots: number, source: number, from: number, target: number, to: number,
  ): void; // prettier-ignore
  /** memory.fill(ptr, 0, bytes). */
  kvFlush(ptr: number, bytes: number): void;
  /**
   * Query rows 0..n-1 of q f32[n][heads · d] against keys in one or more KV blocks of the same kvHeads, d and slots.
   * spans u32[spanCount][3] = {block, first slot, count ≥ 1}, at a multiple of 4: the keys are the spans' slots one after
   * another, keyCount in all; key index = place among them. The result depends on that order alone, not on cuts, slots or
   * how many rows a call has.
   * Row r stands at key index p = queryFirst + r < keyCount and sees lo..hi: lo = max(0, p-window+1), hi = causal ? p :
   * min(keyCount-1, p+window-1); causal 0|1; window ≥ 1 (pass keyCount for no limit).
   * extras u32[extraCount], ascending key indices (0 with extraCount 0): a row also sees those below its lo and, where not causal, above its hi.
   * A row's own key must be no hole. Query head h reads KV head floor(h / (heads / kvHeads)).
   * scratch: `attentionScratchBytes(d, keyCount, extraCount)`. Writes out f32[n][heads · d], scratch.
   */
  attention(
    q: number, n: number, heads: number, kvHeads: number, d: number, slots: number,
    spans: number, spanCount: number, queryFirst: number, causal: number, window: number,
    extras: number, extraCount: number, scratch: number, out: number,
  ): void; // prettier-ignore
  /** Mean of n rows of x f32[n][dim] into out f32[dim]. Writes out. */
  poolMean(x: number, n: number, dim: number, out: number): void;
  /** x f32[n] divided by its L2 norm, in place. Writes x. */
  l2Normalize(x: number, n: number): void;
  /**
   * Of n ≥ 1 logits x f32[n], m the largest: out f32[3] = Σ e, Σ e·d and exp(second largest − m), where d = x − m, e = exp(d).
   * Writes out.
   */
  logitStats(x: number, n: number, out: number): void;
  /** Cosine of x and y f32[n], an f32; NaN where one of them is zero. Writes nothing. */
  cosine(x: number, y: number, n: number): number;
};

export type KernelName = Exclude<keyof KernelExports, 'heapBase'>;

/** Parameters of every export: a build from other sources is refused by name, not by a wrong number. */
export const ARITY: Readonly<Record<keyof KernelExports, number>> = {
  heapBase: 0,
  checksum: 2,
  embed: 5,
  addRows: 5,
  layerNorm: 7,
  rmsNorm: 6,
  quantize: 9,
  gemmI8: 10,
  gemvI8: 8,
  gemmI7: 10,
  gemvI7: 8,
  gemmI4: 10,
  gemvI4: 9,
  add: 3,
  mul: 3,
  gelu: 2,
  geluTanh: 2,
  relu: 2,
  silu: 2,
  softmax: 3,
  ropeTable: 8,
  rope: 6,
  kvAppend: 8,
  kvErase: 6,
  kvCopy: 8,
  kvFlush: 2,
  attention: 15,
  poolMean: 4,
  l2Normalize: 2,
  logitStats: 3,
  cosine: 3,
};

/** All kernels, in the order of the catalogue. */
export const KERNELS = Object.keys(ARITY).filter((name): name is KernelName => name !== 'heapBase');

/** Scratch of linear layers: the codes of two panels widened to i16, one at work and the next. */
export const gemmScratchBytes = (k: number): number => 32 * Math.ceil(k / 8) * 8;

/**
 * Scratch of `attention` with at most `keys` keys, each in a span of its own at worst, and `extras` extra keys: the queries'
 * widened codes, four score rows, gathered value scales, pieces of 12 bytes, gathered extra keys. Never falls as keys or
 * extras rise.
 */
export const attentionScratchBytes = (d: number, keys: number, extras: number): number => {
  const dk = roundUp(d, 4);
  const dv = roundUp(d, 8);
  const rows = 4 * 4 * (roundUp(extras, 4) + roundUp(keys, 4) + 16);
  const pieces = roundUp(12 * (keys + 1), 16);
  const extraKeys = roundUp(extras, 8) * (dk + dv + 8);
  return roundUp(roundUp(4 * dk * 2, 64) + rows + 4 * roundUp(keys, 4) + pieces + extraKeys, 64);
};

/** Byte offsets of a KV block's parts; the keys lie at 0. `bytes` is a multiple of 64. */
export interface KvBlockLayout {
  readonly v: number;
  readonly kScales: number;
  readonly vScales: number;
  readonly bytes: number;
}

/** Layout of one layer's KV block; slots a multiple of 8. */
export function kvBlockLayout(kvHeads: number, slots: number, d: number): KvBlockLayout {
  const cells = kvHeads * slots;
  const v = roundUp(cells * roundUp(d, 4), 64);
  const kScales = v + roundUp(cells * roundUp(d, 8), 64);
  const vScales = kScales + roundUp(cells * 4, 64);
  return { v, kScales, vScales, bytes: vScales + roundUp(cells * 4, 64) };
}

const roundUp = (n: number, multiple: number): number => Math.ceil(n / multiple) * multiple;
