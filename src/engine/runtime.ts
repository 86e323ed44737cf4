import type { Arena } from '../arena/arena.js';
import type { ModelConfig } from '../config.js';
import { kvBlockLayout, type KernelExports, type KernelName } from '../kernels/catalogue.js';
import { advanceKvLayerState, flushKvLayerStates, kvLayerStateBytes } from '../packets/kv.js';
import type { Plan } from '../plan/plan.js';
import { attendedPairs, type Stats } from './stats.js';
import { locateWeights, type Linear, type NormWeights, type Weights } from './weights.js';

/** Rows of one text among the rows of a call: attention never crosses a segment. */
export interface Segment {
  readonly first: number;
  readonly count: number;
}

/**
 * The kernels at work on one model's arena: each method is one operation of the forward pass on named
 * regions, and counts itself. Nothing here allocates but `stats`.
 */
export class Runtime {
  readonly config: ModelConfig;
  readonly plan: Plan;
  readonly arena: Arena;
  readonly weights: Weights;
  readonly build: 'plain' | 'relaxed';
  readonly #k: KernelExports;
  readonly #kv: readonly KvBlock[];
  readonly #calls = new Map<KernelName, number>();
  #linear = 0;
  #attention = 0;
  #head = 0;
  #layers = 0;

  constructor(config: ModelConfig, plan: Plan, arena: Arena, kernels: KernelExports, build: 'plain' | 'relaxed') {
    this.config = config;
    this.plan = plan;
    this.arena = arena;
    this.weights = locateWeights(config, plan.weights);
    this.build = build;
    this.#k = kernels;
    this.#kv = Array.from({ length: config.layers }, (_, layer) => kvBlock(config, plan, layer));
    if (config.positions === 'rope') {
      kernels.ropeTable(plan.at.rope, plan.context, config.headDim, config.ropeBase, 0);
    }
  }

  /** Starts one stateless call: counts at zero, rings empty. */
  begin(): void {
    this.#calls.clear();
    this.#linear = this.#attention = this.#head = this.#layers = 0;
    flushKvLayerStates(this.arena.view, this.plan.at.kvState, this.plan.slots, this.plan.kvLayers);
  }

