import { checkInteger } from '../check.js';
import { MgtError } from '../errors.js';
import { U32_MAX, type Tier } from '../packets/fields.js';
import { SPIKE_FLAGS, type SpikePacket } from '../packets/spike.js';

/**
 * The spike scheduler: how much an event stream's rate and novelty are worth computing, and which positions matter.
 * Limits are upstream's (spike.rs); where we differ: docs/decisions/0004-energy-and-scheduler.md.
 */

/** Rates (Q15) from which a call is worth the safe, the reduced and the full tier. */
const RATE_SAFE = 1024;
const RATE_REDUCED = 8192;
const RATE_FULL = 16384;
/** Novelty (Q15) below which a call is worth one tier less, but still a run. */
const NOVELTY_LOW = 4096;
const ONE_Q15 = 32768;

/** What the scheduler makes of one packet. */
export interface Schedule {
  /** False exactly in tier 3. */
  readonly run: boolean;
  readonly tier: Tier;
  /** The top-k list is a sparse attention mask. */
  readonly sparse: boolean;
}

/** The tier alone: 3 where nothing fired or the rate is next to nothing, else by rate, one deeper for little novelty. */
export function scheduledTier(spikes: SpikePacket): Tier {
  if (spikes.fired === 0 || spikes.rateQ15 < RATE_SAFE) return 3;
  if (spikes.rateQ15 < RATE_REDUCED) return 2;
  const stale = spikes.noveltyQ15 < NOVELTY_LOW;
  if (spikes.rateQ15 < RATE_FULL) return stale ? 2 : 1;
  return stale ? 1 : 0;
}

/** A mask is asked for, and there is something to see through it. */
export const isSparse = (spikes: SpikePacket): boolean =>
  (spikes.flags & SPIKE_FLAGS.SPARSE_MASK) !== 0 && spikes.topLen > 0;

/** Schedules one call. */
export function schedule(spikes: SpikePacket): Schedule {
  const tier = scheduledTier(spikes);
  return { run: tier !== 3, tier, sparse: isSparse(spikes) };
}

/**
 * The packet's positions as a mask over `length` positions: 1 where listed, all 0 unless SPARSE_MASK is set.
 * Positions beyond the length are ignored.
 */
export function sparseMask(spikes: SpikePacket, length: number): Uint8Array {
  const mask = new Uint8Array(length);
  // A typed array takes no value beyond its end.
  if (isSparse(spikes)) for (const index of spikes.topIdx) mask[index] = 1;
  return mask;
}

/** A position and what it weighs, 0..1 (weightQ15/32768, exact). */
export interface TopWeight {
  readonly index: number;
  readonly weight: number;
}

/** The packet's positions, heaviest first; equal ones in the list's order. */
export function topWeights(spikes: SpikePacket): TopWeight[] {
  return spikes.topIdx
    .map((index, i) => ({ index, weight: (spikes.topWQ15[i] ?? 0) / ONE_Q15 }))
    .sort((a, b) => b.weight - a.weight);
}

const FNV_OFFSET = 0xcbf29ce484222325n;
const FNV_PRIME = 0x100000001b3n;

/** Signature of a token sequence, u64: FNV-1a with whole u32 words in place of bytes, as upstream's. */
export function signatureOf(tokens: ArrayLike<number>): bigint {
  if (typeof tokens !== 'object' || tokens === null)
    throw new MgtError('BadInput', 'tokens', 'an array of u32', tokens);
  let hash = FNV_OFFSET;
  for (let i = 0; i < tokens.length; i++) {
    const word = checkInteger(`tokens[${i}]`, tokens[i], 0, U32_MAX);
    hash = BigInt.asUintN(64, (hash ^ BigInt(word)) * FNV_PRIME);
  }
  return hash;
}
