import { attentionScratchBytes, kvBlockLayout } from '../../../src/kernels/catalogue.js';
import { kvRows, type KvRows } from '../../../src/reference/attention.js';
import * as reference from '../../../src/reference/ops.js';
import { drawKeys, layOut, spanWords, type KeyShape } from '../spans.js';
import type { GuardArena } from '../arena.js';
import { Rng } from '../rng.js';
import { VALUE_KINDS, difference, values, type ValueKind } from '../values.js';
import { allKinds, cross, sweep } from './sweep.js';

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
  const expected = kvRows(slots, heads, d);
  reference.kvAppend(expected, k, v, slot0);
  const at = { k: arena.input(k), v: arena.input(v), block: arena.output(kvBlockLayout(heads, slots, d).bytes) };
  return {
    call: (kernels) => kernels.kvAppend(at.k, at.v, n, heads, d, slots, slot0, at.block),
    check: () => {
      const block = layOut(expected, slots, [{ slot: slot0, key: slot0, count: n }]);
      return difference('block', arena.i8(at.block, block.length), block);
    },
  };
});

const kvErase = sweep(
  cross({ n: [1, 2, 8, 11], heads: [1, 3], d: [1, 4, 5, 8, 25, 64], slot0: [0, 1, 7, 8, 13] }),
  (arena, { n, heads, d, slot0 }, rng) => {
    const slots = 24;
    const whole = [{ slot: 0, key: 0, count: slots }];
    const kv = kvRows(slots, heads, d);
    reference.kvAppend(kv, values(rng, slots * heads * d), values(rng, slots * heads * d), 0);
    const at = arena.inOut(layOut(kv, slots, whole));
    return {
      call: (kernels) => kernels.kvErase(n, heads, d, slots, slot0, at),
      check: () => {
        reference.kvErase(kv, n, slot0);
        const block = layOut(kv, slots, whole);
        return difference('block', arena.i8(at, block.length), block);
      },
    };
  },
);

interface AttentionShape extends KeyShape {
  /** Query rows; query row 0 stands at key index queryFirst. */
  readonly heads: number;
  readonly causal: 0 | 1;
  readonly window: number;
}

