import type { Activation, ModelConfig } from '../config.js';
import { MgtError } from '../errors.js';
import { concatKv, kvRows, maskedAttention, type KvRows } from './attention.js';
import { leaves, type ExitRule } from './exit.js';
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
  /** When a token whose logits are read leaves before the last of the layers. */
  readonly exit?: ExitRule | undefined;
  /** What later tokens of the call see of one that has left: K and V of the state it left with (default), or nothing. */
  readonly leaves?: 'propagate' | 'hole' | undefined;
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
  /** Layers that each token ran. */
  readonly ran: readonly number[];
  /** Questions of exits: heads whose answer was no, and cosines. */
  readonly asked: { readonly refused: number; readonly cosines: number };
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
  const attentionOf = (q: Float32Array, rows: readonly number[], keys: KvRows): Float32Array => {
    const keyCount = keys.kScales.length / kvHeads;
    const first = keyCount - n;
    if (seen)
      return maskedAttention(
        q,
        heads,
        keys,
        rows.map((row) => [row, seen[row]!] as const),
        window,
        extras,
      );
    if (rows.length === n) {
      const all = { keyFirst: 0, keyCount, queryFirst: first, causal: config.causal, window, extras };
      return ops.attention(q, heads, keys, all);
    }
    // Some rows of a causal call, one at a time.
    const out = new Float32Array(q.length);
    const width = heads * d;
    rows.forEach((row, i) => {
      const one = { keyFirst: 0, keyCount, queryFirst: first + row, causal: true, window, extras };
      out.set(ops.attention(q.subarray(i * width, (i + 1) * width), heads, keys, one), i * width);
    });
    return out;
  };

  // Rows of x that go on, and the layers each has run. Only rows that are read may leave.
  let going = Array.from(positions.keys());
  const ran = going.map(() => 0);
  const isRead = (row: number): boolean => (call.all ?? false) || row === n - 1;
  const values = new Float32Array(config.kind === 'decoder' ? (call.all ? n : 1) * config.vocab : hidden);
  const asked = { refused: 0, cosines: 0 };
  const normed = (rows: readonly number[], name: string): Float32Array =>
    pre ? norm(rowsOf(x, rows, hidden), name) : rowsOf(x, rows, hidden);
  const logitsOf = (rows: readonly number[]): Float32Array =>
    linear(quantize(normed(rows, 'final.norm'), hidden), config.tiedHead ? table : w.panels('head'));
  const answer = (row: number, logits: Float32Array): void =>
    values.set(finite(logits), call.all ? row * config.vocab : 0);
  const addTo = (rows: readonly number[], y: Float32Array, name: string): void => {
    const sum = add(rowsOf(x, rows, hidden), y);
    putRows(x, rows, pre ? sum : norm(sum, name), hidden);
  };

  for (let layer = 0; layer < config.layers; layer++) {
    const p = `layers.${layer}`;
    const depth = layer - firstLayer + 1;
    // Without anything to keep, rows that are not read are there for the others alone.
    const wanted = fill ? going : going.filter(isRead);
    const runs = depth > 0 && depth <= layers && (config.kind === 'encoder' || wanted.length > 0);
    const kv = kvRows(n, kvHeads, d);
    if (fill) kept.push(kv);
    // Fresh rows are holes already: codes and scales 0.
    if (!runs && fill === 'hole') count('kvErase');
    if (!runs && fill !== 'propagate') continue;

    // attention: q f32[rows][heads · d], k and v f32[rows][kvHeads · d]
    const made = runs && (fill ?? call.leaves) === 'hole' ? going : rowOf;
    const input = (rows: readonly number[]): ((halved: boolean) => ops.Codes) =>
      quantize(normed(rows, `${p}.attention.norm`), hidden, w.find(`${p}.attention.smooth`));
    const a = input(made);
    const k = linear(a, w.panels(`${p}.attention.key`));
    const v = linear(a, w.panels(`${p}.attention.value`));
    if (turns) {
      ops.rope(k, kvHeads, d, turns, made);
      count('rope');
    }
    const width = kvHeads * d;
    made.forEach((row, i) => {
      ops.kvAppend(kv, k.subarray(i * width, (i + 1) * width), v.subarray(i * width, (i + 1) * width), row);
    });
    count('kvAppend');
    if (!runs) continue;
    for (const row of going) ran[row] = depth;
    const q = linear(going.length === made.length ? a : input(going), w.panels(`${p}.attention.query`));
    if (turns) {
      ops.rope(q, heads, d, turns, going);
      count('rope');
    }
    const context = attentionOf(q, going, past ? concatKv([past[layer]!, kv]) : kv);
    count('attention');
    const before = x.slice();
    addTo(going, linear(quantize(context, heads * d), w.panels(`${p}.attention.output`)), `${p}.attention.norm`);

    // feed-forward: u f32[rows][ffn]
    const h = quantize(normed(going, `${p}.ffn.norm`), hidden, w.find(`${p}.ffn.up.smooth`));
    let u = linear(h, w.panels(`${p}.ffn.up`));
    const gate = config.gatedFfn ? linear(h, w.panels(`${p}.ffn.gate`)) : undefined;
    ACTIVATE[config.activation](gate ?? u);
    count(ACTIVATION_KERNEL[config.activation]);
    if (gate) {
      ops.mul(gate, u);
      count('mul');
      u = gate;
    }
    const down = linear(quantize(u, config.ffn, w.find(`${p}.ffn.down.smooth`)), w.panels(`${p}.ffn.down`));
    addTo(going, down, `${p}.ffn.norm`);

    // Each row that is read decides for itself; where it leaves, the logits it was asked by are the answer.
    const { exit } = call;
    if (!exit || depth >= layers || !exit.layers.includes(depth)) continue;
    going = going.filter((row) => {
      if (!isRead(row)) return true;
      if (exit.score === 'saturation') {
        asked.cosines++;
        count('cosine');
        const cosine = ops.cosine(rowsOf(x, [row], hidden), rowsOf(before, [row], hidden));
        if (!(cosine >= exit.threshold)) return true;
        answer(row, logitsOf([row]));
      } else {
        const logits = logitsOf([row]);
        count('logitStats');
        if (!leaves(exit, logits)) return ++asked.refused > 0;
        answer(row, logits);
      }
      return false;
    });
  }

  if (config.kind === 'decoder') {
    const rest = going.filter(isRead);
    if (rest.length > 0) {
      const logits = logitsOf(rest);
      rest.forEach((row, i) => answer(row, logits.subarray(i * config.vocab, (i + 1) * config.vocab)));
    }
    return { values, kept, kernelCalls, ran, asked };
  }
  if (pre) x = norm(x, 'final.norm');
  const pooled = pooling === 'cls' ? x.slice(0, hidden) : ops.poolMean(x, hidden);
  if (pooling !== 'cls') count('poolMean');
  if (config.normalize) {
    ops.l2Normalize(pooled);
    count('l2Normalize');
  }
  return { values: finite(pooled), kept, kernelCalls, ran, asked };
}

/** The named rows of x f32[*][width], copied. */
const rowsOf = (x: Float32Array, rows: readonly number[], width: number): Float32Array => {
  const out = new Float32Array(rows.length * width);
  rows.forEach((row, i) => out.set(x.subarray(row * width, (row + 1) * width), i * width));
  return out;
};

/** Rows into the places that are named. */
const putRows = (x: Float32Array, rows: readonly number[], from: Float32Array, width: number): void =>
  rows.forEach((row, i) => x.set(from.subarray(i * width, (i + 1) * width), row * width));

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

function finite(values: Float32Array): Float32Array {
  const i = values.findIndex((v) => !Number.isFinite(v));
  if (i >= 0) throw new MgtError('BadWeights', `output[${i}]`, 'finite values', values[i]);
  return values;
}
