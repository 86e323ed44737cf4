import { ln64 } from './rope.js';
import { logitStats } from './score.js';

/** When a token leaves before the last layer: `ExitRule` of the engine. */
export interface ExitRule {
  readonly score: 'maxProb' | 'margin' | 'entropy' | 'saturation';
  readonly threshold: number;
  /** After how many layers it is asked. */
  readonly layers: readonly number[];
}

/** Does a row with these logits leave? By any score but saturation. */
export function leaves({ score, threshold }: ExitRule, logits: Float32Array): boolean {
  const [sum, weighted, second] = logitStats(logits) as unknown as [number, number, number];
  if (score === 'maxProb') return 1 / sum >= threshold;
  if (score === 'margin') return (1 - second) / sum >= threshold;
  if (logits.length === 1) return 0 <= threshold;
  return (ln64(sum) - weighted / sum) / ln64(logits.length) <= threshold;
}
