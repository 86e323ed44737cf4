import type { GgmlType } from '../../src/convert/gguf/types.js';
import { half, writeGguf, type Metadata, type Tensor } from './gguf-writer.js';
import type { Tensors } from './make-bert.js';
import { gpt2Config, llamaConfig, randomGpt2, randomLlama, type DecoderRecipe } from './make-decoder.js';

/** The random decoders of make-decoder.ts as llama.cpp's converter writes them. */
export interface GgufRecipe extends DecoderRecipe {
  /** Type of a matrix by its name in GGUF (default F32); vectors are F32. */
  readonly type?: (name: string) => GgmlType;
  /** Names q, k and v without permuting them (`qwen2`). */
  readonly architecture?: 'llama' | 'qwen2';
  readonly metadata?: Metadata;
  readonly extra?: readonly Tensor[];
}

export interface MadeGguf {
  readonly file: Uint8Array;
  readonly parts: Tensor[];
  readonly metadata: Metadata;
  /** What the file's weights stand for, under Hugging Face's names and in its order. */
  readonly tensors: Tensors;
  readonly config: Record<string, unknown>;
}

const { abs, floor, log2, max, min, round } = Math;

/** The binary16 nearest to x, 0 below its normal range. */
function toHalf(x: number): number {
  const exponent = floor(log2(abs(x)));
  const step = 2 ** (exponent - 10);
  return exponent < -14 ? 0 : round(x / step) * step;
}

/** Weights in a type of GGUF, block by block, and what its bytes stand for. */
export function quantised(type: GgmlType, values: Float32Array): { data: Uint8Array; values: Float32Array } {
  const out = values.slice();
  if (type === 'F32') return { data: new Uint8Array(out.buffer), values: out };
  if (type === 'BF16') {
    const words = new Uint32Array(out.buffer);
    words.forEach((word, i) => (words[i] = (word & 0xffff0000) >>> 0));
    return { data: new Uint8Array(Uint16Array.from(words, (word) => word >>> 16).buffer), values: out };
  }
  if (type === 'F16') {
    out.forEach((x, i) => (out[i] = toHalf(x)));
    return { data: new Uint8Array(Uint16Array.from(out, half).buffer), values: out };
  }
  if (values.length % 32 !== 0) throw new Error(`${values.length} values are no blocks of ${type}`);
  const bytes: number[] = [];
  const put = (x: number): void => void bytes.push(half(x) & 255, half(x) >> 8);
  for (let at = 0; at < out.length; at += 32) {
    const block = [...values.subarray(at, at + 32)];
    const [low, high] = [min(...block), max(...block)];
    if (type === 'Q8_0') {
      const scale = toHalf(max(-low, high) / 127);
      const q = block.map((x) => (scale === 0 ? 0 : max(-127, min(127, round(x / scale)))));
      put(scale);
      bytes.push(...q.map((code) => code & 255));
      q.forEach((code, i) => (out[at + i] = code * scale));
      continue;
    }
    const scale = toHalf(type === 'Q4_1' ? (high - low) / 15 : (-low > high ? low : high) / -8);
    const least = type === 'Q4_1' ? toHalf(low) : -8 * scale;
    const q = block.map((x) => (scale === 0 ? 0 : max(0, min(15, round((x - least) / scale)))));
    put(scale);
    if (type === 'Q4_1') put(least);
    for (let i = 0; i < 16; i++) bytes.push(q[i]! | (q[i + 16]! << 4));
    q.forEach((code, i) => (out[at + i] = code * scale + least));
  }
  return { data: Uint8Array.from(bytes), values: out };
}

/** llama.cpp's converter: half h of pair i of a head stands at 2i + h. */
function permuted(data: Uint8Array, rows: number, headDim: number): Uint8Array {
  const stride = data.length / rows;
  const out = new Uint8Array(data.length);
  for (let row = 0; row < rows; row++) {
    const inside = row % headDim;
    const to = row - inside + (inside < headDim / 2 ? 2 * inside : 2 * inside - headDim + 1);
    out.set(data.subarray(row * stride, (row + 1) * stride), to * stride);
  }
  return out;
}

const transposed = (values: Float32Array, rows: number, columns: number): Float32Array =>
  Float32Array.from({ length: values.length }, (_, i) => values[(i % rows) * columns + floor(i / rows)]!);

