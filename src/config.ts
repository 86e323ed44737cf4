import { checkInteger, checkKeys, checkOneOf } from './check.js';
import { MgtError, type ErrorCode } from './errors.js';

/**
 * What one model is: everything the plan, the forward pass and the reference need to know.
 * One family of blocks chosen by config, not by class. Plain, readonly, printable.
 */
export interface ModelConfig {
  /** `encoder` pools to an embedding; `decoder` gives the last position's logits. */
  readonly kind: Kind;
  readonly vocab: number;
  readonly hidden: number;
  readonly layers: number;
  readonly heads: number;
  /** Heads that K and V have (GQA when fewer than `heads`, which it divides). */
  readonly kvHeads: number;
  readonly headDim: number;
  /** Width of the feed-forward layer. */
  readonly ffn: number;
  /** Longest input in tokens, specials included. */
  readonly context: number;
  readonly norm: Norm;
  /** `pre`: x + f(norm(x)) and a final norm (Llama, GPT-2). `post`: norm(x + f(x)) and an embedding norm (BERT). */
  readonly normPlace: NormPlace;
  readonly normEps: number;
  readonly positions: Positions;
  /** RoPE base (theta); 0 where `positions` is not `rope`. */
  readonly ropeBase: number;
  readonly activation: Activation;
  /** Feed-forward with a gate: down(act(gate(x)) * up(x)), as in SwiGLU. */
  readonly gatedFfn: boolean;
  readonly causal: boolean;
  /** The token table is the output head too (decoders). */
  readonly tiedHead: boolean;
  /** Encoders: how token rows become one vector. Decoders: `none`. */
  readonly pooling: Pooling;
  /** Encoders: divide the pooled vector by its L2 norm. */
  readonly normalize: boolean;
  /** Code of the linear layers: int8 (±127), int7 (±63, stored +64, for relaxed dot) or int4 (blocks of 32 with scale and minimum). */
  readonly quant: Quant;
  /** Linear layers that an int4 model has in int8, by name; `undefined`: none. A source's own 8-bit tensors stay so. */
  readonly int8Tensors?: readonly string[];
  /** Per-channel multipliers before the quantisation of each linear input (design: SmoothQuant). */
  readonly smoothed: boolean;
  /** RoPE beyond base^(−2i/d); `undefined`: nothing else. */
  readonly rope?: RopeScaling;
  /** Shapes of the gate's tiers; `undefined` derives them from layers and context (imported models). */
  readonly tiers?: TierShapes;
  /** Layers after which a decoder was trained to stop, ascending, 1..layers−1, at most 63: where exits ask; `undefined`: not said. */
  readonly exitLayers?: readonly number[];
}

/**
 * How the angles of RoPE depart from position · base^(−2i/d). Every scaling of the field is one of these, or several
 * (transformers, modeling_rope_utils.py): linear, YaRN and llama3 are factors, YaRN has a scale too.
 */
export interface RopeScaling {
  /** The model has `rope.factors` f32[headDim / 2], by which the inverse frequencies are multiplied. */
  readonly factors: boolean;
  /** cos and sin are multiplied by it (YaRN's attention factor); 1: not. */
  readonly scale: number;
  /**
   * Dynamic NTK: loaded for a context C above `original`, the base is multiplied by (dynamic · C / original − (dynamic − 1))^(d/(d−2));
   * 0: not.
   */
  readonly dynamic: number;
  /** Context the model was trained for, in tokens; 0 where `dynamic` is. */
  readonly original: number;
}

/** Tier shapes of the seed's TransformerConfig. Units: layers, tokens. */
export interface TierShapes {
  readonly windowNormal: number;
  readonly windowDegraded: number;
  readonly layersDegraded: number;
  readonly seqLenDegraded: number;
  readonly seqLenSafe: number;
  readonly enableKvCache: boolean;
  readonly enableExternalWrites: boolean;
}

export const KINDS = ['encoder', 'decoder'] as const;
export const NORMS = ['layernorm', 'rmsnorm'] as const;
export const NORM_PLACES = ['pre', 'post'] as const;
export const POSITIONS = ['none', 'learned', 'rope'] as const;
export const ACTIVATIONS = ['gelu', 'gelu_tanh', 'relu', 'silu'] as const;
export const POOLINGS = ['none', 'mean', 'cls'] as const;
export const QUANTS = ['int8', 'int7', 'int4'] as const;

export type Kind = (typeof KINDS)[number];
export type Norm = (typeof NORMS)[number];
export type NormPlace = (typeof NORM_PLACES)[number];
export type Positions = (typeof POSITIONS)[number];
/** `gelu` is the exact (erf) form, `gelu_tanh` BERT's and GPT-2's `gelu_new`. */
export type Activation = (typeof ACTIVATIONS)[number];
export type Pooling = (typeof POOLINGS)[number];
export type Quant = (typeof QUANTS)[number];

