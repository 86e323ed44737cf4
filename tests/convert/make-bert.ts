import type { FileSource } from '../../src/convert/source.js';
import { Rng } from '../support/rng.js';

/** Shape and statistics of a random BERT directory; everything has a default. */
export interface BertRecipe {
  vocab?: number;
  hidden?: number;
  layers?: number;
  heads?: number;
  ffn?: number;
  positions?: number;
  types?: number;
  act?: string;
  dtype?: 'F32' | 'F16' | 'BF16';
  /** Names begin with `bert.`. */
  prefix?: boolean;
  /** LayerNorm tensors are called gamma and beta. */
  oldNames?: boolean;
  /** Deviation of the weights (BERT's own initialisation: 0.02). */
  std?: number;
  /** Channels of every LayerNorm whose gamma is this many times larger. */
  outliers?: { every: number; times: number };
  seed?: number;
  /** Laid over config.json; `undefined` drops a key. */
  config?: Record<string, unknown>;
}

export type Files = Map<string, Uint8Array<ArrayBuffer>>;
export interface Tensor {
  shape: readonly number[];
  values: Float32Array;
}
export type Tensors = Map<string, Tensor>;

/** Weights of a random BERT under their names without prefix. */
export function randomBert(recipe: BertRecipe = {}): Tensors {
  const { vocab = 257, hidden = 96, layers = 2, ffn = 176, positions = 40, types = 2, std = 0.02 } = recipe;
  const rng = new Rng(recipe.seed ?? 1);
  const normal = (n: number, mean: number, deviation: number): Float32Array =>
    Float32Array.from({ length: n }, () => {
      // Irwin–Hall of twelve: mean 6, variance 1.
      let sum = -6;
      for (let i = 0; i < 12; i++) sum += rng.uniform();
      return mean + deviation * sum;
    });
  const tensors: Tensors = new Map();
  const add = (name: string, shape: number[], mean = 0, deviation = std): void => {
    tensors.set(name, {
      shape,
      values: normal(
        shape.reduce((a, b) => a * b),
        mean,
        deviation,
      ),
    });
  };
  const norm = (name: string): void => {
    add(`${name}.${recipe.oldNames ? 'gamma' : 'weight'}`, [hidden], 1, 0.1);
    add(`${name}.${recipe.oldNames ? 'beta' : 'bias'}`, [hidden], 0, 0.1);
    const { every = Infinity, times = 1 } = recipe.outliers ?? {};
    const gamma = tensors.get(`${name}.${recipe.oldNames ? 'gamma' : 'weight'}`)!.values;
    for (let c = 3; c < hidden; c += every) gamma[c]! *= times;
  };
  const linear = (name: string, outputs: number, inputs: number): void => {
    add(`${name}.weight`, [outputs, inputs]);
    add(`${name}.bias`, [outputs]);
  };
  add('embeddings.word_embeddings.weight', [vocab, hidden]);
  add('embeddings.position_embeddings.weight', [positions, hidden]);
  add('embeddings.token_type_embeddings.weight', [types, hidden]);
  norm('embeddings.LayerNorm');
  for (let i = 0; i < layers; i++) {
    const p = `encoder.layer.${i}`;
    for (const part of ['query', 'key', 'value']) linear(`${p}.attention.self.${part}`, hidden, hidden);
    linear(`${p}.attention.output.dense`, hidden, hidden);
    norm(`${p}.attention.output.LayerNorm`);
    linear(`${p}.intermediate.dense`, ffn, hidden);
    linear(`${p}.output.dense`, hidden, ffn);
    norm(`${p}.output.LayerNorm`);
  }
  linear('pooler.dense', hidden, hidden);
  return tensors;
}

/** config.json of a recipe. */
export function bertConfig(recipe: BertRecipe = {}): Record<string, unknown> {
  return {
    model_type: 'bert',
    hidden_act: recipe.act ?? 'gelu',
    vocab_size: recipe.vocab ?? 257,
    hidden_size: recipe.hidden ?? 96,
    num_hidden_layers: recipe.layers ?? 2,
    num_attention_heads: recipe.heads ?? 6,
    intermediate_size: recipe.ffn ?? 176,
    max_position_embeddings: recipe.positions ?? 40,
    type_vocab_size: recipe.types ?? 2,
    layer_norm_eps: 1e-12,
    ...recipe.config,
  };
}

/** A whole directory: config.json and model.safetensors. */
export function bertFiles(recipe: BertRecipe = {}): Files {
  const prefix = recipe.prefix ? 'bert.' : '';
  const tensors = new Map([...randomBert(recipe)].map(([name, tensor]) => [prefix + name, tensor]));
  return new Map([
    ['config.json', json(bertConfig(recipe))],
    ['model.safetensors', safetensors(tensors, recipe.dtype)],
  ]);
}

