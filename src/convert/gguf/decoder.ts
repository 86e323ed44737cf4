import { MgtError } from '../../errors.js';
import type { DecoderFacts, DecoderModel } from '../decoder.js';
import { readFacts, type GgufArchitecture } from './facts.js';
import type { GgufFile, GgufTensor } from './file.js';

/** Where one of our matrices or vectors lies. */
interface Place {
  readonly tensor: GgufTensor;
  /** First row of a matrix, first value of a vector: fused q, k and v lie one after the other. */
  readonly first: number;
  readonly outputs: number;
  /** Rows of a matrix or values of a vector lie as llama.cpp's converter permutes them, in heads of this size; 0 if not. */
  readonly paired: number;
}

const COMPARED_ROWS = 256;

/** Names of llama.cpp for the linear layers of a block. */
const LAYERS: Readonly<Record<string, string>> = {
  'attention.query': 'attn_q',
  'attention.key': 'attn_k',
  'attention.value': 'attn_v',
  'attention.output': 'attn_output',
  'ffn.gate': 'ffn_gate',
  'ffn.up': 'ffn_up',
  'ffn.down': 'ffn_down',
};

/**
 * A decoder of a GGUF file: `llama` (which is how Mistral, SmolLM2, TinyLlama and others call themselves), `qwen2`, `gpt2`.
 * Every tensor of the file must be one that is used, of the shape that the header states.
 * @throws MgtError `UnsupportedArchitecture`, `BadFile` naming the key or tensor
 */
export function ggufDecoder(file: GgufFile): DecoderModel {
  const { architecture, facts, ropeFactors } = readFacts(file);
  const { matrices, vectors, tiedHead } = findPlaces(file, architecture, facts);
  const place = (name: string): Place => {
    const found = matrices.get(name);
    if (found) return found;
    throw new MgtError('BadInput', `${file.name} tensor`, 'the name of a matrix of the model', name);
  };
  return {
    facts: { ...facts, tiedHead },
    rows: (name, from, to) => readRows(place(name), from, to),
    vector(name) {
      if (name === 'rope.factors') return ropeFactors;
      const found = vectors.get(name);
      return found && readVector(found);
    },
    grid(name, row) {
      const { tensor, first, outputs, paired } = place(name);
      if (!(row >= 0 && row < outputs)) {
        throw new MgtError('BadInput', `${name} row`, `an integer in 0..${outputs - 1}`, row);
      }
      return tensor.grid(first + storedRow(row, paired));
    },
    close: () => file.close(),
  };
}

/**
 * Where row `row` of a query or key lies. llama.cpp turns neighbouring pairs, transformers the halves of a head, so its
 * converter writes half h of pair i of each head at 2i + h instead of h · headDim / 2 + i.
 * @param paired headDim, 0 where nothing is permuted
 */
function storedRow(row: number, paired: number): number {
  if (paired === 0) return row;
  const inside = row % paired;
  const half = paired / 2;
  return row - inside + 2 * (inside % half) + (inside < half ? 0 : 1);
}

function readRows({ tensor, first, outputs, paired }: Place, from: number, to: number): Float32Array {
  if (!(from >= 0 && from <= to && to <= outputs)) {
    throw new MgtError('BadInput', `${tensor.name} rows`, `a range inside 0..${outputs}`, `${from}..${to}`);
  }
  if (paired === 0) return tensor.rows(first + from, first + to);
  const inputs = tensor.shape[1]!;
  const out = new Float32Array((to - from) * inputs);
  for (let row = from; row < to; row++) {
    const stored = first + storedRow(row, paired);
    out.set(tensor.rows(stored, stored + 1), (row - from) * inputs);
  }
  return out;
}

function readVector({ tensor, first, outputs, paired }: Place): Float32Array {
  const stored = tensor.rows(0, 1).subarray(first, first + outputs);
  return paired === 0 ? stored : stored.map((_, i) => stored[storedRow(i, paired)]!);
}

