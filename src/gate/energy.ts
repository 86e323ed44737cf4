import { checkKeys } from '../check.js';
import { MgtError } from '../errors.js';
import type { Decision, Reason } from '../packets/fields.js';
import { GATE_FLAGS, type GatePacket } from '../packets/gate.js';
import { ALLOW, QUARANTINE_UPDATES, REDUCE_SCOPE, type Outcome } from './decide.js';

/**
 * The energy gate: one number for a packet instead of five limits,
 *
 *   E = [ 1/(1 + λ/150) + ½ (½ edges/100 + ½ concentration) + 0.3 log10 partitions ] / 1.8, in [0, 1],
 *
 * and three bands of it. Form and weights are upstream's (energy_gate.rs); terms that could exceed one are clamped to
 * it, and the confidence is such that it can decide: docs/decisions/0004-energy-and-scheduler.md.
 * Pure IEEE arithmetic (+ − × ÷ sqrt): the same bits everywhere.
 */

/** Where the bands of E lie, and how sure the gate must be to decide. */
export interface EnergyConfig {
  /** Allow below it, 0..1. */
  readonly allowBelow: number;
  /** QuarantineUpdates from it on, allowBelow..1; ReduceScope between the two. */
  readonly quarantineFrom: number;
  /** Below this confidence, 0..1, the rules decide instead. */
  readonly minConfidence: number;
}

export const ENERGY_DEFAULTS: EnergyConfig = Object.freeze({
  allowBelow: 0.5,
  quarantineFrom: 0.9,
  minConfidence: 0.6,
});

/**
 * The energy gate as an option gives it: `true` for the defaults, or an object with any of the fields.
 * @throws MgtError `BadConfig` naming `energy.<field>`: wrong type, out of range or order, unknown key.
 */
export function validateEnergy(value: unknown): EnergyConfig {
  if (value === true) return ENERGY_DEFAULTS;
  const raw = checkKeys('energy', value, Object.keys(ENERGY_DEFAULTS), 'BadConfig');
  const real = (key: keyof EnergyConfig, least: number): number => {
    const given = raw[key] === undefined ? ENERGY_DEFAULTS[key] : raw[key];
    if (typeof given === 'number' && given >= least && given <= 1) return given;
    throw new MgtError('BadConfig', `energy.${key}`, `a number in ${least}..1`, given);
  };
  const allowBelow = real('allowBelow', 0);
  return Object.freeze({
    allowBelow,
    quarantineFrom: real('quarantineFrom', allowBelow),
    minConfidence: real('minConfidence', 0),
  });
}

const { min, max, sqrt } = Math;

/** λ at which its term is one half. */
const LAMBDA_HALF = 150;
const EDGES_FULL = 100;
const ONE_Q15 = 32768;
/** log10 k of k = 0..9 partitions; from 10 on it is 1. A table: logarithms differ in their last bit between engines. */
const LOG10 = [
  0, 0, 0.3010299956639812, 0.47712125471966244, 0.6020599913279624, 0.6989700043360189, 0.7781512503836436,
  0.8450980400142568, 0.9030899869919435, 0.9542425094393249,
] as const;
const LN_10 = 2.302585092994046;

const LAMBDA_WEIGHT = 1;
const EDGES_WEIGHT = 0.25;
const CONCENTRATION_WEIGHT = 0.25;
const PARTITIONS_WEIGHT = 0.3;
const TOTAL_WEIGHT = 1.8;

/** The four weighted terms; each is at most its weight. */
const lambdaTerm = (gate: GatePacket): number => LAMBDA_WEIGHT / (1 + gate.lambda / LAMBDA_HALF);
const edgesTerm = (gate: GatePacket): number => EDGES_WEIGHT * min(1, gate.boundaryEdges / EDGES_FULL);
const concentrationTerm = (gate: GatePacket): number =>
  CONCENTRATION_WEIGHT * min(1, gate.boundaryConcentrationQ15 / ONE_Q15);
// Not `?? 1`: a value that may be undefined is boxed, and this path allocates nothing.
const partitionsTerm = (gate: GatePacket): number =>
  PARTITIONS_WEIGHT * (gate.partitionCount < LOG10.length ? LOG10[gate.partitionCount]! : 1);

/** Energy of a packet, 0..1; low is stable. Flags and `lambdaPrev` do not enter. */
export function energyOf(gate: GatePacket): number {
  return (lambdaTerm(gate) + (edgesTerm(gate) + concentrationTerm(gate)) + partitionsTerm(gate)) / TOTAL_WEIGHT;
}

/** Derivatives of E along the terms' own axes, so that they compare: λ/150, edges/100, concentration, partitions/10. */
export interface EnergyGradient {
  /** Always negative. */
  readonly dLambda: number;
  /** Positive; 0 from 100 edges on. */
  readonly dBoundary: number;
  readonly dConcentration: number;
  /** Derivative of log10, at least at one partition; 0 from 10 partitions on. */
  readonly dPartitions: number;
  /** Euclidean norm of the four. */
  readonly magnitude: number;
}

