import { MgtError } from '../errors.js';
import type { BertActivation, BertConfig } from './bert-config.js';
import type { SafeTensors } from './safetensors.js';

/** A linear layer as trained: y = x · weightᵀ + bias. */
export interface Linear {
  readonly outputs: number;
  readonly inputs: number;
  /** f32[outputs][inputs] */
  readonly weight: Float32Array;
  /** f32[outputs] */
  readonly bias: Float32Array;
}

export interface Norm {
  /** f32[hidden] */
  readonly weight: Float32Array;
  readonly bias: Float32Array;
}

export interface BertLayer {
  readonly query: Linear;
  readonly key: Linear;
  readonly value: Linear;
  readonly output: Linear;
  readonly attentionNorm: Norm;
  readonly up: Linear;
  readonly down: Linear;
  readonly ffnNorm: Norm;
}

/** A BERT encoder in floats. */
export interface BertModel {
  readonly vocab: number;
  readonly hidden: number;
  readonly heads: number;
  readonly ffn: number;
  /** Longest input in tokens. */
  readonly context: number;
  readonly eps: number;
  readonly activation: BertActivation;
  /** f32[vocab][hidden] */
  readonly token: Float32Array;
  /** f32[context][hidden]; token type 0 is folded in. */
  readonly position: Float32Array;
  readonly embeddingNorm: Norm;
  readonly layers: readonly BertLayer[];
}

/** Names of a LayerNorm's two tensors; the second pair is that of the first TensorFlow exports. */
const NORM_NAMES = [
  ['weight', 'bias'],
  ['gamma', 'beta'],
] as const;

/**
 * Takes the encoder's tensors out of a file; a pooler, heads and position ids beside them are left alone.
 * @param context rows of the position table to keep
 * @throws MgtError `BadFile` (a missing tensor, another shape), `BadWeights` (NaN, Inf), `UnsupportedArchitecture` (dtype)
 */
export function readBert(config: BertConfig, context: number, tensors: SafeTensors, file: string): BertModel {
  const { vocab, hidden, ffn } = config;
  const prefix = tensors.has('bert.embeddings.word_embeddings.weight') ? 'bert.' : '';
  const read = (name: string, shape: number[], rows = shape[0]!): Float32Array => {
    const tensor = tensors.tensor(prefix + name);
    if (tensor.shape.length !== shape.length || tensor.shape.some((n, i) => n !== shape[i])) {
      throw new MgtError('BadFile', `${file}.${prefix}${name}.shape`, `[${shape}]`, `[${tensor.shape}]`);
    }
    return tensor.read(0, rows);
  };
  const linear = (name: string, outputs: number, inputs: number): Linear => ({
    ...{ outputs, inputs },
    weight: read(`${name}.weight`, [outputs, inputs]),
    bias: read(`${name}.bias`, [outputs]),
  });
  const norm = (name: string): Norm => {
    const old = !tensors.has(`${prefix}${name}.weight`) && tensors.has(`${prefix}${name}.gamma`);
    const [weight, bias] = NORM_NAMES[old ? 1 : 0];
    return { weight: read(`${name}.${weight}`, [hidden]), bias: read(`${name}.${bias}`, [hidden]) };
  };
  const layer = (i: number): BertLayer => {
    const p = `encoder.layer.${i}`;
    return {
      query: linear(`${p}.attention.self.query`, hidden, hidden),
      key: linear(`${p}.attention.self.key`, hidden, hidden),
      value: linear(`${p}.attention.self.value`, hidden, hidden),
      output: linear(`${p}.attention.output.dense`, hidden, hidden),
      attentionNorm: norm(`${p}.attention.output.LayerNorm`),
      up: linear(`${p}.intermediate.dense`, ffn, hidden),
      down: linear(`${p}.output.dense`, hidden, ffn),
      ffnNorm: norm(`${p}.output.LayerNorm`),
    };
  };
  const type0 = read('embeddings.token_type_embeddings.weight', [config.types, hidden], 1);
  const position = read('embeddings.position_embeddings.weight', [config.positions, hidden], context).map(
    (value, i) => value + type0[i % hidden]!,
  );
  return {
    ...{ vocab, hidden, ffn, context, position, heads: config.heads, eps: config.eps, activation: config.activation },
    token: read('embeddings.word_embeddings.weight', [vocab, hidden]),
    embeddingNorm: norm('embeddings.LayerNorm'),
    layers: Array.from({ length: config.layers }, (_, i) => layer(i)),
  };
}
