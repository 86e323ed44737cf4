import type { Arena } from '../arena/arena.js';
import type { ModelConfig, Quant } from '../config.js';
import { KERNELS, type KernelExports, type KernelName } from '../kernels/catalogue.js';
import type { Plan } from '../plan/plan.js';
import { joinRuns, partOf, type Run } from './ring.js';
import { countOf, slotsOf, type Keys, type Rows, type Segment } from './rows.js';
import type { LogitStats } from './exit.js';
import { attendedPairs, type Counts } from './stats.js';
import { locateWeights, type Linear, type NormWeights, type Weights } from './weights.js';

const GEMM = { int8: 'gemmI8', int7: 'gemmI7', int4: 'gemmI4' } as const;
const GEMV = { int8: 'gemvI8', int7: 'gemvI7', int4: 'gemvI4' } as const;
/** Places in the catalogue. */
const ID = Object.fromEntries(KERNELS.map((name, i) => [name, i])) as Record<KernelName, number>;
/** Kernels that run relaxed dot in the relaxed build. */
const RELAXED: readonly KernelName[] = [GEMM.int7, GEMV.int7, GEMM.int4, GEMV.int4];

/**
 * The kernels at work on one model's arena: each method is one operation of the forward pass on named
 * regions, and counts itself. No buffer is made here; `counts` and lists of a few runs are all that is allocated.
 */
