import { expect, test } from '@jest/globals';
import { cosine, mean, pairwise, ranks, spearman } from './metrics.js';

test('cosine: same, opposite and square directions, whatever the lengths', () => {
  expect(cosine([1, 2, 3], [2, 4, 6])).toBeCloseTo(1, 15);
  expect(cosine([1, 2, 3], [-1, -2, -3])).toBeCloseTo(-1, 15);
  expect(cosine([1, 0], [0, 5])).toBe(0);
  expect(cosine(Float32Array.of(3, 4), [4, 3])).toBeCloseTo(24 / 25, 15);
  expect(() => cosine([1], [1, 2])).toThrow('lengths 1 and 2');
});

test('mean', () => {
  expect(mean([1, 2, 6])).toBe(3);
});

test('ranks: ties share the mean of theirs', () => {
  expect(ranks([30, 10, 20])).toEqual([3, 1, 2]);
  expect(ranks([5, 1, 5, 9, 5])).toEqual([3, 1, 3, 5, 3]);
  expect(ranks([7, 7])).toEqual([1.5, 1.5]);
});

test('spearman: sees order only', () => {
  expect(spearman([1, 2, 3, 4], [10, 100, 1000, 10000])).toBeCloseTo(1, 15);
  expect(spearman([1, 2, 3, 4], [4, 3, 2, 1])).toBeCloseTo(-1, 15);
  // scipy.stats.spearmanr of these two: 0.8207826816681234 and, with ties, 0.7631578947368421.
  expect(spearman([1, 2, 3, 4, 5], [5, 6, 7, 8, 7])).toBeCloseTo(0.8207826816681234, 14);
  expect(spearman([1, 2, 2, 4, 5], [3, 1, 4, 4, 9])).toBeCloseTo(0.7631578947368421, 14);
});

test('pairwise: every pair once', () => {
  expect(
    pairwise(
      [
        [1, 0],
        [0, 1],
        [1, 1],
      ].map((v) => Float32Array.from(v)),
    ),
  ).toEqual([0, expect.closeTo(Math.SQRT1_2, 14), expect.closeTo(Math.SQRT1_2, 14)]);
});
