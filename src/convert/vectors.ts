import { MincutGatedTransformer } from '../engine/model.js';
import { MgtError } from '../errors.js';
import type { Platform } from '../platform/platform.js';
import type { BertModel } from './bert.js';
import { floatForward, type Observe } from './float.js';
import { isNode } from './source.js';

/** Rows of one float pass: enough for the matrix kernel, short enough to stay interruptible. */
const BATCH_ROWS = 96;

/** Runs something on the engine that the file makes: it goes through its own loader, as it will at the user's. */
export async function withEngine<T>(
  file: Uint8Array | string,
  options: { readonly context?: number },
  action: (model: MincutGatedTransformer) => T | Promise<T>,
): Promise<T> {
  const platform: Platform = isNode()
    ? (await import('../platform/node.js')).nodePlatform
    : (await import('../platform/web.js')).webPlatform;
  class Engine extends MincutGatedTransformer {
    static override readonly platform = platform;
  }
  const model = await Engine.load(file, options);
  try {
    return await action(model);
  } finally {
    model.dispose();
  }
}

export const engineVectors = (file: Uint8Array, ids: readonly number[][]): Promise<Float32Array[]> =>
  withEngine(file, {}, (model) => ids.map((tokens) => model.infer({ tokens }).embedding!));

/** The float model's vectors, batch by batch; lets the host breathe between two. */
export async function floatVectors(
  { bert, pooling }: { bert: BertModel; pooling: 'mean' | 'cls' },
  ids: readonly number[][],
  progress: (done: number) => void,
  observe?: Observe,
): Promise<Float32Array[]> {
  const vectors: Float32Array[] = [];
  while (vectors.length < ids.length) {
    let end = vectors.length;
    for (let rows = 0; end < ids.length && rows < BATCH_ROWS; end++) rows += ids[end]!.length;
    vectors.push(...floatForward(bert, ids.slice(vectors.length, end), pooling, observe));
    progress(vectors.length);
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
  for (const vector of vectors) {
    const broken = vector.find((x) => !Number.isFinite(x));
    if (broken !== undefined) throw new MgtError('BadWeights', 'model', 'finite vectors in float arithmetic', broken);
  }
  return vectors;
}
