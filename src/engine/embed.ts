import { checkSignal } from '../check.js';
import { forward } from './forward.js';
import { copyFinite } from './output.js';
import type { Progress } from './progress.js';
import type { Runtime, Segment } from './runtime.js';

export interface EmbedOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: Progress) => void) | undefined;
  /** Pooling instead of the model's own. */
  readonly pooling?: 'mean' | 'cls' | undefined;
}

/** How every text of a call is run. */
export interface EmbedRun {
  readonly pooling: 'mean' | 'cls';
  /** Attention window in tokens. */
  readonly window: number;
}

/**
 * Embeds texts in passes that pack as many as fit the context: rows of different texts share the linear
 * layers, attention stays inside its segment, so packing changes no bit. Yields to the host between passes.
 * @param live the runtime, or throws `Disposed`: looked up again after every wait
 */
export async function embedTexts(
  live: () => Runtime,
  texts: readonly string[],
  encode: (text: string) => number[],
  run: EmbedRun,
  { signal, onProgress }: EmbedOptions,
): Promise<Float32Array[]> {
  const vectors: Float32Array[] = [];
  let ids = texts.length > 0 ? encode(texts[0]!) : [];
  while (vectors.length < texts.length) {
    if (vectors.length > 0) await yieldToHost();
    checkSignal(signal, 'embed');
    const runtime = live();
    const { plan, arena } = runtime;
    const segments: Segment[] = [];
    let rows = 0;
    for (let next = vectors.length; next < texts.length && rows + ids.length <= plan.context;) {
      segments.push({ first: rows, count: ids.length });
      arena.u32.set(ids, plan.at.tokens / 4 + rows);
      for (let p = 0; p < ids.length; p++) arena.u32[plan.at.positions / 4 + rows + p] = p;
      rows += ids.length;
      if (++next < texts.length) ids = encode(texts[next]!);
    }
    embedPass(runtime, rows, segments, run, vectors);
    onProgress?.({ phase: 'embed', loaded: vectors.length, total: texts.length });
  }
  return vectors;
}

function embedPass(
  runtime: Runtime,
  rows: number,
  segments: readonly Segment[],
  { pooling, window }: EmbedRun,
  into: Float32Array[],
): void {
  const { config, plan, arena } = runtime;
  runtime.begin();
  forward(runtime, { rows, segments, layers: config.layers, window });
  for (const segment of segments) {
    runtime.pool(segment, pooling, config.normalize);
    const vector = new Float32Array(config.hidden);
    copyFinite(arena.f32, plan.at.out / 4, vector, config.hidden);
    into.push(vector);
  }
}

/** Lets timers, input and abort signals in. */
function yieldToHost(): Promise<void> {
  return new Promise((resolve) => {
    if (typeof setImmediate === 'function') setImmediate(resolve);
    else {
      const { port1, port2 } = new MessageChannel();
      port1.onmessage = () => {
        port1.close();
        resolve();
      };
      port2.postMessage(0);
    }
  });
}
