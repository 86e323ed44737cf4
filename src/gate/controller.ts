import type { Bit, Decision, Tier } from '../packets/fields.js';
import { GATE_FLAGS, type GatePacket } from '../packets/gate.js';
import type { SpikePacket } from '../packets/spike.js';
import type { TierDecision } from '../packets/tier.js';
import {
  boundaryFailure,
  isForced,
  isStorm,
  lambdaFailure,
  layersAt,
  ruleOutcome,
  seqLenAt,
  windowAt,
} from './decide.js';
import { energyOutcome, type EnergyConfig } from './energy.js';
import type { ChosenPolicy } from './policy.js';
import { scheduledTier } from './scheduler.js';
import type { GateShape } from './shape.js';

/** Everything that decides a call besides its packets and the model's shape. */
export interface GateRules extends ChosenPolicy {
  /** The energy gate decides where it is sure enough; absent: the rules alone. */
  readonly energy?: EnergyConfig | undefined;
  /** The spike scheduler may make the tier deeper. */
  readonly scheduler: boolean;
}

/** The tier decision and what it lets be written: everything the witness says before anything runs. */
export interface Verdict extends TierDecision {
  /** 1: the session keeps what this call computes. */
  readonly kvWrites: Bit;
  /** 1: the host may persist or act on the result. */
  readonly externalWrites: Bit;
}

/**
 * Judges one call. Flags, an inactive spike and a storm always go by the rules; else the energy gate decides where it is
 * there and sure enough, else the rules. The scheduler then makes the tier deeper or leaves it: decision, reason and
 * permissions stay, but a tier 3 is a skip and keeps no KV.
 * Total on parsed packets and validated rules; pure; allocates nothing but its result.
 */
export function judge(gate: GatePacket, spikes: SpikePacket | undefined, rules: GateRules, shape: GateShape): Verdict {
  const { policy } = rules;
  const byEnergy = rules.energy === undefined ? undefined : energyOutcome(gate, rules.energy);
  const outcome =
    byEnergy === undefined || isForced(gate, spikes, policy) ? ruleOutcome(gate, spikes, policy) : byEnergy;
  const { decision, reason } = outcome;
  const scheduled = rules.scheduler && spikes !== undefined ? scheduledTier(spikes) : 0;
  const tier = scheduled > outcome.tier ? scheduled : outcome.tier;

  // The checks no flag of the policy reaches. FORCE_SAFE matters to a skip, which says Allow without having asked (D1).
  const open = lambdaFailure(gate, policy) === 'None' && (gate.flags & GATE_FLAGS.FORCE_SAFE) === 0;
  const stable = boundaryFailure(gate, policy) === 'None' && !isStorm(spikes, policy);
  const kv = open && permitsKv(decision, tier) && (stable || policy.allowKvWriteWhenUnstable);
  // A skip is held to the energy gate too: not skipped, the same packet would have been.
  const external =
    open &&
    decision === 'Allow' &&
    (byEnergy === undefined || byEnergy.decision === 'Allow') &&
    (stable || policy.allowExternalWriteWhenUnstable);
  return {
    layersToRun: layersAt(tier, shape),
    effectiveSeqLen: seqLenAt(tier, shape),
    effectiveWindow: windowAt(tier, shape),
    decision,
    reason,
    tier,
    skip: tier === 3 ? 1 : 0,
    kvWrites: kv && shape.enableKvCache ? 1 : 0,
    externalWrites: external && shape.enableExternalWrites ? 1 : 0,
  };
}

/** A skip computes nothing that could be kept. */
const permitsKv = (decision: Decision, tier: Tier): boolean =>
  tier !== 3 && (decision === 'Allow' || decision === 'ReduceScope');
