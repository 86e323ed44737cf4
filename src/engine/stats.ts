import type { UpstreamStats } from '../gate/upstream.js';
import type { KernelName } from '../kernels/catalogue.js';

/** Multiply-accumulates of one call, unpadded, by where they went. */
export interface Macs {
  /** Layers' linear maps: Σ rows · outputs · inputs. */
  readonly linear: number;
  /** Scores and weighted sums: 2 · pairs attended · heads · headDim, per layer. */
  readonly attention: number;
  /** The output head. */
  readonly head: number;
  /**
   * Deciding. Packets are integers compared: 0. Exits: the head of each question that was answered no, 3 · hidden of each cosine; where
   * the answer is yes, the logits are the output and count as `head`.
   */
  readonly gate: number;
}

/** All kinds together. */
export const sumOf = ({ linear, attention, head, gate }: Macs): number => linear + attention + head + gate;

/** What ran, counted where it ran. */
export interface Counts {
  readonly layersExecuted: number;
  readonly macs: Macs;
  /** Calls of each kernel; kernels that did not run are left out. Of the call alone: tables kept from call to call are not counted. */
  readonly kernelCalls: Readonly<Partial<Record<KernelName, number>>>;
  readonly build: 'plain' | 'relaxed' | 'reference';
  /** Kernel calls that ran `i32x4.relaxed_dot_i8x16_i7x16_add_s` (int7 layers on the relaxed build). */
  readonly relaxedDot: number;
}

/** What one call cost. */
export interface Stats extends Counts {
  /** 1: the output is the one kept under this call's signature; nothing was computed. */
  readonly cached: 0 | 1;
  /** Layers run by each row whose logits are returned (decoders); `layersExecuted` are those of the deepest row, read or not. */
  readonly layers: readonly number[];
  /** The Rust crate's own figures for this decision: formulas over its tier, not measurements. */
  readonly upstream: UpstreamStats;
}

/**
 * Query–key pairs of one segment of n rows whose row r is key `first + r` of `keys` keys.
 * @param extras keys seen beside the window, ascending, but never ahead of a causal row
 */
export function attendedPairs(
  n: number,
  first: number,
  keys: number,
  causal: boolean,
  window: number,
  extras: readonly number[] = [],
): number {
  let pairs = 0;
  for (let p = first; p < first + n; p++) {
    const low = Math.max(0, p - window + 1);
    const high = causal ? p : Math.min(keys - 1, p + window - 1);
    pairs += high - low + 1;
    for (const x of extras) if (x < low || (x > high && !causal)) pairs++;
  }
  return pairs;
}
