import type { KernelExports } from '../../../src/kernels/catalogue.js';
import type { GuardArena } from '../arena.js';
import { Rng } from '../rng.js';
import { VALUE_KINDS, type ValueKind } from '../values.js';

/** A kernel call on prepared regions, and how to judge what it left. */
export interface Prepared {
  call(kernels: KernelExports): void;
  /** What differs from the reference, or `undefined`. */
  check(): string | undefined;
}

export interface Case {
  /** The shape as JSON: names the case and seeds its data. */
  readonly label: string;
  prepare(arena: GuardArena): Prepared;
}

/** Shapes as data, one way to prepare them: tests and benchmarks walk the same rows. */
export function sweep<S extends object>(
  shapes: readonly S[],
  prepare: (arena: GuardArena, shape: S, rng: Rng) => Prepared,
): readonly Case[] {
  return shapes.map((shape) => {
    const label = JSON.stringify(shape).replaceAll('"', '');
    return {
      label,
      prepare: (arena) => {
        arena.reset();
        return prepare(arena, shape, new Rng(label));
      },
    };
  });
}

/** Runs one case; returns what is wrong with it, or `undefined`. */
export function runCase(arena: GuardArena, { prepare }: Case): string | undefined {
  const { call, check } = prepare(arena);
  return arena.run(call) ?? check();
}

/** Every combination of the listed values. */
export function cross<S extends Record<string, readonly unknown[]>>(axes: S): { [K in keyof S]: S[K][number] }[] {
  let rows: Record<string, unknown>[] = [{}];
  for (const [name, list] of Object.entries(axes)) {
    rows = rows.flatMap((row) => list.map((value) => ({ ...row, [name]: value })));
  }
  return rows as { [K in keyof S]: S[K][number] }[];
}

/** One shape with every kind of values. */
export const allKinds = <S extends object>(shape: S): (S & { kind: ValueKind })[] =>
  VALUE_KINDS.map((kind) => ({ ...shape, kind }));

export const first = (...findings: (string | undefined)[]): string | undefined => findings.find((x) => x !== undefined);
