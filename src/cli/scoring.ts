import type { ModelConfig } from '../config.js';
import type { InferInput } from '../engine/call.js';
import type { Session } from '../engine/session.js';
import { fullMacs, sumOf } from './macs.js';

/** What the scored tokens of some rows came to. */
export interface Scores {
  readonly tokens: number;
  /** −Σ ln p. */
  readonly nats: number;
  /** Layers run, summed over the scored tokens. */
  readonly layers: number;
  /** Multiply-accumulates of everything that ran, and those of the same calls at full depth, nobody asked. */
  readonly macs: { readonly spent: number; readonly full: number };
}

/** Tokens that run together: their logits are f32[32][vocab], 6 MB at 49,152. */
const BLOCK = 32;

/**
 * Scores rows of ids, each from an empty session: every id but a row's first, by the logits of the one before it.
 * @param depth how deep tokens go
 * @param step called after each block with the number of its tokens
 */
export async function score(
  session: Pick<Session, 'infer' | 'reset'>,
  config: ModelConfig,
  rows: readonly (readonly number[])[],
  depth: Pick<InferInput, 'exit' | 'layers'>,
  step: (tokens: number) => Promise<void>,
): Promise<Scores> {
  const { vocab } = config;
  const whole = fullMacs(config);
  const out = new Float32Array(BLOCK * vocab);
  let [tokens, nats, layers, spent, full] = [0, 0, 0, 0, 0];
  for (const row of rows) {
    session.reset();
    for (let first = 0; first < row.length - 1; first += BLOCK) {
      const block = row.slice(first, Math.min(first + BLOCK, row.length - 1));
      const { logits, stats } = session.infer({ ...depth, tokens: block, all: true, out });
      for (let i = 0; i < block.length; i++) {
        nats += surprise(logits!.subarray(i * vocab, (i + 1) * vocab), row[first + i + 1]!);
        layers += stats.layers[i]!;
      }
      tokens += block.length;
      spent += sumOf(stats.macs);
      full += block.length * (whole.linear + whole.head) + whole.attention(block.length, first);
      await step(block.length);
    }
  }
  return { tokens, nats, layers, macs: { spent, full } };
}

/** −log softmax(logits)[id], in nats. */
function surprise(logits: Float32Array, id: number): number {
  let most = -Infinity;
  for (const logit of logits) if (logit > most) most = logit;
  let sum = 0;
  for (const logit of logits) sum += Math.exp(logit - most);
  return Math.log(sum) + most - logits[id]!;
}
