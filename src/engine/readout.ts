import { isSure, type ExitRule } from './exit.js';
import { logits } from './forward.js';
import { copyFinite } from './output.js';
import type { Rows } from './rows.js';
import type { Runtime } from './runtime.js';

/** Which rows of a pass are read, when they may leave, and where their logits go. */
export interface Reading {
  /** Rows of the pass, from `first` (default 0) on. */
  readonly first?: number | undefined;
  readonly rows: number;
  /** All are read, or the last one. */
  readonly all: boolean;
  /** Layers that run at most. */
  readonly layers: number;
  readonly exit: ExitRule | undefined;
}

/**
 * The logits of a decoder's pass, each row's as soon as it is known: where its exit says yes, else after the last layer. A row that has
 * left takes no part in later layers but as a key (docs/exits.md).
 */
export class Readout {
  /** Layers run by each row that is read; of one that has not left yet, all. */
  readonly layers: number[];
  /** Rows that go on, and those of them that are to be read. */
  left: number;
  unread: number;
  readonly #rt: Runtime;
  readonly #reading: Reading;
  readonly #values: Float32Array;
  readonly #base: number;
  readonly #end: number;
  /** First row that is read. */
  readonly #first: number;
  /** u8[rows]: 1 for a row that has left; none where no row may. */
  readonly #gone: Uint8Array | undefined;

  /** @param values f32[rows read][vocab] */
  constructor(rt: Runtime, reading: Reading, values: Float32Array) {
    const { first = 0, rows, all, layers, exit } = reading;
    this.#rt = rt;
    this.#reading = reading;
    this.#values = values;
    this.#base = first;
    this.#end = first + rows;
    this.#first = all ? first : this.#end - 1;
    this.#gone = exit && new Uint8Array(rows);
    this.left = rows;
    this.unread = this.#end - this.#first;
    this.layers = new Array<number>(this.#end - this.#first).fill(layers);
  }

  /** Those of some rows that go on. */
  going(rows: Rows): readonly Rows[] {
    return this.left === this.#reading.rows ? [rows] : this.#runs(rows, 0);
  }

  /** Those of some rows that have left. */
  gone(rows: Rows): readonly Rows[] {
    return this.left === this.#reading.rows ? [] : this.#runs(rows, 1);
  }

  #runs({ first, count }: Rows, state: 0 | 1): Rows[] {
    const runs: { first: number; count: number }[] = [];
    for (let row = first; row < first + count; row++) {
      if (this.#gone![row - this.#base] !== state) continue;
      const last = runs.at(-1);
      if (last && last.first + last.count === row) last.count++;
      else runs.push({ first: row, count: 1 });
    }
    return runs;
  }

  /** Rows that are asked when they have run so many layers. */
  #asked({ first, count }: Rows, ran: number): readonly Rows[] {
    const { exit, layers } = this.#reading;
    if (!exit || ran >= layers || first + count <= this.#first || !exit.layers.includes(ran)) return [];
    const from = Math.max(first, this.#first);
    return this.going({ first: from, count: first + count - from });
  }

  /** Before a block's rows run their `ran`-th layer. */
  before(block: Rows, ran: number): void {
    if (this.#reading.exit?.score === 'saturation' && this.#asked(block, ran).length > 0) this.#rt.keepStream(block);
  }

  /** Asks those rows of a block that have just run their `ran`-th layer, and lets go who is sure. */
  ask(block: Rows, ran: number): void {
    const asked = this.#asked(block, ran);
    if (asked.length === 0) return;
    const exit = this.#reading.exit!;
    if (exit.score === 'saturation') {
      const still = eachOf(asked, (row) => this.#rt.cosineOf(row, row - block.first) >= exit.threshold);
      return this.#read(still, ran, () => true);
    }
    const { vocab } = this.#rt.config;
    this.#read(asked, ran, (row) => isSure(exit, this.#rt.logitStats(row), vocab));
  }

  /** Reads the rows that have not left, after all layers. */
  rest(): void {
    const rest = this.going({ first: this.#first, count: this.#end - this.#first });
    this.#read(rest, this.#reading.layers, () => true);
  }

  /** Logits of rows, a few at a time; those of rows that leave are the output. `leaves` is given the place among these few. */
  #read(runs: readonly Rows[], ran: number, leaves: (place: number) => boolean): void {
    const { headRows, at } = this.#rt.plan;
    const { vocab } = this.#rt.config;
    for (const few of inParts(runs, headRows)) {
      logits(this.#rt, few);
      let place = 0;
      let refused = 0;
      for (const { first, count } of few) {
        for (let row = first; row < first + count; row++, place++) {
          if (!leaves(place)) {
            refused++;
            continue;
          }
          const to = row - this.#first;
          const values = this.#values.subarray(to * vocab);
          copyFinite(this.#rt.arena.f32, at.out / 4 + place * vocab, values, vocab);
          this.layers[to] = ran;
          if (this.#gone) this.#gone[row - this.#base] = 1;
          this.left--;
          this.unread--;
        }
      }
      this.#rt.refuse(refused);
    }
  }
}

/** The rows of which something holds, as runs. */
function eachOf(runs: readonly Rows[], holds: (row: number) => boolean): Rows[] {
  return runs.flatMap(({ first, count }) =>
    Array.from({ length: count }, (_, i) => first + i)
      .filter(holds)
      .map((row) => ({ first: row, count: 1 })),
  );
}

/** Runs cut into parts of at most `most` rows together. */
function* inParts(runs: readonly Rows[], most: number): Generator<readonly Rows[]> {
  let part: Rows[] = [];
  let room = most;
  for (let { first, count } of runs) {
    while (count > 0) {
      const fit = Math.min(count, room);
      part.push({ first, count: fit });
      first += fit;
      count -= fit;
      room -= fit;
      if (room > 0) continue;
      yield part;
      [part, room] = [[], most];
    }
  }
  if (part.length > 0) yield part;
}
