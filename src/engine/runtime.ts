import type { Arena } from '../arena/arena.js';
import type { ModelConfig, Quant } from '../config.js';
import type { KernelExports } from '../kernels/catalogue.js';
import type { Plan } from '../plan/plan.js';
import type { LogitStats } from './exit.js';
import { KeyValues } from './kv.js';
import type { Rows, Segment } from './rows.js';
import type { Counts } from './stats.js';
import { GEMM, GEMV, ID, Tally } from './tally.js';
import { locateWeights, type Linear, type NormWeights, type Weights } from './weights.js';

/**
 * The kernels at work on one model's arena: each method is one operation of the forward pass on named
 * regions, and counts itself. No buffer is made here; `counts` and lists of a few runs are all that is allocated.
 */
export class Runtime {
  readonly config: ModelConfig;
  readonly plan: Plan;
  readonly arena: Arena;
  readonly weights: Weights;
  readonly kv: KeyValues;
  readonly build: 'plain' | 'relaxed';
  readonly #k: KernelExports;
  readonly #tally = new Tally();
  /** Position whose angles each row of the RoPE table holds; none without RoPE. */
  readonly #angles: Uint32Array;
  /** What the linear layers read; `halved` as the buffers hold it, −1 before the first of them. */
  readonly #input = { x: 0, rows: 0, inputs: 0, smooth: 0, halved: -1 };

  constructor(config: ModelConfig, plan: Plan, arena: Arena, kernels: KernelExports, build: 'plain' | 'relaxed') {
    this.config = config;
    this.plan = plan;
    this.arena = arena;
    this.weights = locateWeights(config, plan.weights);
    this.build = build;
    this.#k = kernels;
    this.kv = new KeyValues(config, plan, arena, kernels, this.#tally);
    this.#angles = Uint32Array.from({ length: config.positions === 'rope' ? plan.context : 0 }, (_, i) => i);
    if (this.#angles.length > 0) this.#turn(0, plan.context, 0);
  }

  /** Grows with each call: the buffers are those of the last one. */
  get pass(): number {
    return this.#tally.pass;
  }

  /** Multiply-accumulates of all calls. */
  get work(): number {
    return this.#tally.work;
  }

  /** Starts one call: counts at zero. */
  begin(): void {
    this.#tally.begin();
  }

  /** What ran since `begin`. */
  counts(): Counts {
    return this.#tally.counts(this.build);
  }

  /**
   * Puts a call's rows from `first` on in place: ids, and the table row of each position. Past the context the RoPE table is a ring
   * too: the rows of a call lie less than a context apart, so none takes another's place. What of it has to be made again depends on
   * the calls before, of any session: it is no count of this one, which the same input must give again.
   */
  place(tokens: ArrayLike<number>, positions: ArrayLike<number>, first = 0): void {
    const { at, context } = this.plan;
    const { u32 } = this.arena;
    u32.set(tokens, at.tokens / 4 + first);
    for (let i = 0; i < positions.length; i++) {
      const position = positions[i]!;
      const row = position % context;
      if (this.#angles.length > 0 && this.#angles[row] !== position) {
        this.#turn(row, 1, position);
        this.#angles[row] = position;
      }
      u32[at.positions / 4 + first + i] = row;
    }
  }

  layerDone(): void {
    this.#tally.layers++;
  }

  /** Address of a row of x, the residual stream. */
  stream(row: number): number {
    return this.plan.at.x + row * this.config.hidden * 4;
  }

  /** x = token rows + learned positions. */
  embed(first: number, rows: number): void {
    const { at } = this.plan;
    const x = this.stream(first);
    this.#tally.call(ID.embed);
    this.#k.embed(at.tokens + 4 * first, rows, this.weights.token.panels, this.config.hidden, x);
    if (this.config.positions === 'learned') {
      this.#tally.call(ID.addRows);
      this.#k.addRows(x, rows, this.config.hidden, this.weights.position, at.positions + 4 * first);
    }
  }

  /** Rows of hidden values to another place. */
  copy(from: number, rows: number, to: number): void {
    this.arena.u8.copyWithin(to, from, from + rows * this.config.hidden * 4);
  }

  /** Keeps the stream of a block's rows, for `cosineOf`. */
  keepStream({ first, count }: Rows): void {
    this.copy(this.stream(first), count, this.plan.at.before);
  }

  /** Cosine of a row of x with what was kept of it, the `place`-th of its block. A question's cost: three sums over the row. */
  cosineOf(row: number, place: number): number {
    const { hidden } = this.config;
    this.#tally.call(ID.cosine);
    this.#tally.macs.gate += 3 * hidden;
    return this.#k.cosine(this.stream(row), this.plan.at.before + place * hidden * 4, hidden);
  }

  /** What the exits judge the `place`-th row of logits by. */
  logitStats(place: number): LogitStats {
    const { vocab } = this.config;
    const { out, score } = this.plan.at;
    this.#tally.call(ID.logitStats);
    this.#k.logitStats(out + place * vocab * 4, vocab, score);
    const { f32 } = this.arena;
    return { sum: f32[score / 4]!, weighted: f32[score / 4 + 1]!, second: f32[score / 4 + 2]! };
  }

  /** Rows of logits that no one reads: what they cost was a question's cost. */
  refuse(rows: number): void {
    const cost = rows * this.config.vocab * this.config.hidden;
    this.#tally.macs.head -= cost;
    this.#tally.macs.gate += cost;
  }

  /** Makes rows of the RoPE table, of positions from `position` on. */
  #turn(row: number, rows: number, position: number): void {
    const { headDim, ropeBase, rope } = this.config;
    const { at, context } = this.plan;
    // Dynamic NTK (transformers, modeling_rope_utils.py): the base grows with the context there is room for.
    const beyond = rope && rope.dynamic > 0 && context > rope.original;
    const ntk = beyond ? (rope.dynamic * context) / rope.original - (rope.dynamic - 1) : 1;
    const out = at.rope + row * headDim * 4;
    const { ropeFactors } = this.weights;
    this.#k.ropeTable(out, rows, headDim, ropeBase, position, ropeFactors, rope?.scale ?? 1, ntk);
  }

  norm(x: number, rows: number, w: NormWeights, out: number): void {
    const { hidden, norm, normEps } = this.config;
    if (norm === 'layernorm') {
      this.#tally.call(ID.layerNorm);
      this.#k.layerNorm(x, rows, hidden, w.weight, w.bias, normEps, out);
    } else {
      this.#tally.call(ID.rmsNorm);
      this.#k.rmsNorm(x, rows, hidden, w.weight, normEps, out);
    }
  }

  /**
   * Input of the linear layers that follow: rows × inputs f32 values, quantised into the activation buffers when the first of them runs.
   * They must stay as they are until the last: a layer of another code than the one before takes other scales, so they are quantised again.
   */
  quantize(x: number, rows: number, inputs: number, smooth: number): void {
    this.#input.x = x;
    this.#input.rows = rows;
    this.#input.inputs = inputs;
    this.#input.smooth = smooth;
    this.#input.halved = -1;
  }

  /** int4 layers take a scale for every 32 inputs, the others one for 64. */
  #quantized(quant: Quant): void {
    const halved = quant === 'int4' ? 1 : 0;
    const { x, rows, inputs, smooth } = this.#input;
    if (this.#input.halved === halved) return;
    const { at } = this.plan;
    this.#input.halved = halved;
    this.#tally.call(ID.quantize);
    this.#k.quantize(x, rows, inputs, smooth, at.q8, at.q16, at.scales, at.sums, halved);
  }

  /** out f32[rows][outputs] from the quantised activations. */
  linear(w: Linear, rows: number, out: number): void {
    this.#tally.macs.linear += rows * w.outputs * w.inputs;
    this.#matmul(w, rows, out);
  }

  /** out f32[rows][vocab] from quantised rows. */
  head(w: Linear, rows: number, out: number): void {
    this.#tally.macs.head += rows * w.outputs * w.inputs;
    this.#matmul(w, rows, out);
  }

  #matmul(w: Linear, rows: number, out: number): void {
    const { q8, q16, scales, sums, panel } = this.plan.at;
    const k = this.#k;
    const { panels, outputs, inputs, quant } = w;
    this.#quantized(quant);
    if (rows === 1) {
      const name = GEMV[quant];
      this.#tally.call(ID[name]);
      k[name](q8, q16, scales, sums, panels, outputs, inputs, out, panel);
    } else {
      const name = GEMM[quant];
      this.#tally.call(ID[name]);
      k[name](q8, q16, scales, sums, panels, rows, outputs, inputs, out, panel);
    }
  }

