import { saturateU16, type Bit, type Decision } from '../packets/fields.js';
import { GATE_FLAGS, type GatePacket } from '../packets/gate.js';
import type { SpikePacket } from '../packets/spike.js';
import type { TierDecision } from '../packets/tier.js';
import { EDGE_IDS, type Witness } from '../packets/witness.js';
import { boundaryFailure, isStorm, lambdaDelta, lambdaFailure } from './decide.js';
import type { ChosenPolicy, GatePolicy } from './policy.js';
import type { GateShape } from './shape.js';

/** Packets given by the caller carry no edge ids; one frozen list serves every witness. */
const NO_EDGE_IDS: readonly number[] = Object.freeze(new Array<number>(EDGE_IDS).fill(0));

/** True for every decision but Allow. */
export const isIntervention = (decision: Decision): boolean => decision !== 'Allow';

/**
 * The record of one call. Write permissions are
 * decision permits AND (stable OR the policy's allow flag) AND the config's switch (docs/decisions/0002-gate.md).
 * @param layersExecuted layers that really ran, which an early exit can make fewer than `tier.layersToRun`
 */
export function witnessOf(
  gate: GatePacket,
  spikes: SpikePacket | undefined,
  tier: TierDecision,
  layersExecuted: number,
  chosen: ChosenPolicy,
  shape: GateShape,
): Witness {
  return {
    lambda: gate.lambda,
    lambdaPrev: gate.lambdaPrev,
    lambdaDelta: lambdaDelta(gate.lambda, gate.lambdaPrev),
    topBoundaryEdgeIds: NO_EDGE_IDS,
    effectiveSeqLen: saturateU16(tier.effectiveSeqLen),
    effectiveWindow: saturateU16(tier.effectiveWindow),
    boundaryEdges: gate.boundaryEdges,
    boundaryConcentrationQ15: gate.boundaryConcentrationQ15,
    partitionCount: gate.partitionCount,
    decision: tier.decision,
    reason: tier.reason,
    kvWritesEnabled: kvWrites(tier, chosen.policy, shape),
    externalWritesEnabled: externalWrites(gate, spikes, tier, chosen.policy, shape),
    tier: tier.tier,
    flags: 0,
    layersExecuted: saturateU16(layersExecuted),
    policyId: chosen.policyId,
  };
}

/** Allow and ReduceScope permit; ReduceScope is unstable by definition; a skip computes nothing to write. */
function kvWrites(tier: TierDecision, policy: GatePolicy, shape: GateShape): Bit {
  if (tier.skip === 1 || !shape.enableKvCache) return 0;
  if (tier.decision === 'Allow') return 1;
  return tier.decision === 'ReduceScope' && policy.allowKvWriteWhenUnstable ? 1 : 0;
}

/** Only Allow permits. A skip says Allow without having asked, so it is held to the checks it passed over (D1). */
function externalWrites(
  gate: GatePacket,
  spikes: SpikePacket | undefined,
  tier: TierDecision,
  policy: GatePolicy,
  shape: GateShape,
): Bit {
  if (tier.decision !== 'Allow' || !shape.enableExternalWrites) return 0;
  if (tier.skip === 0) return 1;
  if ((gate.flags & GATE_FLAGS.FORCE_SAFE) !== 0 || lambdaFailure(gate, policy) !== 'None') return 0;
  const stable = boundaryFailure(gate, policy) === 'None' && !isStorm(spikes, policy);
  return stable || policy.allowExternalWriteWhenUnstable ? 1 : 0;
}
