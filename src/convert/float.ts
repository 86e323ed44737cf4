import type { Activation } from '../config.js';
import type { BertModel, Linear, Norm } from './bert.js';
import { erf } from './erf.js';
import { matmul } from './matmul.js';

/** Bound once, as in erf.ts. */
const { exp, sqrt, tanh, PI, SQRT1_2 } = Math;

/** The four inputs of linear layers in a block, and the name each has in the file. */
export const SITES = ['attention', 'context', 'up', 'down'] as const;
export type Site = (typeof SITES)[number];

/** Sees every input of a linear layer: x f32[rows][width], valid during the call only. */
export type Observe = (layer: number, site: Site, x: Float32Array, rows: number, width: number) => void;

/**
 * The source model in its own float weights: f32 storage, f64 sums, exact activations. It shares no arithmetic
 * with the engine it judges. Sequences are computed together; attention stays inside each.
 * @param ids token ids, each sequence 1..context long, every id below the vocabulary
 * @returns one f32[hidden] per sequence: pooled, not divided by its length
 */
export function floatForward(
  model: BertModel,
  ids: readonly (readonly number[])[],
  pooling: 'mean' | 'cls',
  observe?: Observe,
): Float32Array[] {
  const { hidden, ffn, layers } = model;
  const starts = ids.map((_, s) => ids.slice(0, s).reduce((n, { length }) => n + length, 0));
  const rows = ids.reduce((n, { length }) => n + length, 0);
  const x = embed(model, ids, rows);
  const wide = (): Float32Array => new Float32Array(rows * hidden);
  const [q, k, v, context, delta] = [wide(), wide(), wide(), wide(), wide()];
  const inner = new Float32Array(rows * ffn);
  const apply = (linear: Linear, from: Float32Array, to: Float32Array): void =>
    matmul(from, rows, linear.inputs, linear.weight, linear.outputs, linear.bias, to);
  layers.forEach((layer, i) => {
    observe?.(i, 'attention', x, rows, hidden);
    apply(layer.query, x, q);
    apply(layer.key, x, k);
    apply(layer.value, x, v);
    ids.forEach(({ length }, s) => attend(model, q, k, v, starts[s]!, length, context));
    observe?.(i, 'context', context, rows, hidden);
    apply(layer.output, context, delta);
    addNorm(x, delta, hidden, layer.attentionNorm, model.eps);
    observe?.(i, 'up', x, rows, hidden);
    apply(layer.up, x, inner);
    activate(inner, model.activation);
    observe?.(i, 'down', inner, rows, ffn);
    apply(layer.down, inner, delta);
    addNorm(x, delta, hidden, layer.ffnNorm, model.eps);
  });
  return ids.map(({ length }, s) => pool(x, starts[s]!, pooling === 'cls' ? 1 : length, hidden));
}

function embed(model: BertModel, ids: readonly (readonly number[])[], rows: number): Float32Array {
  const { hidden, token, position } = model;
  const x = new Float32Array(rows * hidden);
  let row = 0;
  for (const sequence of ids) {
    sequence.forEach((id, p) => {
      const at = row++ * hidden;
      for (let d = 0; d < hidden; d++) x[at + d] = token[id * hidden + d]! + position[p * hidden + d]!;
    });
  }
  addNorm(x, undefined, hidden, model.embeddingNorm, model.eps);
  return x;
}

/** x = LayerNorm(x + delta), row by row, in place. */
function addNorm(
  x: Float32Array,
  delta: Float32Array | undefined,
  width: number,
  { weight, bias }: Norm,
  eps: number,
): void {
  for (let at = 0; at < x.length; at += width) {
    let sum = 0;
    for (let d = 0; d < width; d++) {
      if (delta) x[at + d]! += delta[at + d]!;
      sum += x[at + d]!;
    }
    const mean = sum / width;
    let squares = 0;
    for (let d = 0; d < width; d++) squares += (x[at + d]! - mean) ** 2;
    const r = 1 / sqrt(squares / width + eps);
    for (let d = 0; d < width; d++) x[at + d] = (x[at + d]! - mean) * r * weight[d]! + bias[d]!;
  }
}

/** Softmax attention of one sequence: rows first..first+n-1 of q, k, v f32[*][hidden] into out. */
function attend(
  { heads, hidden }: BertModel,
  q: Float32Array,
  k: Float32Array,
  v: Float32Array,
  first: number,
  n: number,
  out: Float32Array,
): void {
  const d = hidden / heads;
  const scale = 1 / sqrt(d);
  const weights = new Float64Array(n);
  const sums = new Float64Array(d);
  for (let i = first; i < first + n; i++) {
    for (let h = 0; h < heads; h++) {
      const at = i * hidden + h * d;
      let max = -Infinity;
      for (let j = 0; j < n; j++) {
        const key = (first + j) * hidden + h * d;
        let dot = 0;
        for (let c = 0; c < d; c++) dot += q[at + c]! * k[key + c]!;
        weights[j] = dot * scale;
        if (weights[j]! > max) max = weights[j]!;
      }
      let total = 0;
      sums.fill(0);
      for (let j = 0; j < n; j++) {
        const weight = exp(weights[j]! - max);
        const value = (first + j) * hidden + h * d;
        total += weight;
        for (let c = 0; c < d; c++) sums[c]! += weight * v[value + c]!;
      }
      for (let c = 0; c < d; c++) out[at + c] = sums[c]! / total;
    }
  }
}

const GELU_TANH = sqrt(2 / PI);

/** Activations in place, exact. Source: transformers, `activations.py` (gelu, NewGELUActivation, relu, silu). */
export function activate(x: Float32Array, activation: Activation): void {
  if (activation === 'relu') for (let i = 0; i < x.length; i++) x[i] = x[i]! > 0 ? x[i]! : 0;
  else if (activation === 'silu') for (let i = 0; i < x.length; i++) x[i] = x[i]! / (1 + exp(-x[i]!));
  else {
    for (let i = 0; i < x.length; i++) {
      const v = x[i]!;
      x[i] = 0.5 * v * (1 + (activation === 'gelu' ? erf(v * SQRT1_2) : tanh(GELU_TANH * (v + 0.044715 * v ** 3))));
    }
  }
}

function pool(x: Float32Array, first: number, rows: number, width: number): Float32Array {
  const out = new Float32Array(width);
  for (let d = 0; d < width; d++) {
    let sum = 0;
    for (let r = first; r < first + rows; r++) sum += x[r * width + d]!;
    out[d] = sum / rows;
  }
  return out;
}
