import { checkInteger } from '../check.js';
import { MgtError } from '../errors.js';
import type { DecoderFacts, DecoderModel } from './decoder.js';
import { activate } from './float.js';
import { matmul } from './matmul.js';

/** Bound once, as in erf.ts. */
const { cos, exp, min, sin, sqrt } = Math;

/** Floats of a matrix held at a time: 4 MB. */
const BLOCK = 2 ** 20;

export interface FloatOptions {
  /** Context the model is loaded with, in tokens: dynamic NTK takes its base from it. Default: the facts' own. */
  readonly context?: number | undefined;
  /** What linear layers read, f32[rows][width], before it is read; `site` is the norm it comes from, or `layers.3.ffn.down`. */
  readonly observe?: ((site: string, x: Float32Array, width: number) => void) | undefined;
}

/**
 * The source model in its own float weights up to the final norm: f32 storage, f64 sums, exact activations, no cache. It
 * shares no arithmetic with the engine it judges. Sequences go through each layer together, so that every matrix is decoded
 * once; attention stays inside each. Beside the activations (rows · (4 · hidden + 3 · ffn) floats at most) it holds 4 MB of weights.
 * SmolLM2-135M's shape: 256 tokens in 16 s, and 4 s for their logits, on one x86-64 core (1.7 GMAC/s).
 * @param sequences token ids, each sequence 1..context long
 * @returns per sequence f32[length][hidden], input of the head
 * @throws MgtError `BadInput` (an empty sequence, an id outside of the vocabulary), `BadWeights`
 */
export function floatStates(
  model: DecoderModel,
  sequences: readonly ArrayLike<number>[],
  options: FloatOptions = {},
): Float32Array[] {
  const steps = floatSteps(model, sequences, options);
  for (;;) {
    const { done, value } = steps.next();
    if (done) return value;
  }
}

/** The same, yielding the number of layers done after each. */
export function* floatSteps(
  model: DecoderModel,
  sequences: readonly ArrayLike<number>[],
  options: FloatOptions = {},
): Generator<number, Float32Array[]> {
  const { facts } = model;
  const { hidden, heads, kvHeads, headDim, ffn, layers } = facts;
  const context = checkInteger('context', options.context ?? facts.context, 1, 2 ** 24);
  checkTokens(sequences, facts, context);
  const lengths = sequences.map(({ length }) => length);
  const rows = lengths.reduce((sum, n) => sum + n, 0);
  const longest = Math.max(0, ...lengths);
  const turns = facts.positions === 'rope' ? angles(model, longest, context) : undefined;
  const x = embed(model, sequences, rows);
  const apply = (name: string, from: Float32Array, inputs: number, outputs: number): Float32Array =>
    linear(model, name, from, rows, inputs, outputs);
  for (let i = 0; i < layers; i++) {
    const p = `layers.${i}`;
    let a = norm(model, `${p}.attention.norm`, x);
    options.observe?.(`${p}.attention.norm`, a, hidden);
    const q = apply(`${p}.attention.query`, a, hidden, heads * headDim);
    const k = apply(`${p}.attention.key`, a, hidden, kvHeads * headDim);
    const v = apply(`${p}.attention.value`, a, hidden, kvHeads * headDim);
    const mixed = new Float32Array(rows * heads * headDim);
    for (let s = 0, first = 0; s < lengths.length; first += lengths[s++]!) {
      const n = lengths[s]!;
      if (turns) {
        rotate(q, first, n, heads, headDim, turns);
        rotate(k, first, n, kvHeads, headDim, turns);
      }
      attend(facts, q, k, v, first, n, mixed);
    }
    add(x, apply(`${p}.attention.output`, mixed, heads * headDim, hidden));
    a = norm(model, `${p}.ffn.norm`, x);
    options.observe?.(`${p}.ffn.norm`, a, hidden);
    const up = apply(`${p}.ffn.up`, a, hidden, ffn);
    if (facts.gatedFfn) {
      const gate = apply(`${p}.ffn.gate`, a, hidden, ffn);
      activate(gate, facts.activation);
      for (let j = 0; j < up.length; j++) up[j]! *= gate[j]!;
    } else activate(up, facts.activation);
    options.observe?.(`${p}.ffn.down`, up, ffn);
    add(x, apply(`${p}.ffn.down`, up, ffn, hidden));
    yield i + 1;
  }
  const states = norm(model, 'final.norm', x);
  let at = 0;
  return lengths.map((n) => states.subarray(at, (at += n * hidden)));
}

