import type { KvFill } from './options.js';
import type { Readout } from './readout.js';
import { countOf, type Keys, type Rows, type Segment } from './rows.js';
import type { Runtime } from './runtime.js';
import type { NormWeights } from './weights.js';

/** What one pass runs: rows are already in the arena's `tokens` and `positions`. */
export interface Pass extends Rows {
  readonly segments: Iterable<Segment>;
  /** Layers firstLayer..firstLayer + layers − 1 run. 0 layers is the cheap path: embedding, norm, output. */
  readonly firstLayer: number;
  readonly layers: number;
  readonly keys: Keys;
  /** What a session keeps of the rows in layers that do not run. */
  readonly fill: KvFill;
  /** Reads a decoder's logits, and lets rows leave before the last layer. */
  readonly readout?: Readout | undefined;
}

/**
 * The forward pass, whole. x f32[rows][hidden] is the residual stream; everything else is scratch of one block of rows.
 * Pre-norm blocks (Llama, GPT-2): x += f(norm(x)). Post-norm blocks (BERT): x = norm(x + f(x)).
 * A layer that does not run lets x pass; where a session keeps the rows, its K and V come from what passes, or are holes. So it is with
 * a row that has left: its x stays as it is, and the rows after it see the K and V that come from it.
 * Yields after each block of rows in each layer, so that a caller can look up; `finish` runs it through.
 */
export function* forward(rt: Runtime, pass: Pass): Generator<void, void> {
  const { config: c, weights: w } = rt;
  begin(rt, pass);
  yield* through(rt, pass, 0, c.layers);
  if (c.kind === 'encoder' && w.finalNorm) rt.norm(rt.stream(0), pass.count, w.finalNorm, rt.stream(0));
}

/** The rows' stream before the first layer. */
export function begin(rt: Runtime, { first, count }: Rows): void {
  const { embeddingNorm } = rt.weights;
  const x = rt.stream(first);
  rt.embed(first, count);
  if (embeddingNorm) rt.norm(x, count, embeddingNorm, x);
}

/** Layers from..to−1 of a pass. */
export function* through(rt: Runtime, pass: Pass, from: number, to: number): Generator<void, void> {
  const { block: size } = rt.plan;
  const { first, count, firstLayer, layers, keys, fill, readout } = pass;
  const end = first + count;
  for (let i = from; i < to; i++) {
    const ran = i - firstLayer + 1;
    // Rows that no one reads run on for those who see their K and V later.
    const wanted = keys.kept.length > 0 ? readout?.left : readout?.unread;
    const runs = ran > 0 && ran <= layers && wanted !== 0;
    if (!runs && fill === 'hole') rt.kv.erase(i, keys);
    if (!runs && (fill === 'hole' || keys.kept.length === 0)) continue;
    for (let at = first; at < end; at += size) {
      const block = { first: at, count: Math.min(size, end - at) };
      const going = readout?.going(block) ?? [block];
      const made = fill === 'hole' ? going : [block];
      if (made.length > 0) keyValue(rt, i, made);
      if (!runs) rt.kv.keep(i, made, keys);
      else {
        rt.kv.append(i, made, keys);
        if (fill === 'hole' && readout) rt.kv.holes(i, readout.gone(block), keys);
        if (going.length > 0) {
          readout?.before(block, ran);
          attend(rt, i, going, countOf(going) === countOf(made), pass);
          feed(rt, i, going);
          readout?.ask(block, ran);
        }
      }
      yield;
    }
    if (runs && keys.scratch) rt.kv.move(i, keys);
    if (runs) rt.layerDone();
  }
}

/** K and V of rows, and their quantised input, from which Q comes too. */
function keyValue(rt: Runtime, i: number, rows: readonly Rows[]): void {
  const { config: c } = rt;
  const { at } = rt.plan;
  const layer = rt.weights.layers[i]!;
  const count = countOf(rows);
  rt.quantize(gather(rt, rows, c.normPlace === 'pre' ? layer.attentionNorm : undefined), count, c.hidden, layer.attentionSmooth); // prettier-ignore
  rt.linear(layer.key, count, at.k);
  rt.linear(layer.value, count, at.v);
  if (c.positions === 'rope') rt.rope(at.k, rows, c.kvHeads);
}

/** x += attention of rows, whose K and V have just been made. `alone`: no other rows', so that the quantised input is theirs. */
function attend(rt: Runtime, i: number, rows: readonly Rows[], alone: boolean, { segments, keys }: Pass): void {
  const { config: c } = rt;
  const { at } = rt.plan;
  const layer = rt.weights.layers[i]!;
  const { hidden, heads } = c;
  const count = countOf(rows);
  const pre = c.normPlace === 'pre';

  if (!alone)
    rt.quantize(gather(rt, rows, pre ? layer.attentionNorm : undefined), count, hidden, layer.attentionSmooth);
  rt.linear(layer.query, count, at.q);
  if (c.positions === 'rope') rt.rope(at.q, rows, heads);
  rt.kv.attention(i, rows, segments, keys);
  rt.quantize(at.ctx, count, heads * c.headDim, 0);
  rt.linear(layer.output, count, at.h);
  scatter(rt, rows, pre ? undefined : layer.attentionNorm);
}

/** x += feed-forward of rows. */
function feed(rt: Runtime, i: number, rows: readonly Rows[]): void {
  const { config: c } = rt;
  const { at } = rt.plan;
  const layer = rt.weights.layers[i]!;
  const { hidden, ffn } = c;
  const count = countOf(rows);
  const pre = c.normPlace === 'pre';

  rt.quantize(gather(rt, rows, pre ? layer.ffnNorm : undefined), count, hidden, layer.upSmooth);
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
  scatter(rt, rows, pre ? undefined : layer.ffnNorm);
}

/** Where rows of x lie one after another, normed where a norm is given: in x itself, or in h. */
function gather(rt: Runtime, rows: readonly Rows[], norm: NormWeights | undefined): number {
  const { h } = rt.plan.at;
  if (!norm && rows.length === 1) return rt.stream(rows[0]!.first);
  let to = h;
  for (const { first, count } of rows) {
    if (norm) rt.norm(rt.stream(first), count, norm, to);
    else rt.copy(rt.stream(first), count, to);
    to += count * rt.config.hidden * 4;
  }
  return h;
}

/** Rows of x += the rows of h, one after another; then normed where a norm is given. */
function scatter(rt: Runtime, rows: readonly Rows[], norm: NormWeights | undefined): void {
  const { hidden } = rt.config;
  let from = rt.plan.at.h;
  for (const { first, count } of rows) {
    const x = rt.stream(first);
    rt.add(x, from, count * hidden);
    if (norm) rt.norm(x, count, norm, x);
    from += count * hidden * 4;
  }
}

/** Runs steps through without looking up. */
export function finish<T>(steps: Generator<void, T>): T {
  for (;;) {
    const { done, value } = steps.next();
    if (done) return value;
  }
}

/** Logits of rows of x, at most `plan.headRows` together: out f32[count][vocab]. x stays. */
export function logits(rt: Runtime, rows: readonly Rows[]): void {
  const { config: c, weights: w } = rt;
  const count = countOf(rows);
  rt.quantize(gather(rt, rows, w.finalNorm), count, c.hidden, 0);
  rt.head(w.head!, count, rt.plan.at.out);
}
