import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  appended,
  appendRuns,
  emptyRing,
  overwrittenBy,
  shortened,
  storedRuns,
  type Ring,
} from '../../src/engine/ring.js';

/** What a ring means, as a list: each slot's token, and the stored tokens in order. */
class Model {
  readonly slots: (number | undefined)[];
  stored: number[] = [];
  next = 0;

  constructor(
    readonly capacity: number,
    readonly sinks: number,
  ) {
    this.slots = new Array<number | undefined>(capacity).fill(undefined);
  }
}

const slotsOf = (runs: readonly { slot: number; count: number }[]): number[] =>
  runs.flatMap(({ slot, count }) => Array.from({ length: count }, (_, i) => slot + i));

test('ST1: four tokens of one layer each make length 1 and position 1; flushed is empty', () => {
  const ring = appended(emptyRing(32, 0), 1);
  expect([ring.validLength, ring.writeIndex]).toEqual([1, 1]);
  expect(storedRuns(emptyRing(32, 0))).toEqual([]);
});

describe('a ring with sinks, against a list', () => {
  const steps = fc.array(fc.record({ append: fc.nat(40), drop: fc.nat(10) }), { maxLength: 20 });
  test('any appends and drops: the stored tokens are the sinks and the newest, in order', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 24 }), fc.nat(30), steps, (capacity, s, all) => {
        const sinks = Math.min(s, capacity - 1);
        const model = new Model(capacity, sinks);
        let ring: Ring = emptyRing(capacity, sinks);
        for (const { append, drop } of all) {
          const before = model.stored.length;
          for (const slot of slotsOf(appendRuns(ring, append))) {
            model.slots[slot] = model.next;
            model.stored.push(model.next++);
            if (model.stored.length > capacity) model.stored.splice(sinks, 1);
          }
          expect(overwrittenBy(ring, append)).toBe(before + append - model.stored.length);
          ring = appended(ring, append);
          expect(slotsOf(storedRuns(ring)).map((slot) => model.slots[slot])).toEqual(model.stored);
          const dropped = Math.min(drop, model.stored.length);
          ring = shortened(ring, dropped);
          model.stored.length -= dropped;
          const runs = storedRuns(ring);
          expect(slotsOf(runs).map((slot) => model.slots[slot])).toEqual(model.stored);
          expect(runs.length).toBeLessThanOrEqual(3);
          expect(ring.validLength).toBe(model.stored.length);
        }
      }),
      { numRuns: 500 },
    );
  });
});
