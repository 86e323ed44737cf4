import type { ModelConfig } from '../config.js';

/** What a decoder's files say of it: its configuration but for what the converter chooses, and the ids they name. */
export interface DecoderFacts extends Omit<ModelConfig, 'quant' | 'smoothed' | 'tiers'> {
  readonly kind: 'decoder';
  /** The vector `rope.factors` exists: f32[headDim / 2], each multiplies its inverse frequency base^(−2i/headDim). */
  readonly ropeFactors: boolean;
  /** Multiplies cos and sin (YaRN's attention factor); 1 where there is none. */
  readonly ropeScale: number;
  /** Dynamic NTK: its factor; 0 where there is none. See `ropeOriginal`. */
  readonly ropeDynamic: number;
  /**
   * Dynamic NTK: the context o of training, 0 where there is none. A model loaded with a context c > o takes as base
   * ropeBase · ((ropeDynamic · c / o) − (ropeDynamic − 1))^(headDim / (headDim − 2)).
   */
  readonly ropeOriginal: number;
  readonly bos: number | undefined;
  /** Ids that end a text, in the order of the files; empty where they name none. */
  readonly eos: readonly number[];
  readonly pad: number | undefined;
}

/**
 * A decoder's float weights by the names of `planWeights` (src/format/tensors.ts), decoded on demand: nothing is held
 * but what the source itself is. Calls are synchronous; what they return belongs to the caller's read: do not write it.
 * All throw MgtError `BadWeights` naming a tensor of the source with NaN or Inf.
 */
export interface DecoderModel {
  readonly facts: DecoderFacts;
  /**
   * Rows from..to−1 of a matrix [outputs][inputs], f32[(to − from) · inputs]: linear layers, `head`, and the tables
   * `embeddings.token` and `embeddings.position`. Transposed, un-permuted and split from fused layers already.
   */
  rows(name: string, from: number, to: number): Float32Array;
  /**
   * A vector: norms (`layers.3.ffn.norm.weight`), the bias of a linear layer (`layers.3.ffn.up.bias`), `rope.factors`.
   * `undefined` where the model has none.
   */
  vector(name: string): Float32Array | undefined;
  /**
   * The 4-bit grid of one row of a matrix, where the source has one (Q4_0, Q4_1): w = scale · q + min in groups of 32
   * along the inputs. q u8[inputs] in 0..15, scales and mins f32[inputs / 32].
   */
  grid?(
    name: string,
    row: number,
  ): { readonly q: Uint8Array; readonly scales: Float32Array; readonly mins: Float32Array } | undefined;
  /** Closes the files it reads from; nothing may be read afterwards. */
  close?(): void;
}
