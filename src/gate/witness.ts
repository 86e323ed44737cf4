import { saturateU16, type Decision } from '../packets/fields.js';
import type { GatePacket } from '../packets/gate.js';
import { EDGE_IDS, type Witness } from '../packets/witness.js';
import type { Verdict } from './controller.js';
import { lambdaDelta } from './decide.js';

/** Packets given by the caller carry no edge ids; one frozen list serves every witness. */
const NO_EDGE_IDS: readonly number[] = Object.freeze(new Array<number>(EDGE_IDS).fill(0));

/** True for every decision but Allow. */
export const isIntervention = (decision: Decision): boolean => decision !== 'Allow';

/**
 * The record of one call.
 * @param layersExecuted layers that really ran, which an early exit can make fewer than `verdict.layersToRun`
 */
export function witnessOf(gate: GatePacket, verdict: Verdict, layersExecuted: number, policyId: number): Witness {
  // What may be written is read from it later: nobody may change it.
  return Object.freeze({
    lambda: gate.lambda,
    lambdaPrev: gate.lambdaPrev,
    lambdaDelta: lambdaDelta(gate.lambda, gate.lambdaPrev),
    topBoundaryEdgeIds: NO_EDGE_IDS,
    effectiveSeqLen: saturateU16(verdict.effectiveSeqLen),
    effectiveWindow: saturateU16(verdict.effectiveWindow),
    boundaryEdges: gate.boundaryEdges,
    boundaryConcentrationQ15: gate.boundaryConcentrationQ15,
    partitionCount: gate.partitionCount,
    decision: verdict.decision,
    reason: verdict.reason,
    kvWritesEnabled: verdict.kvWrites,
    externalWritesEnabled: verdict.externalWrites,
    tier: verdict.tier,
    flags: 0,
    layersExecuted: saturateU16(layersExecuted),
    policyId,
  });
}
