import type { Call } from './call.js';
import type { ExitRule } from './exit.js';
import { begin, logits, through } from './forward.js';
import { copyFinite } from './output.js';
import { Readout } from './readout.js';
import type { Keys } from './rows.js';
import type { Runtime } from './runtime.js';
import { sumOf, type Counts, type Macs } from './stats.js';

/** How a generation guesses what it will choose. */
export interface Guess {
  /** When an early layer's token is taken for the one to come. */
  readonly rule: ExitRule;
  /** Steps that can still follow, the present one included. */
  room(): number;
  /** Called before each block of guesses: no number that is drawn for a guess is used up. */
  begin(): void;
  /** What these logits would be followed by after the guesses before; `undefined` where nothing more is to be run. */
  next(logits: Float32Array, guessed: readonly number[]): number | undefined;
}

/** What drafting and verification took, of all steps run ahead, those too in which nothing was guessed; and what they gave. */
export interface VerifyStats {
  /** Passes in which several tokens were verified together. */
  blocks: number;
  /** Tokens guessed by early layers, and those of them that full depth chose too. */
  drafted: number;
  accepted: number;
  /** Layers that tokens of blocks ran alone. */
  draftLayers: number;
  /** Multiply-accumulates of all kinds: of tokens alone in their layers, guessing; and of the rest, a block's tokens together. */
  draftMacs: number;
  verifyMacs: number;
}

interface Row {
  readonly token: number;
  readonly position: number;
  readonly counts: Counts;
}

/** Rows after the first have been paid for with it. */
const NO_MACS: Macs = { linear: 0, attention: 0, head: 0, gate: 0 };

/**
 * Steps of a generation that are run before it is known that they come (draft and verify: Elhoushi et al. 2024, LayerSkip, section 4.3).
 * A token runs its early layers alone; where their logits are sure enough, the token they stand for is taken for the next one and does
 * the same. All together then go through the rest of the layers, which gives each the logits of full depth: rows do not feel each
 * other but through K and V, and these are of the same tokens. A row becomes a step of the session only when its token has been chosen.
 */
export class RunAhead {
  readonly stats: VerifyStats = { blocks: 0, drafted: 0, accepted: 0, draftLayers: 0, draftMacs: 0, verifyMacs: 0 };
  readonly #guess: Guess;
  /** f32[headRows][vocab]: logits of the rows. */
  readonly #values: Float32Array;
  /** f32[vocab]: logits of a guess. */
  readonly #early: Float32Array;
  #rows: readonly Row[] = [];
  #next = 0;

  constructor({ config, plan }: Runtime, guess: Guess) {
    this.#guess = guess;
    this.#values = new Float32Array(plan.headRows * config.vocab);
    this.#early = new Float32Array(config.vocab);
  }

  /** Rows that a block may have now; fewer than two are not worth one. */
  most(rt: Runtime, free: number): number {
    return Math.min(rt.plan.headRows, free, this.#guess.room());
  }

  /** Is this the row that comes next? */
  has(token: number, position: number): boolean {
    const row = this.#rows[this.#next];
    return row?.token === token && row.position === position;
  }

  /** Forgets the rows: their tokens will not come. */
  drop(): void {
    this.#rows = [];
    this.#next = 0;
  }

  /**
   * The next row's logits, into `out`, and what it took: the first of a block all of it, the others nothing more.
   * @throws MgtError `BadWeights` where they are not finite
   */
  take(out: Float32Array): Counts {
    const { length: size } = this.#early;
    copyFinite(this.#values, this.#next * size, out, size);
    if (this.#next > 0) this.stats.accepted++;
    return this.#rows[this.#next++]!.counts;
  }

  /**
   * Runs a call of one token and what may follow it. Nothing changes but buffers, and slots behind the session's tokens.
   * @param keys with slots for `most` rows
   */
  *run(rt: Runtime, { tokens: [token], positions: [position] }: Call, keys: Keys, most: number): Generator<void> {
    const { config, plan, arena } = rt;
    const guess = this.#guess;
    const tokens = [token!];
    const segments = [{ first: 0, count: most }];
    const common = {
      segments,
      firstLayer: 0,
      layers: config.layers,
      keys,
      fill: 'propagate',
    } as const;
    this.drop();
    rt.begin();
    guess.begin();

    // Alone: the first row asks at every layer of the rule. Where it is sure the others ask too, and only there.
    let depth = 0;
    for (;;) {
      const first = tokens.length - 1;
      const asks = depth > 0 ? [depth] : guess.rule.layers;
      // The last row has no one to guess for.
      const exit = tokens.length < most ? { ...guess.rule, layers: asks } : undefined;
      const readout = new Readout(rt, { first, rows: 1, all: false, layers: config.layers, exit }, this.#early);
      rt.place([tokens[first]!], [position! + first], first);
      begin(rt, { first, count: 1 });
      let ran = 0;
      for (const layer of asks) {
        if (readout.left === 0) break;
        yield* through(rt, { ...common, first, count: 1, readout }, ran, layer);
        ran = layer;
      }
      depth = ran;
      const guessed = readout.left === 0 ? guess.next(this.#early, tokens.slice(1)) : undefined;
      if (guessed === undefined) break;
      tokens.push(guessed);
    }
    const alone = sumOf(rt.counts().macs);

    const rows = { first: 0, count: tokens.length };
    yield* through(rt, { ...common, ...rows }, depth, config.layers);
    logits(rt, [rows]);
    const values = arena.f32.subarray(plan.at.out / 4, plan.at.out / 4 + rows.count * config.vocab);
    this.#values.set(values);

    const counts = { ...rt.counts(), layersExecuted: config.layers };
    this.#rows = tokens.map((id, i) => ({
      ...{ token: id, position: position! + i },
      counts: i === 0 ? counts : { ...counts, macs: NO_MACS, kernelCalls: {}, relaxedDot: 0 },
    }));
    const { stats } = this;
    if (rows.count > 1) stats.blocks++;
    stats.drafted += rows.count - 1;
    stats.draftLayers += rows.count > 1 ? rows.count * depth : 0;
    stats.draftMacs += alone;
    stats.verifyMacs += sumOf(counts.macs) - alone;
  }
}
