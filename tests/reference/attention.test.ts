import { describe, expect, test } from '@jest/globals';
import { validateConfig } from '../../src/config.js';
import { concatKv, kvRows, sliceKv, visible, type Segment } from '../../src/reference/attention.js';
import * as ops from '../../src/reference/ops.js';
import { attend } from '../support/float64.js';
import { oddDecoder } from '../support/models.js';
import { Rng } from '../support/rng.js';

const rowsOf = (x: Float32Array, width: number): number[][] =>
  Array.from({ length: x.length / width }, (_, r) => Array.from(x.subarray(r * width, (r + 1) * width)));

/** Values that quantise without loss: codes of scale 1/64, the largest magnitude in every head. */
function exactValues(rng: Rng, n: number, d: number): Float32Array {
  return Float32Array.from({ length: n * d }, (_, i) => (i % d === 0 ? 127 : rng.int(-127, 127)) / 64);
}

interface Shape {
  readonly n: number;
  readonly keyCount: number;
  readonly queryFirst: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly d: number;
  readonly causal: boolean;
  readonly window: number;
  readonly extras?: readonly number[];
  /** Keys that are erased before the query. */
  readonly holes?: readonly number[];
}

function run(shape: Shape, draw: (n: number) => Float32Array) {
  const { n, heads, kvHeads, d, holes = [], ...segment } = shape;
  const q = draw(n * heads);
  const k = draw(shape.keyCount * kvHeads);
  const v = draw(shape.keyCount * kvHeads);
  const kv = kvRows(shape.keyCount, kvHeads, d);
  ops.kvAppend(kv, k, v, 0);
  for (const j of holes) ops.kvErase(kv, 1, j);
  const got = ops.attention(q, heads, kv, { ...segment, keyFirst: 0 });
  const sees = (i: number, j: number): boolean => {
    const p = shape.queryFirst + i;
    if (holes.includes(j) || (shape.causal && j > p)) return false;
    return Math.abs(p - j) < shape.window || (shape.extras ?? []).includes(j);
  };
  const expected = attend(
    rowsOf(q, heads * d),
    rowsOf(k, kvHeads * d),
    rowsOf(v, kvHeads * d),
    heads,
    kvHeads,
    sees,
  ).flat();
  return { q, kv, got, error: Math.max(...expected.map((e, i) => Math.abs(e - got[i]!))) };
}

