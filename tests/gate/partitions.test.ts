import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  BOUNDARY,
  density,
  fullMask,
  partitionMask,
  positionCount,
  positionsOf,
  type PartitionMask,
} from '../../src/gate/partitions.js';
import { g } from './support.js';

const LAMBDA_MIN = 30;
const mask = (n: number, partitionCount: number): PartitionMask =>
  partitionMask({ lambda: 100, partitionCount }, n, LAMBDA_MIN);
const listed = (m: PartitionMask): number => positionsOf(m).reduce((sum, keys) => sum + keys.length, 0);

test('SA1 full(4) has 10 positions and full(8) 36, density 1; the empty mask has none and density 0', () => {
  for (const [n, positions] of [
    [4, 10],
    [8, 36],
  ] as const) {
    expect([listed(fullMask(n)), positionCount(fullMask(n)), density(fullMask(n))]).toEqual([positions, positions, 1]);
  }
  expect(positionsOf(fullMask(3))).toEqual([[0], [0, 1], [0, 1, 2]]);
  expect([positionsOf(fullMask(0)), positionCount(fullMask(0)), density(fullMask(0))]).toEqual([[], 0, 0]);
  expect(partitionMask(g(100, 95), 0, LAMBDA_MIN)).toEqual(fullMask(0));
});

describe('SA2', () => {
  test('g(100,-,5,-,3) over 32 tokens: 3 boundaries at 0, 10 and 20; causal; density between 0 and 1', () => {
    const m = partitionMask(g(100, 95), 32, LAMBDA_MIN);
    expect(m.boundaries).toEqual([0, 10, 20]);
    expect(m.blocks).toEqual([
      { first: 0, count: 10 },
      { first: 10, count: 10 },
      { first: 20, count: 12 },
    ]);
    const rows = positionsOf(m);
    expect(rows[19]).toEqual([10, 11, 12, 13, 14, 15, 16, 17, 18, 19]);
    expect(rows[21]).toEqual([0, 1, 2, 3, 10, 11, 12, 13, 20, 21]);
    expect(rows[24]).toEqual([20, 21, 22, 23, 24]);
    expect(rows.every((keys, row) => keys.every((key) => key <= row))).toBe(true);
    // 55 + 55 + 78 in the blocks, 4 · 4 and 4 · 8 between them.
    expect(listed(m)).toBe(236);
    expect(density(m)).toBe(236 / 528);
  });

  test('4 partitions of 64 tokens have a part of the dense positions', () => {
    expect(listed(mask(64, 4))).toBe(4 * 136 + 16 * (1 + 2 + 3));
    expect(density(mask(64, 4))).toBe(640 / 2080);
  });
});

test('dense below 16 tokens, below 2 partitions, below the lambda limit; the limit itself is no failure', () => {
  const at = (lambda: number, partitionCount: number, n: number): PartitionMask =>
    partitionMask({ lambda, partitionCount }, n, LAMBDA_MIN);
  for (const dense of [at(100, 4, 15), at(100, 1, 64), at(100, 0, 64), at(29, 4, 64)])
    expect(dense).toEqual(fullMask(dense.n));
  expect(at(30, 2, 16).blocks).toHaveLength(2);
  expect(partitionMask({ lambda: 60, partitionCount: 4 }, 64, 61)).toEqual(fullMask(64));
});

test('more partitions than 4 tokens allow are as many as they allow, up to 65535', () => {
  expect(mask(19, 65535)).toEqual(mask(19, 4));
  expect(mask(19, 65535).blocks.map(({ count }) => count)).toEqual([4, 4, 4, 7]);
  const widest = mask(65536 * 4, 65535);
  expect(widest.blocks).toHaveLength(65535);
  expect(widest.boundaries.at(-1)).toBe(65534 * 4);
  expect(positionCount(widest)).toBe(65534 * 10 + 36 + (16 * 65534 * 65535) / 2);
});

describe('any mask', () => {
  const anyMask = fc
    .record({
      n: fc.integer({ min: 0, max: 140 }),
      partitionCount: fc.oneof(fc.integer({ min: 0, max: 40 }), fc.integer({ min: 0, max: 65535 })),
      lambda: fc.integer({ min: 0, max: 60 }),
    })
    .map(({ n, ...gate }) => partitionMask(gate, n, LAMBDA_MIN));

  test('cuts the tokens in contiguous blocks, none shorter than 4 where there are two', () => {
    fc.assert(
      fc.property(anyMask, ({ n, blocks, boundaries }) => {
        let end = 0;
        for (const { first, count } of blocks) {
          expect(first).toBe(end);
          if (blocks.length > 1) expect(count).toBeGreaterThanOrEqual(BOUNDARY);
          end += count;
        }
        expect(end).toBe(n);
        expect(boundaries).toEqual(blocks.length > 1 ? blocks.map(({ first }) => first) : []);
      }),
    );
  });

  test('lets every row see its own block up to itself, boundary rows the boundaries before it, and nothing else', () => {
    fc.assert(
      fc.property(anyMask, (m) => {
        const blockOf = (i: number): number => m.blocks.findIndex(({ first, count }) => i < first + count);
        const isBoundary = (i: number): boolean => m.boundaries.some((at) => i >= at && i < at + BOUNDARY);
        const rows = positionsOf(m);
        expect(rows).toHaveLength(m.n);
        rows.forEach((keys, row) => {
          const expected: number[] = [];
          for (let key = 0; key <= row; key++) {
            if (blockOf(key) === blockOf(row) || (isBoundary(key) && isBoundary(row))) expected.push(key);
          }
          expect(keys).toEqual(expected);
        });
      }),
    );
  });

  test('has as many positions as its blocks say, at most those of the dense one', () => {
    fc.assert(
      fc.property(anyMask, (m) => {
        expect(positionCount(m)).toBe(listed(m));
        expect(density(m)).toBeLessThanOrEqual(1);
        expect(density(m) > 0).toBe(m.n > 0);
      }),
    );
  });
});
