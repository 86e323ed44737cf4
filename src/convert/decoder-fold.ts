import type { DecoderModel } from './decoder.js';
import { floatSteps } from './decoder-float.js';
import { quarterPower } from './smooth.js';

/** Bound once, as in erf.ts. */
const { abs, log2, max: largest, round } = Math;

/** Share of the activations in a channel's factor, the weights have the rest: see docs/decisions/0009-decoder-folding.md. */
const ALPHA = { norm: 0.5, down: 0.3 };
/** A channel that calibration hardly woke, or weights hardly read, counts as this share of the largest. */
const FLOOR = 1e-3;
/** Calibration stops at the sequence that reaches so many tokens: more of them gained nothing. */
const ENOUGH_TOKENS = 160;
/** Floats of a matrix held at a time: 4 MB. */
const BLOCK = 2 ** 20;

/** Multipliers of a matrix's rows and columns, or of a vector's values (rows). */
interface Factors {
  rows?: Float32Array;
  columns?: Float32Array;
}

/**
 * The same function in weights that int8 holds better. A linear layer's inputs are divided by a factor per channel and its
 * columns multiplied by it (SmoothQuant, Xiao et al. 2023, eq. 4); the division costs nothing, since it goes into the norm before
 * it, or into the rows of `ffn.up` for `ffn.down` of a gated layer. Floats differ by their rounding only, and there are no grids.
 * Cost: the float model on 160 tokens, and one more reading of the weights. Yields layers done, as `floatSteps`.
 * @param sequences token ids to calibrate by, the first of them
 * @throws MgtError as `floatStates`
 */
export function* foldSteps(
  model: DecoderModel,
  sequences: readonly ArrayLike<number>[],
): Generator<number, DecoderModel> {
  const seen = new Map<string, Float32Array>();
  let tokens = 0;
  const few = sequences.filter(({ length }) => (tokens += length) - length < ENOUGH_TOKENS);
  const steps = floatSteps(model, few, {
    context: largest(1, ...few.map(({ length }) => length)),
    observe(site, x, width) {
      const into = seen.get(site) ?? new Float32Array(width);
      seen.set(site, into);
      for (let i = 0; i < x.length; i++) into[i % width] = largest(into[i % width]!, abs(x[i]!));
    },
  });
  for (let step = steps.next(); !step.done; step = steps.next()) yield step.value;
  const factors = new Map<string, Factors>();
  for (let i = 0; i < model.facts.layers; i++) foldLayer(model, `layers.${i}`, seen, factors);
  return folded(model, factors);
}

function foldLayer(
  model: DecoderModel,
  layer: string,
  seen: ReadonlyMap<string, Float32Array>,
  factors: Map<string, Factors>,
): void {
  const choose = (site: string, readers: [string, number][], inputs: number, alpha: number): Float32Array =>
    channelFactors(seen.get(site)!, columnMaxima(model, readers, inputs), alpha);
  const { gatedFfn, hidden, ffn, heads, kvHeads, headDim } = model.facts;
  const set = (name: string, of: Factors): unknown => factors.set(name, { ...factors.get(name), ...of });
  const kv = kvHeads * headDim;
  const sites: [norm: string, readers: [name: string, outputs: number][]][] = [
    ['attention', [['query', heads * headDim], ['key', kv], ['value', kv]]], // prettier-ignore
    ['ffn', [['up', ffn], ...(gatedFfn ? [['gate', ffn] as [string, number]] : [])]],
  ];
  for (const [part, readers] of sites) {
    const norm = `${layer}.${part}.norm`;
    const names = readers.map(([name, outputs]): [string, number] => [`${layer}.${part}.${name}`, outputs]);
    const columns = choose(norm, names, hidden, ALPHA.norm);
    const rows = columns.map((f) => 1 / f);
    for (const vector of ['weight', 'bias']) set(`${norm}.${vector}`, { rows });
    for (const [name] of names) set(name, { columns });
  }
  if (!gatedFfn) return;
  const down = `${layer}.ffn.down`;
  const columns = choose(down, [[down, hidden]], ffn, ALPHA.down);
  const rows = columns.map((f) => 1 / f);
  set(down, { columns });
  for (const name of ['ffn.up', 'ffn.up.bias']) set(`${layer}.${name}`, { rows });
}

/** max|W| of every input over all outputs of the matrices. */
function columnMaxima(
  model: DecoderModel,
  matrices: readonly (readonly [name: string, outputs: number])[],
  inputs: number,
): Float32Array {
  const found = new Float32Array(inputs);
  const most = largest(1, BLOCK / inputs - ((BLOCK / inputs) % 1));
  for (const [name, outputs] of matrices) {
    for (let from = 0; from < outputs; from += most) {
      const values = model.rows(name, from, from + most < outputs ? from + most : outputs);
      for (let i = 0; i < values.length; i++) found[i % inputs] = largest(found[i % inputs]!, abs(values[i]!));
    }
  }
  return found;
}

/** a^α / w^(1−α) over its mean, in steps of 2^¼: finer ones gain nothing, and follow the last bits of the calibration. */
function channelFactors(activations: Float32Array, weights: Float32Array, alpha: number): Float32Array {
  const w = floored(weights);
  const logs = Float64Array.from(floored(activations), (a, c) => alpha * log2(a) - (1 - alpha) * log2(w[c]!));
  const mean = logs.reduce((sum, x) => sum + x, 0) / logs.length;
  return Float32Array.from(logs, (x) => quarterPower(round(4 * (x - mean))));
}

function floored(values: Float32Array): Float32Array {
  const top = values.reduce((a, b) => largest(a, b), 0);
  return values.map((value) => (top > 0 ? largest(value, top * FLOOR) : 1));
}

function folded(
  { facts, rows: read, vector, close }: DecoderModel,
  factors: ReadonlyMap<string, Factors>,
): DecoderModel {
  return {
    facts,
    rows(name, from, to) {
      const { rows, columns } = factors.get(name) ?? {};
      const values = read(name, from, to);
      if (!rows && !columns) return values;
      const width = values.length / (to - from);
      return values.map((v, i) => v * (columns?.[i % width] ?? 1) * (rows?.[from + (i - (i % width)) / width] ?? 1));
    },
    vector(name) {
      const { rows } = factors.get(name) ?? {};
      const values = vector(name);
      return rows && values ? values.map((v, i) => v * rows[i]!) : values;
    },
    ...(close ? { close } : {}),
  };
}
