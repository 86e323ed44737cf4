import { checkInteger } from '../check.js';
import { MgtError, type ErrorCode } from '../errors.js';

/** What the binary records share: ranges, byte order, names of decisions and reasons. */

export const U16_MAX = 0xffff;
export const U32_MAX = 0xffffffff;
/** Q15 fields are fractions of one in 1/32768 steps; 1.0 itself is not representable. */
export const Q15_MAX = 32767;

/** Every record is little-endian, like the linear memory it lies in. */
export const LITTLE_ENDIAN = true;

/** Index = code in the records. Ordered from least to most restrictive. */
export const DECISIONS = ['Allow', 'ReduceScope', 'FlushKv', 'FreezeWrites', 'QuarantineUpdates'] as const;
/** Index = code in the records. */
export const REASONS = [
  'None',
  'LambdaBelowMin',
  'LambdaDroppedFast',
  'BoundarySpike',
  'BoundaryConcentrationSpike',
  'PartitionDrift',
  'SpikeStorm',
  'ForcedByFlag',
] as const;

export type Decision = (typeof DECISIONS)[number];
export type Reason = (typeof REASONS)[number];
/** Compute tier: 0 full, 1 reduced, 2 safe, 3 skip. */
export type Tier = 0 | 1 | 2 | 3;
export type Bit = 0 | 1;

/** Largest u16 where a dimension of the model does not fit one. */
export const saturateU16 = (value: number): number => (value > U16_MAX ? U16_MAX : value);

/** Name behind a record's code; a code without a name is refused. */
export function nameOf<T extends string>(field: string, names: readonly T[], code: number): T {
  const name = names[code];
  if (name === undefined) throw new MgtError('BadFile', field, `a code in 0..${names.length - 1}`, code);
  return name;
}

/**
 * An integer in 0..max, or `missing` where the value is undefined.
 * Adding zero turns -0 (JSON can hold one) into 0, so that a packet equals its record read back.
 */
export function integerField(field: string, value: unknown, max: number, missing: number, code: ErrorCode): number {
  return value === undefined ? missing : checkInteger(field, value, 0, max, code) + 0;
}

/** All bits that have a name. */
export const maskOf = (known: Readonly<Record<string, number>>): number =>
  Object.values(known).reduce((all, bit) => all | bit, 0);

/** A set of flag bits; a bit that has no name is refused, so that it can be given a meaning later. */
export function flagsField(
  field: string,
  value: unknown,
  known: Readonly<Record<string, number>>,
  mask: number,
  code: ErrorCode,
): number {
  const flags = integerField(field, value, U16_MAX, 0, code);
  if ((flags & ~mask) === 0) return flags;
  const names = Object.entries(known).map(([name, bit]) => `${name} ${bit}`);
  throw new MgtError(code, field, `a sum of ${names.join(', ')}`, flags);
}
