import { readFileSync } from 'node:fs';
import { instantiateKernels } from '../../src/kernels/instantiate.js';
import { relaxedDotIsExact } from '../../src/kernels/probe.js';
import { GuardArena } from './arena.js';

export type BuildName = 'plain' | 'relaxed';
const FILES: Record<BuildName, string> = { plain: 'mgt.wasm', relaxed: 'mgt.relaxed.wasm' };

/** The committed builds this engine runs; relaxed only where its dot gives the exact integers (Node 22 and later). */
export const BUILDS: readonly BuildName[] = relaxedDotIsExact() ? ['plain', 'relaxed'] : ['plain'];

/** A build over a fresh memory with guarded regions. */
export function guardArena(build: BuildName): GuardArena {
  const memory = new WebAssembly.Memory({ initial: 2 });
  const bytes = readFileSync(new URL(`../../build/${FILES[build]}`, import.meta.url));
  return new GuardArena(instantiateKernels(bytes, memory), memory);
}