const dLambda = (gate: GatePacket): number => {
  const damping = 1 + gate.lambda / LAMBDA_HALF;
  return -LAMBDA_WEIGHT / (damping * damping) / TOTAL_WEIGHT;
};
const dBoundary = (gate: GatePacket): number => (gate.boundaryEdges < EDGES_FULL ? EDGES_WEIGHT / TOTAL_WEIGHT : 0);
const D_CONCENTRATION = CONCENTRATION_WEIGHT / TOTAL_WEIGHT;
const dPartitions = (gate: GatePacket): number =>
  gate.partitionCount < LOG10.length
    ? (PARTITIONS_WEIGHT * LOG10.length) / (LN_10 * max(1, gate.partitionCount)) / TOTAL_WEIGHT
    : 0;

function magnitude(gate: GatePacket): number {
  const l = dLambda(gate);
  const b = dBoundary(gate);
  const p = dPartitions(gate);
  return sqrt(l * l + b * b + D_CONCENTRATION * D_CONCENTRATION + p * p);
}

/** Analytic gradient of `energyOf`. */
export function energyGradient(gate: GatePacket): EnergyGradient {
  return {
    dLambda: dLambda(gate),
    dBoundary: dBoundary(gate),
    dConcentration: D_CONCENTRATION,
    dPartitions: dPartitions(gate),
    magnitude: magnitude(gate),
  };
}

/**
 * How sure the gate is, 0..1: 0.7 of it from the distance of E to the nearest inner limit of its band, full at half the
 * band's width; 0.3 from the steepness of E.
 */
function confidenceOf(gate: GatePacket, energy: number, config: EnergyConfig): number {
  const { allowBelow, quarantineFrom } = config;
  let width: number;
  let distance: number;
  if (energy < allowBelow) {
    width = allowBelow;
    distance = allowBelow - energy;
  } else if (energy < quarantineFrom) {
    width = quarantineFrom - allowBelow;
    distance = min(energy - allowBelow, quarantineFrom - energy);
  } else {
    width = 1 - quarantineFrom;
    distance = energy - quarantineFrom;
  }
  // Only quarantineFrom = 1 has a band without width: E = 1 exactly.
  const depth = width === 0 ? 1 : min(1, distance / (width / 2));
  return 0.7 * depth + 0.3 * min(1, magnitude(gate) / 2);
}

/** What the band of E says; its reason is the largest of the four terms, the earlier of equal ones. */
function bandOf(gate: GatePacket, energy: number, config: EnergyConfig): Outcome {
  if (energy < config.allowBelow) return ALLOW.None;
  return (energy < config.quarantineFrom ? REDUCE_SCOPE : QUARANTINE_UPDATES)[largestTerm(gate)];
}

function largestTerm(gate: GatePacket): Reason {
  let reason: Reason = 'LambdaBelowMin';
  let largest = lambdaTerm(gate);
  const edges = edgesTerm(gate);
  if (edges > largest) {
    reason = 'BoundarySpike';
    largest = edges;
  }
  const concentration = concentrationTerm(gate);
  if (concentration > largest) {
    reason = 'BoundaryConcentrationSpike';
    largest = concentration;
  }
  return partitionsTerm(gate) > largest ? 'PartitionDrift' : reason;
}

/** What the energy gate decides, or undefined where it is not sure enough. Reads no flag; allocates nothing. */
export function energyOutcome(gate: GatePacket, config: EnergyConfig): Outcome | undefined {
  const energy = energyOf(gate);
  return confidenceOf(gate, energy, config) >= config.minConfidence ? bandOf(gate, energy, config) : undefined;
}

/** The energy gate's own view of one packet. */
export interface EnergyDecision {
  readonly decision: Decision;
  /** 0..1; 1 for a flag, and always 0.5 for a fallback (upstream's mark of "undecided"). */
  readonly confidence: number;
  readonly energy: number;
  readonly reason: Reason;
  /** True: not sure enough. `decision` is what the band of E says; the controller lets the rules decide. */
  readonly fallback: boolean;
}

/** Confidence reported where the gate is not sure enough to decide. */
const UNDECIDED = 0.5;

/** Decides one packet by its energy, flags first (SKIP before FORCE_SAFE). Total; the controller obeys flags by itself. */
export function decideByEnergy(gate: GatePacket, config: EnergyConfig): EnergyDecision {
  const energy = energyOf(gate);
  if ((gate.flags & GATE_FLAGS.SKIP) !== 0)
    return { decision: 'Allow', confidence: 1, energy, reason: 'ForcedByFlag', fallback: false };
  if ((gate.flags & GATE_FLAGS.FORCE_SAFE) !== 0)
    return { decision: 'FreezeWrites', confidence: 1, energy, reason: 'ForcedByFlag', fallback: false };
  const { decision, reason } = bandOf(gate, energy, config);
  const confidence = confidenceOf(gate, energy, config);
  const fallback = confidence < config.minConfidence;
  return { decision, confidence: fallback ? UNDECIDED : confidence, energy, reason, fallback };
}
