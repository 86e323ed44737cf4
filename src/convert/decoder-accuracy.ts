import { MgtError } from '../errors.js';
import type { DecoderAccuracy } from '../format/file.js';

/** Bound once, as in erf.ts. */
const { exp, log } = Math;

/**
 * Compares two matrices of logits f32[positions][vocab], in f64. A logit of −Infinity is a probability of 0; NaN, +Infinity
 * and a row without any finite logit are no distribution, and a row of the engine that excludes what the float model
 * allows has lost everything: all give a KL of Infinity.
 * @throws MgtError `BadInput` on lengths that differ, are 0 or no multiple of the vocabulary
 */
export function compareLogits(float: Float32Array, engine: Float32Array, vocab: number): DecoderAccuracy {
  const tokens = float.length / vocab;
  if (!Number.isInteger(tokens) || tokens < 1) {
    throw new MgtError('BadInput', 'logits.length', `a multiple of ${vocab}, not 0`, float.length);
  }
  if (engine.length !== float.length) {
    throw new MgtError('BadInput', 'logits.length', `${float.length}, as the float model's`, engine.length);
  }
  let sum = 0;
  let same = 0;
  for (let at = 0; at < float.length; at += vocab) {
    const [p, q] = [float.subarray(at, at + vocab), engine.subarray(at, at + vocab)];
    sum += divergence(p, q);
    const top = largest(p);
    if (top >= 0 && top === largest(q)) same++;
  }
  return { kl: sum / tokens, top1: same / tokens, tokens };
}

/** The accuracy over several comparisons together. @throws MgtError `BadInput` where there is none */
export function pooledAccuracy(parts: readonly DecoderAccuracy[]): DecoderAccuracy {
  const tokens = parts.reduce((sum, part) => sum + part.tokens, 0);
  if (tokens === 0) throw new MgtError('BadInput', 'accuracy', 'at least one position', 0);
  const mean = (of: (part: DecoderAccuracy) => number): number =>
    parts.reduce((sum, part) => sum + of(part) * part.tokens, 0) / tokens;
  return { kl: mean(({ kl }) => kl), top1: mean(({ top1 }) => top1), tokens };
}

/** KL(softmax(p) ‖ softmax(q)) in nats, never below 0. */
function divergence(p: Float32Array, q: Float32Array): number {
  const logP = logSumExp(p);
  const logQ = logSumExp(q);
  let sum = 0;
  for (let i = 0; i < p.length; i++) {
    const lp = p[i]! - logP;
    const probability = exp(lp);
    if (probability > 0) sum += probability * (lp - (q[i]! - logQ));
    else if (probability !== 0) return Infinity; // NaN
  }
  if (Number.isNaN(sum) || Number.isNaN(logQ)) return Infinity;
  return sum > 0 ? sum : 0; // the sum of rounded terms may fall a little below
}

/** ln Σ exp(x), the largest taken out first; NaN where x is no row of logits. */
function logSumExp(x: Float32Array): number {
  let max = -Infinity;
  for (let i = 0; i < x.length; i++) if (x[i]! > max) max = x[i]!;
  if (max === -Infinity || max === Infinity) return NaN;
  let sum = 0;
  for (let i = 0; i < x.length; i++) sum += exp(x[i]! - max);
  return max + log(sum);
}

/** Index of the first largest number; −1 where there is none. */
function largest(x: Float32Array): number {
  let best = -1;
  let max = -Infinity;
  for (let i = 0; i < x.length; i++) {
    if (x[i]! > max) {
      max = x[i]!;
      best = i;
    }
  }
  return best;
}
