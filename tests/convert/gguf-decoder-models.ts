import { expect } from '@jest/globals';
import type { DecoderModel } from '../../src/convert/decoder.js';
import { ggufDecoder, openGguf } from '../../src/convert/gguf/index.js';
import type { GgmlType } from '../../src/convert/gguf/types.js';
import { MgtError } from '../../src/errors.js';
import { Rng } from '../support/rng.js';
import { encode, writeGguf, type Metadata, type Tensor } from './gguf-writer.js';

/** Small decoders as GGUF files, with the values that each tensor should give by our names. */

export const HIDDEN = 64;
export const HEADS = 4;
export const KV_HEADS = 2;
export const HEAD = 32; // not HIDDEN / HEADS
export const FFN = 96;
export const VOCAB = 40;
export const CONTEXT = 24;
export const LAYERS = 2;

/** A file's tensors, and the values that each should give by our names. */
export interface Made {
  readonly tensors: Tensor[];
  readonly expected: Map<string, Float32Array>;
}

export const F32 = (values: Float32Array): Uint8Array => new Uint8Array(values.slice().buffer);

export class Maker {
  readonly #rng: Rng;
  readonly made: Made = { tensors: [], expected: new Map() };
  constructor(seed: string) {
    this.#rng = new Rng(seed);
  }
  random = (): number => this.#rng.uniform();
  matrix(ours: string, theirs: string, type: GgmlType, rows: number, columns: number): Float32Array {
    const { data, values } = encode(type, rows * columns, this.random);
    this.made.tensors.push({ name: theirs, type, shape: [rows, columns], data });
    this.made.expected.set(ours, values);
    return values;
  }
  vector(ours: string, theirs: string, n: number): Float32Array {
    const { data, values } = encode('F32', n, this.random);
    this.made.tensors.push({ name: theirs, type: 'F32', shape: [n], data });
    this.made.expected.set(ours, values);
    return values;
  }
}

/** llama.cpp's converter: reshape(heads, 2, HEAD / 2, columns).swapaxes(1, 2), on the order that transformers has. */
export function permuted(values: Float32Array, columns: number): Float32Array {
  const out = new Float32Array(values.length);
  const heads = values.length / columns / HEAD;
  let row = 0;
  for (let head = 0; head < heads; head++) {
    for (let i = 0; i < HEAD / 2; i++) {
      for (let half = 0; half < 2; half++, row++) {
        const source = (head * HEAD + half * (HEAD / 2) + i) * columns;
        out.set(values.subarray(source, source + columns), row * columns);
      }
    }
  }
  return out;
}

/** Turns what `expected` holds, in the file's order, into transformers' order. */
export function unpermute({ expected }: Made, name: string, columns: number): void {
  const stored = expected.get(name)!;
  const rows = stored.length / columns;
  const order = permuted(
    Float32Array.from({ length: rows }, (_, i) => i),
    1,
  );
  const out = new Float32Array(stored.length);
  order.forEach((row, i) => out.set(stored.subarray(i * columns, (i + 1) * columns), row * columns));
  expected.set(name, out);
}

