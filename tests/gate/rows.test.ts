import { describe, expect, test } from '@jest/globals';
import { decide, dropRatioQ15, lambdaDelta } from '../../src/gate/decide.js';
import { POLICIES } from '../../src/gate/policy.js';
import { isIntervention } from '../../src/gate/witness.js';
import type { Decision, Reason } from '../../src/packets/fields.js';
import { GATE_FLAGS } from '../../src/packets/gate.js';
import { BASELINE, decided, g, spikes, TIERS, witnessed } from './support.js';

const { FORCE_SAFE, SKIP } = GATE_FLAGS;
const outcome = (decision: Decision, reason: Reason, tier: 0 | 1 | 2 | 3) => ({ ...TIERS[tier], decision, reason });
const ALLOW = outcome('Allow', 'None', 0);

/** Default policy and baseline shape unless a row says otherwise. Names begin with the row they satisfy. */
describe('packets', () => {
  test('PK1: lambda 80 after 100 is a fall of 20; 100 after 80 is a rise and no fall', () => {
    expect(lambdaDelta(80, 100)).toBe(-20);
    expect(dropRatioQ15(80, 100)).toBeGreaterThan(0);
    expect(lambdaDelta(100, 80)).toBe(20);
    expect(dropRatioQ15(100, 80)).toBe(0);
  });

  test.each([
    [100, 0],
    [90, 3276],
    [75, 8192],
    [50, 16384],
    [25, 24576],
  ])('PK2: from 100 to %d falls by %d/32768, rounded down', (lambda, ratio) => {
    expect(dropRatioQ15(lambda, 100)).toBe(ratio);
  });

  test.each([
    [50, 0, 0],
    [0, 0, 0],
    [0, 100, 32767],
    [50, 80, 12288],
    [62, 100, 12451],
    [625, 1000, 12288],
    [624, 1000, 12320],
  ])('PK3: from %2$d to %1$d: no fall without a previous value, never above 32767', (lambda, previous, ratio) => {
    expect(dropRatioQ15(lambda, previous)).toBe(ratio);
  });

  test.each([
    ['Allow', g(100, 95), 1, 1, false],
    ['ReduceScope', g(100, 95, 30), 1, 0, true],
    ['FlushKv', g(40, 100), 0, 0, true],
    ['FreezeWrites', g(100, 95, 5, 8192, 3, FORCE_SAFE), 0, 0, true],
    ['QuarantineUpdates', g(20, 100), 0, 0, true],
  ] as const)('PK4: what %s lets be written', (decision, gate, kv, external, intervention) => {
    const witness = witnessed(gate);
    expect(witness.decision).toBe(decision);
    expect([witness.kvWritesEnabled, witness.externalWritesEnabled]).toEqual([kv, external]);
    expect(isIntervention(witness.decision)).toBe(intervention);
  });
});

