import { Worker } from 'node:worker_threads';
import { checkInteger } from '../check.js';
import type { InferInput } from '../engine/call.js';
import type { RecordedCall } from '../engine/record.js';
import type { InferResult } from '../engine/run.js';
import { MgtError } from '../errors.js';
import { U32_MAX } from '../packets/fields.js';
import { createProgress } from './progress.js';
import type { Reply } from './reference-thread.js';
import { checkSame, type CallSetup } from './setup.js';

/** One call of a model file, stateless or of a session given as bytes. */
export interface CallJob {
  readonly path: string;
  readonly setup: CallSetup;
  readonly input: InferInput;
  /** A session's bytes, or that there is a new one; absent: a stateless call. */
  readonly session?: Uint8Array | 'new' | undefined;
}

export interface CallAnswer {
  readonly result: InferResult;
  /** Values of one output: of an embedding, or of a token's logits. */
  readonly size: number;
  /** The call as a log takes it; none where the logits of every token were asked for, which no log holds. */
  readonly recorded: RecordedCall | undefined;
  /** The session after the call. */
  readonly session: Uint8Array | undefined;
}

/** Runs a call on one of the wasm builds. */
export async function callWasm(
  { path, setup, input, session: given }: CallJob,
  simd: 'auto' | 'plain' | 'relaxed',
  signal: AbortSignal,
): Promise<CallAnswer> {
  const { MincutGatedTransformer } = await import('../core.node.js');
  const progress = createProgress();
  try {
    let recorded: RecordedCall | undefined;
    const log = input.all ? undefined : { record: (call: RecordedCall): void => void (recorded = call) };
    const { seed, ...options } = setup;
    checkInteger('seed', seed ?? 0, 0, U32_MAX);
    const model = await MincutGatedTransformer.load(path, {
      ...options,
      simd,
      signal,
      sessions: given === undefined ? 0 : 1,
      log,
      onProgress: (p) => progress.update('loading', p.loaded, p.total),
    });
    const session =
      given === undefined
        ? undefined
        : given === 'new'
          ? model.createSession({ seed, log })
          : model.restore(given, { log });
    if (session) checkSame(setup, session.options);
    const result = (session ?? model).infer(input);
    const { kind, hidden, vocab } = model.info.config;
    return { result, size: kind === 'encoder' ? hidden : vocab, recorded, session: session?.snapshot() };
  } finally {
    progress.done();
  }
}

/** Runs a call on the plain TypeScript reference, in a thread of its own so that Ctrl-C is heard. */
export function callReference(job: CallJob, signal: AbortSignal): Promise<CallAnswer> {
  const worker = new Worker(new URL('./reference-thread.js', import.meta.url), { workerData: job });
  return new Promise((resolve, reject) => {
    signal.addEventListener('abort', () => {
      reject(new MgtError('Aborted', 'infer', 'to finish', 'an abort'));
      void worker.terminate();
    });
    worker.on('error', reject);
    worker.on('message', (reply: Reply) => {
      if ('answer' in reply) return resolve(reply.answer);
      const { code, field, expected, got } = reply.error;
      reject(new MgtError(code, field, expected, got));
    });
  });
}
