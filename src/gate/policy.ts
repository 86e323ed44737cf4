import { checkInteger, checkKeys, checkOneOf } from '../check.js';
import { MgtError } from '../errors.js';
import { Q15_MAX, U16_MAX, U32_MAX } from '../packets/fields.js';

/** Thresholds of the gate. Every comparison is strict: a value at its limit passes. */
export interface GatePolicy {
  /** Below it the call is quarantined; u32, in the units of the packets' lambda. */
  readonly lambdaMin: number;
  /** Largest fall of lambda against lambdaPrev, 0..32767. */
  readonly dropRatioQ15Max: number;
  /** u16. */
  readonly boundaryEdgesMax: number;
  /** 0..32767. */
  readonly boundaryConcentrationQ15Max: number;
  /** u16. */
  readonly partitionsMax: number;
  /** Event rate above which it is a storm, 0..32767. */
  readonly spikeRateQ15Max: number;
  /** 0..32767; part of upstream's policies, read by nothing: the scheduler's novelty limit is fixed (decisions/0004). */
  readonly spikeNoveltyQ15Min: number;
  /** ReduceScope may still write the KV cache. */
  readonly allowKvWriteWhenUnstable: boolean;
  /** A skip may still allow external writes when only a boundary or rate check fails. */
  readonly allowExternalWriteWhenUnstable: boolean;
}

/** Index = the witness's `policyId`. */
export const POLICY_NAMES = ['default', 'conservative', 'permissive'] as const;
export type PolicyName = (typeof POLICY_NAMES)[number];

/** Upstream's three policies (its config.rs). */
export const POLICIES: Readonly<Record<PolicyName, GatePolicy>> = Object.freeze({
  default: Object.freeze({
    lambdaMin: 30,
    dropRatioQ15Max: 12288,
    boundaryEdgesMax: 20,
    boundaryConcentrationQ15Max: 20480,
    partitionsMax: 10,
    spikeRateQ15Max: 16384,
    spikeNoveltyQ15Min: 2048,
    allowKvWriteWhenUnstable: true,
    allowExternalWriteWhenUnstable: false,
  }),
  conservative: Object.freeze({
    lambdaMin: 50,
    dropRatioQ15Max: 8192,
    boundaryEdgesMax: 10,
    boundaryConcentrationQ15Max: 16384,
    partitionsMax: 5,
    spikeRateQ15Max: 8192,
    spikeNoveltyQ15Min: 4096,
    allowKvWriteWhenUnstable: false,
    allowExternalWriteWhenUnstable: false,
  }),
  permissive: Object.freeze({
    lambdaMin: 20,
    dropRatioQ15Max: 16384,
    boundaryEdgesMax: 50,
    boundaryConcentrationQ15Max: 24576,
    partitionsMax: 20,
    spikeRateQ15Max: 24576,
    spikeNoveltyQ15Min: 1024,
    allowKvWriteWhenUnstable: true,
    allowExternalWriteWhenUnstable: false,
  }),
});

/** The witness's `policyId` of a policy that is none of the three. */
export const CUSTOM_POLICY_ID = U16_MAX;

/** 0 default, 1 conservative, 2 permissive; any other name is custom, 65535. */
export function policyId(name: string): number {
  const id = POLICY_NAMES.findIndex((known) => known === name);
  return id < 0 ? CUSTOM_POLICY_ID : id;
}

/**
 * A policy from outside (JSON, a caller). A missing field takes the default policy's value.
 * @throws MgtError `BadConfig` naming `policy.<field>`: wrong type, not an integer, out of range, unknown key.
 */
export function validatePolicy(value: unknown): GatePolicy {
  const raw = checkKeys('policy', value, Object.keys(POLICIES.default), 'BadConfig');
  const number = (key: NumberKey, max: number): number =>
    raw[key] === undefined ? POLICIES.default[key] : checkInteger(`policy.${key}`, raw[key], 0, max, 'BadConfig');
  const flag = (key: FlagKey): boolean => {
    const given = raw[key] === undefined ? POLICIES.default[key] : raw[key];
    if (typeof given !== 'boolean') throw new MgtError('BadConfig', `policy.${key}`, 'true or false', given);
    return given;
  };
  return Object.freeze({
    lambdaMin: number('lambdaMin', U32_MAX),
    dropRatioQ15Max: number('dropRatioQ15Max', Q15_MAX),
    boundaryEdgesMax: number('boundaryEdgesMax', U16_MAX),
    boundaryConcentrationQ15Max: number('boundaryConcentrationQ15Max', Q15_MAX),
    partitionsMax: number('partitionsMax', U16_MAX),
    spikeRateQ15Max: number('spikeRateQ15Max', Q15_MAX),
    spikeNoveltyQ15Min: number('spikeNoveltyQ15Min', Q15_MAX),
    allowKvWriteWhenUnstable: flag('allowKvWriteWhenUnstable'),
    allowExternalWriteWhenUnstable: flag('allowExternalWriteWhenUnstable'),
  });
}

type FlagKey = 'allowKvWriteWhenUnstable' | 'allowExternalWriteWhenUnstable';
type NumberKey = Exclude<keyof GatePolicy, FlagKey>;

/** A policy together with the id its witnesses carry. */
export interface ChosenPolicy {
  readonly policy: GatePolicy;
  readonly policyId: number;
}

/**
 * A policy as an option gives it: nothing (default), a name, or the fields of a custom one.
 * @throws MgtError `BadConfig` naming `policy` (unknown name) or `policy.<field>`.
 */
export function choosePolicy(value: unknown): ChosenPolicy {
  if (value === undefined) return { policy: POLICIES.default, policyId: 0 };
  if (typeof value !== 'string') return { policy: validatePolicy(value), policyId: CUSTOM_POLICY_ID };
  const name = checkOneOf('policy', value, POLICY_NAMES, 'BadConfig');
  return { policy: POLICIES[name], policyId: policyId(name) };
}