function findPlaces(
  file: GgufFile,
  architecture: GgufArchitecture,
  facts: Omit<DecoderFacts, 'tiedHead'>,
): { matrices: Map<string, Place>; vectors: Map<string, Place>; tiedHead: boolean } {
  const { vocab, hidden, ffn, layers, heads, kvHeads, headDim, context } = facts;
  const matrices = new Map<string, Place>();
  const vectors = new Map<string, Place>();
  const used = new Set(['rope_freqs.weight']);
  const find = (name: string, ...shape: number[]): GgufTensor => {
    const tensor = file.tensor(name);
    if (tensor.shape.length !== shape.length || tensor.shape.some((n, i) => n !== shape[i])) {
      throw new MgtError('BadFile', `${file.name}.${name} shape`, `[${shape}]`, tensor.shape);
    }
    used.add(name);
    return tensor;
  };
  const matrix = (ours: string, theirs: string, outputs: number, inputs: number, paired = 0): void => {
    matrices.set(ours, { tensor: find(`${theirs}.weight`, outputs, inputs), first: 0, outputs, paired });
    const bias = `${theirs}.bias`;
    if (file.has(bias)) vectors.set(`${ours}.bias`, { tensor: find(bias, outputs), first: 0, outputs, paired });
  };
  const norm = (ours: string, theirs: string): void => {
    for (const part of facts.norm === 'layernorm' ? ['weight', 'bias'] : ['weight']) {
      const tensor = find(`${theirs}.${part}`, hidden);
      vectors.set(`${ours}.${part}`, { tensor, first: 0, outputs: hidden, paired: 0 });
    }
  };

  matrix('embeddings.token', 'token_embd', vocab, hidden);
  if (facts.positions === 'learned') matrix('embeddings.position', 'position_embd', context, hidden);
  const qDim = heads * headDim;
  const kvDim = kvHeads * headDim;
  const paired = architecture === 'llama' ? headDim : 0;
  const sizes: Readonly<Record<string, readonly [outputs: number, inputs: number, paired?: number]>> = {
    'attention.query': [qDim, hidden, paired],
    'attention.key': [kvDim, hidden, paired],
    'attention.value': [kvDim, hidden],
    'attention.output': [hidden, qDim],
    'ffn.gate': [ffn, hidden],
    'ffn.up': [ffn, hidden],
    'ffn.down': [hidden, ffn],
  };
  for (let i = 0; i < layers; i++) {
    norm(`layers.${i}.attention.norm`, `blk.${i}.attn_norm`);
    norm(`layers.${i}.ffn.norm`, `blk.${i}.ffn_norm`);
    const fused = file.has(`blk.${i}.attn_qkv.weight`);
    if (fused) {
      const outputs = qDim + 2 * kvDim;
      const weight = find(`blk.${i}.attn_qkv.weight`, outputs, hidden);
      const biased = file.has(`blk.${i}.attn_qkv.bias`);
      const bias = biased ? find(`blk.${i}.attn_qkv.bias`, outputs) : undefined;
      let first = 0;
      for (const part of ['attention.query', 'attention.key', 'attention.value']) {
        const [length, , pairs = 0] = sizes[part]!;
        const name = `layers.${i}.${part}`;
        matrices.set(name, { tensor: weight, first, outputs: length, paired: pairs });
        if (bias) vectors.set(`${name}.bias`, { tensor: bias, first, outputs: length, paired: pairs });
        first += length;
      }
    }
    for (const [ours, theirs] of Object.entries(LAYERS)) {
      if (fused && ['attn_q', 'attn_k', 'attn_v'].includes(theirs)) continue;
      if (!facts.gatedFfn && theirs === 'ffn_gate') continue;
      const [outputs, inputs, pairs] = sizes[ours]!;
      matrix(`layers.${i}.${ours}`, `blk.${i}.${theirs}`, outputs, inputs, pairs);
    }
  }
  norm('final.norm', 'output_norm');
  const tiedHead = !file.has('output.weight') || isCopy(find('output.weight', vocab, hidden), matrices);
  if (!tiedHead) matrix('head', 'output', vocab, hidden);
  const unknown = file.names.find((name) => !used.has(name));
  if (unknown !== undefined) {
    const field = `${file.name}.${unknown}`;
    throw new MgtError('UnsupportedArchitecture', field, `the tensors of ${architecture}`, 'one that is not known');
  }
  return { matrices, vectors, tiedHead };
}

/** True where the head repeats the token table byte for byte, as converters write it for tied models. */
function isCopy(head: GgufTensor, matrices: ReadonlyMap<string, Place>): boolean {
  const table = matrices.get('embeddings.token')!.tensor;
  if (head.type !== table.type) return false;
  const [rows = 0] = head.shape;
  for (let from = 0; from < rows; from += COMPARED_ROWS) {
    const to = Math.min(from + COMPARED_ROWS, rows);
    const expected = table.bytes(from, to);
    const found = head.bytes(from, to);
    if (expected.some((byte, i) => byte !== found[i])) return false;
  }
  return true;
}
