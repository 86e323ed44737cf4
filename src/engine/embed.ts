import { checkSignal } from '../check.js';
import { finish, forward } from './forward.js';
import { copyFinite } from './output.js';
import { ownKeys } from './run.js';
import type { Progress } from './progress.js';
import { yieldToHost } from './patience.js';
import type { Segment } from './rows.js';
import type { Runtime } from './runtime.js';

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
    const segments: Segment[] = [];
    const tokens: number[] = [];
    const positions: number[] = [];
    let rows = 0;
    for (let next = vectors.length; next < texts.length && rows + ids.length <= runtime.plan.context;) {
      segments.push({ first: rows, count: ids.length });
      tokens.push(...ids);
      for (let p = 0; p < ids.length; p++) positions.push(p);
      rows += ids.length;
      if (++next < texts.length) ids = encode(texts[next]!);
    }
    runtime.begin();
    runtime.place(tokens, positions);
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
  const keys = ownKeys(window);
  finish(
    forward(runtime, {
      first: 0,
      count: rows,
      segments,
      firstLayer: 0,
      layers: config.layers,
      keys,
      fill: 'propagate',
    }),
  );
  for (const segment of segments) {
    runtime.pool(segment, pooling, config.normalize);
    const vector = new Float32Array(config.hidden);
    copyFinite(arena.f32, plan.at.out / 4, vector, config.hidden);
    into.push(vector);
  }
}
