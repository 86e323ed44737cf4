import type { KvFill } from './options.js';
import type { Keys, Runtime, Segment } from './runtime.js';

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
 * The forward pass, whole. x f32[rows][hidden] is the residual stream; everything else is scratch.
 * Pre-norm blocks (Llama, GPT-2): x += f(norm(x)). Post-norm blocks (BERT): x = norm(x + f(x)).
 * A layer that does not run lets x pass; where a session keeps the rows, its K and V come from what passes, or are holes.
 */
export function forward(rt: Runtime, { rows, segments, firstLayer, layers, keys, fill }: Pass): void {
  const { config: c, weights: w } = rt;
  const { at } = rt.plan;
  const pre = c.normPlace === 'pre';
  const { hidden, heads, kvHeads, ffn } = c;

  rt.embed(rows);
  if (w.embeddingNorm) rt.norm(at.x, rows, w.embeddingNorm, at.x);

  for (let i = 0; i < c.layers; i++) {
    const layer = w.layers[i]!;
    const runs = i >= firstLayer && i < firstLayer + layers;
    if (!runs && fill === 'hole') rt.kvErase(i, keys);
    if (!runs && (fill === 'hole' || keys.kept.length === 0)) continue;

    // Attention: q, k, v from one quantised input; K and V go to the cache as int8.
    if (pre) rt.norm(at.x, rows, layer.attentionNorm, at.h);
    rt.quantize(pre ? at.h : at.x, rows, hidden, layer.attentionSmooth);
    if (runs) rt.linear(layer.query, rows, at.q);
    rt.linear(layer.key, rows, at.k);
    rt.linear(layer.value, rows, at.v);
    if (c.positions === 'rope') {
      if (runs) rt.rope(at.q, rows, heads);
      rt.rope(at.k, rows, kvHeads);
    }
    if (!runs) {
      rt.kvKeep(i, keys);
      continue;
    }
    rt.kvAppend(i, rows, keys);
    rt.attention(i, segments, keys);
    if (keys.scratch) rt.kvKeep(i, keys);
    rt.quantize(at.ctx, rows, heads * c.headDim, 0);
    rt.linear(layer.output, rows, at.h);
    rt.add(at.x, at.h, rows * hidden);
    if (!pre) rt.norm(at.x, rows, layer.attentionNorm, at.x);

    // Feed-forward, with a gate where the model has one.
    if (pre) rt.norm(at.x, rows, layer.ffnNorm, at.h);
    rt.quantize(pre ? at.h : at.x, rows, hidden, layer.upSmooth);
    rt.linear(layer.up, rows, at.ffn);
    if (layer.gate) {
      rt.linear(layer.gate, rows, at.gate);
      rt.activate(at.gate, rows * ffn);
      rt.mul(at.ffn, at.gate, rows * ffn);
    } else {
      rt.activate(at.ffn, rows * ffn);
    }
    rt.quantize(at.ffn, rows, ffn, layer.downSmooth);
    rt.linear(layer.down, rows, at.h);
    rt.add(at.x, at.h, rows * hidden);
    if (!pre) rt.norm(at.x, rows, layer.ffnNorm, at.x);
    rt.layerDone();
  }

  if (c.kind === 'encoder') {
    if (w.finalNorm) rt.norm(at.x, rows, w.finalNorm, at.x);
    return;
  }
  // A decoder's answer is the last row's: only that one is normed and meets the head.
  const last = at.x + (rows - 1) * hidden * 4;
  if (w.finalNorm) rt.norm(last, 1, w.finalNorm, last);
  rt.quantize(last, 1, hidden, 0);
  rt.head(w.head!, at.out);
}