describe('attention', () => {
  const square = { queryFirst: 0, heads: 1, kvHeads: 1, causal: false, window: 1e4 };
  const shapes: [string, Shape][] = [
    ['16 queries of 8', { ...square, n: 16, keyCount: 16, d: 8 }],
    ['8 of 4, causal', { ...square, n: 8, keyCount: 8, d: 4, causal: true }],
    ['64 of 64, causal', { ...square, n: 64, keyCount: 64, d: 64, causal: true }],
    ['window of 5, causal', { ...square, n: 20, keyCount: 20, d: 25, causal: true, window: 5 }],
    ['window of 5, both ways', { ...square, n: 20, keyCount: 20, d: 25, window: 5 }],
    ['6 heads on 2', { ...square, n: 9, keyCount: 9, d: 10, heads: 6, kvHeads: 2, causal: true }],
    ['one query after 16 keys', { ...square, n: 1, keyCount: 17, queryFirst: 16, d: 16, causal: true }],
    [
      'two sinks outside a window of 3',
      { ...square, n: 9, keyCount: 9, d: 16, causal: true, window: 3, extras: [0, 1] },
    ],
    ['extra keys on both sides', { ...square, n: 9, keyCount: 9, d: 16, window: 2, extras: [0, 4, 5, 8] }],
    [
      'holes, one an extra key',
      { ...square, n: 3, keyCount: 12, queryFirst: 9, d: 8, causal: true, window: 6, extras: [0, 1], holes: [1, 5, 8] },
    ],
    ['the last 4 of 12', { ...square, n: 4, keyCount: 12, queryFirst: 8, d: 16, causal: true }],
  ];

  test.each(shapes)('FL1: %s — within 1e-4 of the naive f64 one on the same codes', (_name, shape) => {
    const rng = new Rng(1);
    expect(run(shape, (n) => exactValues(rng, n, shape.d)).error).toBeLessThan(1e-4);
  });

  test.each(shapes)('FL1: %s — within 0.1 of it on unquantised values', (_name, shape) => {
    const rng = new Rng(2);
    const { error } = run(shape, (n) => rng.normals(n * shape.d));
    expect(error).toBeLessThan(0.1);
    expect(error).toBeGreaterThan(0);
  });

  test('FL1: many heads are each head alone, and a decode step sees every key (bottom right)', () => {
    const d = 16;
    const rng = new Rng(3);
    const n = 7;
    const { q, kv, got } = run({ ...square, n, keyCount: n, d, heads: 3, kvHeads: 3, causal: true }, (rows) =>
      rng.normals(rows * d),
    );
    const head = (x: Float32Array | Int8Array, h: number): number[] =>
      rowsOf(Float32Array.from(x), 3 * d).flatMap((row) => row.slice(h * d, (h + 1) * d));
    const scale = (x: Float32Array, h: number): Float32Array => x.filter((_, i) => i % 3 === h);
    for (let h = 0; h < 3; h++) {
      const alone = {
        ...{ heads: 1, d, k: Int8Array.from(head(kv.k, h)), v: Int8Array.from(head(kv.v, h)) },
        ...{ kScales: scale(kv.kScales, h), vScales: scale(kv.vScales, h) },
      };
      const segment = { keyFirst: 0, keyCount: n, queryFirst: 0, causal: true, window: n };
      const whole = ops.attention(Float32Array.from(head(q, h)), 1, alone, segment);
      expect([...whole]).toEqual(head(got, h));
      const last = ops.attention(Float32Array.from(head(q, h).slice(-d)), 1, alone, { ...segment, queryFirst: n - 1 });
      expect([...last]).toEqual(head(got, h).slice(-d));
    }
  });

  const causal = (keyCount: number, window: number): Segment => ({
    ...{ keyFirst: 0, keyCount, queryFirst: 0, causal: true, window },
  });
  test('W1: a window of 4 at position 5 sees 2, 3, 4, 5', () => {
    expect(visible(5, causal(8, 4))).toEqual([2, 5]);
  });
  test('W2: a window of 2 over 4 positions; both ways it sees one on each side', () => {
    expect([0, 1, 2, 3].map((p) => visible(p, causal(4, 2)))).toEqual([
      [0, 0],
      [0, 1],
      [1, 2],
      [2, 3],
    ]);
    expect([0, 1, 3].map((p) => visible(p, { ...causal(4, 2), causal: false }))).toEqual([
      [0, 1],
      [0, 2],
      [2, 3],
    ]);
  });
  test('W3: equal keys, unit values, window 3 at position 3 of 4: 0, ⅓, ⅓, ⅓', () => {
    const kv = kvRows(4, 1, 4);
    const unit = Float32Array.from({ length: 16 }, (_, i) => (i % 5 === 0 ? 1 : 0));
    ops.kvAppend(kv, new Float32Array(16).fill(1), unit, 0);
    const out = ops.attention(new Float32Array(4).fill(1), 1, kv, { ...causal(4, 3), queryFirst: 3 });
    expect([...out].map((v) => Number(v.toFixed(6)))).toEqual([0, 0.333333, 0.333333, 0.333333]);
  });

  test('a segment that begins inside the cache is the same segment at its start', () => {
    const rng = new Rng(4);
    const d = 20;
    const [k, v, q] = [rng.normals(9 * d), rng.normals(9 * d), rng.normals(3 * d)];
    const at = (slot0: number): number[] => {
      const kv = kvRows(16, 1, d);
      ops.kvAppend(kv, rng.normals(16 * d), rng.normals(16 * d), 0);
      ops.kvAppend(kv, k, v, slot0);
      return [...ops.attention(q, 1, kv, { ...causal(9, 4), keyFirst: slot0, queryFirst: 5 })];
    };
    expect(at(0)).toEqual(at(6));
  });

  test('keys of equal content weigh the same in the window and as extras; a hole weighs nothing', () => {
    const kv = kvRows(6, 1, 4);
    const unit = Float32Array.from({ length: 24 }, (_, i) => (i % 4 === Math.min(3, i >> 2) ? 1 : 0));
    ops.kvAppend(kv, new Float32Array(24).fill(1), unit, 0);
    const segment = { ...causal(6, 1), queryFirst: 5, extras: [0, 1, 2] };
    const seen = (): number[] => [...ops.attention(new Float32Array(4).fill(1), 1, kv, segment)];
    expect(seen()).toEqual([0.25, 0.25, 0.25, 0.25]);
    ops.kvErase(kv, 2, 0);
    expect(seen()).toEqual([0, 0, 0.5, 0.5]);
  });

  test('slices in a row are the whole, and copies', () => {
    const kv = kvRows(7, 2, 3);
    ops.kvAppend(kv, new Rng(1).normals(42), new Rng(2).normals(42), 0);
    const parts = [sliceKv(kv, 0, 3), sliceKv(kv, 3, 3), sliceKv(kv, 3, 7)];
    expect(concatKv(parts)).toEqual(kv);
    expect(parts[2]!.kScales).toEqual(kv.kScales.slice(6));
    ops.kvErase(parts[2]!, 1, 1);
    expect(parts[2]!.kScales.indexOf(0)).toBe(2);
    expect(kv.kScales.includes(0)).toBe(false);
  });

  test('flushing leaves nothing', () => {
    const kv = kvRows(4, 2, 3);
    ops.kvAppend(kv, new Rng(1).normals(24), new Rng(2).normals(24), 0);
    expect(kv.k.some((c) => c !== 0)).toBe(true);
    ops.kvFlush(kv);
    for (const part of [kv.k, kv.v, kv.kScales, kv.vScales]) expect(part.every((c) => c === 0)).toBe(true);
  });
});

