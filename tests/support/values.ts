import { POISON } from './arena.js';
import type { Rng } from './rng.js';

/** Kinds of finite f32 data a kernel must survive with the right bits. */
export const VALUE_KINDS = ['normal', 'zeros', 'saturated', 'ties', 'huge', 'tiny', 'least', 'less', 'mixed'] as const;
/** `overflow`: infinities and NaN among normal values, as absurd weights can make them in mid-model. */
export type ValueKind = (typeof VALUE_KINDS)[number] | 'overflow';

/** `n` values of a kind. */
export function values(rng: Rng, n: number, kind: ValueKind = 'normal'): Float32Array {
  const sign = (): number => (rng.u32() & 1 ? 1 : -1);
  const draw: Record<ValueKind, (i: number) => number> = {
    normal: () => rng.normal(),
    zeros: () => sign() * 0,
    /** All of one magnitude: every code is ±127. */
    saturated: () => sign() * 3.25,
    /** Scale 1/8 in every group of 64; the others lie exactly between two codes. */
    ties: (i) => sign() * (i % 64 === 0 ? 127 / 8 : (rng.int(0, 125) + 0.5) / 8),
    huge: () => rng.normal() * 1e17,
    /** Around the limits of a normal f32 and of 2⁻¹⁰⁰, below which a group counts as zero. */
    tiny: () => sign() * 2 ** -rng.int(95, 149),
    overflow: () => [rng.normal(), rng.normal(), sign() * Infinity, NaN][rng.int(0, 3)]!,
    /** The smallest magnitude that counts, and the largest that does not. */
    least: () => sign() * 2 ** -100,
    less: () => sign() * 2 ** -100 * (1 - 2 ** -24),
    mixed: () => rng.normal() * 2 ** rng.int(-30, 30),
  };
  return Float32Array.from({ length: n }, (_, i) => draw[kind](i));
}

/** Sizes around every tile edge of 4, 8, 16, 64 and 128. */
export const EDGES = [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 25, 63, 64, 65, 96, 100, 127, 128, 129, 176, 257] as const;

const bits = (x: Float32Array | Int8Array | Int16Array | Int32Array | Uint8Array): Uint8Array | Uint32Array =>
  x instanceof Float32Array
    ? new Uint32Array(x.buffer, x.byteOffset, x.length)
    : new Uint8Array(x.buffer, x.byteOffset, x.byteLength);

/**
 * First place where two arrays differ in their bits, in words; `undefined` where they do not.
 * WebAssembly and JavaScript both leave the bits of a NaN open, so any NaN stands for any
 * other — but not the poison, which says that nothing was written.
 */
export function difference<T extends Float32Array | Int8Array | Int16Array | Int32Array | Uint8Array>(
  what: string,
  got: T,
  expected: T,
): string | undefined {
  if (got.length !== expected.length) return `${what}: ${got.length} elements, expected ${expected.length}`;
  const a = bits(got);
  const b = bits(expected);
  for (let i = 0; i < a.length; i++) {
    if (a[i] === b[i] || (a[i] !== POISON && Number.isNaN(got[i]) && Number.isNaN(expected[i]))) continue;
    const at = Math.floor((i * a.BYTES_PER_ELEMENT) / got.BYTES_PER_ELEMENT);
    return `${what}[${at}] of ${got.length}: ${got[at]}, expected ${expected[at]}`;
  }
  return undefined;
}
