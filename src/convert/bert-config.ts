import { MgtError } from '../errors.js';
import type { Activation } from '../config.js';
import type { JsonObject } from './json.js';

export type BertActivation = Exclude<Activation, 'silu'>;

/** What config.json says of a BERT encoder. Sizes are positive integers. */
export interface BertConfig {
  readonly vocab: number;
  readonly hidden: number;
  readonly layers: number;
  readonly heads: number;
  readonly ffn: number;
  /** Rows of the position table. */
  readonly positions: number;
  /** Rows of the token type table; only row 0 is used. */
  readonly types: number;
  readonly eps: number;
  readonly activation: BertActivation;
  /** `_name_or_path`, where it is a text. */
  readonly name: string | undefined;
}

/** BERT's own default (transformers, `BertConfig.layer_norm_eps`). */
const DEFAULT_EPS = 1e-12;
const HIDDEN_ACTS: Readonly<Record<string, BertActivation>> = { gelu: 'gelu', gelu_new: 'gelu_tanh', relu: 'relu' };
const MAX_SIZE = 2 ** 24;

/**
 * Reads config.json of a BERT directory.
 * @throws MgtError `UnsupportedArchitecture` naming what this importer does not know, `BadFile` naming what is malformed
 */
export function readBertConfig(raw: JsonObject): BertConfig {
  supported(raw, 'model_type', ['bert']);
  const act = supported(raw, 'hidden_act', Object.keys(HIDDEN_ACTS));
  if (raw.position_embedding_type !== undefined) supported(raw, 'position_embedding_type', ['absolute']);
  for (const key of ['is_decoder', 'add_cross_attention']) {
    if (raw[key] !== undefined && raw[key] !== false) throw unsupported(key, 'false or absent', raw[key]);
  }
  if (raw.pruned_heads !== undefined && Object.keys(raw.pruned_heads ?? {}).length > 0) {
    throw unsupported('pruned_heads', 'none', raw.pruned_heads);
  }
  if (raw.quantization_config !== undefined) {
    throw unsupported('quantization_config', 'float weights', raw.quantization_config);
  }
  const hidden = size(raw, 'hidden_size');
  const heads = size(raw, 'num_attention_heads');
  if (hidden % heads !== 0) {
    throw new MgtError('BadFile', 'config.json.num_attention_heads', `a divisor of hidden_size ${hidden}`, heads);
  }
  return {
    vocab: size(raw, 'vocab_size'),
    hidden,
    layers: size(raw, 'num_hidden_layers'),
    heads,
    ffn: size(raw, 'intermediate_size'),
    positions: size(raw, 'max_position_embeddings'),
    types: size(raw, 'type_vocab_size'),
    eps: epsilon(raw.layer_norm_eps ?? DEFAULT_EPS),
    activation: HIDDEN_ACTS[act]!,
    name: typeof raw._name_or_path === 'string' ? raw._name_or_path : undefined,
  };
}

const unsupported = (key: string, expected: string, got: unknown): MgtError =>
  new MgtError('UnsupportedArchitecture', `config.json.${key}`, expected, got);

/** A text out of a list of known ones: another text is unsupported, anything else malformed. */
function supported(raw: JsonObject, key: string, known: readonly string[]): string {
  const value = raw[key];
  if (typeof value !== 'string') throw new MgtError('BadFile', `config.json.${key}`, 'a text', value);
  if (known.includes(value)) return value;
  throw unsupported(key, known.length === 1 ? known[0]! : `one of ${known.join(', ')}`, value);
}

function size(raw: JsonObject, key: string): number {
  const value = raw[key];
  if (typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= MAX_SIZE) return value;
  throw new MgtError('BadFile', `config.json.${key}`, `an integer in 1..${MAX_SIZE}`, value);
}

function epsilon(value: unknown): number {
  if (typeof value === 'number' && value > 0 && value <= 1) return value;
  throw new MgtError('BadFile', 'config.json.layer_norm_eps', 'a number above 0, at most 1', value);
}
