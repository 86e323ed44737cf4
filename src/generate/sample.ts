import { checkInteger } from '../check.js';
import { MgtError } from '../errors.js';
import { exp } from './exp.js';

/** How a token is chosen from logits. Every option's default changes nothing. */
export interface SampleOptions {
  /** Divides the logits. 0, the default, is greedy: the largest logit, of equal ones the lowest id. */
  readonly temperature?: number | undefined;
  /** Only the k most likely tokens; 0: all. */
  readonly topK?: number | undefined;
  /** Only the fewest most likely tokens that together reach this share of the probability; 1: all. One token at least. */
  readonly topP?: number | undefined;
  /** Only tokens at least this many times as likely as the likeliest, 0..1; 0: all. */
  readonly minP?: number | undefined;
  /** Logits of tokens in the context are divided by it where positive, else multiplied (CTRL, Keskar et al. 2019); 1: none. */
  readonly repetitionPenalty?: number | undefined;
  /** Token id to a number added to its logit; −Infinity rules the token out. */
  readonly logitBias?: ReadonlyMap<number, number> | Readonly<Record<string, number>> | undefined;
}

/** The keys of SampleOptions, for a door that takes other options beside them. */
export const SAMPLE_KEYS = ['temperature', 'topK', 'topP', 'minP', 'repetitionPenalty', 'logitBias'] as const;

/** A finite number in min..max, else BadInput. */
function checkNumber(field: string, value: unknown, min: number, max: number, expected: string): number {
  if (typeof value === 'number' && value >= min && value <= max) return value;
  throw new MgtError('BadInput', field, expected, value);
}

/**
 * Chooses tokens from logits, in this order: repetition penalty, logit bias, temperature, top-k, min-p, top-p, draw.
 * All in f64 with + − × ÷ only: the same token on every engine for the same logits, history and random number.
 * Candidates stand by descending score, of equal ones the lowest id first, once top-k or top-p has ordered them, else by
 * id; sums run in that order.
 */
export class Sampler {
  readonly #vocab: number;
  readonly #temperature: number;
  readonly #topK: number;
  readonly #topP: number;
  readonly #minP: number;
  readonly #penalty: number;
  readonly #bias: readonly (readonly [id: number, bias: number])[];
  readonly #scores: Float64Array; // [vocab], by id
  readonly #weights: Float64Array; // [vocab], by id: probabilities, the likeliest one's counting 1
  readonly #order: Int32Array; // [vocab]: ids of the candidates