export const json = (value: unknown): Uint8Array<ArrayBuffer> => new TextEncoder().encode(JSON.stringify(value));

/** Header entry of one tensor. */
export interface HeaderEntry {
  dtype: string;
  shape: readonly number[];
  data_offsets: number[];
}

/** A safetensors file; BERT's integer position ids come first, as real files have them. */
export function safetensors(tensors: Tensors, dtype: 'F32' | 'F16' | 'BF16' = 'F32'): Uint8Array<ArrayBuffer> {
  const header: Record<string, HeaderEntry> = {
    'embeddings.position_ids': { dtype: 'I64', shape: [1, 2], data_offsets: [0, 16] },
  };
  const parts = [new Uint8Array(16)];
  let at = 16;
  for (const [name, { shape, values }] of tensors) {
    const bytes = encode(values, dtype);
    header[name] = { dtype, shape, data_offsets: [at, at + bytes.length] };
    parts.push(bytes);
    at += bytes.length;
  }
  return assemble(JSON.stringify({ __metadata__: { format: 'pt' }, ...header }), parts);
}

/** Length, header text and data, back to back. */
export function assemble(header: string, parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const text = new TextEncoder().encode(header);
  const length = new Uint8Array(8);
  new DataView(length.buffer).setBigUint64(0, BigInt(text.length), true);
  return Uint8Array.from(Buffer.concat([length, text, ...parts]));
}

function encode(values: Float32Array, dtype: 'F32' | 'F16' | 'BF16'): Uint8Array<ArrayBuffer> {
  const view = new DataView(new ArrayBuffer(values.length * (dtype === 'F32' ? 4 : 2)));
  values.forEach((v, i) => {
    if (dtype === 'F32') view.setFloat32(4 * i, v, true);
    else view.setUint16(2 * i, dtype === 'F16' ? halfBits(v) : bfloatBits(v), true);
  });
  return new Uint8Array(view.buffer);
}

const word = new Uint32Array(1);
const real = new Float32Array(word.buffer);
/** Upper half of the f32, cut: any bfloat16 will do here. */
export function bfloatBits(v: number): number {
  real[0] = v;
  return word[0]! >>> 16;
}

/** Nearest binary16 of a value in its normal range; smaller ones become subnormal or zero. */
export function halfBits(v: number): number {
  const a = Math.abs(v);
  const sign = v < 0 ? 0x8000 : 0;
  if (a >= 65504) return sign | 0x7bff;
  const exponent = Math.max(-14, a === 0 ? -14 : Math.floor(Math.log2(a)));
  const units = Math.round(a * 2 ** (10 - exponent)); // 1024..2048 for normal values
  return sign | ((exponent + 14) * 1024 + units);
}

/** A directory held in memory; `asked` records what was read. */
export function memorySource(files: Files, name = 'random-bert'): FileSource & { readonly asked: string[] } {
  const asked: string[] = [];
  return {
    name,
    asked,
    read: (path) => {
      asked.push(path);
      return Promise.resolve(files.get(path));
    },
  };
}

/** A WordPiece tokenizer of single letters, digits and a few words; ids 0..vocab-1 where that is shorter. */
export function tokenizerJson({ lowercase = true, vocab = 257 } = {}): Record<string, unknown> {
  const letters = [...'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,!?-'];
  const words = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', ...letters, ...letters.map((letter) => `##${letter}`)];
  const special = ['[PAD]', '[UNK]', '[CLS]', '[SEP]'];
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: special.map((content, id) => ({
      ...{ id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: true },
    })),
    normalizer: {
      ...{ type: 'BertNormalizer', clean_text: true, handle_chinese_chars: true, strip_accents: null, lowercase },
    },
    pre_tokenizer: { type: 'BertPreTokenizer' },
    post_processor: {
      type: 'TemplateProcessing',
      single: [
        { SpecialToken: { id: '[CLS]', type_id: 0 } },
        { Sequence: { id: 'A', type_id: 0 } },
        { SpecialToken: { id: '[SEP]', type_id: 0 } },
      ],
      pair: [],
      special_tokens: {
        '[CLS]': { id: '[CLS]', ids: [2], tokens: ['[CLS]'] },
        '[SEP]': { id: '[SEP]', ids: [3], tokens: ['[SEP]'] },
      },
    },
    decoder: { type: 'WordPiece', prefix: '##', cleanup: true },
    model: {
      type: 'WordPiece',
      unk_token: '[UNK]',
      continuing_subword_prefix: '##',
      max_input_chars_per_word: 100,
      vocab: Object.fromEntries(words.slice(0, vocab).map((word, id) => [word, id])),
    },
  };
}