export function makeLlama(architecture: 'llama' | 'qwen2'): Made {
  const maker = new Maker(architecture);
  maker.matrix('embeddings.token', 'token_embd.weight', 'Q8_0', VOCAB, HIDDEN);
  for (let i = 0; i < LAYERS; i++) {
    const [l, b] = [`layers.${i}`, `blk.${i}`];
    maker.vector(`${l}.attention.norm.weight`, `${b}.attn_norm.weight`, HIDDEN);
    maker.matrix(`${l}.attention.query`, `${b}.attn_q.weight`, 'Q4_1', HEADS * HEAD, HIDDEN);
    maker.matrix(`${l}.attention.key`, `${b}.attn_k.weight`, 'Q4_0', KV_HEADS * HEAD, HIDDEN);
    maker.matrix(`${l}.attention.value`, `${b}.attn_v.weight`, 'F16', KV_HEADS * HEAD, HIDDEN);
    maker.vector(`${l}.attention.query.bias`, `${b}.attn_q.bias`, HEADS * HEAD);
    maker.vector(`${l}.attention.key.bias`, `${b}.attn_k.bias`, KV_HEADS * HEAD);
    maker.vector(`${l}.attention.value.bias`, `${b}.attn_v.bias`, KV_HEADS * HEAD);
    maker.matrix(`${l}.attention.output`, `${b}.attn_output.weight`, 'BF16', HIDDEN, HEADS * HEAD);
    maker.vector(`${l}.ffn.norm.weight`, `${b}.ffn_norm.weight`, HIDDEN);
    maker.matrix(`${l}.ffn.gate`, `${b}.ffn_gate.weight`, 'Q4_1', FFN, HIDDEN);
    maker.matrix(`${l}.ffn.up`, `${b}.ffn_up.weight`, 'Q4_0', FFN, HIDDEN);
    maker.matrix(`${l}.ffn.down`, `${b}.ffn_down.weight`, 'F32', HIDDEN, FFN);
    if (architecture === 'qwen2') continue;
    unpermute(maker.made, `${l}.attention.query`, HIDDEN);
    unpermute(maker.made, `${l}.attention.key`, HIDDEN);
    unpermute(maker.made, `${l}.attention.query.bias`, 1);
    unpermute(maker.made, `${l}.attention.key.bias`, 1);
  }
  maker.vector('final.norm.weight', 'output_norm.weight', HIDDEN);
  return maker.made;
}

export const keys = (architecture: 'llama' | 'qwen2', extra: Metadata = {}): Metadata => ({
  'general.architecture': { text: architecture },
  ...Object.fromEntries(
    Object.entries({
      block_count: { u32: LAYERS },
      context_length: { u32: CONTEXT },
      embedding_length: { u32: HIDDEN },
      feed_forward_length: { u32: FFN },
      'attention.head_count': { u32: HEADS },
      'attention.head_count_kv': { u32: KV_HEADS },
      'attention.key_length': { u32: HEAD },
      'attention.value_length': { u32: HEAD },
      'attention.layer_norm_rms_epsilon': { f32: 0.25 },
      'rope.freq_base': { f32: 5000 },
      'rope.dimension_count': { u32: HEAD },
    } satisfies Metadata).map(([key, value]) => [`${architecture}.${key}`, value]),
  ),
  'tokenizer.ggml.bos_token_id': { u32: 3 },
  'tokenizer.ggml.eos_token_id': { u32: 4 },
  'tokenizer.ggml.eot_token_id': { u32: 5 },
  'tokenizer.ggml.padding_token_id': { u32: 4_294_967_295 },
  ...extra,
});

export const open = async (metadata: Metadata, tensors: readonly Tensor[]): Promise<DecoderModel> =>
  ggufDecoder(await openGguf(writeGguf(metadata, tensors)));

export const llama = makeLlama('llama');
export const openLlama = (extra?: Metadata, added: readonly Tensor[] = []): Promise<DecoderModel> =>
  open(keys('llama', extra), [...llama.tensors, ...added]);

export async function failure(action: () => unknown): Promise<MgtError> {
  try {
    await action();
  } catch (error) {
    if (error instanceof MgtError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

/** Every matrix whole, in parts and row by row; every vector. */
export function expectAll(model: DecoderModel, { expected }: Made, columnsOf: (name: string) => number): void {
  for (const [name, values] of expected) {
    if (/(bias|norm\.weight)$/.test(name)) {
      expect([name, model.vector(name)]).toEqual([name, values]);
      continue;
    }
    const columns = columnsOf(name);
    const rows = values.length / columns;
    expect([name, model.rows(name, 0, rows)]).toEqual([name, values]);
    expect(model.rows(name, 3, 8)).toEqual(values.slice(3 * columns, 8 * columns));
    expect(model.rows(name, rows - 1, rows)).toEqual(values.slice((rows - 1) * columns));
  }
}

export const columnsOf = (name: string): number =>
  name.endsWith('attention.output') ? HEADS * HEAD : name.endsWith('down') ? FFN : HIDDEN;
