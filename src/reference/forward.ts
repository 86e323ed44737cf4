import type { Activation, ModelConfig } from '../config.js';
import { MgtError } from '../errors.js';
import { concatKv, kvRows, maskedAttention, type KvRows } from './attention.js';
import * as ops from './ops.js';
import { Weights, type Panels, type ReferenceModel } from './weights.js';

export interface ReferenceCall {
  /** Ids below the vocabulary, already cut to the tier's length; at least one. */
  readonly tokens: ArrayLike<number>;
  /** Absolute positions of the tokens (learned table, RoPE); 0, 1, … where left out. Attention goes by key index. */
  readonly positions?: ArrayLike<number> | undefined;
  /** Layers firstLayer (0 where left out)..firstLayer + layers − 1 run; 0 layers scores the embedding alone. */
  readonly firstLayer?: number | undefined;
  readonly layers: number;
  /** Attention window in tokens, at least 1; tokens.length or more means none. */
  readonly window: number;
  /** Key indices seen beside the window, ascending; the call's own tokens come after the past ones. */
  readonly extras?: readonly number[] | undefined;
  /** Of a causal model without past: the keys each row sees, ascending, its own last; all up to it where left out. */
  readonly seen?: readonly (readonly number[])[] | undefined;
  /** K and V of earlier tokens, by layer, in logical order. */
  readonly past?: readonly KvRows[] | undefined;
  /** What is to be kept of the tokens in layers that do not run; nothing is kept where left out. */
  readonly fill?: 'propagate' | 'hole' | undefined;
  readonly pooling?: 'mean' | 'cls' | undefined;
  /** Logits of every token instead of the last one's. */
  readonly all?: boolean | undefined;
  /** Tokens the model is loaded for, which dynamic NTK goes by; the model's own where left out. */
  readonly context?: number | undefined;
}

export interface ReferenceResult {
  /** Encoder: the embedding f32[hidden]. Decoder: logits of the last token f32[vocab], or of all f32[n][vocab]. */
  readonly values: Float32Array;
  /** With `fill`: K and V of the tokens, by layer. */
  readonly kept: readonly KvRows[];
  /** Calls by kernel name, as an engine over the kernel catalogue makes them; tables made at load are not counted. */
  readonly kernelCalls: Record<string, number>;
}

const ACTIVATE = { gelu: ops.gelu, gelu_tanh: ops.geluTanh, relu: ops.relu, silu: ops.silu };
const ACTIVATION_KERNEL: Record<Activation, string> = {
  gelu: 'gelu',
  gelu_tanh: 'geluTanh',
  relu: 'relu',
  silu: 'silu',
};

/**
 * The forward pass of one call, every operation in its written order: the same bits as the kernels give.
 * Slow on purpose where speed would hide the arithmetic; needs no WebAssembly.
 * @throws MgtError `BadWeights` where the output is not finite.
 */
