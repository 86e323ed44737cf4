import { KERNELS, type KernelName } from '../kernels/catalogue.js';
import { sumOf, type Counts } from './stats.js';

export const GEMM = { int8: 'gemmI8', int7: 'gemmI7', int4: 'gemmI4' } as const;
export const GEMV = { int8: 'gemvI8', int7: 'gemvI7', int4: 'gemvI4' } as const;
/** Places in the catalogue. */
export const ID = Object.fromEntries(KERNELS.map((name, i) => [name, i])) as Record<KernelName, number>;
/** Kernels that run relaxed dot in the relaxed build. */
const RELAXED: readonly KernelName[] = [GEMM.int7, GEMV.int7, GEMM.int4, GEMV.int4];

/** What runs, counted where it runs. */
export class Tally {
  /** Of this call. */
  readonly macs = { linear: 0, attention: 0, head: 0, gate: 0 };
  layers = 0;
  /** Of each kernel, by its place in the catalogue. */
  readonly #calls = new Uint32Array(KERNELS.length);
  /** Multiply-accumulates of the calls before. */
  #before = 0;
  #pass = 0;

  /** Grows with each call. */
  get pass(): number {
    return this.#pass;
  }

  /** Multiply-accumulates of all calls. */
  get work(): number {
    return this.#before + sumOf(this.macs);
  }

  /** Starts one call: counts at zero. */
  begin(): void {
    this.#before = this.work;
    this.#pass++;
    this.#calls.fill(0);
    this.macs.linear = this.macs.attention = this.macs.head = this.macs.gate = this.layers = 0;
  }

  /** A kernel runs; `kernel` is its place in the catalogue. */
  call(kernel: number): void {
    this.#calls[kernel]!++;
  }

  /** What ran since `begin`. */
  counts(build: 'plain' | 'relaxed'): Counts {
    const relaxedDot = build === 'relaxed' ? RELAXED.reduce((sum, name) => sum + this.#calls[ID[name]]!, 0) : 0;
    const kernelCalls: Partial<Record<KernelName, number>> = {};
    for (let i = 0; i < KERNELS.length; i++) if (this.#calls[i]! > 0) kernelCalls[KERNELS[i]!] = this.#calls[i]!;
    return { layersExecuted: this.layers, macs: { ...this.macs }, kernelCalls, build, relaxedDot };
  }
}