export class Runtime {
  readonly config: ModelConfig;
  readonly plan: Plan;
  readonly arena: Arena;
  readonly weights: Weights;
  readonly build: 'plain' | 'relaxed';
  readonly #k: KernelExports;
  /** Calls of each kernel, by its place in the catalogue. */
  readonly #calls = new Uint32Array(KERNELS.length);
  /** Position whose angles each row of the RoPE table holds; none without RoPE. */
  readonly #angles: Uint32Array;
  #pass = 0;
  /** What the linear layers read; `halved` as the buffers hold it, −1 before the first of them. */
  readonly #input = { x: 0, rows: 0, inputs: 0, smooth: 0, halved: -1 };
  /** Where the last attention call found its keys, in slots. */
  #spans: { stored: readonly Run[] | undefined; first: number; count: number; runs: readonly Run[] } = {
    ...{ stored: undefined, first: 0, count: 0, runs: [] },
  };
  /** Multiply-accumulates of the calls before. */
  #before = 0;
  #linear = 0;
  #attention = 0;
  #head = 0;
  #gate = 0;
  #layers = 0;

  constructor(config: ModelConfig, plan: Plan, arena: Arena, kernels: KernelExports, build: 'plain' | 'relaxed') {
    this.config = config;
    this.plan = plan;
    this.arena = arena;
    this.weights = locateWeights(config, plan.weights);
    this.build = build;
    this.#k = kernels;
    this.#angles = Uint32Array.from({ length: config.positions === 'rope' ? plan.context : 0 }, (_, i) => i);
    if (this.#angles.length > 0) this.#turn(0, plan.context, 0);
  }

  /** Grows with each call: the buffers are those of the last one. */
  get pass(): number {
    return this.#pass;
  }

  /** Multiply-accumulates of all calls. */
  get work(): number {
    return this.#before + this.#linear + this.#attention + this.#head + this.#gate;
  }

  /** Starts one call: counts at zero. */
  begin(): void {
    this.#before = this.work;
    this.#pass++;
    this.#calls.fill(0);
    this.#linear = this.#attention = this.#head = this.#gate = this.#layers = 0;
  }

  /** What ran since `begin`. */
  counts(): Counts {
    const relaxedDot = this.build === 'relaxed' ? RELAXED.reduce((sum, name) => sum + this.#calls[ID[name]]!, 0) : 0;
    const kernelCalls: Partial<Record<KernelName, number>> = {};
    for (let i = 0; i < KERNELS.length; i++) if (this.#calls[i]! > 0) kernelCalls[KERNELS[i]!] = this.#calls[i]!;
    return {
      layersExecuted: this.#layers,
      macs: { linear: this.#linear, attention: this.#attention, head: this.#head, gate: this.#gate },
      kernelCalls,
      build: this.build,
      relaxedDot,
    };
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
    this.#layers++;
  }

  /** Address of a row of x, the residual stream. */
  stream(row: number): number {
    return this.plan.at.x + row * this.config.hidden * 4;
  }

  /** x = token rows + learned positions. */
  embed(first: number, rows: number): void {
    const { at } = this.plan;
    const x = this.stream(first);
    this.#count(ID.embed);
    this.#k.embed(at.tokens + 4 * first, rows, this.weights.token.panels, this.config.hidden, x);
    if (this.config.positions === 'learned') {
      this.#count(ID.addRows);
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
    this.#count(ID.cosine);
    this.#gate += 3 * hidden;
    return this.#k.cosine(this.stream(row), this.plan.at.before + place * hidden * 4, hidden);
  }

  /** What the exits judge the `place`-th row of logits by. */
  logitStats(place: number): LogitStats {
    const { vocab } = this.config;
    const { out, score } = this.plan.at;
    this.#count(ID.logitStats);
    this.#k.logitStats(out + place * vocab * 4, vocab, score);
    const { f32 } = this.arena;
    return { sum: f32[score / 4]!, weighted: f32[score / 4 + 1]!, second: f32[score / 4 + 2]! };
  }

  /** Rows of logits that no one reads: what they cost was a question's cost. */
  refuse(rows: number): void {
    const cost = rows * this.config.vocab * this.config.hidden;
    this.#head -= cost;
    this.#gate += cost;
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
      this.#count(ID.layerNorm);
      this.#k.layerNorm(x, rows, hidden, w.weight, w.bias, normEps, out);
    } else {
      this.#count(ID.rmsNorm);
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
    this.#count(ID.quantize);
    this.#k.quantize(x, rows, inputs, smooth, at.q8, at.q16, at.scales, at.sums, halved);
  }

  /** out f32[rows][outputs] from the quantised activations. */
  linear(w: Linear, rows: number, out: number): void {
    this.#linear += rows * w.outputs * w.inputs;
    this.#matmul(w, rows, out);
  }

  /** out f32[rows][vocab] from quantised rows. */
  head(w: Linear, rows: number, out: number): void {
    this.#head += rows * w.outputs * w.inputs;
    this.#matmul(w, rows, out);
  }

  #matmul(w: Linear, rows: number, out: number): void {
    const { q8, q16, scales, sums, panel } = this.plan.at;
    const k = this.#k;
    const { panels, outputs, inputs, quant } = w;
    this.#quantized(quant);
    if (rows === 1) {
      const name = GEMV[quant];
      this.#count(ID[name]);
      k[name](q8, q16, scales, sums, panels, outputs, inputs, out, panel);
    } else {
      const name = GEMM[quant];
      this.#count(ID[name]);
      k[name](q8, q16, scales, sums, panels, rows, outputs, inputs, out, panel);
    }
  }

  add(x: number, y: number, n: number): void {
    this.#count(ID.add);
    this.#k.add(x, y, n);
  }

  mul(x: number, y: number, n: number): void {
    this.#count(ID.mul);
    this.#k.mul(x, y, n);
  }

  activate(x: number, n: number): void {
    const name = this.config.activation === 'gelu_tanh' ? 'geluTanh' : this.config.activation;
    this.#count(ID[name]);
    this.#k[name](x, n);
  }

  /** Turns rows of the pass, which lie at x one after another, by their positions. */
  rope(x: number, rows: readonly Rows[], heads: number): void {
    const { at } = this.plan;
    const { headDim } = this.config;
    for (const { first, count } of rows) {
      this.#count(ID.rope);
      this.#k.rope(x, count, heads, headDim, at.rope, at.positions + 4 * first);
      x += count * heads * headDim * 4;
    }
  }

  /** Writes the rows' K and V where attention will read them. */
  kvAppend(layer: number, rows: readonly Rows[], keys: Keys): void {
    this.#append(this.#read(layer, keys), slotsOf(rows, keys));
  }

  /** Leaves holes there. */
  kvHoles(layer: number, rows: readonly Rows[], keys: Keys): void {
    this.#erase(this.#read(layer, keys), slotsOf(rows, keys));
  }

  /** Writes the rows' K and V where the session keeps them. */
  kvKeep(layer: number, rows: readonly Rows[], keys: Keys): void {
    this.#append(this.#block(layer, keys), slotsOf(rows, { ...keys, scratch: false }));
  }

  /** Moves the K and V of all rows of a pass from scratch to where the session keeps them, if it does. */
  kvMove(layer: number, keys: Keys): void {
    const { at, slots } = this.plan;
    const { kvHeads, headDim } = this.config;
    let row = 0;
    for (const { slot, count } of keys.kept) {
      this.#count(ID.kvCopy);
      this.#k.kvCopy(count, kvHeads, headDim, slots, at.scratchKv, row, this.#block(layer, keys), slot);
      row += count;
    }
  }

  #append(block: number, runs: readonly Run[]): void {
    const { at, slots } = this.plan;
    const { kvHeads, headDim } = this.config;
    const rowBytes = kvHeads * headDim * 4;
    let row = 0;
    for (const { slot, count } of runs) {
      this.#count(ID.kvAppend);
      this.#k.kvAppend(at.k + row * rowBytes, at.v + row * rowBytes, count, kvHeads, headDim, slots, slot, block);
      row += count;
    }
  }

  /** Leaves holes where the session would keep the rows: no later row sees them in this layer. */
  kvErase(layer: number, keys: Keys): void {
    this.#erase(this.#block(layer, keys), keys.kept);
  }

  #erase(block: number, runs: readonly Run[]): void {
    const { kvHeads, headDim } = this.config;
    for (const { slot, count } of runs) {
      this.#count(ID.kvErase);
      this.#k.kvErase(count, kvHeads, headDim, this.plan.slots, slot, block);
    }
  }

  /** memory.fill of a part of the arena: nothing of what stood there stays. */
  clear(at: number, bytes: number): void {
    this.#k.kvFlush(at, bytes);
  }

  #block(layer: number, keys: Keys): number {
    return keys.base + layer * this.plan.session.layerBytes;
  }

  /** Where attention reads the rows of a pass. */
  #read(layer: number, keys: Keys): number {
    return keys.scratch ? this.plan.at.scratchKv : this.#block(layer, keys);
  }

  /** ctx = attention of rows, which lie in q one after another, each segment over the stored keys and its own. */
  attention(layer: number, rows: readonly Rows[], segments: Iterable<Segment>, keys: Keys): void {
    let place = 0;
    for (const run of rows) {
      this.#attend(layer, run, place, segments, keys);
      place += run.count;
    }
  }

  #attend(layer: number, block: Rows, place: number, segments: Iterable<Segment>, keys: Keys): void {
    const { at, slots } = this.plan;
    const { heads, kvHeads, headDim, causal } = this.config;
    const rowBytes = heads * headDim * 4;
    const { window } = keys;
    const behind = place - block.first;
    for (const { first, count, sees = [], extras = keys.extras } of segments) {
      // Rows of the segment that lie in the block. A causal one needs no key behind them; others see the whole segment.
      const from = Math.max(first, block.first);
      const rows = Math.min(first + count, block.first + block.count) - from;
      if (rows <= 0) continue;
      const own = { first, count: causal ? from + rows - first : count };
      const before = countOf(keys.stored) + countOf(sees);
      const queryFirst = before + from - first;
      this.arena.u32.set(extras, at.extras / 4);
      this.#count(ID.attention);
      this.#attention +=
        2 * attendedPairs(rows, queryFirst, before + own.count, causal, window, extras) * heads * headDim;
      this.#k.attention(
        at.q + (from + behind) * rowBytes,
        rows,
        heads,
        kvHeads,
        headDim,
        slots,
        at.spans,
        this.#writeSpans(this.#block(layer, keys), keys, [...sees, own]),
        queryFirst,
        causal ? 1 : 0,
        window,
        at.extras,
        this.#keysBelow(extras, before + own.count),
        at.scratch,
        at.ctx + (from + behind) * rowBytes,
      );
    }
  }

  /** Extra keys that a call has: those ahead of a causal block's last row are none of its keys. */
  #keysBelow(extras: readonly number[], keyCount: number): number {
    let n = extras.length;
    while (n > 0 && extras[n - 1]! >= keyCount) n--;
    return n;
  }

  /** Where a segment's keys lie, in logical order. `rows`: those of the pass. Returns the number of spans. */
  #writeSpans(block: number, { stored, kept, scratch }: Keys, rows: readonly Rows[]): number {
    const { u32 } = this.arena;
    const { spans, scratchKv } = this.plan.at;
    let at = spans / 4;
    const write = (address: number, run: Run): void => {
      u32[at++] = address;
      u32[at++] = run.slot;
      u32[at++] = run.count;
    };
    if (scratch) {
      for (const run of stored) write(block, run);
      for (const { first, count } of rows) write(scratchKv, { slot: first, count });
    } else {
      // The same in every layer.
      const [run] = rows;
      const last = this.#spans;
      if (rows.length > 1 || last.stored !== stored || last.first !== run!.first || last.count !== run!.count) {
        const own = rows.flatMap(({ first, count }) => partOf(kept, first, count));
        this.#spans = {
          stored,
          first: rows.length > 1 ? -1 : run!.first,
          count: run!.count,
          runs: joinRuns([...stored, ...own]),
        };
      }
      for (const run of this.#spans.runs) write(block, run);
    }
    return (at - spans / 4) / 3;
  }

  /** out f32[hidden] = mean of a segment's rows of x, or its first row. */
  pool(segment: Segment, pooling: 'mean' | 'cls', normalize: boolean): void {
    const { at } = this.plan;
    const { hidden } = this.config;
    const x = at.x + segment.first * hidden * 4;
    if (pooling === 'mean') {
      this.#count(ID.poolMean);
      this.#k.poolMean(x, segment.count, hidden, at.out);
    } else {
      this.arena.u8.copyWithin(at.out, x, x + hidden * 4);
    }
    if (normalize) {
      this.#count(ID.l2Normalize);
      this.#k.l2Normalize(at.out, hidden);
    }
  }

  #count(kernel: number): void {
    this.#calls[kernel]!++;
  }
}
