import { validateConfig, type ModelConfig, type Quant } from '../config.js';
import { MgtError } from '../errors.js';
import type { TensorValues } from '../format/pack.js';
import type { TensorSpec } from '../format/tensors.js';
import type { BertModel, Linear } from './bert.js';
import type { Smoothing } from './smooth.js';

/** How the engine sees a BERT encoder. */
export interface EncoderOptions {
  readonly pooling: 'mean' | 'cls';
  readonly normalize: boolean;
  readonly quant: Quant;
  readonly smoothed: boolean;
}

/** @throws MgtError `BadConfig` where the sizes exceed what a file can hold */
export function encoderConfig(bert: BertModel, options: EncoderOptions): ModelConfig {
  const { vocab, hidden, heads, ffn, context, activation } = bert;
  return validateConfig({
    ...{ kind: 'encoder', vocab, hidden, heads, ffn, context, activation, ...options },
    layers: bert.layers.length,
    kvHeads: heads,
    headDim: hidden / heads,
    norm: 'layernorm',
    normPlace: 'post',
    normEps: bert.eps,
    positions: 'learned',
    ropeBase: 0,
    gatedFfn: false,
    causal: false,
    tiedHead: false,
  });
}

/** The float values of every tensor of the plan, smoothing folded in. */
export function encoderWeights(bert: BertModel, smoothing?: Smoothing): (tensor: TensorSpec) => TensorValues {
  return ({ name }) => {
    const layered = /^layers\.(\d+)\.(.+)$/.exec(name);
    const values = layered
      ? layerTensor(bert, Number(layered[1]), layered[2]!, smoothing)
      : embeddingTensor(bert, name);
    if (!values) throw new MgtError('UnsupportedMode', name, 'a tensor of a BERT encoder', 'another');
    return values;
  };
}

function embeddingTensor(bert: BertModel, name: string): TensorValues | undefined {
  switch (name) {
    case 'embeddings.token':
      return { values: bert.token };
    case 'embeddings.position':
      return { values: bert.position };
    case 'embeddings.norm.weight':
      return { values: bert.embeddingNorm.weight };
    case 'embeddings.norm.bias':
      return { values: bert.embeddingNorm.bias };
    default:
      return undefined;
  }
}

function layerTensor(bert: BertModel, i: number, name: string, smoothing?: Smoothing): TensorValues | undefined {
  const layer = bert.layers[i]!;
  const by = smoothing?.[i];
  const linear = ({ weight, bias }: Linear): TensorValues => ({ values: weight, bias });
  switch (name) {
    case 'attention.smooth':
      return by && { values: by.attention };
    case 'ffn.up.smooth':
      return by && { values: by.up };
    case 'ffn.down.smooth':
      return by && { values: by.down };
    case 'attention.query':
      return linear(overColumns(layer.query, by?.attention));
    case 'attention.key':
      return linear(overColumns(layer.key, by?.attention));
    case 'attention.value':
      return linear(timesRows(overColumns(layer.value, by?.attention), by?.context));
    case 'attention.output':
      return linear(overColumns(layer.output, by?.context));
    case 'attention.norm.weight':
      return { values: layer.attentionNorm.weight };
    case 'attention.norm.bias':
      return { values: layer.attentionNorm.bias };
    case 'ffn.up':
      return linear(overColumns(layer.up, by?.up));
    case 'ffn.down':
      return linear(overColumns(layer.down, by?.down));
    case 'ffn.norm.weight':
      return { values: layer.ffnNorm.weight };
    case 'ffn.norm.bias':
      return { values: layer.ffnNorm.bias };
    default:
      return undefined;
  }
}

/** Weights whose inputs arrive multiplied by m: column c divided by m[c]. */
function overColumns(linear: Linear, m: Float32Array | undefined): Linear {
  if (!m) return linear;
  return { ...linear, weight: linear.weight.map((w, i) => w / m[i % linear.inputs]!) };
}

/** The layer with output row r multiplied by m[r]. */
function timesRows(linear: Linear, m: Float32Array | undefined): Linear {
  if (!m) return linear;
  const { weight, bias, inputs } = linear;
  return {
    ...linear,
    weight: weight.map((w, i) => w * m[(i - (i % inputs)) / inputs]!),
    bias: bias.map((b, r) => b * m[r]!),
  };
}