class Writer {
  readonly parts: Tensor[] = [];
  readonly tensors: Tensors;
  readonly #recipe: GgufRecipe;
  constructor(tensors: Tensors, recipe: GgufRecipe) {
    this.tensors = new Map(tensors);
    this.#recipe = recipe;
  }
  /** A tensor, where there is one, under its name in GGUF; `turned`: stored [inputs][outputs] at Hugging Face. */
  add(name: string, theirs: string, { headDim = 0, turned = false } = {}): void {
    const found = this.tensors.get(theirs);
    if (!found) return;
    const [rows = 1, columns = 1] = found.shape;
    const vector = found.shape.length === 1;
    const type = vector ? 'F32' : (this.#recipe.type?.(name) ?? 'F32');
    const given = turned ? transposed(found.values, rows, columns) : found.values;
    const { data, values } = quantised(type, given);
    const kept = turned ? transposed(values, columns, rows) : values;
    this.tensors.set(theirs, { shape: found.shape, values: kept });
    const shape = turned ? [columns, rows] : found.shape;
    this.parts.push({ name, type, shape, data: headDim > 0 ? permuted(data, rows, headDim) : data });
  }
  made(config: Record<string, unknown>, metadata: Metadata): MadeGguf {
    const all = { ...metadata, ...this.#recipe.metadata };
    const parts = [...this.parts, ...(this.#recipe.extra ?? [])];
    return { parts, metadata: all, file: writeGguf(all, parts), tensors: this.tensors, config };
  }
}

const keysOf = (architecture: string, keys: Record<string, number>, epsilon: string): Metadata => ({
  'general.architecture': { text: architecture },
  ...Object.fromEntries(Object.entries(keys).map(([key, n]) => [`${architecture}.${key}`, { u32: n }])),
  [`${architecture}.attention.${epsilon}`]: { f32: 1e-5 },
});

export function llamaGguf(recipe: GgufRecipe = {}): MadeGguf {
  const { architecture = 'llama' } = recipe;
  const config = llamaConfig(recipe);
  const n = config as Record<string, number>;
  const writer = new Writer(randomLlama(recipe), recipe);
  const headDim = architecture === 'llama' ? n.head_dim! : 0;
  writer.add('token_embd.weight', 'model.embed_tokens.weight');
  for (let i = 0; i < n.num_hidden_layers!; i++) {
    const [to, from] = [`blk.${i}`, `model.layers.${i}`];
    writer.add(`${to}.attn_norm.weight`, `${from}.input_layernorm.weight`);
    writer.add(`${to}.ffn_norm.weight`, `${from}.post_attention_layernorm.weight`);
    for (const part of ['weight', 'bias']) {
      writer.add(`${to}.attn_q.${part}`, `${from}.self_attn.q_proj.${part}`, { headDim });
      writer.add(`${to}.attn_k.${part}`, `${from}.self_attn.k_proj.${part}`, { headDim });
      writer.add(`${to}.attn_v.${part}`, `${from}.self_attn.v_proj.${part}`);
      writer.add(`${to}.attn_output.${part}`, `${from}.self_attn.o_proj.${part}`);
      for (const name of ['gate', 'up', 'down']) {
        writer.add(`${to}.ffn_${name}.${part}`, `${from}.mlp.${name}_proj.${part}`);
      }
    }
  }
  writer.add('output_norm.weight', 'model.norm.weight');
  writer.add('output.weight', 'lm_head.weight');
  const keys = {
    ...{ block_count: n.num_hidden_layers!, context_length: n.max_position_embeddings! },
    ...{ embedding_length: n.hidden_size!, feed_forward_length: n.intermediate_size! },
    ...{ 'attention.head_count': n.num_attention_heads!, 'attention.head_count_kv': n.num_key_value_heads! },
    ...{ 'attention.key_length': n.head_dim!, 'attention.value_length': n.head_dim! },
  };
  return writer.made(config, keysOf(architecture, keys, 'layer_norm_rms_epsilon'));
}

export function gpt2Gguf(recipe: GgufRecipe = {}): MadeGguf {
  const config = gpt2Config(recipe);
  const n = config as Record<string, number>;
  const writer = new Writer(randomGpt2(recipe), recipe);
  writer.add('token_embd.weight', 'transformer.wte.weight');
  writer.add('position_embd.weight', 'transformer.wpe.weight');
  for (let i = 0; i < n.n_layer!; i++) {
    const [to, from] = [`blk.${i}`, `transformer.h.${i}`];
    for (const part of ['weight', 'bias']) {
      const turned = part === 'weight';
      writer.add(`${to}.attn_norm.${part}`, `${from}.ln_1.${part}`);
      writer.add(`${to}.ffn_norm.${part}`, `${from}.ln_2.${part}`);
      writer.add(`${to}.attn_qkv.${part}`, `${from}.attn.c_attn.${part}`, { turned });
      writer.add(`${to}.attn_output.${part}`, `${from}.attn.c_proj.${part}`, { turned });
      writer.add(`${to}.ffn_up.${part}`, `${from}.mlp.c_fc.${part}`, { turned });
      writer.add(`${to}.ffn_down.${part}`, `${from}.mlp.c_proj.${part}`, { turned });
    }
  }
  for (const part of ['weight', 'bias']) writer.add(`output_norm.${part}`, `transformer.ln_f.${part}`);
  writer.add('output.weight', 'lm_head.weight');
  const keys = {
    ...{ block_count: n.n_layer!, context_length: n.n_positions!, embedding_length: n.n_embd! },
    ...{ feed_forward_length: n.n_inner!, 'attention.head_count': n.n_head! },
  };
  return writer.made(config, keysOf('gpt2', keys, 'layer_norm_epsilon'));
}
