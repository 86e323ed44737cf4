import { Worker } from 'node:worker_threads';
import type { InferInput } from '../../engine/call.js';
import type { InferResult } from '../../engine/model.js';
import { MgtError } from '../../errors.js';
import type { Context, Run } from '../specs.js';
import { parseJson, parseNumberList, type Parsed } from '../args.js';
import { writeWhole } from '../files.js';
import { littleEndian, sha256Hex } from '../model.js';
import { countText, firstValues, jsonFloats, oneLine, print } from '../output.js';
import { catchUp } from '../interrupt.js';
import { createProgress } from '../progress.js';
import type { Answer, Job } from '../reference-thread.js';

/** `mgt infer`: one stateless call on token ids as given. */
export const run: Run = async (parsed, context) => {
  const input = readInput(parsed);
  const result =
    parsed.values.get('engine') === 'reference'
      ? await onReference(parsed, input, context)
      : await onWasm(parsed, input, context);
  await catchUp('infer', context.signal);
  const { kind, witness, stats } = result;
  const values = (result.embedding ?? result.logits)!;
  const raw = littleEndian(values);
  const sha256 = sha256Hex(raw);
  const out = parsed.values.get('out');
  if (out !== undefined) await writeWhole('--out', out, raw);
  if (context.json) {
    const head = JSON.stringify({ kind, shape: [values.length], sha256 }).slice(1, -1);
    const body = out === undefined ? `,"values":${jsonFloats(values)}` : '';
    await print(`{${head}${body},${JSON.stringify({ witness, stats }).slice(1)}\n`);
  } else {
    await print(`${summary(result, values, sha256, out).join('\n')}\n`);
  }
};

/** The call as the words spell it; whether it makes sense is the engine's to say. */
function readInput({ values }: Parsed): InferInput {
  const json = (name: string): object | undefined => {
    const text = values.get(name);
    return text === undefined ? undefined : (parseJson(`--${name}`, text) as object);
  };
  return { tokens: parseNumberList('--tokens', values.get('tokens')!), gate: json('gate'), spikes: json('spikes') };
}

async function onWasm({ operands, values }: Parsed, input: InferInput, { signal }: Context): Promise<InferResult> {
  const { MincutGatedTransformer } = await import('../../core.node.js');
  const progress = createProgress();
  try {
    const model = await MincutGatedTransformer.load(operands[0]!, {
      simd: (values.get('simd') ?? 'auto') as 'auto' | 'plain' | 'relaxed',
      signal,
      onProgress: (p) => progress.update('loading', p.loaded, p.total),
    });
    return model.infer(input);
  } finally {
    progress.done();
  }
}

function onReference({ operands }: Parsed, input: InferInput, { signal }: Context): Promise<InferResult> {
  const job: Job = { path: operands[0]!, input };
  const worker = new Worker(new URL('../reference-thread.js', import.meta.url), { workerData: job });
  return new Promise((resolve, reject) => {
    signal.addEventListener('abort', () => {
      reject(new MgtError('Aborted', 'infer', 'to finish', 'an abort'));
      void worker.terminate();
    });
    worker.on('error', reject);
    worker.on('message', (answer: Answer) => {
      if ('result' in answer) return resolve(answer.result);
      const { code, field, expected, got } = answer.error;
      reject(new MgtError(code, field, expected, got));
    });
  });
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
