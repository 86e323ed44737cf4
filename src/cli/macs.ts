import type { ModelConfig } from '../config.js';
import { attendedPairs } from '../engine/stats.js';
import { planWeights } from '../format/tensors.js';

export { sumOf } from '../engine/stats.js';

/** Multiply-accumulates of a decoder at full depth, as `stats.macs` counts them: what a saving is a share of. */
export interface FullMacs {
  /** Of the layers' linear maps, per token. */
  readonly linear: number;
  /** Of the output head, per token whose logits are read. */
  readonly head: number;
  /** Of attention, for n tokens from position `first` on that see all before them. */
  attention(n: number, first: number): number;
}

export function fullMacs(config: ModelConfig): FullMacs {
  const { layers, heads, headDim, vocab, hidden } = config;
  const linear = planWeights(config)
    .tensors.filter(({ name, kind }) => name.startsWith('layers.') && kind !== 'f32')
    .reduce((sum, { shape }) => sum + shape[0]! * shape[1]!, 0);
  return {
    linear,
    head: vocab * hidden,
    attention: (n, first) => 2 * layers * heads * headDim * attendedPairs(n, first, first + n, true, first + n),
  };
}