/**
 * Logits of rows of `floatStates`, f32[rows][vocab]. The whole head is decoded on every call: a few dozen rows at a time
 * keep both that and the result small.
 */
export function floatHead(model: DecoderModel, states: Float32Array): Float32Array {
  const { hidden, vocab, tiedHead } = model.facts;
  return linear(model, tiedHead ? 'embeddings.token' : 'head', states, states.length / hidden, hidden, vocab);
}

/** Logits of every position of one sequence, f32[length][vocab]. */
export function floatLogits(model: DecoderModel, tokens: ArrayLike<number>, options: FloatOptions = {}): Float32Array {
  return floatHead(model, floatStates(model, [tokens], options)[0]!);
}

function checkTokens(sequences: readonly ArrayLike<number>[], { vocab }: DecoderFacts, context: number): void {
  sequences.forEach((tokens, s) => {
    checkInteger(`tokens[${s}].length`, tokens.length, 1, context);
    for (let i = 0; i < tokens.length; i++) checkInteger(`tokens[${s}][${i}]`, tokens[i], 0, vocab - 1);
  });
}

function embed(model: DecoderModel, sequences: readonly ArrayLike<number>[], rows: number): Float32Array {
  const { hidden, positions } = model.facts;
  const x = new Float32Array(rows * hidden);
  let row = 0;
  for (const tokens of sequences) {
    for (let p = 0; p < tokens.length; p++) {
      const to = x.subarray(row * hidden, ++row * hidden);
      to.set(model.rows('embeddings.token', tokens[p]!, tokens[p]! + 1));
      if (positions === 'learned') add(to, model.rows('embeddings.position', p, p + 1));
    }
  }
  return x;
}

function add(x: Float32Array, delta: Float32Array): void {
  for (let i = 0; i < x.length; i++) x[i]! += delta[i]!;
}

/** x f32[rows][inputs] · wᵀ + bias: blocks of w's rows decoded one after the other. */
function linear(
  model: DecoderModel,
  name: string,
  x: Float32Array,
  rows: number,
  inputs: number,
  outputs: number,
): Float32Array {
  const out = new Float32Array(rows * outputs);
  const bias = model.vector(`${name}.bias`) ?? new Float32Array(outputs);
  const most = Math.max(4, BLOCK / inputs - ((BLOCK / inputs) % 4));
  for (let from = 0; from < outputs; from += most) {
    const to = min(outputs, from + most);
    const n = to - from;
    const part = n === outputs ? out : new Float32Array(rows * n);
    matmul(x, rows, inputs, model.rows(name, from, to), n, bias.subarray(from, to), part);
    if (part === out) continue;
    for (let r = 0; r < rows; r++) out.set(part.subarray(r * n, (r + 1) * n), r * outputs + from);
  }
  return out;
}

/** RMSNorm or LayerNorm of every row; the mean is subtracted by LayerNorm only. */
function norm(model: DecoderModel, name: string, x: Float32Array): Float32Array {
  const { hidden, norm: kind, normEps } = model.facts;
  const weight = needVector(model, `${name}.weight`);
  const bias = kind === 'layernorm' ? needVector(model, `${name}.bias`) : undefined;
  const out = new Float32Array(x.length);
  for (let at = 0; at < x.length; at += hidden) {
    let mean = 0;
    if (bias) {
      for (let d = 0; d < hidden; d++) mean += x[at + d]!;
      mean /= hidden;
    }
    let squares = 0;
    for (let d = 0; d < hidden; d++) squares += (x[at + d]! - mean) ** 2;
    const r = 1 / sqrt(squares / hidden + normEps);
    for (let d = 0; d < hidden; d++) out[at + d] = (x[at + d]! - mean) * r * weight[d]! + (bias ? bias[d]! : 0);
  }
  return out;
}

