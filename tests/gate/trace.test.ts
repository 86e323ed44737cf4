import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { Trace } from '../../src/gate/trace.js';
import { GATE_FLAGS } from '../../src/packets/gate.js';
import type { Witness } from '../../src/packets/witness.js';
import { refusal, witnesses } from '../packets/support.js';
import { g, witnessed } from './support.js';

const ALLOW = witnessed(g(100, 95));
const REDUCE = witnessed(g(100, 95, 30));
const SKIP = witnessed(g(100, 95, 5, 8192, 3, GATE_FLAGS.SKIP));
const traceOf = (calls: readonly Witness[], capacity?: number): Trace => {
  const trace = new Trace(capacity);
  for (const witness of calls) trace.push(witness);
  return trace;
};
const times = <T>(n: number, of: (i: number) => T): T[] => Array.from({ length: n }, (_, i) => of(i));
const lambdas = (values: readonly number[]): Trace => traceOf(values.map((lambda) => ({ ...ALLOW, lambda })));

describe('rates', () => {
  test('TR1: eight Allows and two ReduceScopes intervene at a rate of 0.2', () => {
    const trace = traceOf([...times(8, () => ALLOW), REDUCE, REDUCE]);
    expect(trace.interventionRate).toBe(0.2);
    expect(trace.skipRate).toBe(0);
  });

  test('TR1: skips count as no intervention and not as calls that could have been one; skips alone are 0, not NaN', () => {
    expect(traceOf([ALLOW, REDUCE, SKIP, SKIP]).interventionRate).toBe(0.5);
    expect(traceOf([ALLOW, REDUCE, SKIP, SKIP]).skipRate).toBe(0.5);
    expect(traceOf(times(5, () => SKIP)).interventionRate).toBe(0);
    expect(traceOf(times(5, () => SKIP)).skipRate).toBe(1);
    // What a scheduler skipped keeps its decision: still no intervention that ran.
    expect(traceOf([{ ...REDUCE, tier: 3 }, ALLOW]).interventionRate).toBe(0);
  });

  test('an empty trace has no rate, mean or trend', () => {
    const { length, calls, interventionRate, skipRate, meanLambda, trend } = new Trace();
    expect([length, calls, interventionRate, skipRate, meanLambda, trend]).toEqual([0, 0, 0, 0, 0, 'Stable']);
  });
});

describe('the ring', () => {
  test('TR1: the last five of lambdas 100 to 109 are 105 to 109, oldest first', () => {
    const trace = lambdas(times(10, (i) => 100 + i));
    expect(trace.recent(5).map(({ lambda }) => lambda)).toEqual([105, 106, 107, 108, 109]);
    expect(trace.meanLambda).toBe(104.5);
  });

  test('holds the last 64 calls and counts them all', () => {
    const trace = lambdas(times(100, (i) => i));
    expect([trace.capacity, trace.length, trace.calls]).toEqual([64, 64, 100]);
    expect(trace.recent().map(({ lambda }) => lambda)).toEqual(times(64, (i) => 36 + i));
    expect(trace.recent(1000)).toHaveLength(64);
    expect(trace.recent(0)).toEqual([]);
  });

  test('is what a list cut to its end would be, whatever the capacity', () => {
    fc.assert(
      fc.property(
        fc.array(witnesses, { maxLength: 30 }),
        fc.integer({ min: 1, max: 10 }),
        fc.nat(12),
        (calls, size, n) => {
          const trace = traceOf(calls, size);
          const held = calls.slice(-size);
          expect(trace.recent()).toEqual(held);
          expect(trace.recent(n)).toEqual(n === 0 ? [] : held.slice(-n));
          for (const rate of [trace.interventionRate, trace.skipRate]) {
            expect(rate).toBeGreaterThanOrEqual(0);
            expect(rate).toBeLessThanOrEqual(1);
          }
        },
      ),
    );
  });

  test('cannot be changed from outside', () => {
    const witness = { ...ALLOW };
    const trace = traceOf([witness]);
    Object.assign(witness, { decision: 'FlushKv' });
    expect(trace.recent()[0]!.decision).toBe('Allow');
    expect(() => Object.assign(trace.recent()[0]!, { lambda: 1 })).toThrow(TypeError);
    trace.recent().length = 0;
    expect(trace.length).toBe(1);
  });

  test('clear forgets everything', () => {
    const trace = traceOf(times(70, () => REDUCE));
    trace.clear();
    expect([trace.length, trace.calls, trace.interventionRate]).toEqual([0, 0, 0]);
    trace.push(ALLOW);
    expect(trace.recent()).toEqual([ALLOW]);
  });

  test.each([0, -1, 1.5, NaN, 2 ** 20 + 1])('a capacity of %d is refused', (capacity) => {
    expect(refusal(() => new Trace(capacity))).toMatchObject({ code: 'BadInput', field: 'trace.capacity' });
  });

  test('so are counts that are none', () => {
    for (const n of [-1, 0.5, NaN]) {
      expect(refusal(() => new Trace().recent(n))).toMatchObject({ code: 'BadInput', field: 'trace.n' });
      expect(refusal(() => new Trace().unstable(n, 1)).field).toBe('trace.n');
      expect(refusal(() => new Trace().unstable(1, n)).field).toBe('trace.changes');
    }
  });
});

describe('stability', () => {
  test('TR1: ten alternating decisions are unstable, ten equal ones are not', () => {
    expect(traceOf(times(10, (i) => (i % 2 === 0 ? ALLOW : REDUCE))).unstable(10, 4)).toBe(true);
    expect(traceOf(times(10, () => REDUCE)).unstable(10, 4)).toBe(false);
  });

  test('as many changes as allowed are stable, and only the window counts', () => {
    const once = [...times(5, () => ALLOW), ...times(5, () => REDUCE)];
    expect(traceOf(once).unstable(10, 1)).toBe(false);
    expect(traceOf(once).unstable(10, 0)).toBe(true);
    expect(traceOf(once).unstable(5, 0)).toBe(false);
    expect(traceOf(once).unstable(6, 0)).toBe(true);
    // Nine changes among ten calls.
    const alternating = traceOf(times(10, (i) => (i % 2 === 0 ? ALLOW : REDUCE)));
    expect([alternating.unstable(10, 8), alternating.unstable(10, 9)]).toEqual([true, false]);
  });

  test('TR1: lambda falling by 5 a call is Decreasing, rising Increasing', () => {
    expect(lambdas(times(10, (i) => 100 - 5 * i)).trend).toBe('Decreasing');
    expect(lambdas(times(10, (i) => 100 + 10 * i)).trend).toBe('Increasing');
  });

  test('a tenth is no trend, more is; three witnesses tell none', () => {
    expect(lambdas([100, 100, 110, 110]).trend).toBe('Stable');
    expect(lambdas([100, 100, 110, 111]).trend).toBe('Increasing');
    expect(lambdas([100, 100, 90, 90]).trend).toBe('Stable');
    expect(lambdas([100, 100, 90, 89]).trend).toBe('Decreasing');
    expect(lambdas([1, 50, 100]).trend).toBe('Stable');
    expect(lambdas([0, 0, 0, 0]).trend).toBe('Stable');
    expect(lambdas([0, 0, 0, 1]).trend).toBe('Increasing');
  });
});
