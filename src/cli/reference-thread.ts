import { parentPort, workerData } from 'node:worker_threads';
import type { InferInput } from '../engine/call.js';
import type { InferResult } from '../engine/model.js';
import { MgtError } from '../errors.js';
import { readModel } from './model.js';
import { inferReference } from './reference.js';

/** The worker behind `--engine reference`: computes while the main thread stays free for Ctrl-C. */

export interface Job {
  readonly path: string;
  readonly input: InferInput;
}

/** A result, or a typed error as its fields: classes do not cross threads. */
export type Answer =
  { readonly result: InferResult } | { readonly error: Pick<MgtError, 'code' | 'field' | 'expected' | 'got'> };

const { path, input } = workerData as Job;
let answer: Answer;
try {
  answer = { result: inferReference(await readModel(path), input) };
} catch (error) {
  if (!(error instanceof MgtError)) throw error;
  const { code, field, expected, got } = error;
  answer = { error: { code, field, expected, got } };
}
parentPort!.postMessage(answer);
