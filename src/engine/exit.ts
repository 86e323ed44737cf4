import { checkInteger, checkKeys, checkOneOf } from '../check.js';
import type { ModelConfig } from '../config.js';
import { MgtError } from '../errors.js';
import { ln } from '../generate/log.js';

/** How sure an early layer is of its token. The first three are asked of its logits, `saturation` of the stream itself. */
export const EXIT_SCORES = ['maxProb', 'margin', 'entropy', 'saturation'] as const;
export type ExitScore = (typeof EXIT_SCORES)[number];

/** When a token may leave before the last layer (docs/exits.md). */
export interface ExitOptions {
  readonly score: ExitScore;
  /**
   * A token leaves where its largest probability (`maxProb`), the difference of the two largest (`margin`) or the cosine of the stream
   * after and before the layer (`saturation`) is at least this; where the entropy as a share of ln vocab (`entropy`) is at most this.
   * 0..1, saturation −1..1.
   */
  readonly threshold: number;
  /** After how many layers to ask: ascending, 1..layers−1. Default: the model's `exitLayers`, or its quarter points. */
  readonly layers?: readonly number[] | undefined;
}

/** The same, checked and complete. */
export interface ExitRule extends ExitOptions {
  readonly layers: readonly number[];
}

/** @throws MgtError `BadInput` naming `exit.<field>`; `UnsupportedMode` for an encoder */
export function checkExit(value: unknown, { kind, layers, exitLayers }: ModelConfig): ExitRule | undefined {
  if (value === undefined) return undefined;
  if (kind === 'encoder') throw new MgtError('UnsupportedMode', 'exit', 'a decoder', 'an encoder');
  const raw = checkKeys('exit', value, ['score', 'threshold', 'layers']);
  const score = checkOneOf('exit.score', raw.score, EXIT_SCORES);
  const least = score === 'saturation' ? -1 : 0;
  const { threshold } = raw;
  if (typeof threshold !== 'number' || !(threshold >= least && threshold <= 1))
    throw new MgtError('BadInput', 'exit.threshold', `a number in ${least}..1`, threshold);
  const asked = raw.layers === undefined ? [...(exitLayers ?? quarterPoints(layers))] : checkAsked(raw.layers, layers);
  // A model of one layer has nowhere to ask: no rule, which its logs could not give to a call.
  if (asked.length === 0) return undefined;
  return Object.freeze({ score, threshold, layers: Object.freeze(asked) });
}

/** Layers a call may run at most. @throws MgtError `BadInput`; `UnsupportedMode` for an encoder */
export function checkLayers(value: unknown, { kind, layers }: ModelConfig): number | undefined {
  if (value === undefined) return undefined;
  if (kind === 'encoder') throw new MgtError('UnsupportedMode', 'layers', 'a decoder', 'an encoder');
  return checkInteger('layers', value, 1, layers);
}

/** Each is read once: what was checked is what is asked. */
function checkAsked(value: unknown, layers: number): readonly number[] {
  if (!Array.isArray(value) || value.length === 0)
    throw new MgtError('BadInput', 'exit.layers', 'a list of layers', value);
  let last = 0;
  return Array.from(value as unknown[], (given, i) => {
    const field = `exit.layers[${i}]`;
    const layer = checkInteger(field, given, 1, layers - 1);
    if (layer <= last) throw new MgtError('BadInput', field, `more than ${last}`, layer);
    return (last = layer);
  });
}

/** A quarter, half and three quarters of the layers, rounded up; none of a model of one layer. */
export const quarterPoints = (layers: number): number[] =>
  [...new Set([1, 2, 3].map((q) => Math.ceil((q * layers) / 4)))].filter((layer) => layer < layers);

/** Of a row's logits: Σ e, Σ e·d and e of the second largest, where d = logit − largest, e = exp(d) (kernel `logitStats`). */
export interface LogitStats {
  readonly sum: number;
  readonly weighted: number;
  readonly second: number;
}

/**
 * Does a row whose logits are these leave? In f64 from f32 sums. A score that is NaN says no.
 * @param rule any but `saturation`
 */
export function isSure({ score, threshold }: ExitRule, { sum, weighted, second }: LogitStats, vocab: number): boolean {
  if (score === 'maxProb') return 1 / sum >= threshold;
  if (score === 'margin') return (1 - second) / sum >= threshold;
  // −Σ p ln p = ln Σe − Σ(e·d) / Σe; of one token it is 0.
  return (vocab === 1 ? 0 : (ln(sum) - weighted / sum) / ln(vocab)) <= threshold;
}

/**
 * What drafts are judged by where nothing is said: asked at the model's first exit alone, where a guess is cheap. A wrong guess costs a
 * token's whole pass, a right one saves a part of it, so the odds must be good.
 */
export const draftRule = ({ layers, exitLayers }: ModelConfig): ExitRule => ({
  ...{ score: 'maxProb', threshold: 0.9 },
  layers: (exitLayers ?? quarterPoints(layers)).slice(0, 1),
});