describe('decisions', () => {
  test('G1: a stable packet runs everything', () => expect(decided(g(100, 95))).toEqual(ALLOW));

  test('G2: lambda below the minimum quarantines, before the fall of 80 % is looked at', () => {
    expect(decided(g(20, 100))).toEqual(outcome('QuarantineUpdates', 'LambdaBelowMin', 2));
  });

  test('G3: a fall of 60 % flushes, one of 10 % does not', () => {
    expect(decided(g(40, 100))).toEqual(outcome('FlushKv', 'LambdaDroppedFast', 1));
    expect(decided(g(90, 100))).toEqual(ALLOW);
  });

  test('G4: each boundary limit alone reduces the scope', () => {
    expect(decided(g(100, 95, 30))).toEqual(outcome('ReduceScope', 'BoundarySpike', 1));
    expect(decided(g(100, 95, 5, 25000))).toEqual(outcome('ReduceScope', 'BoundaryConcentrationSpike', 1));
    expect(decided(g(100, 95, 5, 8192, 15))).toEqual(outcome('ReduceScope', 'PartitionDrift', 1));
  });

  test('G5: everything exactly at its limit passes', () => {
    expect(decided(g(30, 30, 20, 20480, 10))).toEqual(ALLOW);
    expect(dropRatioQ15(30, 48)).toBe(12288);
    expect(decided(g(30, 48, 0, 0, 0))).toEqual(ALLOW);
  });

  test('G6: one past each limit decides, the boundary checks in their order', () => {
    expect(decided(g(29, 29))).toEqual(outcome('QuarantineUpdates', 'LambdaBelowMin', 2));
    expect(decided(g(30, 49))).toEqual(outcome('FlushKv', 'LambdaDroppedFast', 1));
    expect(decided(g(100, 100, 21))).toEqual(outcome('ReduceScope', 'BoundarySpike', 1));
    expect(decided(g(100, 100, 20, 20481))).toEqual(outcome('ReduceScope', 'BoundaryConcentrationSpike', 1));
    expect(decided(g(100, 100, 20, 20480, 11))).toEqual(outcome('ReduceScope', 'PartitionDrift', 1));
    expect(decided(g(100, 100, 21, 20481, 11))).toEqual(outcome('ReduceScope', 'BoundarySpike', 1));
    expect(decided(g(100, 100, 20, 20481, 11))).toEqual(outcome('ReduceScope', 'BoundaryConcentrationSpike', 1));
  });

  test('G7: FORCE_SAFE freezes a stable packet', () => {
    expect(decided(g(100, 95, 5, 8192, 3, FORCE_SAFE))).toEqual(outcome('FreezeWrites', 'ForcedByFlag', 2));
  });

  test('G8: SKIP skips whatever lambda is, and wins over FORCE_SAFE', () => {
    for (const lambda of [0, 29, 100, 2 ** 32 - 1]) {
      expect(decided(g(lambda, lambda, 5, 8192, 3, SKIP))).toMatchObject({ ...TIERS[3], decision: 'Allow' });
    }
    expect(decided(g(100, 95, 5, 8192, 3, SKIP | FORCE_SAFE))).toEqual(outcome('Allow', 'ForcedByFlag', 3));
  });

  test('G9: an inactive spike skips, whatever its rate', () => {
    for (const rateQ15 of [0, 10000, 32767]) {
      expect(decided(g(100, 95), spikes({ fired: 0, rateQ15 }))).toEqual(outcome('Allow', 'None', 3));
    }
  });

  test('G10: only a rate above the maximum is a storm, and a storm comes before lambda', () => {
    const at = (rateQ15: number, gate = g(100, 95)) => decided(gate, spikes({ rateQ15 }));
    for (const rate of [10000, 15000, 16384]) expect(at(rate)).toEqual(ALLOW);
    for (const rate of [16385, 30000]) expect(at(rate)).toEqual(outcome('FreezeWrites', 'SpikeStorm', 2));
    expect(at(30000, g(5, 100))).toEqual(outcome('FreezeWrites', 'SpikeStorm', 2));
  });

  test('G11: the conservative policy quarantines at lambda 40', () => {
    const decision = decided(g(40, 45, 8, 12000, 4), undefined, POLICIES.conservative);
    expect(decision).toEqual(outcome('QuarantineUpdates', 'LambdaBelowMin', 2));
  });

  test('G12: the permissive policy allows what default would not', () => {
    const gate = g(25, 35, 40, 20000, 15);
    expect(decided(gate, undefined, POLICIES.permissive)).toEqual(ALLOW);
    expect(decided(gate).decision).toBe('QuarantineUpdates');
  });

  test('G13: an oscillation flushes at each fall and allows between', () => {
    const lambdas = [100, 50, 100, 45, 100, 40, 100, 35];
    const decisions = lambdas.map((lambda, i) => decided(g(lambda, lambdas[i - 1] ?? lambda)).decision);
    const expected = ['Allow', 'FlushKv', 'Allow', 'FlushKv', 'Allow', 'FlushKv', 'Allow', 'FlushKv'];
    expect(decisions).toEqual(expected);
  });

  test('G14: a slow fall from 100 to 55 and a rise from 50 to 140 run in full', () => {
    for (let lambda = 95; lambda >= 55; lambda -= 5) expect(decided(g(lambda, lambda + 5))).toEqual(ALLOW);
    for (let lambda = 60; lambda <= 140; lambda += 10) expect(decided(g(lambda, lambda - 10))).toEqual(ALLOW);
  });

  test('G15: ten times the same packet, ten times the same decision; its fall equals the limit', () => {
    expect(dropRatioQ15(50, 80)).toBe(POLICIES.default.dropRatioQ15Max);
    for (let i = 0; i < 10; i++) {
      expect(decided(g(50, 80, 25, 10000, 5))).toEqual(outcome('ReduceScope', 'BoundarySpike', 1));
    }
  });

  test('G16: the extremes of every field decide, the same each time', () => {
    const maxima = g(2 ** 32 - 1, 2 ** 32 - 1, 65535, 32767, 65535);
    for (let i = 0; i < 3; i++) {
      expect(decided(g(0, 100))).toEqual(outcome('QuarantineUpdates', 'LambdaBelowMin', 2));
      expect(decided(maxima)).toEqual(outcome('ReduceScope', 'BoundarySpike', 1));
    }
  });

  test('G17: of 5 to 40 edges, 25 and more intervene', () => {
    const edges = [5, 10, 15, 20, 25, 30, 35, 40];
    const intervening = edges.filter((n) => isIntervention(decided(g(100, 95, n)).decision));
    expect(intervening).toEqual([25, 30, 35, 40]);
  });
});

describe('the safe window', () => {
  test.each([1, 2, 3, 4, 5])('is 4, but never above a normal window of %d', (windowNormal) => {
    const shape = { ...BASELINE, windowNormal, windowDegraded: 1 };
    const { effectiveWindow } = decide(g(20, 100), undefined, POLICIES.default, shape);
    expect(effectiveWindow).toBe(Math.min(4, windowNormal));
  });
});