describe('RoPE', () => {
  const d = 16;
  const table = ops.ropeTable(64, d, 10000, 0);
  const rotated = (x: Float32Array, heads: number, positions: number[], by = table): Float32Array => {
    const y = x.slice();
    ops.rope(y, heads, d, by, positions);
    return y;
  };

  test('RP1: an odd head or a base below 1 is an error', () => {
    const odd = { ...oddDecoder, hidden: 54, headDim: 9 };
    expect(() => validateConfig(odd)).toThrow(expect.objectContaining({ code: 'BadConfig', field: 'config.headDim' }));
    expect(() => validateConfig({ ...oddDecoder, ropeBase: 0 })).toThrow(/config.ropeBase/);
  });

  test('a table from any position on is the same rows', () => {
    expect(ops.ropeTable(20, d, 10000, 44)).toEqual(table.slice(44 * d));
    expect(ops.ropeTable(1, d, 10000, 2 ** 20 - 1)[0]).toBeCloseTo(Math.cos(2 ** 20 - 1), 7);
  });

  test('RP1: position 0 changes nothing; turning back gives the vector again', () => {
    const x = new Rng(1).normals(2 * d);
    expect(rotated(x, 2, [0])).toEqual(x);
    const back = table.slice();
    for (let row = 0; row < 64; row++) for (let i = d / 2; i < d; i++) back[row * d + i] = -back[row * d + i]!;
    const there = rotated(x, 2, [10]);
    expect(there).not.toEqual(x);
    rotated(there, 2, [10], back).forEach((v, i) => expect(v).toBeCloseTo(x[i]!, 5));
  });

  test('RP1: all heads are turned, by the angles pos · base^(−2i/d), slower with i', () => {
    const x = new Float32Array(3 * d).fill(1);
    const y = rotated(x, 3, [7]);
    for (let h = 0; h < 3; h++) expect(y.slice(h * d, (h + 1) * d)).toEqual(y.slice(0, d));
    for (let i = 0; i < d / 2; i++) {
      const angle = 7 * 10000 ** ((-2 * i) / d);
      expect(table[7 * d + i]).toBeCloseTo(Math.cos(angle), 7);
      expect(table[7 * d + d / 2 + i]).toBeCloseTo(Math.sin(angle), 7);
      expect(y[i]).toBeCloseTo(Math.cos(angle) - Math.sin(angle), 6);
      expect(y[i + d / 2]).toBeCloseTo(Math.cos(angle) + Math.sin(angle), 6);
    }
  });

  test('length is kept, products depend on the difference of positions', () => {
    const [a, b] = [new Rng(2).normals(d), new Rng(3).normals(d)];
    const dot = (x: Float32Array, y: Float32Array): number => x.reduce((sum, v, i) => sum + v * y[i]!, 0);
    expect(dot(rotated(a, 1, [33]), rotated(a, 1, [33]))).toBeCloseTo(dot(a, a), 4);
    expect(dot(rotated(a, 1, [40]), rotated(b, 1, [30]))).toBeCloseTo(dot(rotated(a, 1, [15]), rotated(b, 1, [5])), 4);
  });
});
