import type { TierShapes } from '../config.js';
import { MgtError } from '../errors.js';
import type { InferInput } from '../engine/call.js';
import { KV_FILLS, LAYER_ORDERS, type RunOptions } from '../engine/options.js';
import { POLICY_NAMES, type GatePolicy, type PolicyName } from '../gate/policy.js';
import { parseJson, parseNumber, parseNumberList, type OptionSpec, type Parsed } from './args.js';
import { modelPath } from './default-model.js';
import { readDepth } from './exits.js';
import { readWhole } from './files.js';

/** What the words say about how a call is judged and run. What was not said is left out: the engine has the defaults. */
export interface CallSetup {
  readonly context?: number;
  readonly policy?: PolicyName | Partial<GatePolicy>;
  readonly energy?: boolean;
  readonly scheduler?: boolean;
  readonly partitions?: boolean;
  readonly tiers?: Partial<TierShapes>;
  readonly layerOrder?: RunOptions['layerOrder'];
  readonly kvFill?: RunOptions['kvFill'];
  readonly sinks?: number;
  readonly seed?: number;
}

/** The options behind `CallSetup` and the call's packets. */
export const CALL_OPTIONS: readonly OptionSpec[] = [
  {
    name: 'gate',
    value: 'JSON',
    help: 'gate packet, e.g. {"lambda":60,"lambdaPrev":100}; default: the neutral one',
  },
  { name: 'spikes', value: 'JSON', help: 'spike packet, e.g. {"fired":1,"rateQ15":9000}; default: none' },
  {
    name: 'signature',
    value: 'N',
    help: 'the name of this input (u64): a session answers a later skip of the same name with this output',
  },
  {
    name: 'policy',
    value: 'NAME|FILE',
    help: `gate policy: ${POLICY_NAMES.join(', ')}, or a JSON file with thresholds`,
  },
  { name: 'energy', help: 'let the energy gate decide where it is sure enough' },
  { name: 'scheduler', help: "let the spike packet's rate and novelty make the tier deeper" },
  { name: 'partitions', help: "let attention keep to the gate packet's partitions; causal models, first calls" },
  { name: 'tiers', value: 'JSON', help: 'tier shapes instead of the model\'s own, e.g. {"layersDegraded":1}' },
  { name: 'context', value: 'N', help: "longest input in tokens; default: the model's own" },
  {
    name: 'layer-order',
    value: 'first|last',
    choices: LAYER_ORDERS,
    help: 'which layers a reduced tier runs; default first',
  },
  {
    name: 'kv-fill',
    value: 'propagate|hole',
    choices: KV_FILLS,
    help: 'what skipped layers keep of a written call; default propagate',
  },
  { name: 'sinks', value: 'N', help: 'first tokens that stay in the ring and in sight of shrunken windows' },
  { name: 'seed', value: 'N', help: "seed of a new session's generator; default 0" },
];

/** The call as the words spell it; whether it makes sense is the engine's to say. */
export async function readInput({ operands, values, flags }: Parsed, signal: AbortSignal): Promise<InferInput> {
  checkOneGiven(values, ['tokens', 'prompt']);
  const [list, prompt] = [values.get('tokens'), values.get('prompt')];
  return {
    ...readPackets(values),
    ...readDepth(values),
    signature: readSignature(values.get('signature')),
    tokens:
      prompt === undefined
        ? parseNumberList('--tokens', list!)
        : await tokensOf(modelPath(operands[0]), prompt, signal),
    ...(flags.has('all') && { all: true }),
  };
}

async function tokensOf(path: string, text: string, signal: AbortSignal): Promise<number[]> {
  const { encodeAll, openTokenizer } = await import('./text.js');
  return encodeAll(await openTokenizer(path, signal), text);
}

/** The packets as the words spell them. @throws MgtError `Usage` where they are no JSON */
export function readPackets(values: ReadonlyMap<string, string>): Pick<InferInput, 'gate' | 'spikes'> {
  const json = (name: string): object | undefined => {
    const text = values.get(name);
    return text === undefined ? undefined : (parseJson(`--${name}`, text) as object);
  };
  return { gate: json('gate'), spikes: json('spikes') };
}

/** @throws MgtError `Usage` unless exactly one of these options is there */
export function checkOneGiven(values: ReadonlyMap<string, string>, names: readonly string[]): void {
  const given = names.filter((name) => values.has(name)).map((name) => `--${name}`);
  if (given.length === 1) return;
  const options = names.map((name) => `--${name}`).join(', ');
  throw new MgtError('Usage', given[1] ?? `--${names[0]}`, `one of ${options}`, given.join(' and ') || undefined);
}

/** @throws MgtError `Usage` for anything but decimal digits; the engine refuses what no u64 holds */
function readSignature(text: string | undefined): bigint | undefined {
  if (text === undefined) return undefined;
  if (!/^-?\d{1,40}$/.test(text)) throw new MgtError('Usage', '--signature', 'a decimal integer', `"${text}"`);
  return BigInt(text);
}

/** @throws MgtError `Usage`, `FileNotFound`, `BadConfig` (a policy file that is no JSON) */
export async function readSetup({ values, flags }: Parsed): Promise<CallSetup> {
  const integer = (name: string): number | undefined => {
    const text = values.get(name);
    return text === undefined ? undefined : parseNumber(`--${name}`, text);
  };
  const tiers = values.get('tiers');
  const given = {
    context: integer('context'),
    policy: await readPolicy(values.get('policy')),
    energy: flags.has('energy') || undefined,
    scheduler: flags.has('scheduler') || undefined,
    partitions: flags.has('partitions') || undefined,
    tiers: tiers === undefined ? undefined : (parseJson('--tiers', tiers) as Partial<TierShapes>),
    layerOrder: values.get('layer-order') as RunOptions['layerOrder'] | undefined,
    kvFill: values.get('kv-fill') as RunOptions['kvFill'] | undefined,
    sinks: integer('sinks'),
    seed: integer('seed'),
  };
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
}

async function readPolicy(word: string | undefined): Promise<CallSetup['policy']> {
  if (word === undefined) return undefined;
  const name = POLICY_NAMES.find((known) => known === word);
  if (name) return name;
  const text = new TextDecoder().decode(await readWhole('--policy', word));
  let policy: unknown;
  try {
    policy = JSON.parse(text);
  } catch (cause) {
    throw new MgtError('BadConfig', '--policy', 'a JSON object of thresholds', cause, { cause });
  }
  // A file holds thresholds: the name of a policy in it is none.
  if (typeof policy === 'string') throw new MgtError('BadConfig', 'policy', 'an object', policy);
  return policy as Partial<GatePolicy>;
}

/** An existing session keeps the options it was made with. @throws MgtError `BadInput` naming one that differs */
export function checkSame(setup: CallSetup, session: RunOptions & { readonly seed: number }): void {
  for (const [key, word] of [
    ['layerOrder', '--layer-order'],
    ['kvFill', '--kv-fill'],
    ['sinks', '--sinks'],
    ['seed', '--seed'],
  ] as const) {
    if (setup[key] !== undefined && setup[key] !== session[key]) {
      throw new MgtError('BadInput', word, `${session[key]}, as this session was made`, setup[key]);
    }
  }
}