  stats(): Stats {
    const relaxedDot =
      this.build === 'relaxed' ? (this.#calls.get('gemmI7') ?? 0) + (this.#calls.get('gemvI7') ?? 0) : 0;
    return {
      layersExecuted: this.#layers,
      macs: { linear: this.#linear, attention: this.#attention, head: this.#head, gate: 0 },
      kernelCalls: Object.fromEntries(this.#calls),
      build: this.build,
      relaxedDot,
    };
  }

  layerDone(): void {
    this.#layers++;
  }

  /** x = token rows + learned positions. */
  embed(rows: number): void {
    const { at } = this.plan;
    this.#count('embed');
    this.#k.embed(at.tokens, rows, this.weights.token.panels, this.config.hidden, at.x);
    if (this.config.positions === 'learned') {
      this.#count('addRows');
      this.#k.addRows(at.x, rows, this.config.hidden, this.weights.position, at.positions);
    }
  }

  norm(x: number, rows: number, w: NormWeights, out: number): void {
    const { hidden, norm, normEps } = this.config;
    if (norm === 'layernorm') {
      this.#count('layerNorm');
      this.#k.layerNorm(x, rows, hidden, w.weight, w.bias, normEps, out);
    } else {
      this.#count('rmsNorm');
      this.#k.rmsNorm(x, rows, hidden, w.weight, normEps, out);
    }
  }

  /** Quantises rows × inputs f32 values into the activation buffers the linear layers read. */
  quantize(x: number, rows: number, inputs: number, smooth: number): void {
    const { at } = this.plan;
    this.#count('quantize');
    this.#k.quantize(x, rows, inputs, smooth, at.q8, at.q16, at.scales, at.sums);
  }

  /** out f32[rows][outputs] from the quantised activations. */
  linear(w: Linear, rows: number, out: number): void {
    this.#linear += rows * w.outputs * w.inputs;
    this.#matmul(w, rows, out, this.config.quant === 'int7');
  }

  /** out f32[vocab] from one quantised row. A tied head is the token table, which is always int8. */
  head(w: Linear, out: number): void {
    this.#head += w.outputs * w.inputs;
    this.#matmul(w, 1, out, this.config.quant === 'int7' && !this.config.tiedHead);
  }

  #matmul(w: Linear, rows: number, out: number, int7: boolean): void {
    const { q8, q16, scales, sums, panel } = this.plan.at;
    const k = this.#k;
    const { panels, outputs, inputs } = w;
    if (rows === 1) {
      this.#count(int7 ? 'gemvI7' : 'gemvI8');
      (int7 ? k.gemvI7 : k.gemvI8)(q8, q16, scales, sums, panels, outputs, inputs, out);
    } else {
      this.#count(int7 ? 'gemmI7' : 'gemmI8');
      (int7 ? k.gemmI7 : k.gemmI8)(q8, q16, scales, sums, panels, rows, outputs, inputs, out, panel);
    }
  }

  add(x: number, y: number, n: number): void {
    this.#count('add');
    this.#k.add(x, y, n);
  }

  mul(x: number, y: number, n: number): void {
    this.#count('mul');
    this.#k.mul(x, y, n);
  }

  activate(x: number, n: number): void {
    const name = this.config.activation === 'gelu_tanh' ? 'geluTanh' : this.config.activation;
    this.#count(name);
    this.#k[name](x, n);
  }

  rope(x: number, rows: number, heads: number): void {
    const { at } = this.plan;
    this.#count('rope');
    this.#k.rope(x, rows, heads, this.config.headDim, at.rope, at.positions);
  }

  /** Writes K and V of this call's rows into slots 0..rows-1 of a layer's block, and its KvLayerState. */
  kvAppend(layer: number, rows: number): void {
    const { at, slots } = this.plan;
    const { kvHeads, headDim } = this.config;
    const kv = this.#kv[layer]!;
    this.#count('kvAppend');
    this.#k.kvAppend(at.k, at.v, rows, kvHeads, headDim, slots, 0, kv.block);
    if (this.plan.kvLayers === 1) flushKvLayerStates(this.arena.view, kv.state, slots, 1);
    advanceKvLayerState(this.arena.view, kv.state, slots, rows);
  }

  /** ctx = attention of this call's rows, each segment over its own keys. */
  attention(layer: number, segments: readonly Segment[], window: number): void {
    const { at, slots } = this.plan;
    const { heads, kvHeads, headDim, causal } = this.config;
    const kv = this.#kv[layer]!;
    const rowBytes = heads * headDim * 4;
    for (const { first, count } of segments) {
      this.arena.u32.set([kv.block, first, count], at.spans / 4);
      this.#count('attention');
      this.#attention += 2 * attendedPairs(count, 0, count, causal, window) * heads * headDim;
      this.#k.attention(
        at.q + first * rowBytes,
        count,
        heads,
        kvHeads,
        headDim,
        slots,
        at.spans,
        1,
        0,
        causal ? 1 : 0,
        window,
        0,
        0,
        at.scratch,
        at.ctx + first * rowBytes,
      );
    }
  }

  /** out f32[hidden] = mean of a segment's rows of x, or its first row. */
  pool(segment: Segment, pooling: 'mean' | 'cls', normalize: boolean): void {
    const { at } = this.plan;
    const { hidden } = this.config;
    const x = at.x + segment.first * hidden * 4;
    if (pooling === 'mean') {
      this.#count('poolMean');
      this.#k.poolMean(x, segment.count, hidden, at.out);
    } else {
      this.arena.u8.copyWithin(at.out, x, x + hidden * 4);
    }
    if (normalize) {
      this.#count('l2Normalize');
      this.#k.l2Normalize(at.out, hidden);
    }
  }

  #count(name: KernelName): void {
    this.#calls.set(name, (this.#calls.get(name) ?? 0) + 1);
  }
}

/** Addresses of one layer's KV block and KvLayerState. */
interface KvBlock {
  readonly state: number;
  readonly block: number;
}

/** A decoder's layer has a block of its own; an encoder's layers share one. */
function kvBlock({ kvHeads, headDim }: ModelConfig, { at, slots, kvLayers }: Plan, layer: number): KvBlock {
  const index = kvLayers === 1 ? 0 : layer;
  return {
    state: at.kvState + index * kvLayerStateBytes(slots),
    block: at.kvBlocks + index * kvBlockLayout(kvHeads, slots, headDim).bytes,
  };
}
