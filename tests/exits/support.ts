import fc from 'fast-check';
import type { ModelConfig } from '../../src/config.js';
import { oddDecoder } from '../support/models.js';

/** Decoders deep enough to leave early: nothing of their sizes divides by 64. */
export const deepDecoder: ModelConfig = {
  ...oddDecoder,
  ...{ hidden: 96, heads: 6, kvHeads: 2, headDim: 16, ffn: 176, vocab: 257, layers: 5, context: 40 },
};

export const anyDecoder: fc.Arbitrary<ModelConfig> = fc
  .record({
    shape: fc.constantFrom(
      { hidden: 96, heads: 6, kvHeads: 2, headDim: 16, ffn: 176, vocab: 257 },
      { hidden: 96, heads: 6, kvHeads: 6, headDim: 16, ffn: 176, vocab: 257 },
      { hidden: 60, heads: 3, kvHeads: 1, headDim: 20, ffn: 77, vocab: 61 },
      { hidden: 32, heads: 2, kvHeads: 2, headDim: 16, ffn: 64, vocab: 1 },
    ),
    layers: fc.integer({ min: 1, max: 6 }),
    quant: fc.constantFrom('int8' as const, 'int7' as const, 'int4' as const),
    kind: fc.constantFrom(
      {},
      {
        norm: 'layernorm' as const,
        positions: 'learned' as const,
        ropeBase: 0,
        gatedFfn: false,
        activation: 'gelu' as const,
      },
      { normPlace: 'post' as const, tiedHead: false },
    ),
  })
  .map(({ shape, layers, quant, kind }) => ({
    ...oddDecoder,
    ...shape,
    ...{ layers, quant, context: 24, smoothed: false },
    ...kind,
  }));
