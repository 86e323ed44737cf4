import { parentPort, workerData } from 'node:worker_threads';
import { MgtError } from '../errors.js';
import type { CallAnswer, CallJob } from './calls.js';
import { answerJob } from './reference.js';

/** The worker behind `--engine reference`: computes while the main thread stays free for Ctrl-C. */

/** An answer, or a typed error as its fields: classes do not cross threads. */
export type Reply =
  { readonly answer: CallAnswer } | { readonly error: Pick<MgtError, 'code' | 'field' | 'expected' | 'got'> };

let reply: Reply;
try {
  reply = { answer: await answerJob(workerData as CallJob) };
} catch (error) {
  if (!(error instanceof MgtError)) throw error;
  const { code, field, expected, got } = error;
  reply = { error: { code, field, expected, got } };
}
parentPort!.postMessage(reply);
