import { readFileSync, readdirSync } from 'node:fs';
import { openDecoder, type OpenDecoder } from '../../src/convert/decoder-directory.js';
import { Rng } from '../support/rng.js';
import { json, memorySource, safetensors, type Files, type Tensors } from './make-bert.js';

/** Shape of a random decoder directory; everything has a default: odd ones, 6 heads of 20 in 120. */
export interface DecoderRecipe {
  vocab?: number;
  hidden?: number;
  layers?: number;
  heads?: number;
  kvHeads?: number;
  headDim?: number;
  ffn?: number;
  context?: number;
  /** No head of its own. */
  tied?: boolean;
  /** Biases: none, q, k and v only (Qwen2), or all. */
  bias?: 'none' | 'qkv' | 'all';
  /** Names begin with `model.` or `transformer.` (default). */
  prefix?: boolean;
  dtype?: 'F32' | 'F16' | 'BF16';
  /** Files the tensors are dealt into. */
  shards?: number;
  seed?: number;
  /** Normal weights of this deviation, norms 1 ± 0.1 (0.02 is how transformers initialises); without it all are uniform in ±0.2. */
  std?: number;
  /** Laid over config.json; `undefined` drops a key. */
  config?: Record<string, unknown>;
}

const SHAPE = { vocab: 301, hidden: 120, layers: 2, heads: 6, kvHeads: 3, headDim: 20, ffn: 77, context: 64 } as const;

function randomTensors(
  seed: number,
  std?: number,
): {
  tensors: Tensors;
  add: (name: string, shape: number[], mean?: number) => void;
} {
  const rng = new Rng(seed);
  const tensors: Tensors = new Map();
  return {
    tensors,
    add(name, shape, mean = 0) {
      const length = shape.reduce((a, b) => a * b);
      const spread = mean === 0 ? std! : 0.1;
      const draw = std === undefined ? (): number => 0.4 * (rng.uniform() - 0.5) : (): number => spread * rng.normal();
      const values = Float32Array.from({ length }, () => mean + draw());
      tensors.set(name, { shape, values });
    },
  };
}

/** Weights of a random Llama under Hugging Face's names. */
export function randomLlama(recipe: DecoderRecipe = {}): Tensors {
  const { vocab, hidden, layers, heads, kvHeads, headDim, ffn } = { ...SHAPE, ...recipe };
  const { tensors, add } = randomTensors(recipe.seed ?? 1, recipe.std);
  const body = recipe.prefix === false ? '' : 'model.';
  const linear = (name: string, outputs: number, inputs: number, biased: boolean): void => {
    add(`${body}${name}.weight`, [outputs, inputs]);
    if (biased) add(`${body}${name}.bias`, [outputs]);
  };
  const qkv = recipe.bias === 'qkv' || recipe.bias === 'all';
  const all = recipe.bias === 'all';
  add(`${body}embed_tokens.weight`, [vocab, hidden]);
  for (let i = 0; i < layers; i++) {
    const p = `layers.${i}`;
    add(`${body}${p}.input_layernorm.weight`, [hidden], 1);
    linear(`${p}.self_attn.q_proj`, heads * headDim, hidden, qkv);
    linear(`${p}.self_attn.k_proj`, kvHeads * headDim, hidden, qkv);
    linear(`${p}.self_attn.v_proj`, kvHeads * headDim, hidden, qkv);
    linear(`${p}.self_attn.o_proj`, hidden, heads * headDim, all);
    add(`${body}${p}.self_attn.rotary_emb.inv_freq`, [headDim / 2]);
    add(`${body}${p}.post_attention_layernorm.weight`, [hidden], 1);
    linear(`${p}.mlp.gate_proj`, ffn, hidden, all);
    linear(`${p}.mlp.up_proj`, ffn, hidden, all);
    linear(`${p}.mlp.down_proj`, hidden, ffn, all);
  }
  add(`${body}norm.weight`, [hidden], 1);
  if (!recipe.tied) add('lm_head.weight', [vocab, hidden]);
  return tensors;
}

export function llamaConfig(recipe: DecoderRecipe = {}): Record<string, unknown> {
  const { vocab, hidden, layers, heads, kvHeads, headDim, ffn, context } = { ...SHAPE, ...recipe };
  return {
    model_type: recipe.bias === 'qkv' ? 'qwen2' : 'llama',
    vocab_size: vocab,
    hidden_size: hidden,
    num_hidden_layers: layers,
    num_attention_heads: heads,
    num_key_value_heads: kvHeads,
    head_dim: headDim,
    intermediate_size: ffn,
    max_position_embeddings: context,
    rms_norm_eps: 1e-5,
    hidden_act: 'silu',
    tie_word_embeddings: recipe.tied ?? false,
    attention_bias: recipe.bias === 'all',
    mlp_bias: recipe.bias === 'all',
    ...recipe.config,
  };
}

