import { describe, expect, test } from '@jest/globals';
import { attentionScratchBytes, kvBlockLayout } from '../../src/kernels/catalogue.js';
import { BUILDS, guardArena } from '../support/builds.js';
import { Rng } from '../support/rng.js';
import { drawKeys, inOneSpan, spanWords, type Keys } from '../support/spans.js';

interface Query {
  readonly heads: number;
  readonly causal: 0 | 1;
  readonly window: number;
}

describe.each(BUILDS)('attention, %s build', (build) => {
  const arena = guardArena(build);

  /** Rows q f32[n][heads · d] from key index queryFirst on, in one call. */
  function attend(keys: Keys, q: Float32Array, queryFirst: number, { heads, causal, window }: Query): Float32Array {
    const { kv, slots, spans, extras } = keys;
    const n = q.length / (heads * kv.d);
    arena.reset();
    const blocks = keys.blocks.map((block) => arena.input(block));
    const at = {
      ...{ q: arena.input(q), spans: arena.input(spanWords(spans, blocks)) },
      ...{ extras: extras.length > 0 ? arena.input(Uint32Array.from(extras)) : 0 },
      ...{ scratch: arena.output(attentionScratchBytes(kv.d, kv.kScales.length / kv.heads, extras.length)) },
      ...{ out: arena.output(q.length * 4) },
    };
    const outside = arena.run((kernels) =>
      kernels.attention(
        ...([at.q, n, heads, kv.heads, kv.d, slots, at.spans, spans.length, queryFirst, causal, window] as const),
        ...([at.extras, extras.length, at.scratch, at.out] as const),
      ),
    );
    expect(outside).toBeUndefined();
    return arena.f32(at.out, q.length);
  }

  test('one call of n rows is n calls of one row; keys in one span are the same keys in several', () => {
    for (let seed = 0; seed < 60; seed++) {
      const rng = new Rng(`rows and spans ${seed}`);
      const kvHeads = rng.int(1, 2);
      const [n, queryFirst, d, heads] = [rng.int(2, 11), rng.int(0, 30), rng.int(1, 40), kvHeads * rng.int(1, 3)];
      const keyCount = queryFirst + n + rng.int(0, 4);
      const keys = drawKeys(rng, {
        ...{ n, queryFirst, keyCount, kvHeads, d, spans: Math.min(keyCount, rng.int(2, 5)), extras: rng.int(0, 2) },
        holes: rng.u32() & 1 ? 'some' : 'none',
      });
      const query: Query = { heads, causal: (rng.u32() & 1) as 0 | 1, window: rng.int(1, keyCount) };
      const q = rng.normals(n * heads * d);
      const whole = attend(keys, q, queryFirst, query);
      expect(attend(inOneSpan(keys), q, queryFirst, query)).toEqual(whole);
      const width = heads * d;
      for (let row = 0; row < n; row++) {
        const [from, to] = [row * width, (row + 1) * width];
        const alone = attend(keys, q.slice(from, to), queryFirst + row, query);
        expect(alone).toEqual(whole.slice(from, to));
      }
    }
  });

  test('extra keys inside the window, and past keys that are holes, change no bit', () => {
    const rng = new Rng('no bit');
    const shape = { n: 3, queryFirst: 12, keyCount: 15, kvHeads: 1, d: 16, lead: 0 };
    const query: Query = { heads: 2, causal: 1, window: 6 };
    const keys = drawKeys(rng, { ...shape, holes: 'past' });
    const q = rng.normals(3 * 2 * 16);
    // Every key before the rows is a hole: as extra keys they bring nothing new.
    expect(attend({ ...keys, extras: [0, 1, 5] }, q, 12, query)).toEqual(attend(keys, q, 12, query));

    const real = drawKeys(rng, shape);
    const plain = attend(real, q, 12, query);
    // 9..12 lie in every row's window.
    expect(attend({ ...real, extras: [9, 10, 12] }, q, 12, query)).toEqual(plain);
    expect(attend({ ...real, extras: [2] }, q, 12, query)).not.toEqual(plain);
  });
});

test('parts of a KV block and its end lie on multiples of 64, each past the one before', () => {
  for (const [kvHeads, slots, d] of [
    [1, 8, 1],
    [2, 8, 4],
    [3, 40, 25],
    [9, 512, 64],
    [1, 16, 5],
  ] as const) {
    // prettier-ignore
    const { v, kScales, vScales, bytes } = kvBlockLayout(kvHeads, slots, d);
    for (const at of [v, kScales, vScales, bytes]) expect(at % 64).toBe(0);
    const cells = kvHeads * slots;
    expect(v).toBeGreaterThanOrEqual(cells * Math.ceil(d / 4) * 4);
    expect(kScales - v).toBeGreaterThanOrEqual(cells * Math.ceil(d / 8) * 8);
    expect(vScales - kScales).toBeGreaterThanOrEqual(cells * 4);
    expect(bytes - vScales).toBeGreaterThanOrEqual(cells * 4);
  }
  expect(kvBlockLayout(4, 32, 32)).toEqual({ v: 4096, kScales: 8192, vScales: 8704, bytes: 9216 });
});
