import { Q15_MAX, REASONS, type Decision, type Reason, type Tier } from '../packets/fields.js';
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

/** What a rule says, before a model's shape gives its tier numbers. */
export interface Outcome {
  readonly decision: Decision;
  readonly reason: Reason;
  readonly tier: Tier;
}

/** One frozen row per reason: deciding allocates none. */
export const outcomesOf = (decision: Decision, tier: Tier): Readonly<Record<Reason, Outcome>> =>
  Object.freeze(
    Object.fromEntries(REASONS.map((reason) => [reason, Object.freeze({ decision, reason, tier })])),
  ) as Readonly<Record<Reason, Outcome>>;

export const ALLOW = outcomesOf('Allow', 0);
export const REDUCE_SCOPE = outcomesOf('ReduceScope', 1);
const FLUSH_KV = outcomesOf('FlushKv', 1);
const FREEZE_WRITES = outcomesOf('FreezeWrites', 2);
export const QUARANTINE_UPDATES = outcomesOf('QuarantineUpdates', 2);
const SKIPPED = outcomesOf('Allow', 3);

/** What one call asks for by itself, whatever its numbers say: SKIP, FORCE_SAFE, nothing fired, or a storm. */
export function isForced(gate: GatePacket, spikes: SpikePacket | undefined, policy: GatePolicy): boolean {
  return (
    (gate.flags & (GATE_FLAGS.SKIP | GATE_FLAGS.FORCE_SAFE)) !== 0 || spikes?.fired === 0 || isStorm(spikes, policy)
  );
}

/** The first rule that applies: SKIP, FORCE_SAFE, inactive spike, storm, lambda, drop, edges, concentration, partitions. */
export function ruleOutcome(gate: GatePacket, spikes: SpikePacket | undefined, policy: GatePolicy): Outcome {
  const lambda = lambdaFailure(gate, policy);
  // A skip names a failing lambda check even though it did not decide (D1).
  if ((gate.flags & GATE_FLAGS.SKIP) !== 0) return SKIPPED[lambda === 'None' ? 'ForcedByFlag' : lambda];
  if ((gate.flags & GATE_FLAGS.FORCE_SAFE) !== 0) return FREEZE_WRITES.ForcedByFlag;
  if (spikes?.fired === 0) return SKIPPED[lambda];
  if (isStorm(spikes, policy)) return FREEZE_WRITES.SpikeStorm;
  if (lambda === 'LambdaBelowMin') return QUARANTINE_UPDATES.LambdaBelowMin;
  if (lambda !== 'None') return FLUSH_KV[lambda];
  const boundary = boundaryFailure(gate, policy);
  return boundary === 'None' ? ALLOW.None : REDUCE_SCOPE[boundary];
}

/**
 * Decides one call by the rules alone.
 * Total on parsed packets and a validated policy; never throws.
 */
export function decide(
  gate: GatePacket,
  spikes: SpikePacket | undefined,
  policy: GatePolicy,
  shape: GateShape,
): TierDecision {
  const { decision, reason, tier } = ruleOutcome(gate, spikes, policy);
  return {
    layersToRun: layersAt(tier, shape),
    effectiveSeqLen: seqLenAt(tier, shape),
    effectiveWindow: windowAt(tier, shape),
    decision,
    reason,
    tier,
    skip: tier === 3 ? 1 : 0,
  };
}

/** Layers a tier runs: all, the degraded number, one, none. */
export function layersAt(tier: Tier, shape: GateShape): number {
  return tier === 0 ? shape.layers : tier === 1 ? shape.layersDegraded : tier === 2 ? 1 : 0;
}

/** Tokens a tier keeps. */
export function seqLenAt(tier: Tier, shape: GateShape): number {
  return tier === 0 ? shape.seqLen : tier === 1 ? shape.seqLenDegraded : tier === 2 ? shape.seqLenSafe : 0;
}

/** Attention window of a tier, in tokens. */
export function windowAt(tier: Tier, shape: GateShape): number {
  if (tier === 0) return shape.windowNormal;
  if (tier === 1) return shape.windowDegraded;
  return tier === 2 ? Math.min(WINDOW_SAFE, shape.windowNormal) : 0;
}
