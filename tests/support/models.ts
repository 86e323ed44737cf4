import fc from 'fast-check';
import { presetModel } from '../../src/presets.js';
import type { ModelConfig } from '../../src/config.js';

/** An odd encoder: nothing divides by 8 or 64 but the heads by chance. */
export const oddEncoder: ModelConfig = {
  kind: 'encoder',
  vocab: 257,
  hidden: 96,
  layers: 2,
  heads: 6,
  kvHeads: 6,
  headDim: 16,
  ffn: 176,
  context: 37,
  norm: 'layernorm',
  normPlace: 'post',
  normEps: 1e-12,
  positions: 'learned',
  ropeBase: 0,
  activation: 'gelu',
  gatedFfn: false,
  causal: false,
  tiedHead: false,
  pooling: 'mean',
  normalize: true,
  quant: 'int8',
  smoothed: true,
};

/** A Llama-like decoder: RMSNorm, RoPE, GQA, gated SiLU, tied head. */
export const oddDecoder: ModelConfig = {
  ...oddEncoder,
  kind: 'decoder',
  hidden: 60,
  heads: 6,
  kvHeads: 2,
  headDim: 10,
  ffn: 77,
  norm: 'rmsnorm',
  normPlace: 'pre',
  normEps: 1e-5,
  positions: 'rope',
  ropeBase: 10000,
  activation: 'silu',
  gatedFfn: true,
  causal: true,
  tiedHead: true,
  pooling: 'none',
  normalize: false,
};

/** Models that together reach every branch of the forward pass, by name. */
export const models: Readonly<Record<string, ModelConfig>> = {
  micro: presetModel('micro'),
  baseline: presetModel('baseline'),
  'baseline int7': { ...presetModel('baseline'), quant: 'int7' },
  'odd encoder': oddEncoder,
  'odd encoder int7': { ...oddEncoder, quant: 'int7', smoothed: false },
  'head of 25': { ...oddEncoder, hidden: 100, heads: 4, kvHeads: 4, headDim: 25, ffn: 131, activation: 'relu' },
  'one head, cls': { ...oddEncoder, hidden: 33, heads: 1, kvHeads: 1, headDim: 33, pooling: 'cls', normalize: false },
  'gelu_tanh, pre-norm encoder': { ...oddEncoder, normPlace: 'pre', activation: 'gelu_tanh', positions: 'none' },
  'odd decoder': oddDecoder,
  'odd decoder int7': { ...oddDecoder, quant: 'int7', tiedHead: false, smoothed: false },
  'gpt-like': {
    ...oddDecoder,
    norm: 'layernorm',
    positions: 'learned',
    activation: 'gelu_tanh',
    gatedFfn: false,
    kvHeads: 6,
  },
  // Angles by factors and a scale, as YaRN has them; heads wider together than the hidden state.
  'turned decoder': { ...oddDecoder, headDim: 14, rope: { factors: true, scale: 1.25, dynamic: 0, original: 0 } },
  'dynamic NTK decoder': { ...oddDecoder, rope: { factors: false, scale: 1, dynamic: 8, original: 16 } },
  'int4 decoder': { ...oddDecoder, quant: 'int4', smoothed: false },
  'int4 gpt': { ...oddDecoder, quant: 'int4', tiedHead: false, hidden: 72, headDim: 12, ffn: 96, gatedFfn: false },
  'mixed int4': {
    ...{ ...oddDecoder, quant: 'int4', smoothed: true },
    int8Tensors: ['layers.0.attention.query', 'layers.1.attention.key', 'layers.1.ffn.gate'],
  },
  // More rows than go through a layer together.
  'long decoder': { ...oddDecoder, hidden: 24, heads: 2, kvHeads: 1, headDim: 12, ffn: 30, context: 290, vocab: 40 },
  'windowed decoder': {
    ...oddDecoder,
    tiers: {
      windowNormal: 5,
      windowDegraded: 3,
      layersDegraded: 1,
      seqLenDegraded: 11,
      seqLenSafe: 2,
      enableKvCache: true,
      enableExternalWrites: true,
    },
  },
};

/** Any valid configuration of small size. */
export const anyConfig: fc.Arbitrary<ModelConfig> = fc
  .record({
    base: fc.constantFrom(oddEncoder, oddDecoder),
    vocab: fc.integer({ min: 1, max: 600 }),
    layers: fc.integer({ min: 1, max: 4 }),
    kvHeads: fc.integer({ min: 1, max: 3 }),
    groups: fc.integer({ min: 1, max: 3 }),
    half: fc.integer({ min: 1, max: 20 }),
    ffn: fc.integer({ min: 1, max: 200 }),
    context: fc.integer({ min: 1, max: 300 }),
    quant: fc.constantFrom('int8' as const, 'int7' as const),
    smoothed: fc.boolean(),
  })
  .map(({ base, kvHeads, groups, half, ...rest }) => {
    const heads = kvHeads * groups;
    return { ...base, ...rest, kvHeads, heads, headDim: 2 * half, hidden: heads * 2 * half };
  });
