import type { SourceTokenizer } from './source-tokenizer.js';
import { Random } from '../random.js';
import { ACCURACY_TEXTS, CALIBRATION_TEXTS } from './texts.js';

/** Token ids the converter runs, one list per sequence. */
export interface Inputs {
  readonly kind: 'texts' | 'random ids';
  readonly calibration: readonly number[][];
  /** At least `LEAST` sequences; none of them was seen in calibration. */
  readonly accuracy: readonly number[][];
}

/** Longest random sequence in tokens. */
const RANDOM_LENGTH = 64;
const RANDOM_COUNT = 40;
/** Fewest sequences that a loss is measured on. */
const LEAST = 32;
/** Seeds of the two random sets. */
const SEEDS = { calibration: 0x0ca11b, accuracy: 0xacc11 };

interface Sizes {
  readonly vocab: number;
  readonly context: number;
}

/** Texts where there is a tokenizer that has tokens for them, else seeded random ids of mixed lengths. */
export function chooseInputs(tokenizer: SourceTokenizer | undefined, sizes: Sizes): Inputs {
  const encode = (texts: readonly string[]): number[][] =>
    texts.map((text) => tokenizer?.text.encode(text, sizes.context).tokens ?? []).filter(({ length }) => length > 0);
  const accuracy = encode(ACCURACY_TEXTS);
  const calibration = encode(CALIBRATION_TEXTS);
  if (accuracy.length >= LEAST && calibration.length > 0) return { kind: 'texts', calibration, accuracy };
  return {
    kind: 'random ids',
    calibration: randomIds(sizes, SEEDS.calibration),
    accuracy: randomIds(sizes, SEEDS.accuracy),
  };
}

/** Lengths spread over 1..64, or the context where that is shorter; ids uniform over the vocabulary. */
function randomIds({ vocab, context }: Sizes, seed: number): number[][] {
  const random = new Random(seed);
  const longest = Math.min(context, RANDOM_LENGTH);
  return Array.from({ length: RANDOM_COUNT }, (_, i) => {
    // Short ones more often than long ones, as texts are: the square of an even spread.
    const length = 1 + Math.floor(((i + 1) / RANDOM_COUNT) ** 2 * (longest - 1));
    return Array.from({ length }, () => random.u32() % vocab);
  });
}
