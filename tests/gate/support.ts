import fc from 'fast-check';
import { judge } from '../../src/gate/controller.js';
import { decide } from '../../src/gate/decide.js';
import { choosePolicy, POLICIES, type GatePolicy } from '../../src/gate/policy.js';
import { gateShape, type GateShape } from '../../src/gate/shape.js';
import { witnessOf } from '../../src/gate/witness.js';
import type { GatePacket } from '../../src/packets/gate.js';
import { NEUTRAL_SPIKES, type SpikePacket } from '../../src/packets/spike.js';
import type { TierDecision } from '../../src/packets/tier.js';
import type { Witness } from '../../src/packets/witness.js';
import { presetModel } from '../../src/presets.js';
import { q15, u16, u32 } from '../packets/support.js';

export const BASELINE: GateShape = gateShape(presetModel('baseline'), 64);

/** The rows' notation: lambda, prev, edges, concentration, partitions, flags. */
export const g = (
  lambda: number,
  lambdaPrev: number,
  boundaryEdges = 5,
  boundaryConcentrationQ15 = 8192,
  partitionCount = 3,
  flags = 0,
): GatePacket => ({ lambda, lambdaPrev, boundaryEdges, boundaryConcentrationQ15, partitionCount, flags });

export const spikes = (fields: Partial<SpikePacket>): SpikePacket => ({ ...NEUTRAL_SPIKES, ...fields });

/** Default policy, baseline shape. */
export const decided = (gate: GatePacket, spike?: SpikePacket, policy = POLICIES.default): TierDecision =>
  decide(gate, spike, policy, BASELINE);

/** The witness of a call that ran as decided. */
export function witnessed(
  gate: GatePacket,
  {
    spike,
    policy,
    shape = BASELINE,
  }: { spike?: SpikePacket | undefined; policy?: unknown; shape?: GateShape | undefined } = {},
): Witness {
  const chosen = choosePolicy(policy);
  const verdict = judge(gate, spike, { ...chosen, scheduler: false }, shape);
  return witnessOf(gate, verdict, verdict.layersToRun, chosen.policyId);
}

/** Tier 0..3 of the baseline: layers, tokens, window. */
export const TIERS = [
  { tier: 0, skip: 0, layersToRun: 4, effectiveSeqLen: 64, effectiveWindow: 16 },
  { tier: 1, skip: 0, layersToRun: 2, effectiveSeqLen: 32, effectiveWindow: 8 },
  { tier: 2, skip: 0, layersToRun: 1, effectiveSeqLen: 8, effectiveWindow: 4 },
  { tier: 3, skip: 1, layersToRun: 0, effectiveSeqLen: 0, effectiveWindow: 0 },
] as const;

export const policies: fc.Arbitrary<GatePolicy> = fc.oneof(
  fc.constantFrom(...Object.values(POLICIES)),
  fc.record({
    lambdaMin: u32,
    dropRatioQ15Max: q15,
    boundaryEdgesMax: u16,
    boundaryConcentrationQ15Max: q15,
    partitionsMax: u16,
    spikeRateQ15Max: q15,
    spikeNoveltyQ15Min: q15,
    allowKvWriteWhenUnstable: fc.boolean(),
    allowExternalWriteWhenUnstable: fc.boolean(),
  }),
);

/** Packets near the named policies' limits, where every rule is the deciding one now and then. */
export const nearLimits: fc.Arbitrary<GatePacket> = fc.record({
  lambda: fc.integer({ min: 0, max: 120 }),
  lambdaPrev: fc.integer({ min: 0, max: 120 }),
  boundaryEdges: fc.integer({ min: 0, max: 30 }),
  boundaryConcentrationQ15: fc.integer({ min: 0, max: 30000 }),
  partitionCount: fc.integer({ min: 0, max: 15 }),
  flags: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 7 })),
});

export const shapes: fc.Arbitrary<GateShape> = fc.record({
  layers: fc.integer({ min: 1, max: 100 }),
  layersDegraded: fc.integer({ min: 1, max: 100 }),
  seqLen: fc.integer({ min: 1, max: 200000 }),
  seqLenDegraded: fc.integer({ min: 1, max: 200000 }),
  seqLenSafe: fc.integer({ min: 1, max: 200000 }),
  windowNormal: fc.integer({ min: 1, max: 200000 }),
  windowDegraded: fc.integer({ min: 1, max: 200000 }),
  enableKvCache: fc.boolean(),
  enableExternalWrites: fc.boolean(),
});
