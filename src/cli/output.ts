import { MgtError, show, type ErrorCode } from '../errors.js';
import type { DecoderAccuracy, EncoderAccuracy } from '../format/file.js';

/** What the shell sees: results on stdout, one line per error on stderr, an exit code by kind of error. */

export const EXIT_INTERNAL = 1;

export const EXIT_CODES: Readonly<Record<ErrorCode, number>> = {
  Usage: 2,
  BadFile: 3,
  Truncated: 3,
  BadChecksum: 3,
  UnknownVersion: 3,
  FileNotFound: 3,
  BadWeights: 3,
  BadConfig: 3,
  NoisyModel: 3,
  BadInput: 4,
  OutputTooSmall: 4,
  OutOfMemory: 4,
  Disposed: 4,
  UnsupportedMode: 5,
  UnsupportedArchitecture: 5,
  MissingDependency: 5,
  Aborted: 130,
};

/** An error as its fields, whatever was thrown; what is not an `MgtError` is `Internal`, or a path that failed. */
function describe(error: unknown): { code: string; field: string; expected: string; got: string } {
  if (error instanceof MgtError) {
    const { code, field, expected, got } = error;
    return { code, field, expected, got };
  }
  if (error instanceof Error && 'syscall' in error && 'path' in error) {
    return { code: 'FileNotFound', field: String(error.path), expected: 'a path to use', got: show(error) };
  }
  return { code: 'Internal', field: 'mgt', expected: 'to succeed', got: show(error) };
}

/** Writes one line about a failure to stderr; returns the exit code. Never a stack trace. */
export function reportError(error: unknown, json: boolean): number {
  const fields = describe(error);
  const { code, field, expected, got } = fields;
  const line = json
    ? JSON.stringify({ error: fields })
    : oneLine(`mgt: ${code} "${field}" expected ${expected}, got ${got}`);
  process.stderr.write(`${line}\n`);
  return code in EXIT_CODES ? EXIT_CODES[code as ErrorCode] : EXIT_INTERNAL;
}

/** Text from a file or a caller made safe for a terminal: control and line-breaking characters become spaces. */
export function oneLine(text: string): string {
  return text.replace(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, ' ');
}

/**
 * Writes text to stdout and waits until it is taken, so that long results never pile up in memory.
 * A failed write ends the process by the stream's own error event, so there is nothing to reject with.
 */
export async function print(text: string): Promise<void> {
  await new Promise<void>((resolve) => {
    process.stdout.write(text, (error) => error ?? resolve());
  });
}

/** f32 values as a JSON array that reads back to the same bits: exact decimals, and `-0.0` for negative zero. */
export function jsonFloats(values: Float32Array): string {
  return `[${Array.from(values, (v) => (Object.is(v, -0) ? '-0.0' : String(v))).join(',')}]`;
}

/** A count for people: `937`, `1.18 M`. */
export function countText(count: number): string {
  const prefixes = ['', 'K', 'M', 'G', 'T'];
  let value = count;
  let prefix = 0;
  while (value >= 1000 && prefix < prefixes.length - 1) {
    value /= 1000;
    prefix++;
  }
  return prefix === 0 ? String(value) : `${value.toFixed(value < 10 ? 2 : 1)} ${prefixes[prefix]}`;
}

/** Bytes for people: `937 B`, `22.9 MB`. */
export function bytesText(bytes: number): string {
  const text = countText(bytes);
  return text.includes(' ') ? `${text}B` : `${text} B`;
}

/** The first values of a vector for people: `0.0123 -0.0456 … (384)`. */
export function firstValues(values: Float32Array, count = 6): string {
  const shown = Array.from(values.subarray(0, count), (v) => v.toFixed(4)).join(' ');
  return values.length > count ? `${shown} … (${values.length} values)` : shown;
}

/** What quantisation cost, for people. */
export function accuracyText(accuracy: EncoderAccuracy | DecoderAccuracy): string {
  if ('kl' in accuracy) {
    const { kl, top1, tokens } = accuracy;
    return `KL to float ${kl.toFixed(5)} nats, same top token ${(100 * top1).toFixed(1)} % (${tokens} tokens)`;
  }
  const { cosineMean, cosineMin, texts } = accuracy;
  return `cosine to float mean ${cosineMean.toFixed(5)}, min ${cosineMin.toFixed(5)} (${texts} texts)`;
}
