import { MgtError } from '../../errors.js';
import type { InferResult } from '../../engine/run.js';
import { callReference, callWasm, type CallAnswer, type CallJob } from '../calls.js';
import { modelPath } from '../default-model.js';
import { beginFile, type PendingFile } from '../files.js';
import { catchUp } from '../interrupt.js';
import { checkDistinct, openKept, type KeptFile } from '../kept.js';
import { appendCall, openLog } from '../logs.js';
import { littleEndian, sha256Hex } from '../model.js';
import { countText, firstValues, jsonFloats, oneLine, print } from '../output.js';
import { readInput, readSetup } from '../setup.js';
import type { Run } from '../specs.js';

/** `mgt infer`: one call on token ids or a text, stateless or of a session kept in a file. */
export const run: Run = async (parsed, { json, signal }) => {
  const { operands, values: words } = parsed;
  const [path, sessionPath, logPath, out] = [
    modelPath(operands[0]),
    words.get('session'),
    words.get('log'),
    words.get('out'),
  ];
  const input = await readInput(parsed, signal);
  const setup = await readSetup(parsed);
  if (input.all && logPath !== undefined)
    throw new MgtError('Usage', '--all', 'no --log, which holds one output of a call', '--log');
  await checkDistinct([
    ['--session', sessionPath],
    ['--log', logPath],
    ['--out', out],
  ]);
  // What is read is no place for the output; as a session or log it is a foreign file.
  await checkDistinct([
    ['FILE', path],
    ['--policy', typeof setup.policy === 'object' ? words.get('policy') : undefined],
    ['--out', out],
  ]);

  const files: PendingFile[] = [];
  const keep = async (option: string, name: string | undefined): Promise<KeptFile | undefined> => {
    const kept = name === undefined ? undefined : await openKept(option, name, signal);
    if (kept) files.push(kept.next);
    return kept;
  };
  try {
    // What cannot be read or written is known before anything runs.
    const session = await keep('--session', sessionPath);
    const log = await keep('--log', logPath);
    const calls = log && (await openLog(log.bytes, logPath!));
    const raw = out === undefined ? undefined : await beginFile('--out', out);
    if (raw) files.push(raw);

    const before = session && (session.bytes ?? 'new');
    const answer = await compute({ path, setup, input, session: before }, words, signal);
    await catchUp('infer', signal);

    // Either every file changes or none: all are on the disk before the first takes its name.
    const { result } = answer;
    const bytes = littleEndian((result.embedding ?? result.logits)!);
    if (calls) await log.next.write(await appendCall(calls, answer, before));
    await session?.next.write(answer.session!);
    await raw?.write(bytes);
    for (const file of files) await file.commit();
    await show(answer, input.all === true, bytes, out, json);
  } finally {
    await Promise.all(files.map((file) => file.discard()));
  }
};

function compute(job: CallJob, words: ReadonlyMap<string, string>, signal: AbortSignal): Promise<CallAnswer> {
  if (words.get('engine') === 'reference') return callReference(job, signal);
  return callWasm(job, (words.get('simd') ?? 'auto') as 'auto' | 'plain' | 'relaxed', signal);
}

async function show(
  { result, size }: CallAnswer,
  all: boolean,
  raw: Uint8Array,
  out: string | undefined,
  json: boolean,
): Promise<void> {
  const { kind, witness, stats } = result;
  const values = (result.embedding ?? result.logits)!;
  const sha256 = sha256Hex(raw);
  if (!json) return print(`${summary(result, values, size, sha256, out).join('\n')}\n`);
  const shape = all ? [values.length / size, size] : [size];
  const layers = kind === 'logits' && { layers: stats.layers };
  await print(JSON.stringify({ kind, shape, sha256, ...layers }).slice(0, -1));
  // By rows: no string holds the logits of many tokens.
  for (let at = 0; out === undefined && at < values.length; at += size) {
    await print(`${at === 0 ? ',"values":[' : ','}${jsonFloats(values.subarray(at, at + size)).slice(1, -1)}`);
  }
  await print(`${out === undefined ? ']' : ''},${JSON.stringify({ witness, stats }).slice(1)}\n`);
}

function summary(
  { kind, witness, stats }: InferResult,
  values: Float32Array,
  size: number,
  sha256: string,
  out?: string,
): string[] {
  const { macs, layers } = stats;
  const early = layers.some((ran) => ran !== stats.layersExecuted);
  const calls = Object.values(stats.kernelCalls).reduce((sum, n) => sum + n, 0);
  const last = values.subarray(values.length - size);
  const best = kind === 'logits' ? [['largest', largest(last, 5)]] : [];
  return [
    [kind, firstValues(last)],
    ...(last.length < values.length ? [['', `of the last of ${values.length / size} tokens`]] : []),
    ...best,
    ['sha256', sha256],
    ...(out === undefined ? [] : [['written', `${out}, ${4 * values.length} bytes of raw f32`]]),
    [
      'witness',
      `${witness.decision}, reason ${witness.reason} · tier ${witness.tier} · λ ${witness.lambdaPrev} → ${witness.lambda}`,
    ],
    ['', `window ${witness.effectiveWindow} · at most ${witness.effectiveSeqLen} tokens · policy ${witness.policyId}`],
    ['', `KV writes ${onOff(witness.kvWritesEnabled)} · external writes ${onOff(witness.externalWritesEnabled)}`],
    ['ran', `${stats.layersExecuted} layers · ${calls} kernel calls · build ${stats.build}`],
    ...(early ? [['', `layers of each token: ${someOf(layers)}`]] : []),
    [
      '',
      `multiply-adds: linear ${countText(macs.linear)} · attention ${countText(macs.attention)} · head ${countText(macs.head)}${macs.gate > 0 ? ` · asking ${countText(macs.gate)}` : ''}`,
    ],
  ].map(([name, text]) => `${name!.padEnd(10)}${oneLine(text!)}`);
}

/** The first of some counts, and their mean. */
const someOf = (counts: readonly number[]): string =>
  `${counts.slice(0, 20).join(' ')}${counts.length > 20 ? ' …' : ''}, mean ${(counts.reduce((a, b) => a + b) / counts.length).toFixed(2)}`;

const onOff = (bit: number): string => (bit ? 'on' : 'off');

/** `id (value)` of the n largest values, largest first. */
function largest(values: Float32Array, n: number): string {
  const order = Array.from(values.keys()).sort((a, b) => values[b]! - values[a]!);
  return order
    .slice(0, n)
    .map((i) => `${i} (${values[i]!.toFixed(3)})`)
    .join(' · ');
}
