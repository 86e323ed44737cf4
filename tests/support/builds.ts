import { readFileSync } from 'node:fs';
import { instantiateKernels } from '../../src/kernels/instantiate.js';
import { relaxedDotIsExact } from '../../src/kernels/probe.js';
import { GuardArena } from './arena.js';

export type BuildName = 'plain' | 'relaxed';

/** The committed builds this engine runs; relaxed only where its dot gives the exact integers (Node 22 and later). */
export const BUILDS: readonly BuildName[] = relaxedDotIsExact() ? ['plain', 'relaxed'] : ['plain'];

/** A build over a fresh memory with guarded regions. */
export function guardArena(build: BuildName): GuardArena {
  const memory = new WebAssembly.Memory({ initial: 2 });
  const bytes = (file: string): Uint8Array<ArrayBuffer> =>
    Uint8Array.from(readFileSync(new URL(`../../build/${file}`, import.meta.url)));
  const relaxed = build === 'relaxed' ? bytes('mgt.relaxed.wasm') : undefined;
  return new GuardArena(instantiateKernels(bytes('mgt.wasm'), memory, relaxed), memory);
}