  add(x: number, y: number, n: number): void {
    this.#tally.call(ID.add);
    this.#k.add(x, y, n);
  }

  mul(x: number, y: number, n: number): void {
    this.#tally.call(ID.mul);
    this.#k.mul(x, y, n);
  }

  activate(x: number, n: number): void {
    const name = this.config.activation === 'gelu_tanh' ? 'geluTanh' : this.config.activation;
    this.#tally.call(ID[name]);
    this.#k[name](x, n);
  }

  /** Turns rows of the pass, which lie at x one after another, by their positions. */
  rope(x: number, rows: readonly Rows[], heads: number): void {
    const { at } = this.plan;
    const { headDim } = this.config;
    for (const { first, count } of rows) {
      this.#tally.call(ID.rope);
      this.#k.rope(x, count, heads, headDim, at.rope, at.positions + 4 * first);
      x += count * heads * headDim * 4;
    }
  }

  /** memory.fill of a part of the arena: nothing of what stood there stays. */
  clear(at: number, bytes: number): void {
    this.#k.kvFlush(at, bytes);
  }

  /** out f32[hidden] = mean of a segment's rows of x, or its first row. */
  pool(segment: Segment, pooling: 'mean' | 'cls', normalize: boolean): void {
    const { at } = this.plan;
    const { hidden } = this.config;
    const x = at.x + segment.first * hidden * 4;
    if (pooling === 'mean') {
      this.#tally.call(ID.poolMean);
      this.#k.poolMean(x, segment.count, hidden, at.out);
    } else {
      this.arena.u8.copyWithin(at.out, x, x + hidden * 4);
    }
    if (normalize) {
      this.#tally.call(ID.l2Normalize);
      this.#k.l2Normalize(at.out, hidden);
    }
  }
}