/** Largest value of any one dimension: keeps every product of two exact in f64 and panels in 32-bit addresses. */
const MAX_DIM = 2 ** 24;
/** Deepest of `exitLayers`: a file's header has 64 bits for them. */
export const MAX_EXIT_LAYER = 63;

const NUMBERS = ['vocab', 'hidden', 'layers', 'heads', 'kvHeads', 'headDim', 'ffn', 'context'] as const;
const FLAGS = ['gatedFfn', 'causal', 'tiedHead', 'normalize', 'smoothed'] as const;
const KEYS = [
  ...NUMBERS,
  ...FLAGS,
  'kind',
  'norm',
  'normPlace',
  'normEps',
  'positions',
  'ropeBase',
  'activation',
  'pooling',
  'quant',
  'int8Tensors',
  'rope',
  'tiers',
  'exitLayers',
];

/**
 * Checks a configuration from any source (a file, a caller) and returns it with exactly its known keys.
 * @throws MgtError `BadConfig` naming the field.
 */
export function validateConfig(value: unknown, code: ErrorCode = 'BadConfig'): ModelConfig {
  const raw = checkKeys('config', value, KEYS, code);
  const c: Record<string, unknown> = {};
  for (const key of NUMBERS) c[key] = checkInteger(`config.${key}`, raw[key], 1, MAX_DIM, code);
  for (const key of FLAGS) {
    if (typeof raw[key] !== 'boolean') throw new MgtError(code, `config.${key}`, 'true or false', raw[key]);
    c[key] = raw[key];
  }
  c.kind = checkOneOf('config.kind', raw.kind, KINDS, code);
  c.norm = checkOneOf('config.norm', raw.norm, NORMS, code);
  c.normPlace = checkOneOf('config.normPlace', raw.normPlace, NORM_PLACES, code);
  c.positions = checkOneOf('config.positions', raw.positions, POSITIONS, code);
  c.activation = checkOneOf('config.activation', raw.activation, ACTIVATIONS, code);
  c.pooling = checkOneOf('config.pooling', raw.pooling, POOLINGS, code);
  c.quant = checkOneOf('config.quant', raw.quant, QUANTS, code);
  c.normEps = checkReal('config.normEps', raw.normEps, 0, 1, code);
  c.ropeBase = checkReal('config.ropeBase', raw.ropeBase, 0, 1e12, code);
  if (raw.int8Tensors !== undefined) c.int8Tensors = readNames('config.int8Tensors', raw.int8Tensors, code);
  if (raw.rope !== undefined) c.rope = readRope(raw.rope, code);
  if (raw.tiers !== undefined) c.tiers = readTiers('config.tiers', raw.tiers, {}, code);
  if (raw.exitLayers !== undefined) c.exitLayers = readExitLayers(raw.exitLayers, c.layers as number, code);
  const config = c as unknown as ModelConfig;

  const { hidden, heads, kvHeads, headDim } = config;
  if (config.heads % kvHeads !== 0) throw new MgtError(code, 'config.kvHeads', `a divisor of ${heads} heads`, kvHeads);
  if (config.kind === 'encoder' && heads * headDim !== hidden) {
    throw new MgtError(
      code,
      'config.heads',
      `a divisor of hidden ${hidden} with headDim hidden / heads`,
      `${heads} × ${headDim}`,
    );
  }
  if (config.int8Tensors && config.quant !== 'int4')
    throw new MgtError(code, 'config.int8Tensors', 'nothing but with int4', config.quant);
  if (config.rope && config.positions !== 'rope')
    throw new MgtError(code, 'config.rope', `nothing with positions ${config.positions}`, 'a RoPE scaling');
  if (config.rope?.dynamic && headDim < 4)
    throw new MgtError(code, 'config.headDim', 'at least 4 with dynamic NTK', headDim);
  if (config.positions === 'rope') {
    if (headDim % 2 !== 0) throw new MgtError(code, 'config.headDim', 'an even number with RoPE', headDim);
    if (config.ropeBase < 1) throw new MgtError(code, 'config.ropeBase', 'at least 1 with RoPE', config.ropeBase);
  }
  if ((config.kind === 'encoder') === (config.pooling === 'none')) {
    throw new MgtError(code, 'config.pooling', config.kind === 'encoder' ? 'mean or cls' : 'none', config.pooling);
  }
  if (config.kind === 'encoder' && config.tiedHead)
    throw new MgtError(code, 'config.tiedHead', 'false for an encoder', true);
  if (config.exitLayers && config.kind === 'encoder')
    throw new MgtError(code, 'config.exitLayers', 'nothing of an encoder', 'exit layers');
  if (config.tiers) checkTierOrder('config.tiers', config.tiers, config.layers, config.context, code);
  return Object.freeze(config);
}

/** Which names there are is known where the weights are planned. */
function readNames(field: string, value: unknown, code: ErrorCode): readonly string[] {
  if (Array.isArray(value) && value.length > 0 && value.every((name) => typeof name === 'string')) {
    if (new Set(value).size === value.length) return Object.freeze([...value]);
  }
  throw new MgtError(code, field, 'names of linear layers, each once', value);
}