/** Weights of a random GPT-2: Conv1D as [inputs][outputs], a causal mask beside. */
export function randomGpt2(recipe: DecoderRecipe = {}): Tensors {
  const { vocab, hidden, layers, ffn, context } = { ...SHAPE, ...recipe };
  const { tensors, add } = randomTensors(recipe.seed ?? 2, recipe.std);
  const body = recipe.prefix === false ? '' : 'transformer.';
  const conv = (name: string, inputs: number, outputs: number): void => {
    add(`${body}${name}.weight`, [inputs, outputs]);
    add(`${body}${name}.bias`, [outputs]);
  };
  const norm = (name: string): void => {
    add(`${body}${name}.weight`, [hidden], 1);
    add(`${body}${name}.bias`, [hidden]);
  };
  add(`${body}wte.weight`, [vocab, hidden]);
  add(`${body}wpe.weight`, [context, hidden]);
  for (let i = 0; i < layers; i++) {
    norm(`h.${i}.ln_1`);
    add(`${body}h.${i}.attn.bias`, [1, 1, 4, 4]);
    conv(`h.${i}.attn.c_attn`, hidden, 3 * hidden);
    conv(`h.${i}.attn.c_proj`, hidden, hidden);
    norm(`h.${i}.ln_2`);
    conv(`h.${i}.mlp.c_fc`, hidden, ffn);
    conv(`h.${i}.mlp.c_proj`, ffn, hidden);
  }
  norm('ln_f');
  if (!(recipe.tied ?? true)) add('lm_head.weight', [vocab, hidden]);
  return tensors;
}

export function gpt2Config(recipe: DecoderRecipe = {}): Record<string, unknown> {
  const { vocab, hidden, layers, heads, ffn, context } = { ...SHAPE, ...recipe };
  return {
    ...{ model_type: 'gpt2', vocab_size: vocab, n_embd: hidden, n_layer: layers, n_head: heads, n_inner: ffn },
    ...{ n_positions: context, n_ctx: context, activation_function: 'gelu_new', layer_norm_epsilon: 1e-5 },
    ...(recipe.tied === undefined ? {} : { tie_word_embeddings: recipe.tied }),
    ...recipe.config,
  };
}

/** config.json and the tensors, in one file or dealt into several with their index. */
export function decoderFiles(config: Record<string, unknown>, tensors: Tensors, recipe: DecoderRecipe = {}): Files {
  const files: Files = new Map([['config.json', json(config)]]);
  const count = recipe.shards ?? 1;
  if (count === 1) return files.set('model.safetensors', safetensors(tensors, recipe.dtype));
  const names = [...tensors.keys()];
  const shardOf = (i: number): string => `model-${(i % count) + 1}-of-${count}.safetensors`;
  for (let s = 0; s < count; s++) {
    const part = new Map(names.filter((_, i) => i % count === s).map((name) => [name, tensors.get(name)!]));
    files.set(shardOf(s), safetensors(part, recipe.dtype));
  }
  const weight_map = Object.fromEntries(names.map((name, i) => [name, shardOf(i)]));
  return files.set('model.safetensors.index.json', json({ metadata: { total_size: 1 }, weight_map }));
}

export const llamaFiles = (recipe: DecoderRecipe = {}): Files =>
  decoderFiles(llamaConfig(recipe), randomLlama(recipe), recipe);
export const gpt2Files = (recipe: DecoderRecipe = {}): Files =>
  decoderFiles(gpt2Config(recipe), randomGpt2(recipe), recipe);

export const openFiles = (files: Files): Promise<OpenDecoder<never>> => openDecoder(memorySource(files));

/** What PyTorch computed (scripts/goldens/decoders.py). */
export interface Goldens {
  readonly long: number[];
  readonly short: number[];
  /** Positions of the long sequence. */
  readonly positions: number[];
  readonly rope: Record<string, Record<string, unknown>>;
  readonly logits: Record<string, { long: number[][]; short: number[] }>;
}

const FIXTURES = new URL('../fixtures/decoders/', import.meta.url);
export const fixture = (file: string): unknown => JSON.parse(readFileSync(new URL(file, FIXTURES), 'utf8'));

/** A directory that transformers wrote, its config.json changed. */
export function fixtureFiles(name: string, config: Record<string, unknown> = {}): Files {
  const folder = new URL(`${name}/`, FIXTURES);
  const files: Files = new Map(readdirSync(folder).map((f) => [f, Uint8Array.from(readFileSync(new URL(f, folder)))]));
  const raw = fixture(`${name}/config.json`) as Record<string, unknown>;
  return files.set('config.json', json({ ...raw, ...config }));
}