export function referenceForward(model: ReferenceModel, payload: Uint8Array, call: ReferenceCall): ReferenceResult {
  const { config } = model;
  const { hidden, heads, kvHeads, headDim: d, normEps } = config;
  const { tokens, firstLayer = 0, layers, window, extras = [], seen, past, fill, pooling = config.pooling } = call;
  const n = tokens.length;
  const positions = Array.from(call.positions ?? Array.from(tokens).keys());
  const w = new Weights(model.weights, payload);
  const pre = config.normPlace === 'pre';

  const kernelCalls: Record<string, number> = {};
  const count = (name: string, times = 1): void => {
    kernelCalls[name] = (kernelCalls[name] ?? 0) + times;
  };
  const norm = (x: Float32Array, name: string): Float32Array => {
    const weight = w.f32(`${name}.weight`);
    count(config.norm === 'layernorm' ? 'layerNorm' : 'rmsNorm');
    if (config.norm === 'rmsnorm') return ops.rmsNorm(x, weight, normEps);
    return ops.layerNorm(x, weight, w.f32(`${name}.bias`), normEps);
  };
  // Quantised when a layer asks, and again where the next layer takes other groups.
  const quantize = (x: Float32Array, inputs: number, smooth?: Float32Array): ((halved: boolean) => ops.Codes) => {
    let codes: ops.Codes | undefined;
    return (halved) => {
      if (codes?.halved !== halved) {
        count('quantize');
        codes = ops.quantize(x, x.length / inputs, inputs, smooth, halved);
      }
      return codes;
    };
  };
  const linear = (codesFor: (halved: boolean) => ops.Codes, panels: Panels): Float32Array => {
    const x = codesFor(panels.kind === 'panel-i4');
    count(`${x.rows === 1 ? 'gemv' : 'gemm'}${panels.kind.slice('panel-'.length).toUpperCase()}`);
    return ops.gemmI8(x, panels);
  };
  const add = (x: Float32Array, y: Float32Array): Float32Array => {
    count('add');
    ops.add(x, y);
    return x;
  };

  // x f32[n][hidden]: the residual stream
  const table = w.panels('embeddings.token');
  let x = ops.embed(tokens, table);
  count('embed');
  if (config.positions === 'learned') {
    ops.addRows(x, hidden, w.f32('embeddings.position'), positions);
    count('addRows');
  }
  if (!pre) x = norm(x, 'embeddings.norm');

  const turns = config.positions === 'rope' ? angles(config, positions, call.context ?? config.context, w) : undefined;
  const rowOf = Array.from(positions.keys());
  const kept: KvRows[] = [];

  for (let layer = 0; layer < config.layers; layer++) {
    const p = `layers.${layer}`;
    const runs = layer >= firstLayer && layer < firstLayer + layers;
    const kv = kvRows(n, kvHeads, d);
    if (fill) kept.push(kv);
    // Fresh rows are holes already: codes and scales 0.
    if (!runs && fill === 'hole') count('kvErase');
    if (!runs && fill !== 'propagate') continue;

    // attention: q f32[n][heads · d], k and v f32[n][kvHeads · d]
    const a = quantize(pre ? norm(x, `${p}.attention.norm`) : x, hidden, w.find(`${p}.attention.smooth`));
    const k = linear(a, w.panels(`${p}.attention.key`));
    const v = linear(a, w.panels(`${p}.attention.value`));
    const q = runs ? linear(a, w.panels(`${p}.attention.query`)) : undefined;
    if (turns) {
      if (q) ops.rope(q, heads, d, turns, rowOf);
      ops.rope(k, kvHeads, d, turns, rowOf);
      count('rope', q ? 2 : 1);
    }
    ops.kvAppend(kv, k, v, 0);
    count('kvAppend');
    if (!q) continue;
    const keys = past ? concatKv([past[layer]!, kv]) : kv;
    const keyCount = keys.kScales.length / kvHeads;
    const all = { keyFirst: 0, keyCount, queryFirst: keyCount - n, causal: config.causal, window, extras };
    const context = seen ? maskedAttention(q, heads, keys, seen, window, extras) : ops.attention(q, heads, keys, all);
    count('attention');
    x = add(x, linear(quantize(context, heads * d), w.panels(`${p}.attention.output`)));
    if (!pre) x = norm(x, `${p}.attention.norm`);

    // feed-forward: u f32[n][ffn]
    const h = quantize(pre ? norm(x, `${p}.ffn.norm`) : x, hidden, w.find(`${p}.ffn.up.smooth`));
    let u = linear(h, w.panels(`${p}.ffn.up`));
    const gate = config.gatedFfn ? linear(h, w.panels(`${p}.ffn.gate`)) : undefined;
    ACTIVATE[config.activation](gate ?? u);
    count(ACTIVATION_KERNEL[config.activation]);
    if (gate) {
      ops.mul(gate, u);
      count('mul');
      u = gate;
    }
    x = add(x, linear(quantize(u, config.ffn, w.find(`${p}.ffn.down.smooth`)), w.panels(`${p}.ffn.down`)));
    if (!pre) x = norm(x, `${p}.ffn.norm`);
  }

  if (pre) x = norm(x, 'final.norm');
  if (config.kind === 'decoder') {
    const last = quantize(call.all ? x : x.subarray((n - 1) * hidden), hidden);
    return finite(linear(last, config.tiedHead ? table : w.panels('head')), kernelCalls, kept);
  }
  const pooled = pooling === 'cls' ? x.slice(0, hidden) : ops.poolMean(x, hidden);
  if (pooling !== 'cls') count('poolMean');
  if (config.normalize) {
    ops.l2Normalize(pooled);
    count('l2Normalize');
  }
  return finite(pooled, kernelCalls, kept);
}

/** Angles of each row's position. */
function angles(
  { headDim: d, ropeBase, rope }: ModelConfig,
  positions: readonly number[],
  context: number,
  w: Weights,
): Float32Array {
  const { scale = 1, dynamic = 0, original = 0 } = rope ?? {};
  const ntk = dynamic > 0 && context > original ? (dynamic * context) / original - (dynamic - 1) : 1;
  const turns = { factors: w.find('rope.factors'), scale, ntk };
  const rows = new Float32Array(positions.length * d);
  positions.forEach((position, row) => rows.set(ops.ropeTable(1, d, ropeBase, position, turns), row * d));
  return rows;
}

function finite(values: Float32Array, kernelCalls: Record<string, number>, kept: readonly KvRows[]): ReferenceResult {
  const i = values.findIndex((v) => !Number.isFinite(v));
  if (i >= 0) throw new MgtError('BadWeights', `output[${i}]`, 'finite values', values[i]);
  return { values, kept, kernelCalls };
}
