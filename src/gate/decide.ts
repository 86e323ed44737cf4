import { Q15_MAX, type Decision, type Reason } from '../packets/fields.js';
import { GATE_FLAGS, type GatePacket } from '../packets/gate.js';
import type { SpikePacket } from '../packets/spike.js';
import type { TierDecision } from '../packets/tier.js';
import type { GatePolicy } from './policy.js';
import type { GateShape } from './shape.js';

/**
 * The decision table: how much runs, and under which decision. Pure integer arithmetic on packets; reads no
 * memory, clock or generator, and allocates nothing but its result. Rules and order are upstream's
 * (ruvector-mincut-gated-transformer, gate.rs); where we differ: docs/decisions/0002-gate.md.
 */

/** Attention window of the safe tier, in tokens, where the model's own is not smaller still. */
const WINDOW_SAFE = 4;
/** 1.0 in Q15. */
const ONE_Q15 = 32768;

/**
 * Fall of lambda against lambdaPrev, 0..32768: floor(drop · 32768 / prev); 0 without a previous value or a fall.
 * Exact in f64: drop < 2^32, so the product is below 2^47 < 2^53 and exact; a quotient that is no integer lies at
 * least 1/prev > 2^-32 below the next one, while rounding moves a number below 2^15 by at most 2^-39, so floor holds.
 */
function rawDropRatio(lambda: number, lambdaPrev: number): number {
  if (lambdaPrev === 0 || lambda >= lambdaPrev) return 0;
  return Math.floor(((lambdaPrev - lambda) * ONE_Q15) / lambdaPrev);
}

/** The same as a Q15 field, 0..32767. The gate compares the raw value: a fall to 0 exceeds any maximum (D5). */
export function dropRatioQ15(lambda: number, lambdaPrev: number): number {
  return Math.min(rawDropRatio(lambda, lambdaPrev), Q15_MAX);
}

const I32_MAX = 0x7fffffff;
const I32_MIN = -0x80000000;

/** lambda − lambdaPrev of two u32, saturated to i32 (D6). */
export function lambdaDelta(lambda: number, lambdaPrev: number): number {
  return Math.max(I32_MIN, Math.min(I32_MAX, lambda - lambdaPrev));
}

/** The first of lambda's own two checks that fails. */
export function lambdaFailure(gate: GatePacket, policy: GatePolicy): Reason {
  if (gate.lambda < policy.lambdaMin) return 'LambdaBelowMin';
  if (rawDropRatio(gate.lambda, gate.lambdaPrev) > policy.dropRatioQ15Max) return 'LambdaDroppedFast';
  return 'None';
}

/** The first of the three boundary checks that fails. */
export function boundaryFailure(gate: GatePacket, policy: GatePolicy): Reason {
  if (gate.boundaryEdges > policy.boundaryEdgesMax) return 'BoundarySpike';
  if (gate.boundaryConcentrationQ15 > policy.boundaryConcentrationQ15Max) return 'BoundaryConcentrationSpike';
  if (gate.partitionCount > policy.partitionsMax) return 'PartitionDrift';
  return 'None';
}

/** An event rate above the policy's maximum. */
export function isStorm(spikes: SpikePacket | undefined, policy: GatePolicy): boolean {
  return spikes !== undefined && spikes.rateQ15 > policy.spikeRateQ15Max;
}

/**
 * Decides one call. Order: SKIP, FORCE_SAFE, inactive spike, storm, lambda, drop, edges, concentration, partitions.
 * Total on parsed packets and a validated policy; never throws.
 */
export function decide(
  gate: GatePacket,
  spikes: SpikePacket | undefined,
  policy: GatePolicy,
  shape: GateShape,
): TierDecision {
  if ((gate.flags & GATE_FLAGS.SKIP) !== 0) return skipped(gate, policy, 'ForcedByFlag');
  if ((gate.flags & GATE_FLAGS.FORCE_SAFE) !== 0) return safe('FreezeWrites', 'ForcedByFlag', shape);
  if (spikes !== undefined && spikes.fired === 0) return skipped(gate, policy, 'None');
  if (isStorm(spikes, policy)) return safe('FreezeWrites', 'SpikeStorm', shape);

  const lambda = lambdaFailure(gate, policy);
  if (lambda === 'LambdaBelowMin') return safe('QuarantineUpdates', lambda, shape);
  if (lambda !== 'None') return reduced('FlushKv', lambda, shape);
  const boundary = boundaryFailure(gate, policy);
  if (boundary !== 'None') return reduced('ReduceScope', boundary, shape);
  return {
    layersToRun: shape.layers,
    effectiveSeqLen: shape.seqLen,
    effectiveWindow: shape.windowNormal,
    decision: 'Allow',
    reason: 'None',
    tier: 0,
    skip: 0,
  };
}

/** Tier 1: fewer layers, shorter sequence, smaller window. */
function reduced(decision: Decision, reason: Reason, shape: GateShape): TierDecision {
  return {
    layersToRun: shape.layersDegraded,
    effectiveSeqLen: shape.seqLenDegraded,
    effectiveWindow: shape.windowDegraded,
    decision,
    reason,
    tier: 1,
    skip: 0,
  };
}

/** Tier 2: one layer. */
function safe(decision: Decision, reason: Reason, shape: GateShape): TierDecision {
  return {
    layersToRun: 1,
    effectiveSeqLen: shape.seqLenSafe,
    effectiveWindow: Math.min(WINDOW_SAFE, shape.windowNormal),
    decision,
    reason,
    tier: 2,
    skip: 0,
  };
}

/** Tier 3: no layer. A failing lambda check is named even though it did not decide (D1). */
function skipped(gate: GatePacket, policy: GatePolicy, reason: Reason): TierDecision {
  const lambda = lambdaFailure(gate, policy);
  return {
    layersToRun: 0,
    effectiveSeqLen: 0,
    effectiveWindow: 0,
    decision: 'Allow',
    reason: lambda === 'None' ? reason : lambda,
    tier: 3,
    skip: 1,
  };
}
