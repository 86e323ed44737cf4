import { EXIT_SCORES, type ExitOptions } from '../engine/exit.js';
import { MgtError } from '../errors.js';
import { parseNumber } from './args.js';

/** `maxProb:0.9` as options; whether the threshold makes sense is the engine's to say. @throws MgtError `Usage` */
export function parseExit(field: string, text: string): ExitOptions {
  const [name, threshold, ...more] = text.split(':');
  const score = EXIT_SCORES.find((known) => known === name?.trim());
  if (!score || threshold === undefined || more.length > 0) {
    throw new MgtError('Usage', field, `SCORE:THRESHOLD with SCORE one of ${EXIT_SCORES.join(', ')}`, `"${text}"`);
  }
  return { score, threshold: parseNumber(field, threshold) };
}