  /**
   * @param vocab number of logits
   * @param o options; other keys than SAMPLE_KEYS are not looked at
   * @throws MgtError `BadInput` naming the option
   */
  constructor(vocab: number, o: SampleOptions = {}) {
    this.#vocab = checkInteger('vocab', vocab, 1, 2 ** 31 - 1);
    this.#temperature = checkNumber('temperature', o.temperature ?? 0, 0, Number.MAX_VALUE, 'a number, 0 or more');
    this.#topK = checkInteger('topK', o.topK ?? 0, 0, 2 ** 31 - 1);
    this.#topP = checkNumber('topP', o.topP ?? 1, 0, 1, 'a number in 0..1');
    this.#minP = checkNumber('minP', o.minP ?? 0, 0, 1, 'a number in 0..1');
    this.#penalty = checkNumber(
      'repetitionPenalty',
      o.repetitionPenalty ?? 1,
      Number.MIN_VALUE,
      Number.MAX_VALUE,
      'a number above 0',
    );
    this.#bias = checkBias(o.logitBias, vocab);
    const sampled = this.#temperature > 0 ? vocab : 0;
    this.#scores = new Float64Array(vocab);
    this.#weights = new Float64Array(sampled);
    this.#order = new Int32Array(sampled);
  }

  /**
   * @param logits f32[vocab]
   * @param history ids of the tokens in the context, in any order
   * @param random uniform in [0, 1); called once, and not at all where greedy
   * @returns the id of the chosen token
   * @throws MgtError `BadInput`: logits of another length, with NaN, or without a largest one; a random number outside
   */
  pick(logits: Float32Array, history: ArrayLike<number>, random: () => number): number {
    const scores = this.#score(logits, history);
    let best = -1;
    let max = -Infinity;
    for (let id = 0; id < scores.length; id++) {
      const score = scores[id]!;
      if (score <= max) continue;
      if (Number.isNaN(score)) throw new MgtError('BadInput', `logits[${id}]`, 'a number', score);
      best = id;
      max = score;
    }
    if (best < 0 || max === Infinity) throw new MgtError('BadInput', 'logits', 'a largest one that is finite', max);
    if (this.#temperature === 0) return best;
    const u = random();
    if (!(u >= 0 && u < 1)) throw new MgtError('BadInput', 'random', 'a number in [0, 1)', u);
    return this.#draw(u, this.#topMass(this.#weigh(this.#topScores(), max)));
  }

  /** True where top-k orders the candidates. */
  get #isSorted(): boolean {
    return this.#topK > 0 && this.#topK < this.#vocab;
  }

  #score(logits: Float32Array, history: ArrayLike<number>): Float64Array {
    if (logits.length !== this.#vocab) throw new MgtError('BadInput', 'logits', `${this.#vocab}`, logits.length);
    const scores = this.#scores;
    scores.set(logits);
    if (this.#penalty !== 1) {
      // From the logit, not the score: once, however often a token stands there. An id past the end writes nothing.
      for (let i = 0; i < history.length; i++) {
        const logit = logits[history[i]!]!;
        scores[history[i]!] = logit < 0 ? logit * this.#penalty : logit / this.#penalty;
      }
    }
    for (const [id, bias] of this.#bias) scores[id] = scores[id]! + bias;
    return scores;
  }

  /** Top-k: sets the candidates and returns their number. One comparison for most tokens: a heap holds the k best so far, the worst on top. */
  #topScores(): number {
    const [scores, order, vocab] = [this.#scores, this.#order, this.#vocab];
    const k = this.#isSorted ? this.#topK : vocab;
    for (let id = 0; id < k; id++) order[id] = id;
    if (k === vocab) return k;
    const worse = (a: number, b: number): boolean => scores[a]! < scores[b]! || (scores[a]! === scores[b]! && a > b);
    const sift = (from: number): void => {
      const id = order[from]!;
      let at = from;
      for (let child = 2 * at + 1; child < k; child = 2 * at + 1) {
        if (child + 1 < k && worse(order[child + 1]!, order[child]!)) child++;
        if (!worse(order[child]!, id)) break;
        order[at] = order[child]!;
        at = child;
      }
      order[at] = id;
    };
    for (let i = k >> 1; i-- > 0;) sift(i);
    let least = scores[order[0]!]!;
    for (let id = k; id < vocab; id++) {
      if (scores[id]! <= least) continue;
      order[0] = id;
      sift(0);
      least = scores[order[0]]!;
    }
    this.#sort(k);
    return k;
  }

  /** Temperature and min-p: weights of the candidates, and how many stay. */
  #weigh(count: number, max: number): number {
    return this.#keep(count, this.#minP, (id) => {
      return (this.#weights[id] = exp((this.#scores[id]! - max) / this.#temperature));
    });
  }

  /** Top-p: how many candidates stay. */
  #topMass(count: number): number {
    if (this.#topP === 1) return count;
    const [weights, order] = [this.#weights, this.#order];
    const total = this.#sum(count);
    let left = count;
    if (!this.#isSorted) {
      // Tokens lighter than this make up less than half of what top-p leaves out, so they need no sorting.
      left = this.#keep(count, (total * (1 - this.#topP)) / (2 * count), (id) => weights[id]!);
      this.#sort(left);
    }
    let [kept, mass] = [0, 0];
    do mass += weights[order[kept++]!]!;
    while (mass < total * this.#topP && kept < left);
    return kept;
  }

  /** The candidate in whose share of the weights u falls. */
  #draw(u: number, count: number): number {
    const target = u * this.#sum(count); // below the sum even when rounded, as u ≤ 1 − 2^−53
    let [i, reached] = [-1, 0];
    do reached += this.#weights[this.#order[++i]!]!;
    while (reached <= target);
    return this.#order[i]!;
  }

  #sum(count: number): number {
    let sum = 0;
    for (let i = 0; i < count; i++) sum += this.#weights[this.#order[i]!]!;
    return sum;
  }

  /** Keeps candidates of at least this weight, in their order, and none of weight 0; returns their number. */
  #keep(count: number, least: number, weightOf: (id: number) => number): number {
    const order = this.#order;
    let kept = 0;
    for (let i = 0; i < count; i++) {
      const id = order[i]!;
      const weight = weightOf(id);
      if (weight >= least && weight > 0) order[kept++] = id;
    }
    return kept;
  }

  #sort(count: number): void {
    const scores = this.#scores;
    this.#order.subarray(0, count).sort((a, b) => scores[b]! - scores[a]! || a - b);
  }
}

function checkBias(bias: unknown, vocab: number): [number, number][] {
  if (bias === undefined) return [];
  if (typeof bias !== 'object' || bias === null || Array.isArray(bias)) {
    throw new MgtError('BadInput', 'logitBias', 'an object of token id to number', bias);
  }
  const entries: [unknown, unknown][] = bias instanceof Map ? [...bias] : Object.entries(bias);
  const checked = entries.map(([key, value]): [number, number] => {
    const id = typeof key === 'string' && /^\d+$/.test(key) ? Number(key) : key;
    if (!Number.isInteger(id) || (id as number) < 0 || (id as number) >= vocab) {
      throw new MgtError('BadInput', 'logitBias', `token ids in 0..${vocab - 1}`, key);
    }
    const range = 'a finite number or -Infinity';
    return [id as number, checkNumber(`logitBias[${id}]`, value, -Infinity, Number.MAX_VALUE, range)];
  });
  if (checked.filter(([, value]) => value === -Infinity).length >= vocab) {
    throw new MgtError('BadInput', 'logitBias', 'a token that may be chosen', 'none');
  }
  return checked;
}
