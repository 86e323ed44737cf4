import { attentionScratchBytes } from '../../../src/kernels/catalogue.js';
import { kvRows, type KvRows } from '../../../src/reference/attention.js';
import * as reference from '../../../src/reference/ops.js';
import { poisoned, type GuardArena } from '../arena.js';
import type { Rng } from '../rng.js';
import { VALUE_KINDS, difference, values, type ValueKind } from '../values.js';
import { allKinds, cross, first, sweep } from './sweep.js';

const roundUp = (n: number, multiple: number): number => Math.ceil(n / multiple) * multiple;

/** A layer's KV cache as the kernels hold it; drawing in src/kernels/catalogue.ts. */
interface KvLayout {
  readonly k: Int8Array; // [kvHeads][slots/8][dk/4][8 slots][4]
  readonly v: Int8Array; // [kvHeads][slots][dv]
  readonly kScales: Float32Array; // [kvHeads][slots]
  readonly vScales: Float32Array;
}

/** Lays out slots slot0..slot0+n−1 of the reference's cache; every other slot is poisoned. */
function layOut(kv: KvRows, slots: number, slot0: number, n: number): KvLayout {
  const { heads, d } = kv;
  const dk = roundUp(d, 4);
  const dv = roundUp(d, 8);
  const layout = {
    k: new Int8Array(poisoned(heads * slots * dk).buffer),
    v: new Int8Array(poisoned(heads * slots * dv).buffer),
    kScales: new Float32Array(poisoned(heads * slots * 4).buffer),
    vScales: new Float32Array(poisoned(heads * slots * 4).buffer),
  };
  for (let h = 0; h < heads; h++) {
    for (let slot = slot0; slot < slot0 + n; slot++) {
      const from = (slot * heads + h) * d;
      for (let i = 0; i < dk; i++) {
        const at = (((h * (slots / 8) + (slot >> 3)) * (dk / 4) + (i >> 2)) * 8 + (slot & 7)) * 4 + (i & 3);
        layout.k[at] = i < d ? kv.k[from + i]! : 0;
      }
      for (let i = 0; i < dv; i++) layout.v[(h * slots + slot) * dv + i] = i < d ? kv.v[from + i]! : 0;
      layout.kScales[h * slots + slot] = kv.kScales[slot * heads + h]!;
      layout.vScales[h * slots + slot] = kv.vScales[slot * heads + h]!;
    }
  }
  return layout;
}

interface AppendShape {
  readonly n: number;
  readonly heads: number;
  readonly d: number;
  readonly slots: number;
  readonly slot0: number;
  readonly kind?: ValueKind;
}

const appendShapes: AppendShape[] = [
  ...cross({
    n: [1, 2, 7, 8, 9, 16],
    heads: [1, 2, 3],
    d: [1, 2, 3, 4, 5, 8, 16, 25, 32, 63, 64, 65, 128],
    slots: [24],
    slot0: [0],
  }),
  ...cross({ n: [1, 3, 9], heads: [2], d: [16, 25], slots: [24], slot0: [1, 7, 8, 13, 15] }),
  ...allKinds({ n: 5, heads: 2, d: 32, slots: 16, slot0: 3 }),
];

const kvAppend = sweep(appendShapes, (arena, { n, heads, d, slots, slot0, kind }, rng) => {
  const k = values(rng, n * heads * d, kind);
  const v = values(rng, n * heads * d, kind);
  const empty = layOut(kvRows(slots, heads, d), slots, 0, 0);
  const expected = kvRows(slots, heads, d);
  reference.kvAppend(expected, k, v, slot0);
  const full = layOut(expected, slots, slot0, n);
  const at = {
    ...{ inK: arena.input(k), inV: arena.input(v) },
    ...{ k: arena.inOut(empty.k), kScales: arena.inOut(empty.kScales) },
    ...{ v: arena.inOut(empty.v), vScales: arena.inOut(empty.vScales) },
  };
  return {
    call: (kernels) => kernels.kvAppend(at.inK, at.inV, n, heads, d, slots, slot0, at.k, at.kScales, at.v, at.vScales),
    check: () =>
      first(
        difference('k', arena.i8(at.k, full.k.length), full.k),
        difference('kScales', arena.f32(at.kScales, heads * slots), full.kScales),
        difference('v', arena.i8(at.v, full.v.length), full.v),
        difference('vScales', arena.f32(at.vScales, heads * slots), full.vScales),
      ),
  };
});

interface AttentionShape {
  /** Query rows; query row 0 stands at index queryFirst of keyCount keys, which start at slot keyFirst. */
  readonly n: number;
  readonly keyCount: number;
  readonly queryFirst: number;
  readonly keyFirst: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly d: number;
  readonly causal: 0 | 1;
  readonly window: number;
  readonly kind?: ValueKind;
}

const base = { queryFirst: 0, keyFirst: 0, heads: 1, kvHeads: 1, d: 16, causal: 0, window: 1e4 } as const;
const square = (shape: Partial<AttentionShape> & { n: number }): AttentionShape => ({
  ...base,
  keyCount: shape.n,
  ...shape,
});

