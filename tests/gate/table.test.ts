import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { decide, dropRatioQ15, lambdaDelta } from '../../src/gate/decide.js';
import { POLICIES, type GatePolicy } from '../../src/gate/policy.js';
import type { GateShape } from '../../src/gate/shape.js';
import { DECISIONS, REASONS } from '../../src/packets/fields.js';
import { parseGatePacket, type GatePacket } from '../../src/packets/gate.js';
import { parseSpikePacket, type SpikePacket } from '../../src/packets/spike.js';
import { decodeTierDecision, encodeTierDecision, type TierDecision } from '../../src/packets/tier.js';
import { gatePackets, spikePackets, u32 } from '../packets/support.js';
import { BASELINE, decided, nearLimits, policies, shapes } from './support.js';

/** floor((prev − lambda) · 2^15 / prev) in exact integers: what the f64 formula is held to. */
function exactDrop(lambda: number, lambdaPrev: number): bigint {
  const [now, before] = [BigInt(lambda), BigInt(lambdaPrev)];
  return before === 0n || now >= before ? 0n : ((before - now) << 15n) / before;
}

type Row = readonly [fires: boolean, decision: string, reason: string, tier: 0 | 1 | 2 | 3];

/** The whole table a second time, as a list in order of precedence: the first row that fires decides. */
function oracle(gate: GatePacket, spikes: SpikePacket | undefined, p: GatePolicy, s: GateShape): TierDecision {
  const low = gate.lambda < p.lambdaMin;
  const fell = exactDrop(gate.lambda, gate.lambdaPrev) > BigInt(p.dropRatioQ15Max);
  const skipReason = (own: string): string => (low ? 'LambdaBelowMin' : fell ? 'LambdaDroppedFast' : own);
  const table: Row[] = [
    [(gate.flags >> 1) % 2 === 1, 'Allow', skipReason('ForcedByFlag'), 3],
    [gate.flags % 2 === 1, 'FreezeWrites', 'ForcedByFlag', 2],
    [spikes?.fired === 0, 'Allow', skipReason('None'), 3],
    [(spikes?.rateQ15 ?? 0) > p.spikeRateQ15Max, 'FreezeWrites', 'SpikeStorm', 2],
    [low, 'QuarantineUpdates', 'LambdaBelowMin', 2],
    [fell, 'FlushKv', 'LambdaDroppedFast', 1],
    [gate.boundaryEdges > p.boundaryEdgesMax, 'ReduceScope', 'BoundarySpike', 1],
    [gate.boundaryConcentrationQ15 > p.boundaryConcentrationQ15Max, 'ReduceScope', 'BoundaryConcentrationSpike', 1],
    [gate.partitionCount > p.partitionsMax, 'ReduceScope', 'PartitionDrift', 1],
    [true, 'Allow', 'None', 0],
  ];
  const [, decision, reason, tier] = table.find(([fires]) => fires)!;
  const [layersToRun, effectiveSeqLen, effectiveWindow] = [
    [s.layers, s.seqLen, s.windowNormal],
    [s.layersDegraded, s.seqLenDegraded, s.windowDegraded],
    [1, s.seqLenSafe, s.windowNormal < 4 ? s.windowNormal : 4],
    [0, 0, 0],
  ][tier] as [number, number, number];
  const skip = tier === 3 ? 1 : 0;
  return { layersToRun, effectiveSeqLen, effectiveWindow, decision, reason, tier, skip } as TierDecision;
}

const anyGate = fc.oneof(gatePackets, nearLimits);
const anySpikes = fc.option(spikePackets, { nil: undefined });

