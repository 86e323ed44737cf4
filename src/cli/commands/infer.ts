import { stat } from 'node:fs/promises';
import type { InferResult } from '../../engine/run.js';
import { callReference, callWasm, type CallAnswer, type CallJob } from '../calls.js';
import { beginFile, readWhole, writeWhole, type PendingFile } from '../files.js';
import { catchUp } from '../interrupt.js';
import { appendCall } from '../logs.js';
import { littleEndian, sha256Hex } from '../model.js';
import { countText, firstValues, jsonFloats, oneLine, print } from '../output.js';
import { readInput, readSetup } from '../setup.js';
import type { Run } from '../specs.js';

/** `mgt infer`: one call on token ids as given, stateless or of a session kept in a file. */
export const run: Run = async (parsed, context) => {
  const { operands, values: words } = parsed;
  const input = readInput(parsed);
  const setup = await readSetup(parsed);
  const [sessionPath, logPath] = [words.get('session'), words.get('log')];
  const before = sessionPath === undefined ? undefined : ((await readIfThere('--session', sessionPath)) ?? 'new');
  const log = logPath === undefined ? undefined : await readIfThere('--log', logPath);
  const job: CallJob = { path: operands[0]!, setup, input, session: before };

  const files: PendingFile[] = [];
  const begin = async (option: string, path: string | undefined): Promise<PendingFile | undefined> => {
    const file = path === undefined ? undefined : await beginFile(option, path);
    if (file) files.push(file);
    return file;
  };
  try {
    // Paths that cannot be written are known before anything runs.
    const sessionFile = await begin('--session', sessionPath);
    const logFile = await begin('--log', logPath);
    const answer = await compute(job, words, context.signal);
    await catchUp('infer', context.signal);
    await logFile?.commit(await appendCall(log, logPath!, answer, before));
    await sessionFile?.commit(answer.session!);
    await show(answer.result, words.get('out'), context.json);
  } finally {
    await Promise.all(files.map((file) => file.discard()));
  }
};

function compute(job: CallJob, words: ReadonlyMap<string, string>, signal: AbortSignal): Promise<CallAnswer> {
  if (words.get('engine') === 'reference') return callReference(job, signal);
  return callWasm(job, (words.get('simd') ?? 'auto') as 'auto' | 'plain' | 'relaxed', signal);
}

/** A file's bytes, or nothing where there is no file yet. */
async function readIfThere(option: string, path: string): Promise<Uint8Array | undefined> {
  const found = await stat(path).catch((error: NodeJS.ErrnoException) => error);
  return 'code' in found && found.code === 'ENOENT' ? undefined : readWhole(option, path);
}

async function show(result: InferResult, out: string | undefined, json: boolean): Promise<void> {
  const { kind, witness, stats } = result;
  const values = (result.embedding ?? result.logits)!;
  const raw = littleEndian(values);
  const sha256 = sha256Hex(raw);
  if (out !== undefined) await writeWhole('--out', out, raw);
  if (json) {
    const head = JSON.stringify({ kind, shape: [values.length], sha256 }).slice(1, -1);
    const body = out === undefined ? `,"values":${jsonFloats(values)}` : '';
    await print(`{${head}${body},${JSON.stringify({ witness, stats }).slice(1)}\n`);
  } else {
    await print(`${summary(result, values, sha256, out).join('\n')}\n`);
  }
}

function summary({ kind, witness, stats }: InferResult, values: Float32Array, sha256: string, out?: string): string[] {
  const { macs } = stats;
  const calls = Object.values(stats.kernelCalls).reduce((sum, n) => sum + n, 0);
  const best = kind === 'logits' ? [['largest', largest(values, 5)]] : [];
  return [
    [kind, firstValues(values)],
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
    [
      '',
      `multiply-adds: linear ${countText(macs.linear)} · attention ${countText(macs.attention)} · head ${countText(macs.head)}`,
    ],
  ].map(([name, text]) => `${name!.padEnd(10)}${oneLine(text!)}`);
}

const onOff = (bit: number): string => (bit ? 'on' : 'off');

/** `id (value)` of the n largest values, largest first. */
function largest(values: Float32Array, n: number): string {
  const order = Array.from(values.keys()).sort((a, b) => values[b]! - values[a]!);
  return order
    .slice(0, n)
    .map((i) => `${i} (${values[i]!.toFixed(3)})`)
    .join(' · ');
}
