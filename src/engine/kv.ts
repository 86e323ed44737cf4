import type { Arena } from '../arena/arena.js';
import type { ModelConfig } from '../config.js';
import type { KernelExports } from '../kernels/catalogue.js';
import type { Plan } from '../plan/plan.js';
import { joinRuns, partOf, type Run } from './ring.js';
import { countOf, slotsOf, type Keys, type Rows, type Segment } from './rows.js';
import { attendedPairs } from './stats.js';
import { ID, type Tally } from './tally.js';

/** The KV cache at work: where a pass writes its keys and values, and attention over them. */
export class KeyValues {
  readonly #config: ModelConfig;
  readonly #plan: Plan;
  readonly #arena: Arena;
  readonly #k: KernelExports;
  readonly #tally: Tally;
  /** Where the last attention call found its keys, in slots. */
  #spans: { stored: readonly Run[] | undefined; first: number; count: number; runs: readonly Run[] } = {
    ...{ stored: undefined, first: 0, count: 0, runs: [] },
  };

  constructor(config: ModelConfig, plan: Plan, arena: Arena, kernels: KernelExports, tally: Tally) {
    this.#config = config;
    this.#plan = plan;
    this.#arena = arena;
    this.#k = kernels;
    this.#tally = tally;
  }

  /** Writes the rows' K and V where attention will read them. */
  append(layer: number, rows: readonly Rows[], keys: Keys): void {
    this.#write(this.#read(layer, keys), slotsOf(rows, keys));
  }

  /** Leaves holes there. */
  holes(layer: number, rows: readonly Rows[], keys: Keys): void {
    this.#erase(this.#read(layer, keys), slotsOf(rows, keys));
  }

  /** Writes the rows' K and V where the session keeps them. */
  keep(layer: number, rows: readonly Rows[], keys: Keys): void {
    this.#write(this.#block(layer, keys), slotsOf(rows, { ...keys, scratch: false }));
  }

  /** Moves the K and V of all rows of a pass from scratch to where the session keeps them, if it does. */
  move(layer: number, keys: Keys): void {
    const { at, slots } = this.#plan;
    const { kvHeads, headDim } = this.#config;
    let row = 0;
    for (const { slot, count } of keys.kept) {
      this.#tally.call(ID.kvCopy);
      this.#k.kvCopy(count, kvHeads, headDim, slots, at.scratchKv, row, this.#block(layer, keys), slot);
      row += count;
    }
  }

  #write(block: number, runs: readonly Run[]): void {
    const { at, slots } = this.#plan;
    const { kvHeads, headDim } = this.#config;
    const rowBytes = kvHeads * headDim * 4;
    let row = 0;
    for (const { slot, count } of runs) {
      this.#tally.call(ID.kvAppend);
      this.#k.kvAppend(at.k + row * rowBytes, at.v + row * rowBytes, count, kvHeads, headDim, slots, slot, block);
      row += count;
    }
  }

  /** Leaves holes where the session would keep the rows: no later row sees them in this layer. */
  erase(layer: number, keys: Keys): void {
    this.#erase(this.#block(layer, keys), keys.kept);
  }

  #erase(block: number, runs: readonly Run[]): void {
    const { kvHeads, headDim } = this.#config;
    for (const { slot, count } of runs) {
      this.#tally.call(ID.kvErase);
      this.#k.kvErase(count, kvHeads, headDim, this.#plan.slots, slot, block);
    }
  }

  #block(layer: number, keys: Keys): number {
    return keys.base + layer * this.#plan.session.layerBytes;
  }

  /** Where attention reads the rows of a pass. */
  #read(layer: number, keys: Keys): number {
    return keys.scratch ? this.#plan.at.scratchKv : this.#block(layer, keys);
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
    const { at, slots } = this.#plan;
    const { heads, kvHeads, headDim, causal } = this.#config;
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
      this.#arena.u32.set(extras, at.extras / 4);
      this.#tally.call(ID.attention);
      this.#tally.macs.attention +=
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
    const { u32 } = this.#arena;
    const { spans, scratchKv } = this.#plan.at;
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
}