const attentionShapes: AttentionShape[] = [
  // every length around the tiles, both directions
  ...cross({ n: [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33], causal: [0, 1] as const }).map(square),
  // every head size, alone and grouped
  ...cross({ d: [1, 2, 3, 4, 5, 7, 8, 9, 12, 16, 17, 25, 32, 48, 63, 64, 65, 96, 100, 128], causal: [0, 1] as const })
    .map((s) => ({ ...s, n: 11 }))
    .map(square),
  ...cross({ heads: [2, 3, 4, 5, 6, 8, 9, 12], kvHeads: [1, 2, 3], d: [8, 25], causal: [0, 1] as const })
    .filter(({ heads, kvHeads }) => heads % kvHeads === 0)
    .map((s) => square({ n: 9, ...s })),
  // windows
  ...cross({ n: [13, 40], window: [1, 2, 3, 4, 5, 8, 9, 12, 16, 17, 39, 40], causal: [0, 1] as const }).map(square),
  // part of the queries, and segments that begin inside the ring
  ...cross({ queryFirst: [1, 4, 7, 12], keyFirst: [0, 1, 5, 8, 11], causal: [0, 1] as const, window: [3, 1e4] }).map(
    (s) => ({ ...base, n: 5, keyCount: 17, heads: 4, kvHeads: 2, d: 20, ...s }),
  ),
  // one token after a long past, as a decoder takes it
  ...cross({ keyCount: [1, 2, 7, 8, 9, 64, 65, 200], keyFirst: [0, 3] }).map((s) => ({
    ...base,
    ...s,
    n: 1,
    queryFirst: s.keyCount - 1,
    heads: 6,
    kvHeads: 2,
    d: 64,
    causal: 1 as const,
  })),
  ...cross({ kind: VALUE_KINDS, causal: [0, 1] as const }).map((s) =>
    square({ n: 10, heads: 2, kvHeads: 2, d: 32, ...s }),
  ),
  square({ n: 130, heads: 2, kvHeads: 2, d: 32 }),
  square({ n: 65, heads: 4, kvHeads: 4, d: 25 }),
];

/** Cache of `slots` slots in which only the segment holds data: anything read beside it is poison. */
function segmentCache(rng: Rng, shape: AttentionShape): { kv: KvRows; layout: KvLayout; slots: number } {
  const { keyFirst, keyCount, kvHeads, d, kind } = shape;
  const slots = roundUp(keyFirst + keyCount, 8);
  const kv = kvRows(slots, kvHeads, d);
  const count = keyCount * kvHeads * d;
  reference.kvAppend(kv, values(rng, count, kind), values(rng, count, kind), keyFirst);
  return { kv, layout: layOut(kv, slots, keyFirst, keyCount), slots };
}

const attention = sweep(attentionShapes, (arena: GuardArena, shape, rng) => {
  const { n, heads, kvHeads, d, keyFirst, keyCount, queryFirst, causal, window, kind } = shape;
  const { kv, layout, slots } = segmentCache(rng, shape);
  const q = values(rng, n * heads * d, kind);
  const at = {
    ...{ q: arena.input(q), k: arena.input(layout.k), kScales: arena.input(layout.kScales) },
    ...{ v: arena.input(layout.v), vScales: arena.input(layout.vScales) },
    ...{ scratch: arena.output(attentionScratchBytes(d, slots)), out: arena.output(n * heads * d * 4) },
  };
  const cache = [at.k, at.kScales, at.v, at.vScales] as const;
  return {
    call: (kernels) =>
      kernels.attention(
        ...([at.q, n, heads, kvHeads, d, slots, ...cache] as const),
        ...([keyFirst, keyCount, queryFirst, causal, window, at.scratch, at.out] as const),
      ),
    check: () => {
      const segment = { keyFirst, keyCount, queryFirst, causal: causal === 1, window };
      return difference('out', arena.f32(at.out, q.length), reference.attention(q, heads, kv, segment));
    },
  };
});

const kvFlush = sweep(cross({ bytes: [0, 1, 8, 63, 64, 65, 1000] }), (arena, { bytes }) => {
  const at = arena.output(bytes);
  return {
    call: (kernels) => kernels.kvFlush(at, bytes),
    check: () => difference('bytes', arena.i8(at, bytes), new Int8Array(bytes)),
  };
});

const ropeTable = sweep(
  [
    ...cross({ rows: [1, 2, 3, 17], d: [2, 4, 6, 8, 10, 16, 32, 64, 128], base: [10000] }),
    ...cross({ rows: [300], d: [8, 26], base: [1, 2, 500, 10000, 100000, 500000, 1e12] }),
    { rows: 4096, d: 4, base: 10000 },
  ],
  (arena, { rows, d, base }) => {
    const at = arena.output(rows * d * 4);
    return {
      call: (kernels) => kernels.ropeTable(at, rows, d, base),
      check: () => difference('table', arena.f32(at, rows * d), reference.ropeTable(rows, d, base)),
    };
  },
);

interface RopeShape {
  readonly n: number;
  readonly heads: number;
  readonly d: number;
  readonly kind?: ValueKind;
}

const rope = sweep<RopeShape>(
  [
    ...cross({ n: [1, 2, 3, 5], heads: [1, 2, 3, 9], d: [2, 4, 6, 8, 10, 16, 26, 50, 64, 128] }),
    ...allKinds({ n: 4, heads: 2, d: 32 }),
  ],
  (arena, { n, heads, d, kind }, rng) => {
    const rows = 40;
    const x = values(rng, n * heads * d, kind);
    const table = reference.ropeTable(rows, d, 10000);
    const positions = Uint32Array.from([rows - 1, 0, ...rng.ints(n, 0, rows - 1)].slice(0, n));
    const at = { x: arena.inOut(x), table: arena.input(table), positions: arena.input(positions) };
    return {
      call: (kernels) => kernels.rope(at.x, n, heads, d, at.table, at.positions),
      check: () => {
        const expected = x.slice();
        reference.rope(expected, heads, d, table, positions);
        return difference('x', arena.f32(at.x, x.length), expected);
      },
    };
  },
);

export const attentionSweeps = { kvAppend, kvFlush, attention, ropeTable, rope };
