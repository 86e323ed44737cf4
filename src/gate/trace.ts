import { checkInteger } from '../check.js';
import type { Witness } from '../packets/witness.js';
import { isIntervention } from './witness.js';

/** Where lambda is going over the witnesses held. */
export type Trend = 'Increasing' | 'Decreasing' | 'Stable';

/** Witnesses held where nothing else is said. */
const USUAL_CAPACITY = 64;
const CAPACITY_MAX = 2 ** 20;
/** Change of mean lambda from the older to the newer half that is a trend. */
const TREND = 0.1;
/** Witnesses below which no trend is told. */
const TREND_LEAST = 4;

/**
 * The last witnesses of a session, and what they say together. Rates, mean and trend are those of the witnesses held;
 * only `calls` reaches back further.
 */
export class Trace {
  readonly capacity: number;
  readonly #ring: Witness[] = [];
  #calls = 0;

  /** @throws MgtError `BadInput` naming `trace.capacity` */
  constructor(capacity: number = USUAL_CAPACITY) {
    this.capacity = checkInteger('trace.capacity', capacity, 1, CAPACITY_MAX);
  }

  /** Records one call, as a copy nobody can change; the oldest is dropped from a full ring. */
  push(witness: Witness): void {
    this.#ring[this.#calls % this.capacity] = Object.freeze({ ...witness });
    this.#calls++;
  }

  /** Witnesses held, 0..capacity. */
  get length(): number {
    return this.#ring.length;
  }

  /** Calls recorded since the start or `clear`. */
  get calls(): number {
    return this.#calls;
  }

  /** The last `n` witnesses held (all by default), oldest first. @throws MgtError `BadInput` naming `trace.n` */
  recent(n: number = this.length): Witness[] {
    const count = Math.min(checkInteger('trace.n', n, 0, Number.MAX_SAFE_INTEGER), this.length);
    return Array.from({ length: count }, (_, i) => this.#ring[(this.#calls - count + i) % this.capacity]!);
  }

  /** Share of the calls that ran whose decision was not Allow; 0 where none ran. */
  get interventionRate(): number {
    const ran = this.#ring.filter(({ tier }) => tier !== 3);
    return share(ran.filter(({ decision }) => isIntervention(decision)).length, ran.length);
  }

  /** Share of the calls that were skips; 0 without calls. */
  get skipRate(): number {
    return share(this.#ring.filter(({ tier }) => tier === 3).length, this.length);
  }

  /** Mean lambda; 0 without calls. */
  get meanLambda(): number {
    return mean(this.#ring);
  }

  /**
   * Mean lambda of the newer half against the older one (of an odd number the middle witness is newer):
   * Increasing or Decreasing beyond a tenth of it. Stable with fewer than four witnesses.
   */
  get trend(): Trend {
    if (this.length < TREND_LEAST) return 'Stable';
    const all = this.recent();
    const older = mean(all.slice(0, all.length >> 1));
    const newer = mean(all.slice(all.length >> 1));
    const change = newer - older;
    if (change > TREND * older) return 'Increasing';
    return -change > TREND * older ? 'Decreasing' : 'Stable';
  }

  /**
   * True where the decision changed more than `changes` times among the last `window` witnesses.
   * @throws MgtError `BadInput` naming `trace.n` or `trace.changes`
   */
  unstable(window: number, changes: number): boolean {
    const limit = checkInteger('trace.changes', changes, 0, Number.MAX_SAFE_INTEGER);
    const last = this.recent(window);
    return last.filter(({ decision }, i) => i > 0 && decision !== last[i - 1]!.decision).length > limit;
  }

  /** Forgets everything. */
  clear(): void {
    this.#ring.length = 0;
    this.#calls = 0;
  }
}

const share = (part: number, whole: number): number => (whole === 0 ? 0 : part / whole);

function mean(witnesses: readonly Witness[]): number {
  let sum = 0;
  for (const { lambda } of witnesses) sum += lambda;
  return share(sum, witnesses.length);
}
