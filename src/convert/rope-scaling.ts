import { MgtError } from '../errors.js';
import type { JsonObject } from './json.js';

/** How a model stretches RoPE; see `DecoderFacts` for the meaning and units of each field. */
export interface RopeScaling {
  /** f32[headDim / 2], or `undefined` where every factor is 1. */
  readonly factors: Float32Array | undefined;
  readonly scale: number;
  readonly dynamic: number;
  readonly original: number;
}

export const NO_SCALING: RopeScaling = { factors: undefined, scale: 1, dynamic: 0, original: 0 };

/** Bound once, as in erf.ts. */
const { ceil, floor, log, max, min, PI } = Math;

/** Positions divided by a factor: every frequency is. */
export const linearFactors = (headDim: number, factor: number): Float32Array =>
  new Float32Array(headDim / 2).fill(1 / factor);

/** What YaRN takes beside the factor. Source: Peng et al., YaRN, arXiv 2309.00071, sections 3.2 and 3.4. */
export interface Yarn {
  readonly base: number;
  readonly factor: number;
  /** Context of training, in tokens. */
  readonly original: number;
  /** Turns over the original context above which a frequency is kept (32), and below which it is divided (1). */
  readonly betaFast: number;
  readonly betaSlow: number;
  /** Round the two bounds outwards to whole dimensions (true in every implementation before gpt-oss). */
  readonly truncate: boolean;
}

/** YaRN's frequencies: between the two bounds a ramp from kept to divided. */
export function yarnFactors(headDim: number, yarn: Yarn): Float32Array {
  const bound = (turns: number): number => (headDim * log(yarn.original / (turns * 2 * PI))) / (2 * log(yarn.base));
  let low = bound(yarn.betaFast);
  let high = bound(yarn.betaSlow);
  if (yarn.truncate) [low, high] = [floor(low), ceil(high)];
  low = max(low, 0);
  high = min(high, headDim - 1);
  if (low === high) high += 0.001; // transformers' own way out of a ramp without width
  return Float32Array.from({ length: headDim / 2 }, (_, i) => {
    const divided = min(max((i - low) / (high - low), 0), 1);
    return 1 - divided + divided / yarn.factor;
  });
}

/** YaRN's temperature on attention, as a multiplier of cos and sin (section 3.4; the ratio is DeepSeek's). */
export function yarnScale(factor: number, mscale?: number, mscaleAllDim?: number): number {
  const by = (weight: number): number => (factor <= 1 ? 1 : 0.1 * weight * log(factor) + 1);
  return mscale && mscaleAllDim ? by(mscale) / by(mscaleAllDim) : by(1);
}

/** What Llama 3.1 takes. Source: transformers 5.23, `modeling_rope_utils.py`. */
export interface Llama3 {
  readonly base: number;
  readonly factor: number;
  readonly lowFreqFactor: number;
  readonly highFreqFactor: number;
  /** Context of training, in tokens. */
  readonly original: number;
}

/** Short waves are kept, waves longer than original / low are divided by the factor, between them a ramp in 1/wavelength. */
export function llama3Factors(
  headDim: number,
  { base, factor, lowFreqFactor, highFreqFactor, original }: Llama3,
): Float32Array {
  return Float32Array.from({ length: headDim / 2 }, (_, i) => {
    const turns = original / (2 * PI * base ** ((2 * i) / headDim)); // waves in the original context
    if (turns > highFreqFactor) return 1;
    if (turns < lowFreqFactor) return 1 / factor;
    const kept = (turns - lowFreqFactor) / (highFreqFactor - lowFreqFactor);
    return (1 - kept) / factor + kept;
  });
}

/** What config.json gives the scaling beside its own fields. */
export interface RopeModel {
  readonly headDim: number;
  readonly base: number;
  /** max_position_embeddings */
  readonly context: number;
  /** original_max_position_embeddings where it stands outside of the scaling. */
  readonly original: number | undefined;
}

/**
 * Reads `rope_scaling` (`type` or `rope_type`) or `rope_parameters` of a config.json, as transformers 5.23 does.
 * @param field path in errors, as `config.json.rope_scaling`
 * @throws MgtError `UnsupportedArchitecture` (another kind of scaling), `BadFile` (a number that cannot be)
 */
export function readRopeScaling(raw: JsonObject, field: string, model: RopeModel): RopeScaling {
  const { headDim, base, context } = model;
  const type = raw.rope_type ?? raw.type ?? 'default';
  const typeField = `${field}.${raw.rope_type === undefined || raw.rope_type === null ? 'type' : 'rope_type'}`;
  if (typeof type !== 'string') throw new MgtError('BadFile', typeField, 'a text', type);
  const number = (key: string, missing?: number, least = 0): number => {
    const value = raw[key] ?? missing;
    if (typeof value === 'number' && Number.isFinite(value) && value > 0 && value >= least) return value;
    throw new MgtError('BadFile', `${field}.${key}`, `a number ${least > 0 ? `≥ ${least}` : 'above 0'}`, value);
  };
  const original = (): number => model.original ?? number('original_max_position_embeddings', context, 1);
  switch (type) {
    case 'default':
      return NO_SCALING;
    case 'linear':
      return { ...NO_SCALING, factors: linearFactors(headDim, number('factor')) };
    case 'dynamic':
      if (headDim < 4) throw new MgtError('BadFile', typeField, 'a head size of 4 or more', headDim);
      return { ...NO_SCALING, dynamic: number('factor', undefined, 1), original: context };
    case 'yarn': {
      if (base <= 1) throw new MgtError('BadFile', `${field}.rope_theta`, 'a number above 1 with yarn', base);
      const factor = number('factor', context / original());
      const truncate = raw.truncate ?? true;
      if (typeof truncate !== 'boolean') throw new MgtError('BadFile', `${field}.truncate`, 'true or false', truncate);
      const mscale = (key: string): number => (raw[key] ? number(key) : 0);
      const yarn = { base, factor, truncate, original: original() };
      return {
        ...NO_SCALING,
        factors: yarnFactors(headDim, {
          ...yarn,
          betaFast: raw.beta_fast ? number('beta_fast') : 32,
          betaSlow: raw.beta_slow ? number('beta_slow') : 1,
        }),
        scale: number('attention_factor', yarnScale(factor, mscale('mscale'), mscale('mscale_all_dim'))),
      };
    }
    case 'llama3': {
      const lowFreqFactor = number('low_freq_factor');
      const highFreqFactor = number('high_freq_factor');
      if (highFreqFactor <= lowFreqFactor) {
        throw new MgtError('BadFile', `${field}.high_freq_factor`, `above ${lowFreqFactor}`, highFreqFactor);
      }
      const llama3 = { base, lowFreqFactor, highFreqFactor, factor: number('factor'), original: original() };
      return { ...NO_SCALING, factors: llama3Factors(headDim, llama3) };
    }
    default:
      throw new MgtError('UnsupportedArchitecture', typeField, 'one of default, linear, dynamic, yarn, llama3', type);
  }
}