function needVector(model: DecoderModel, name: string): Float32Array {
  const values = model.vector(name);
  if (!values) throw new MgtError('BadFile', name, 'a vector of the model', undefined);
  return values;
}

interface Angles {
  /** f64[rows][headDim / 2] */
  readonly cos: Float64Array;
  readonly sin: Float64Array;
}

function angles(model: DecoderModel, rows: number, context: number): Angles {
  const { headDim, ropeScale, ropeFactors } = model.facts;
  const half = headDim / 2;
  const factors = ropeFactors ? needVector(model, 'rope.factors') : undefined;
  const base = ropeBaseAt(model.facts, context);
  const table = { cos: new Float64Array(rows * half), sin: new Float64Array(rows * half) };
  for (let i = 0; i < half; i++) {
    const frequency = base ** ((-2 * i) / headDim) * (factors ? factors[i]! : 1);
    for (let p = 0; p < rows; p++) {
      table.cos[p * half + i] = cos(p * frequency) * ropeScale;
      table.sin[p * half + i] = sin(p * frequency) * ropeScale;
    }
  }
  return table;
}

/** RoPE's base of a model loaded with `context` tokens: see `DecoderFacts.ropeOriginal`. */
export function ropeBaseAt(facts: DecoderFacts, context: number): number {
  const { ropeBase, ropeDynamic: factor, ropeOriginal, headDim } = facts;
  if (factor === 0 || context <= ropeOriginal) return ropeBase;
  return ropeBase * ((factor * context) / ropeOriginal - (factor - 1)) ** (headDim / (headDim - 2));
}

/** Turns dimension i with i + d / 2 of every head of rows first..first + n − 1, in place. */
function rotate(x: Float32Array, first: number, n: number, heads: number, d: number, turns: Angles): void {
  const half = d / 2;
  for (let p = 0; p < n; p++) {
    for (let h = 0; h < heads; h++) {
      const at = ((first + p) * heads + h) * d;
      for (let i = 0; i < half; i++) {
        const c = turns.cos[p * half + i]!;
        const s = turns.sin[p * half + i]!;
        const a = x[at + i]!;
        const b = x[at + half + i]!;
        x[at + i] = a * c - b * s;
        x[at + half + i] = b * c + a * s;
      }
    }
  }
}

/** Causal softmax attention of one sequence: rows first..first + n − 1; head h reads K and V head h / (heads / kvHeads). */
function attend(
  { heads, kvHeads, headDim: d }: DecoderFacts,
  q: Float32Array,
  k: Float32Array,
  v: Float32Array,
  first: number,
  n: number,
  out: Float32Array,
): void {
  const scale = 1 / sqrt(d);
  const shared = heads / kvHeads;
  const weights = new Float64Array(n);
  const sums = new Float64Array(d);
  for (let h = 0; h < heads; h++) {
    const kv = (h - (h % shared)) / shared;
    for (let i = 0; i < n; i++) {
      const at = ((first + i) * heads + h) * d;
      let max = -Infinity;
      for (let j = 0; j <= i; j++) {
        const key = ((first + j) * kvHeads + kv) * d;
        let dot = 0;
        for (let c = 0; c < d; c++) dot += q[at + c]! * k[key + c]!;
        weights[j] = dot * scale;
        if (weights[j]! > max) max = weights[j]!;
      }
      let total = 0;
      sums.fill(0);
      for (let j = 0; j <= i; j++) {
        const weight = exp(weights[j]! - max);
        const value = ((first + j) * kvHeads + kv) * d;
        total += weight;
        for (let c = 0; c < d; c++) sums[c]! += weight * v[value + c]!;
      }
      for (let c = 0; c < d; c++) out[at + c] = sums[c]! / total;
    }
  }
}
