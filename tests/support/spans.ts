import { kvBlockLayout } from '../../src/kernels/catalogue.js';
import { kvRows, type KvRows } from '../../src/reference/attention.js';
import * as reference from '../../src/reference/ops.js';
import { poisoned } from './arena.js';
import type { Rng } from './rng.js';
import { values, type ValueKind } from './values.js';

const roundUp = (n: number, multiple: number): number => Math.ceil(n / multiple) * multiple;

/** Keys key..key+count−1 lie in slots slot..slot+count−1. */
export interface Run {
  readonly slot: number;
  readonly key: number;
  readonly count: number;
}
export interface Span extends Run {
  readonly block: number;
}

/** A KV block as the kernels hold it (src/kernels/catalogue.ts): the runs' slots from `kv`, every other byte poison. */
export function layOut(kv: KvRows, slots: number, runs: readonly Run[]): Int8Array {
  const { heads, d } = kv;
  const dk = roundUp(d, 4);
  const dv = roundUp(d, 8);
  const at = kvBlockLayout(heads, slots, d);
  const block = new Int8Array(poisoned(at.bytes).buffer, 0, at.bytes);
  const kScales = new Float32Array(block.buffer, at.kScales, heads * slots);
  const vScales = new Float32Array(block.buffer, at.vScales, heads * slots);
  for (let h = 0; h < heads; h++) {
    for (const { slot: slot0, key, count } of runs) {
      for (let slot = slot0; slot < slot0 + count; slot++) {
        const row = (key + slot - slot0) * heads + h;
        for (let i = 0; i < dk; i++) {
          const code = (((h * (slots / 8) + (slot >> 3)) * (dk / 4) + (i >> 2)) * 8 + (slot & 7)) * 4 + (i & 3);
          block[code] = i < d ? kv.k[row * d + i]! : 0;
        }
        for (let i = 0; i < dv; i++) block[at.v + (h * slots + slot) * dv + i] = i < d ? kv.v[row * d + i]! : 0;
        kScales[h * slots + slot] = kv.kScales[row]!;
        vScales[h * slots + slot] = kv.vScales[row]!;
      }
    }
  }
  return block;
}

/** Spans as the kernel reads them: u32[spans][3]. */
export const spanWords = (spans: readonly Span[], addresses: readonly number[]): Uint32Array =>
  Uint32Array.from(spans.flatMap(({ block, slot, count }) => [addresses[block]!, slot, count]));

export interface KeyShape {
  /** Query rows, from key index queryFirst: their own keys are never holes. */
  readonly n: number;
  readonly queryFirst: number;
  readonly keyCount: number;
  readonly kvHeads: number;
  readonly d: number;
  readonly kind?: ValueKind;
  /** How many spans the keys are cut into, over two blocks; one if left out. */
  readonly spans?: number;
  /** Free slots before the first span. */
  readonly lead?: number;
  /** How many extra keys. */
  readonly extras?: number;
  /** some: a third of the other keys; head: the same in one KV head alone, codes left; past: all keys before the rows. */
  readonly holes?: 'none' | 'some' | 'head' | 'past';
}

export interface Keys {
  /** Logical order. */
  readonly kv: KvRows;
  readonly slots: number;
  readonly blocks: readonly Int8Array[];
  readonly spans: readonly Span[];
  /** Key indices, ascending. */
  readonly extras: readonly number[];
}

/** Keys of a shape: data, where they lie, which are holes, which are extra. */
export function drawKeys(rng: Rng, shape: KeyShape): Keys {
  const { keyCount, kvHeads, d, kind } = shape;
  const count = keyCount * kvHeads * d;
  const kv = kvRows(keyCount, kvHeads, d);
  reference.kvAppend(kv, values(rng, count, kind), values(rng, count, kind), 0);
  punchHoles(rng, kv, shape);
  const { spans, slots } = placeSpans(rng, keyCount, shape.spans ?? 1, shape.lead ?? 0);
  const blocks = [0, 1].map((b) =>
    layOut(
      kv,
      slots,
      spans.filter(({ block }) => block === b),
    ),
  );
  return { kv, slots, blocks, spans, extras: pick(rng, keyCount, shape.extras ?? 0) };
}

/** The same keys in one span of one block. */
export function inOneSpan({ kv, extras }: Keys): Keys {
  const count = kv.kScales.length / kv.heads;
  const slots = roundUp(count, 8);
  const spans = [{ block: 0, slot: 0, key: 0, count }];
  return {
    kv,
    slots,
    spans,
    blocks: [layOut(kv, slots, spans)],
    extras,
  };
}

/** Cuts 0..keyCount−1 into spans and lays them in two blocks, in any order, with gaps between. */
function placeSpans(rng: Rng, keyCount: number, count: number, lead: number): { spans: Span[]; slots: number } {
  const cuts = [0, ...pick(rng, keyCount - 1, count - 1).map((cut) => cut + 1), keyCount];
  const runs = cuts.slice(1).map((end, i) => ({ key: cuts[i]!, count: end - cuts[i]!, order: rng.u32() }));
  const top = [lead, 0];
  const spans: Span[] = [];
  for (const { key, count } of runs.sort((a, b) => a.order - b.order)) {
    const block = spans.length === 0 ? 0 : rng.int(0, 1);
    const slot = top[block]! + (spans.length === 0 ? 0 : rng.int(0, 5));
    spans.push({ block, slot, key, count });
    top[block] = slot + count;
  }
  return { spans: spans.sort((a, b) => a.key - b.key), slots: roundUp(Math.max(...top), 8) };
}

function punchHoles(rng: Rng, kv: KvRows, { n, queryFirst, keyCount, holes = 'none' }: KeyShape): void {
  for (let j = 0; j < keyCount; j++) {
    if (holes === 'none' || (j >= queryFirst && j < queryFirst + n)) continue;
    if (holes === 'past' ? j >= queryFirst : rng.int(0, 2) > 0) continue;
    if (holes === 'head') kv.kScales[j * kv.heads + rng.int(0, kv.heads - 1)] = 0;
    else reference.kvErase(kv, 1, j);
  }
}

/** `count` different integers of 0..n−1, ascending. */
function pick(rng: Rng, n: number, count: number): number[] {
  const rest = Array.from({ length: n }, (_, i) => i);
  return Array.from({ length: count }, () => rest.splice(rng.int(0, rest.length - 1), 1)[0]!).sort((a, b) => a - b);
}
