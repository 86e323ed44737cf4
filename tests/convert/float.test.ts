import { describe, expect, test } from '@jest/globals';
import { erf } from '../../src/convert/erf.js';
import { floatForward, type Site } from '../../src/convert/float.js';
import { readHuggingFace } from '../../src/convert/huggingface.js';
import { matmul } from '../../src/convert/matmul.js';
import { Rng } from '../support/rng.js';
import { FIXTURES, expectedOf, filesOf } from './fixtures.js';
import { memorySource } from './make-bert.js';

test('erf against tabulated values (Abramowitz & Stegun, table 7.1; Wolfram beyond)', () => {
  const table: [number, number][] = [
    [0, 0],
    [1e-3, 0.0011283787909692363],
    [0.5, 0.5204998778130465],
    [1, 0.8427007929497149],
    [1.5, 0.9661051464753108],
    [2, 0.9953222650189527],
    [2.5, 0.999593047982555],
    [3, 0.9999779095030014],
    [4, 0.9999999845827421],
    [6.5, 1],
  ];
  for (const [x, y] of table) {
    expect(Math.abs(erf(x) - y)).toBeLessThan(1e-13);
    expect(erf(-x) + erf(x)).toBe(0);
  }
  // The two formulas meet at 2.
  expect(Math.abs(erf(2 - 1e-9) - erf(2 + 1e-9))).toBeLessThan(1e-10);
});

describe('matmul', () => {
  test.each([
    [1, 1, 1],
    [1, 5, 3],
    [4, 4, 4],
    [5, 7, 9],
    [6, 64, 2],
    [3, 3, 8],
    [9, 130, 11],
  ])('%i rows × %i inputs × %i outputs', (m, k, n) => {
    const rng = new Rng(`${m} ${k} ${n}`);
    const some = (length: number): Float32Array => Float32Array.from({ length }, () => rng.uniform(-1, 1));
    const [x, w, bias] = [some(m * k), some(n * k), some(n)];
    const out = new Float32Array(m * n + 1).fill(9);
    matmul(x, m, k, w, n, bias, out);
    for (let i = 0; i < m; i++) {
      for (let j = 0; j < n; j++) {
        let sum = bias[j]!;
        for (let z = 0; z < k; z++) sum += x[i * k + z]! * w[j * k + z]!;
        expect(out[i * n + j]).toBeCloseTo(sum, 5);
      }
    }
    expect(out[m * n]).toBe(9);
  });
});

describe.each(FIXTURES)('%s as PyTorch computes it', (name) => {
  const expected = expectedOf(name);

  test.each(['mean', 'cls'] as const)('%s pooling', async (pooling) => {
    const { bert } = await readHuggingFace(memorySource(filesOf(name)));
    const vectors = floatForward(bert, expected.ids, pooling);
    vectors.forEach((vector, s) => {
      vector.forEach((value, i) => expect(Math.abs(value - expected[pooling][s]![i]!)).toBeLessThan(2e-6));
    });
  });

  test('a sequence alone gives the bits it gives among others', async () => {
    const { bert } = await readHuggingFace(memorySource(filesOf(name)));
    const together = floatForward(bert, expected.ids, 'mean');
    expected.ids.forEach((ids, s) => expect(floatForward(bert, [ids], 'mean')[0]).toEqual(together[s]));
  });
});

test('the observer sees the input of every linear layer once', async () => {
  const { bert } = await readHuggingFace(memorySource(filesOf('relu-bf16')));
  const seen: [number, Site, number, number][] = [];
  const least = { down: Infinity };
  floatForward(bert, [[1, 2], [3]], 'mean', (layer, site, x, rows, width) => {
    seen.push([layer, site, rows, width]);
    expect(x).toHaveLength(rows * width);
    if (site === 'down') least.down = Math.min(least.down, ...x);
  });
  const block = (layer: number): [number, Site, number, number][] => [
    [layer, 'attention', 3, 12],
    [layer, 'context', 3, 12],
    [layer, 'up', 3, 12],
    [layer, 'down', 3, 20],
  ];
  expect(seen).toEqual([...block(0), ...block(1)]);
  expect(least.down).toBe(0); // after ReLU
});
