import type { KvFill } from './options.js';
import type { Keys, Rows, Runtime, Segment } from './runtime.js';

/** What one pass runs: rows are already in the arena's `tokens` and `positions`. */
export interface Pass {
  readonly rows: number;
  readonly segments: Iterable<Segment>;
  /** Layers firstLayer..firstLayer + layers − 1 run. 0 layers is the cheap path: embedding, norm, output. */
  readonly firstLayer: number;
  readonly layers: number;
  readonly keys: Keys;
  /** What a session keeps of the rows in layers that do not run. */
  readonly fill: KvFill;
}

/**
 * The forward pass, whole. x f32[rows][hidden] is the residual stream; everything else is scratch of one block of rows.
 * Pre-norm blocks (Llama, GPT-2): x += f(norm(x)). Post-norm blocks (BERT): x = norm(x + f(x)).
 * A layer that does not run lets x pass; where a session keeps the rows, its K and V come from what passes, or are holes.
 * Yields after each block of rows in each layer, so that a caller can look up; `finish` runs it through.
 */
export function* forward(rt: Runtime, pass: Pass): Generator<void, void> {
  const { config: c, weights: w, plan } = rt;
  const { rows, firstLayer, layers, keys, fill } = pass;

  rt.embed(rows);
  if (w.embeddingNorm) rt.norm(plan.at.x, rows, w.embeddingNorm, plan.at.x);

  for (let i = 0; i < c.layers; i++) {
    const runs = i >= firstLayer && i < firstLayer + layers;
    if (!runs && fill === 'hole') rt.kvErase(i, keys);
    if (!runs && (fill === 'hole' || keys.kept.length === 0)) continue;
    for (let first = 0; first < rows; first += plan.block) {
      const block = { first, count: Math.min(plan.block, rows - first) };
      keyValue(rt, i, block);
      if (runs) through(rt, i, block, pass);
      else rt.kvKeep(i, block, keys);
      yield;
    }
    if (runs && keys.scratch) rt.kvMove(i, keys);
    if (runs) rt.layerDone();
  }
  if (c.kind === 'encoder' && w.finalNorm) rt.norm(plan.at.x, rows, w.finalNorm, plan.at.x);
}

/** K and V of a block of rows, and its quantised input, from which Q comes too. */
function keyValue(rt: Runtime, i: number, { first, count }: Rows): void {
  const { config: c } = rt;
  const { at } = rt.plan;
  const layer = rt.weights.layers[i]!;
  const x = at.x + first * c.hidden * 4;
  if (c.normPlace === 'pre') rt.norm(x, count, layer.attentionNorm, at.h);
  rt.quantize(c.normPlace === 'pre' ? at.h : x, count, c.hidden, layer.attentionSmooth);
  rt.linear(layer.key, count, at.k);
  rt.linear(layer.value, count, at.v);
  if (c.positions === 'rope') rt.rope(at.k, first, count, c.kvHeads);
}

/** A block of rows through a layer, its K and V just made: x += attention, x += feed-forward. */
function through(rt: Runtime, i: number, block: Rows, { segments, keys }: Pass): void {
  const { config: c } = rt;
  const { at } = rt.plan;
  const layer = rt.weights.layers[i]!;
  const { hidden, heads, ffn } = c;
  const { first, count } = block;
  const x = at.x + first * hidden * 4;
  const pre = c.normPlace === 'pre';

  rt.linear(layer.query, count, at.q);
  if (c.positions === 'rope') rt.rope(at.q, first, count, heads);
  rt.kvAppend(i, block, keys);
  rt.attention(i, block, segments, keys);
  rt.quantize(at.ctx, count, heads * c.headDim, 0);
  rt.linear(layer.output, count, at.h);
  rt.add(x, at.h, count * hidden);
  if (!pre) rt.norm(x, count, layer.attentionNorm, x);

  if (pre) rt.norm(x, count, layer.ffnNorm, at.h);
  rt.quantize(pre ? at.h : x, count, hidden, layer.upSmooth);
  rt.linear(layer.up, count, at.ffn);
  if (layer.gate) {
    rt.linear(layer.gate, count, at.gate);
    rt.activate(at.gate, count * ffn);
    rt.mul(at.ffn, at.gate, count * ffn);
  } else {
    rt.activate(at.ffn, count * ffn);
  }
  rt.quantize(at.ffn, count, ffn, layer.downSmooth);
  rt.linear(layer.down, count, at.h);
  rt.add(x, at.h, count * hidden);
  if (!pre) rt.norm(x, count, layer.ffnNorm, x);
}

/** Runs steps through without looking up. */
export function finish<T>(steps: Generator<void, T>): T {
  for (;;) {
    const { done, value } = steps.next();
    if (done) return value;
  }
}

/** Logits of rows first..first+count−1 of x, at most `plan.headRows`: out f32[count][vocab]. x stays. */
export function logits(rt: Runtime, first: number, count: number): void {
  const { config: c, weights: w } = rt;
  const { at } = rt.plan;
  const x = at.x + first * c.hidden * 4;
  if (w.finalNorm) rt.norm(x, count, w.finalNorm, at.h);
  rt.quantize(w.finalNorm ? at.h : x, count, c.hidden, 0);
  rt.head(w.head!, count, at.out);
}
