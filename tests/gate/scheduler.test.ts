import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { schedule, signatureOf, sparseMask, topWeights } from '../../src/gate/scheduler.js';
import { SPIKE_FLAGS } from '../../src/packets/spike.js';
import { q15, spikePackets, u32 } from '../packets/support.js';
import { spikes } from './support.js';

const { SPARSE_MASK, CONTEXT } = SPIKE_FLAGS;
const listed = (topIdx: number[], topWQ15 = topIdx.map(() => 1), flags: number = SPARSE_MASK) =>
  spikes({ topIdx, topWQ15, topLen: topIdx.length, flags });
const ones = (mask: Uint8Array): number[] => [...mask.keys()].filter((i) => mask[i] === 1);

describe('how much to run', () => {
  test('SP1: where nothing fired nothing runs, whatever the rate', () => {
    for (const rateQ15 of [0, 1024, 10000, 32767]) {
      expect(schedule(spikes({ fired: 0, rateQ15, noveltyQ15: 32767 }))).toEqual({
        run: false,
        tier: 3,
        sparse: false,
      });
    }
  });

  test.each([
    [20000, 20000, 0],
    [10000, 20000, 1],
    [20000, 2000, 1],
    [16384, 4095, 1],
    [16384, 4096, 0],
    [8191, 20000, 2],
    [1023, 20000, 3],
    [16383, 4096, 1],
    [16383, 4095, 2],
    [8192, 4096, 1],
    [1024, 0, 2],
    [1023, 0, 3],
  ])('SP2: rate %d with novelty %d is tier %d', (rateQ15, noveltyQ15, tier) => {
    expect(schedule(spikes({ rateQ15, noveltyQ15 }))).toMatchObject({ tier, run: tier !== 3 });
  });

  test('SP2: a fired packet of rate 1023, which upstream would run in tier 3, does not run', () => {
    expect(schedule(spikes({ rateQ15: 1023, noveltyQ15: 20000 })).run).toBe(false);
  });

  test('more rate or novelty never makes a tier deeper', () => {
    fc.assert(
      fc.property(q15, q15, q15, q15, (rate, novelty, moreRate, moreNovelty) => {
        const less = spikes({ rateQ15: Math.min(rate, moreRate), noveltyQ15: Math.min(novelty, moreNovelty) });
        const more = spikes({ rateQ15: Math.max(rate, moreRate), noveltyQ15: Math.max(novelty, moreNovelty) });
        expect(schedule(more).tier).toBeLessThanOrEqual(schedule(less).tier);
      }),
    );
  });
});

describe('where to look', () => {
  test('SP3: of 20 positions only 5, 10 and 15 are seen', () => {
    const packet = listed([5, 10, 15]);
    expect(schedule(packet).sparse).toBe(true);
    expect(ones(sparseMask(packet, 20))).toEqual([5, 10, 15]);
    expect(sparseMask(packet, 20)).toHaveLength(20);
  });

  test('SP3: positions beyond the length are ignored', () => {
    expect(ones(sparseMask(listed([5, 20, 10, 65535]), 20))).toEqual([5, 10]);
    expect(ones(sparseMask(listed([19]), 20))).toEqual([19]);
    expect(sparseMask(listed([0]), 0)).toHaveLength(0);
  });

  test('SP3: one position is a mask; none, or no flag, is not', () => {
    expect(schedule(listed([7])).sparse).toBe(true);
    for (const packet of [
      listed([]),
      listed([5, 10, 15, 16], undefined, 0),
      listed([5, 10, 15, 16], undefined, CONTEXT),
    ]) {
      expect(schedule(packet).sparse).toBe(false);
      expect(ones(sparseMask(packet, 20))).toEqual([]);
    }
  });

  test('SP3: the mask is exactly the listed positions in range', () => {
    fc.assert(
      fc.property(spikePackets, fc.integer({ min: 0, max: 70000 }), (packet, length) => {
        const expected = (packet.flags & SPARSE_MASK) === 0 ? [] : packet.topIdx.filter((index) => index < length);
        expect(ones(sparseMask(packet, length))).toEqual([...new Set(expected)].sort((a, b) => a - b));
      }),
      { numRuns: 50 },
    );
  });

  test('SP4: weights sorted, the heaviest first', () => {
    expect(topWeights(listed([5, 10, 15], [8192, 16384, 4096]))).toEqual([
      { index: 10, weight: 0.5 },
      { index: 5, weight: 0.25 },
      { index: 15, weight: 0.125 },
    ]);
  });

  test('SP4: equal weights keep the order of the list, the flag is not asked', () => {
    expect(topWeights(listed([9, 3, 7, 1], [4, 8, 4, 8], 0)).map(({ index }) => index)).toEqual([3, 1, 9, 7]);
    expect(topWeights(listed([]))).toEqual([]);
  });
});

describe('signatures', () => {
  test('SP5: equal tokens, equal signature; another token, another one', () => {
    expect(signatureOf([1, 2, 3, 4])).toBe(0xbe7a5e775165785dn);
    expect(signatureOf([1, 2, 3, 4])).toBe(signatureOf(Uint32Array.of(1, 2, 3, 4)));
    expect(signatureOf([1, 2, 3, 5])).not.toBe(signatureOf([1, 2, 3, 4]));
  });

  test('SP5: order, length and the upper bits of a word count; the empty one is the offset basis', () => {
    expect(signatureOf([2, 1])).not.toBe(signatureOf([1, 2]));
    expect(signatureOf([0])).not.toBe(signatureOf([0, 0]));
    expect(signatureOf([2 ** 31])).not.toBe(signatureOf([0]));
    expect(signatureOf([])).toBe(0xcbf29ce484222325n);
  });

  test('SP5: always a u64', () => {
    fc.assert(
      fc.property(fc.array(u32), (tokens) => expect(BigInt.asUintN(64, signatureOf(tokens))).toBe(signatureOf(tokens))),
    );
  });
});