describe('decide on its whole domain', () => {
  test('equals the table written a second time, in exact integers', () => {
    fc.assert(
      fc.property(anyGate, anySpikes, policies, shapes, (gate, spikes, policy, shape) => {
        expect(decide(gate, spikes, policy, shape)).toEqual(oracle(gate, spikes, policy, shape));
      }),
      { numRuns: 3000 },
    );
  });

  test('changes nothing it is given and says the same twice', () => {
    fc.assert(
      fc.property(anyGate, anySpikes, policies, shapes, (gate, spikes, policy, shape) => {
        const [frozenGate, frozenSpikes] = [Object.freeze(gate), spikes && Object.freeze(spikes)];
        const first = decide(frozenGate, frozenSpikes, Object.freeze(policy), Object.freeze(shape));
        const before = JSON.stringify(first);
        expect(decide(frozenGate, frozenSpikes, policy, shape)).toEqual(first);
        decide({ ...gate, flags: gate.flags ^ 3 }, undefined, policy, shape);
        expect(JSON.stringify(first)).toBe(before);
      }),
    );
  });

  test('decision, reason, tier and skip agree with each other', () => {
    const reasons: Record<string, readonly string[]> = {
      'Allow 0': ['None'],
      'ReduceScope 1': ['BoundarySpike', 'BoundaryConcentrationSpike', 'PartitionDrift'],
      'FlushKv 1': ['LambdaDroppedFast'],
      'FreezeWrites 2': ['ForcedByFlag', 'SpikeStorm'],
      'QuarantineUpdates 2': ['LambdaBelowMin'],
      'Allow 3': ['ForcedByFlag', 'None', 'LambdaBelowMin', 'LambdaDroppedFast'],
    };
    const seen = new Set<string>();
    fc.assert(
      fc.property(nearLimits, anySpikes, (gate, spikes) => {
        const tier = decided(gate, spikes);
        expect(reasons[`${tier.decision} ${tier.tier}`]).toContain(tier.reason);
        expect(tier.skip).toBe(tier.tier === 3 ? 1 : 0);
        seen.add(`${tier.decision} ${tier.tier} ${tier.reason}`);
      }),
      { numRuns: 4000, seed: 1 },
    );
    const all = Object.entries(reasons).flatMap(([key, list]) => list.map((reason) => `${key} ${reason}`));
    expect([...seen].sort()).toEqual(all.sort());
  });

  test('its result survives the 10-byte record', () => {
    fc.assert(
      fc.property(anyGate, anySpikes, policies, (gate, spikes, policy) => {
        const tier = decide(gate, spikes, policy, BASELINE);
        const view = new DataView(new ArrayBuffer(10));
        encodeTierDecision(tier, view, 0);
        expect(decodeTierDecision(view, 0)).toEqual(tier);
      }),
    );
  });

  test('packets that say nothing change nothing', () => {
    const silent = decide(parseGatePacket(undefined), undefined, POLICIES.default, BASELINE);
    expect(silent).toMatchObject({ decision: 'Allow', reason: 'None', tier: 0 });
    expect(decide(parseGatePacket({}), parseSpikePacket({}), POLICIES.default, BASELINE)).toEqual(silent);
  });

  test('BOUNDARY_IDS alone decides nothing', () => {
    fc.assert(
      fc.property(anyGate, (gate) => {
        const without = { ...gate, flags: gate.flags & 3 };
        expect(decided({ ...without, flags: without.flags | 4 }, undefined)).toEqual(decided(without, undefined));
      }),
    );
  });
});

describe('codes in the records', () => {
  test('decisions are 0..4 and reasons 0..7 in the fixed order', () => {
    expect(DECISIONS).toEqual(['Allow', 'ReduceScope', 'FlushKv', 'FreezeWrites', 'QuarantineUpdates']);
    expect(REASONS.indexOf('ForcedByFlag')).toBe(7);
    expect(REASONS.indexOf('SpikeStorm')).toBe(6);
  });
});

describe('integers computed in f64', () => {
  const hard = fc.tuple(u32, u32);
  /** Pairs whose ratio lies just beside a multiple of 1/32768, where a rounded quotient would step over. */
  const beside = fc
    .tuple(fc.integer({ min: 1, max: 2 ** 32 - 1 }), fc.nat({ max: 32768 }), fc.integer({ min: -2, max: 2 }))
    .map(([previous, q, off]): [number, number] => {
      const drop = Math.floor((previous * q) / 32768) + off;
      return [Math.min(2 ** 32 - 1, Math.max(0, previous - drop)), previous];
    });

  test('the drop ratio is exact for every pair of u32', () => {
    fc.assert(
      fc.property(fc.oneof(hard, beside), ([lambda, previous]) => {
        const exact = exactDrop(lambda, previous);
        expect(BigInt(dropRatioQ15(lambda, previous))).toBe(exact > 32767n ? 32767n : exact);
      }),
      { numRuns: 20000 },
    );
  });

  test('the difference is exact or saturates', () => {
    fc.assert(
      fc.property(hard, ([lambda, previous]) => {
        const exact = BigInt(lambda) - BigInt(previous);
        const [min, max] = [-(2n ** 31n), 2n ** 31n - 1n];
        expect(BigInt(lambdaDelta(lambda, previous))).toBe(exact < min ? min : exact > max ? max : exact);
      }),
    );
  });
});
