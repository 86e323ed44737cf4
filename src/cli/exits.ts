import type { InferInput } from '../engine/call.js';
import { EXIT_SCORES, type ExitOptions } from '../engine/exit.js';
import { MgtError } from '../errors.js';
import { parseNumber, parseNumberList, type OptionSpec } from './args.js';

/** `maxProb:0.9` as options; whether the threshold makes sense is the engine's to say. @throws MgtError `Usage` */
export function parseExit(field: string, text: string): ExitOptions {
  const [name, threshold, ...more] = text.split(':');
  const score = EXIT_SCORES.find((known) => known === name?.trim());
  if (!score || threshold === undefined || more.length > 0) {
    throw new MgtError('Usage', field, `SCORE:THRESHOLD with SCORE one of ${EXIT_SCORES.join(', ')}`, `"${text}"`);
  }
  return { score, threshold: parseNumber(field, threshold) };
}

/** The options behind `readExit`. */
export const EXIT_OPTIONS: readonly OptionSpec[] = [
  {
    name: 'exit',
    value: 'SCORE:THRESHOLD',
    help: 'tokens leave early where maxProb, margin or saturation is at least this, or entropy at most, e.g. maxProb:0.9',
  },
  {
    name: 'exit-layers',
    value: '2,4,6',
    help: "after how many layers to ask; default: the model's own, else its quarter points",
  },
];

export const LAYERS_OPTION: OptionSpec = { name: 'layers', value: 'K', help: 'run the first K layers only (decoders)' };

/** When tokens may leave, as the words say it. @throws MgtError `Usage` */
export function readExit(values: ReadonlyMap<string, string>): ExitOptions | undefined {
  const [rule, layers] = [values.get('exit'), values.get('exit-layers')];
  if (rule !== undefined) {
    const exit = parseExit('--exit', rule);
    return layers === undefined ? exit : { ...exit, layers: parseNumberList('--exit-layers', layers) };
  }
  if (layers !== undefined) throw new MgtError('Usage', '--exit-layers', 'an --exit too', 'none');
  return undefined;
}

/** How deep tokens go, as the words say it. @throws MgtError `Usage` */
export function readDepth(values: ReadonlyMap<string, string>): Pick<InferInput, 'exit' | 'layers'> {
  const layers = values.get('layers');
  return {
    exit: readExit(values),
    layers: layers === undefined ? undefined : parseNumber('--layers', layers),
  };
}