/** Ascending; a file has a bit for each of 1..63. */
function readExitLayers(value: unknown, layers: number, code: ErrorCode): readonly number[] {
  if (!Array.isArray(value) || value.length === 0)
    throw new MgtError(code, 'config.exitLayers', 'a list of layers', value);
  const most = Math.min(layers - 1, MAX_EXIT_LAYER);
  value.reduce((last: number, layer: unknown, i) => {
    return checkInteger(`config.exitLayers[${i}]`, layer, last + 1, most, code);
  }, 0);
  return Object.freeze([...(value as number[])]);
}

function readRope(value: unknown, code: ErrorCode): RopeScaling {
  const raw = checkKeys('config.rope', value, ['factors', 'scale', 'dynamic', 'original'], code);
  if (typeof raw.factors !== 'boolean') throw new MgtError(code, 'config.rope.factors', 'true or false', raw.factors);
  const dynamic = checkReal('config.rope.dynamic', raw.dynamic, 0, 1e6, code);
  return Object.freeze({
    factors: raw.factors,
    scale: checkReal('config.rope.scale', raw.scale, 2 ** -20, 2 ** 20, code),
    dynamic,
    original: checkInteger('config.rope.original', raw.original, dynamic > 0 ? 1 : 0, dynamic > 0 ? MAX_DIM : 0, code),
  });
}

/** Tier shapes with `missing` for what is not given. */
function readTiers(field: string, value: unknown, missing: Partial<TierShapes>, code: ErrorCode): TierShapes {
  const numbers = ['windowNormal', 'windowDegraded', 'layersDegraded', 'seqLenDegraded', 'seqLenSafe'] as const;
  const flags = ['enableKvCache', 'enableExternalWrites'] as const;
  const raw = checkKeys(field, value, [...numbers, ...flags], code);
  const tiers: Record<string, unknown> = {};
  const valueOf = (key: keyof TierShapes): unknown => (raw[key] === undefined ? missing[key] : raw[key]);
  for (const key of numbers) tiers[key] = checkInteger(`${field}.${key}`, valueOf(key), 1, MAX_DIM, code);
  for (const key of flags) {
    const given = valueOf(key);
    if (typeof given !== 'boolean') throw new MgtError(code, `${field}.${key}`, 'true or false', given);
    tiers[key] = given;
  }
  return Object.freeze(tiers as unknown as TierShapes);
}

/** The seed's ordered checks (config.rs): windows inside the sequence, degraded shapes inside the normal ones. */
function checkTierOrder(field: string, t: TierShapes, layers: number, context: number, code: ErrorCode): void {
  checkInteger(`${field}.windowNormal`, t.windowNormal, 1, context, code);
  checkInteger(`${field}.windowDegraded`, t.windowDegraded, 1, t.windowNormal, code);
  checkInteger(`${field}.layersDegraded`, t.layersDegraded, 1, layers, code);
  checkInteger(`${field}.seqLenDegraded`, t.seqLenDegraded, 1, context, code);
  checkInteger(`${field}.seqLenSafe`, t.seqLenSafe, 1, t.seqLenDegraded, code);
}

/**
 * The tier shapes of a model loaded with `context` tokens, some of them replaced by the caller.
 * @throws MgtError `BadConfig` naming `tiers.<field>`: unknown, wrong type, out of range, out of order
 */
export function overrideTiers(config: ModelConfig, context: number, value: unknown): TierShapes {
  const tiers = readTiers('tiers', value, tierShapes(config, context), 'BadConfig');
  checkTierOrder('tiers', tiers, config.layers, context, 'BadConfig');
  return tiers;
}

function checkReal(field: string, value: unknown, min: number, max: number, code: ErrorCode): number {
  if (typeof value === 'number' && Number.isFinite(value) && value >= min && value <= max) return value;
  throw new MgtError(code, field, `a number in ${min}..${max}`, value);
}

/**
 * Tier shapes of a model loaded with `context` tokens: its own cut to that context, or those of an imported model, whose tier 0 is the
 * model itself — tier 1 half the layers and context, a quarter of it as window; tier 2 one layer, an eighth of the context.
 */
export function tierShapes(config: ModelConfig, context: number): TierShapes {
  const own = config.tiers;
  const within = (tokens: number): number => Math.max(1, Math.min(tokens, context));
  return {
    windowNormal: within(own?.windowNormal ?? context),
    windowDegraded: within(own?.windowDegraded ?? Math.max(4, context >> 2)),
    layersDegraded: own?.layersDegraded ?? Math.ceil(config.layers / 2),
    seqLenDegraded: within(own?.seqLenDegraded ?? context >> 1),
    seqLenSafe: within(own?.seqLenSafe ?? context >> 3),
    enableKvCache: own?.enableKvCache ?? true,
    enableExternalWrites: own?.enableExternalWrites ?? true,
  };
}