const base = { queryFirst: 0, heads: 1, kvHeads: 1, d: 16, causal: 0, window: 1e4 } as const;
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
  ...cross({ queryFirst: [1, 4, 7, 12], lead: [0, 1, 5, 8, 11], causal: [0, 1] as const, window: [3, 1e4] }).map(
    (s) => ({ ...base, n: 5, keyCount: 17, heads: 4, kvHeads: 2, d: 20, ...s }),
  ),
  // one token after a long past, as a decoder takes it
  ...cross({ keyCount: [1, 2, 7, 8, 9, 64, 65, 200], lead: [0, 3] }).map((s) => ({
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
  // keys in several spans of two blocks, extra keys, holes: drawn, each axis alone and all together
  ...cross({ spans: [2, 3, 4, 5], n: [1, 2, 4, 9], causal: [0, 1] as const }).map((s) => ({
    ...{ ...base, keyCount: 21, queryFirst: 12, heads: 4, kvHeads: 2, d: 20, window: 7, ...s },
  })),
  ...cross({ n: [1, 5, 17], causal: [0, 1] as const }).map((s) => square({ d: 12, spans: s.n, ...s })),
  ...cross({ extras: [1, 3, 4, 5, 8, 9, 21], n: [1, 3, 9], causal: [0, 1] as const, window: [1, 4] }).map((s) => ({
    ...{ ...base, keyCount: 21, queryFirst: 11, heads: 2, kvHeads: 1, d: 9, ...s },
  })),
  ...cross({ extras: [128], n: [1, 6], causal: [0, 1] as const, spans: [1, 4] }).map((s) => ({
    ...{ ...base, keyCount: 300, queryFirst: 290, heads: 3, kvHeads: 1, d: 32, window: 40, ...s },
  })),
  ...cross({ holes: ['some', 'head', 'past'] as const, n: [1, 4, 9], causal: [0, 1] as const, window: [3, 1e4] }).map(
    (s) => ({ ...base, keyCount: 23, queryFirst: 12, heads: 4, kvHeads: 2, d: 16, ...s }),
  ),
  ...Array.from({ length: 240 }, (_, seed) => drawnShape(new Rng(`attention ${seed}`))),
  square({ n: 130, heads: 2, kvHeads: 2, d: 32 }),
  square({ n: 65, heads: 4, kvHeads: 4, d: 25 }),
];

/** Anything a session may ask for. */
function drawnShape(rng: Rng): AttentionShape {
  const n = rng.u32() & 3 ? rng.int(1, 9) : rng.int(10, 40);
  const queryFirst = rng.u32() & 3 ? rng.int(0, 60) : 0;
  const keyCount = queryFirst + n + (rng.u32() & 3 ? 0 : rng.int(0, 12));
  const kvHeads = rng.int(1, 3);
  return {
    ...{ n, keyCount, queryFirst, kvHeads, heads: kvHeads * rng.int(1, 4), d: rng.int(1, 70) },
    ...{ causal: (rng.u32() & 1) as 0 | 1, window: rng.int(1, keyCount) },
    ...{ spans: Math.min(keyCount, rng.int(1, 5)), extras: rng.u32() & 1 ? rng.int(1, Math.min(keyCount, 20)) : 0 },
    ...{ holes: (['none', 'some', 'head', 'past'] as const)[rng.int(0, 3)]!, lead: rng.int(0, 9) },
  };
}

const attention = sweep(attentionShapes, (arena: GuardArena, shape, rng) => {
  const { n, heads, kvHeads, d, queryFirst, keyCount, causal, window, kind } = shape;
  const { kv, slots, blocks, spans, extras } = drawKeys(rng, shape);
  const q = values(rng, n * heads * d, kind);
  const at = {
    ...{
      q: arena.input(q),
      spans: arena.input(
        spanWords(
          spans,
          blocks.map((block) => arena.input(block)),
        ),
      ),
    },
    ...{ extras: extras.length > 0 ? arena.input(Uint32Array.from(extras)) : 0 },
    ...{ scratch: arena.output(attentionScratchBytes(d, keyCount, extras.length)) },
    ...{ out: arena.output(n * heads * d * 4) },
  };
  return {
    call: (kernels) =>
      kernels.attention(
        ...([at.q, n, heads, kvHeads, d, slots, at.spans, spans.length] as const),
        ...([queryFirst, causal, window, at.extras, extras.length, at.scratch, at.out] as const),
      ),
    check: () => {
      const segment = { keyFirst: 0, keyCount, queryFirst, causal: causal === 1, window, extras };
      return difference('out', arena.f32(at.out, q.length), reference.attention(q, heads, kv, segment));
    },
  };
});

const kvCopy = sweep(
  cross({ n: [1, 2, 9], heads: [1, 3], d: [1, 4, 10, 33, 64], from: [0, 5], to: [0, 3, 6] }),
  (arena, { n, heads, d, from, to }, rng) => {
    const slots = 16;
    const whole = [{ slot: 0, key: 0, count: slots }];
    const filled = (): KvRows => {
      const kv = kvRows(slots, heads, d);
      reference.kvAppend(kv, values(rng, slots * heads * d), values(rng, slots * heads * d), 0);
      return kv;
    };
    const [source, target] = [filled(), filled()];
    const at = { source: arena.input(layOut(source, slots, whole)), target: arena.inOut(layOut(target, slots, whole)) };
    return {
      call: (kernels) => kernels.kvCopy(n, heads, d, slots, at.source, from, at.target, to),
      check: () => {
        reference.kvCopy(n, source, from, target, to);
        const block = layOut(target, slots, whole);
        return difference('block', arena.i8(at.target, block.length), block);
      },
    };
  },
);

const kvFlush = sweep(cross({ bytes: [0, 1, 8, 63, 64, 65, 1000] }), (arena, { bytes }) => {
  const at = arena.output(bytes);
  return {
    call: (kernels) => kernels.kvFlush(at, bytes),
    check: () => difference('bytes', arena.i8(at, bytes), new Int8Array(bytes)),
  };
});

interface RopeTableShape {
  readonly rows: number;
  readonly d: number;
  readonly base: number;
  readonly first: number;
  readonly factors?: number;
  readonly scale?: number;
  readonly ntk?: number;
}

const ropeTable = sweep<RopeTableShape>(
  [
    ...cross({ rows: [1, 2, 3, 17], d: [2, 4, 6, 8, 10, 16, 32, 64, 128], base: [10000], first: [0] }),
    ...cross({ rows: [300], d: [8, 26], base: [1, 2, 500, 10000, 100000, 500000, 1e12], first: [0] }),
    ...cross({ rows: [1, 5], d: [6, 64], base: [10000, 500000], first: [1, 299, 4096, 2 ** 20 - 5] }),
    { rows: 4096, d: 4, base: 10000, first: 0 },
    ...cross({
      rows: [9],
      d: [4, 10, 64],
      base: [10000],
      first: [0, 5000],
      factors: [1],
      scale: [1, 1.2079],
      ntk: [1, 3.5],
    }),
    ...cross({ rows: [3], d: [20], base: [500000], first: [7], factors: [0, 1], scale: [0.5], ntk: [1, 1.0625] }),
  ],
  (arena, shape, rng) => {
    const { rows, d, base, first, factors: scaled = 0, scale = 1, ntk = 1 } = shape;
    const at = arena.output(rows * d * 4);
    const factors = Float32Array.from({ length: d / 2 }, () => rng.int(1, 64) / 64);
    const factorsAt = scaled ? arena.input(factors) : 0;
    return {
      call: (kernels) => kernels.ropeTable(at, rows, d, base, first, factorsAt, scale, ntk),
      check: () => {
        const turns = { factors: scaled ? factors : undefined, scale, ntk };
        return difference('table', arena.f32(at, rows * d), reference.ropeTable(rows, d, base, first, turns));
      },
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
    const table = reference.ropeTable(rows, d, 10000, 0);
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

export const attentionSweeps = { kvAppend, kvCopy, kvErase, kvFlush, attention, ropeTable, rope };
