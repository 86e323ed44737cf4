import { checkInteger, checkKeys, checkOneOf } from './check.js';
import { validateConfig, type ModelConfig } from './config.js';
import { MgtError } from './errors.js';

/** The seed's configuration: a decoder's size and the shapes of its tiers. All numbers u16. */
export interface TransformerConfig {
  /** Longest input, in tokens. */
  readonly seqLenMax: number;
  readonly hidden: number;
  readonly heads: number;
  readonly layers: number;
  /** Attention window of tier 0, in tokens. */
  readonly windowNormal: number;
  /** Of tier 1. */
  readonly windowDegraded: number;
  /** Feed-forward width as a multiple of `hidden`. */
  readonly ffnMult: number;
  /** Vocabulary. */
  readonly logits: number;
  /** Layers of tier 1. */
  readonly layersDegraded: number;
  /** Tokens of tier 1. */
  readonly seqLenDegraded: number;
  /** Tokens of tier 2. */
  readonly seqLenSafe: number;
  readonly enableKvCache: boolean;
  readonly enableExternalWrites: boolean;
}

export const PRESET_NAMES = ['micro', 'baseline'] as const;
export type PresetName = (typeof PRESET_NAMES)[number];

/** Upstream's two configurations (its config.rs). */
export const PRESETS: Readonly<Record<PresetName, TransformerConfig>> = Object.freeze({
  baseline: Object.freeze({
    seqLenMax: 64,
    hidden: 256,
    heads: 4,
    layers: 4,
    windowNormal: 16,
    windowDegraded: 8,
    ffnMult: 4,
    logits: 1024,
    layersDegraded: 2,
    seqLenDegraded: 32,
    seqLenSafe: 8,
    enableKvCache: true,
    enableExternalWrites: true,
  }),
  micro: Object.freeze({
    seqLenMax: 32,
    hidden: 128,
    heads: 4,
    layers: 2,
    windowNormal: 8,
    windowDegraded: 4,
    ffnMult: 4,
    logits: 256,
    layersDegraded: 1,
    seqLenDegraded: 16,
    seqLenSafe: 4,
    enableKvCache: true,
    enableExternalWrites: true,
  }),
});

const U16 = 65535;
const NUMBERS = [
  'seqLenMax',
  'hidden',
  'heads',
  'layers',
  'windowNormal',
  'windowDegraded',
  'ffnMult',
  'logits',
  'layersDegraded',
  'seqLenDegraded',
  'seqLenSafe',
] as const satisfies readonly (keyof TransformerConfig)[];
const FLAGS = ['enableKvCache', 'enableExternalWrites'] as const satisfies readonly (keyof TransformerConfig)[];

/**
 * Checks a configuration: types and u16 ranges, then upstream's eleven checks in upstream's order, then what upstream
 * lets pass (fields of 0, a head of odd width, which RoPE cannot rotate).
 * @throws MgtError `BadConfig` naming `config.<field>`, with the numbers that do not fit.
 */
export function validateTransformerConfig(value: unknown): TransformerConfig {
  const raw = checkKeys('config', value, [...NUMBERS, ...FLAGS], 'BadConfig');
  const checked: Record<string, number | boolean> = {};
  for (const key of NUMBERS) checked[key] = checkInteger(`config.${key}`, raw[key], 0, U16, 'BadConfig');
  for (const key of FLAGS) {
    const flag = raw[key];
    if (typeof flag !== 'boolean') throw new MgtError('BadConfig', `config.${key}`, 'true or false', flag);
    checked[key] = flag;
  }
  const c = checked as unknown as TransformerConfig;
  type NumberKey = (typeof NUMBERS)[number];
  const positive = (key: NumberKey): void => {
    if (c[key] === 0) throw new MgtError('BadConfig', `config.${key}`, `an integer in 1..${U16}`, 0);
  };
  const atMost = (key: NumberKey, limit: NumberKey): void => {
    if (c[key] > c[limit]) throw new MgtError('BadConfig', `config.${key}`, `at most ${limit} ${c[limit]}`, c[key]);
  };

  positive('hidden');
  positive('heads');
  if (c.hidden % c.heads !== 0) {
    throw new MgtError('BadConfig', 'config.hidden', `a multiple of heads ${c.heads}`, c.hidden);
  }
  positive('layers');
  positive('seqLenMax');
  positive('windowNormal');
  atMost('windowNormal', 'seqLenMax');
  atMost('windowDegraded', 'windowNormal');
  atMost('layersDegraded', 'layers');
  atMost('seqLenDegraded', 'seqLenMax');
  atMost('seqLenSafe', 'seqLenDegraded');

  positive('ffnMult');
  positive('logits');
  positive('windowDegraded');
  positive('layersDegraded');
  positive('seqLenSafe');
  const headDim = c.hidden / c.heads;
  if (headDim % 2 !== 0) {
    throw new MgtError('BadConfig', 'config.heads', 'heads of an even width', `${c.hidden} / ${c.heads} = ${headDim}`);
  }
  return Object.freeze(c);
}

/** The model that a configuration describes: a pre-norm decoder with RoPE, GELU and a head of its own, int8. */
export function transformerModel(config: TransformerConfig): ModelConfig {
  const c = validateTransformerConfig(config);
  return validateConfig({
    kind: 'decoder',
    vocab: c.logits,
    hidden: c.hidden,
    layers: c.layers,
    heads: c.heads,
    kvHeads: c.heads,
    headDim: c.hidden / c.heads,
    ffn: c.hidden * c.ffnMult,
    context: c.seqLenMax,
    norm: 'layernorm',
    normPlace: 'pre',
    normEps: 1e-5,
    positions: 'rope',
    ropeBase: 10000,
    activation: 'gelu',
    gatedFfn: false,
    causal: true,
    tiedHead: false,
    pooling: 'none',
    normalize: false,
    quant: 'int8',
    smoothed: false,
    tiers: {
      windowNormal: c.windowNormal,
      windowDegraded: c.windowDegraded,
      layersDegraded: c.layersDegraded,
      seqLenDegraded: c.seqLenDegraded,
      seqLenSafe: c.seqLenSafe,
      enableKvCache: c.enableKvCache,
      enableExternalWrites: c.enableExternalWrites,
    },
  });
}

/**
 * The model of a preset.
 * @throws MgtError `BadConfig` naming `preset` for an unknown name.
 */
export function presetModel(name: string): ModelConfig {
  return transformerModel(PRESETS[checkOneOf('preset', name, PRESET_NAMES, 'BadConfig')]);
}
