import { MgtError, show, type ErrorCode } from './errors.js';

/** Validation helpers: success path first, the message is built only on failure. */

/** An integer in [min, max], given as a JS number. */
export function checkInteger(
  field: string,
  value: unknown,
  min: number,
  max: number,
  code: ErrorCode = 'BadInput',
): number {
  if (typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max) return value;
  throw new MgtError(code, field, `an integer in ${min}..${max}`, typeof value === 'string' ? `"${value}"` : value);
}

/** One of a fixed list of strings. */
export function checkOneOf<T extends string>(
  field: string,
  value: unknown,
  allowed: readonly T[],
  code: ErrorCode = 'BadInput',
): T {
  if (allowed.includes(value as T)) return value as T;
  throw new MgtError(code, field, `one of ${allowed.join(', ')}`, value);
}

/** A plain object whose keys all stand in `known`; returns it as a record. */
export function checkKeys(
  field: string,
  value: unknown,
  known: readonly string[],
  code: ErrorCode = 'BadInput',
): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new MgtError(code, field, 'an object', value);
  }
  for (const key of Object.keys(value)) {
    if (!known.includes(key)) {
      throw new MgtError(code, `${field}.${key}`, `one of ${known.join(', ')}`, `the unknown key ${show(key)}`);
    }
  }
  return value as Record<string, unknown>;
}

/** Throws `Aborted` when the signal has fired, `BadInput` where it is none. */
export function checkSignal(signal: AbortSignal | undefined, field: string): void {
  if (signal === undefined) return;
  const aborted: unknown = (signal as AbortSignal | null)?.aborted;
  if (typeof aborted !== 'boolean') throw new MgtError('BadInput', 'signal', 'an AbortSignal', signal);
  if (aborted) throw new MgtError('Aborted', field, 'to finish', 'an abort', { cause: signal.reason });
}
