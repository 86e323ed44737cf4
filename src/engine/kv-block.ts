import type { KvTokens } from '../format/snapshot.js';
import { kvBlockLayout } from '../kernels/catalogue.js';
import type { Run } from './ring.js';
import type { Runtime } from './runtime.js';

/**
 * K and V between a session's KV blocks, as the kernels lay them out (kernels/catalogue.ts), and plain rows in logical order.
 * For snapshots: off the hot path, one value at a time.
 */

/** Copies the tokens of `runs` out of every layer's block. */
export function saveKv(rt: Runtime, base: number, runs: readonly Run[]): KvTokens[] {
  const stored = runs.reduce((sum, { count }) => sum + count, 0);
  const { kvHeads, headDim } = rt.config;
  return Array.from({ length: rt.plan.session.layers }, (_, layer) => {
    const tokens = {
      k: new Int8Array(stored * kvHeads * headDim),
      v: new Int8Array(stored * kvHeads * headDim),
      kScales: new Float32Array(stored * kvHeads),
      vScales: new Float32Array(stored * kvHeads),
    };
    const { u8, f32 } = rt.arena;
    visit(rt, base, layer, runs, (i, key, value, scale, keyScale, valueScale) => {
      if (i >= 0) {
        tokens.k[i] = u8[key]!;
        tokens.v[i] = u8[value]!;
      } else {
        tokens.kScales[scale] = f32[keyScale]!;
        tokens.vScales[scale] = f32[valueScale]!;
      }
    });
    return tokens;
  });
}

/** Copies tokens into every layer's block, from slot 0 on; the block is zero beforehand. */
export function loadKv(rt: Runtime, base: number, layers: readonly KvTokens[]): void {
  const { kvHeads } = rt.config;
  layers.forEach((tokens, layer) => {
    const { u8, f32 } = rt.arena;
    const runs = [{ slot: 0, count: tokens.kScales.length / kvHeads }];
    visit(rt, base, layer, runs, (i, key, value, scale, keyScale, valueScale) => {
      if (i >= 0) {
        u8[key] = tokens.k[i]!;
        u8[value] = tokens.v[i]!;
      } else {
        f32[keyScale] = tokens.kScales[scale]!;
        f32[valueScale] = tokens.vScales[scale]!;
      }
    });
  });
}

/** Index in the rows, and addresses; -1 as code index: the pair of scales of one token and head, as f32 indices. */
type Visit = (i: number, key: number, value: number, scale: number, keyScale: number, valueScale: number) => void;

function visit(rt: Runtime, base: number, layer: number, runs: readonly Run[], each: Visit): void {
  const { config, plan } = rt;
  const { kvHeads, headDim: d } = config;
  const { slots } = plan;
  const layout = kvBlockLayout(kvHeads, slots, d);
  const block = base + layer * plan.session.layerBytes;
  const dk = Math.ceil(d / 4) * 4;
  const dv = Math.ceil(d / 8) * 8;
  let token = 0;
  for (const run of runs) {
    for (let slot = run.slot; slot < run.slot + run.count; slot++, token++) {
      for (let head = 0; head < kvHeads; head++) {
        const first = head * slots;
        const tile = block + (first + (slot & ~7)) * dk + (slot & 7) * 4;
        const row = block + layout.v + (first + slot) * dv;
        const scale = token * kvHeads + head;
        const at = (first + slot) * 4;
        each(-1, 0, 0, scale, (block + layout.kScales + at) / 4, (block + layout.vScales + at) / 4);
        for (let i = 0; i < d; i++) each(scale * d + i, tile + (i >> 2) * 32 + (i & 3), row + i, 0, 0, 0);
      }
    }
  }
}
