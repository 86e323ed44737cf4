import { describe, expect, test } from '@jest/globals';
import type { InferInput, ModelConfig, Stats } from '../../src/core.node.js';
import { models } from '../support/models.js';
import { loadRandom, PACKETS, stateOf, tokensOf } from './support.js';

/** Counts of a session's calls against closed formulas: what ran, unpadded, and the crate's own figures. */

interface Counted {
  /** Rows that ran, tokens stored before them, layers that ran and layers that only kept K and V. */
  readonly rows: number;
  readonly stored: number;
  readonly layers: number;
  readonly filled: number;
  readonly window: number;
  /** Keys seen beside the window. */
  readonly extras: readonly number[];
}

/** Multiply-accumulates by the shapes alone. */
function macs(c: ModelConfig, { rows, stored, layers, filled, window, extras }: Counted): Stats['macs'] {
  const kv = 2 * c.hidden * c.kvHeads * c.headDim;
  const layer = kv + 2 * c.hidden * c.hidden + (c.gatedFfn ? 3 : 2) * c.hidden * c.ffn;
  let pairs = 0;
  for (let row = 0; row < rows; row++) {
    const key = stored + row;
    const seen = new Set(extras.filter((x) => x <= key || !c.causal));
    const last = c.causal ? key : Math.min(rows - 1, key + window - 1);
    for (let j = Math.max(0, key - window + 1); j <= last; j++) seen.add(j);
    pairs += seen.size;
  }
  return {
    linear: rows * (layers * layer + filled * kv),
    attention: layers * pairs * 2 * c.heads * c.headDim,
    head: c.kind === 'decoder' ? c.vocab * c.hidden : 0,
    gate: 0,
  };
}

/** Kernel calls of a decoder's layers: one per operation, whatever the rows; norms, RoPE and gates as the family has them. */
function kernelCalls(c: ModelConfig, { rows, layers, filled }: Counted): Record<string, number> {
  const norm = c.norm === 'rmsnorm' ? 'rmsNorm' : 'layerNorm';
  const matmul = `${rows === 1 ? 'gemv' : 'gemm'}I8`;
  const calls: Record<string, number> = {
    embed: 1,
    attention: layers,
    [norm]: 2 * layers + filled + 1,
    quantize: 4 * layers + filled + 1,
    add: 2 * layers,
  };
  const more = (name: string, n: number): void => void (calls[name] = (calls[name] ?? 0) + n);
  more(matmul, layers * (c.gatedFfn ? 7 : 6) + 2 * filled);
  more('gemvI8', 1); // the head
  more(c.activation === 'gelu_tanh' ? 'geluTanh' : c.activation, layers);
  if (c.gatedFfn) more('mul', layers);
  if (c.positions === 'rope') more('rope', 2 * layers + filled);
  if (c.positions === 'learned') more('addRows', 1);
  return Object.fromEntries(Object.entries(calls).filter(([, n]) => n > 0));
}

/** Runs of neighbouring slots of the tokens from..to−1 kept since the ring was empty: token t lies at t, later round the ring. */
function runsOf(from: number, to: number, capacity: number, sinks: number): number {
  const slot = (t: number): number => (t < capacity ? t : sinks + ((t - sinks) % (capacity - sinks)));
  let runs = 1;
  for (let t = from + 1; t < to; t++) if (slot(t) !== slot(t - 1) + 1) runs++;
  return runs;
}

const without = (calls: object, ...names: string[]): object =>
  Object.fromEntries(Object.entries(calls).filter(([name]) => !names.includes(name)));

describe.each(['micro', 'baseline', 'odd decoder', 'windowed decoder', 'gpt-like'])('%s', (name) => {
  const config = models[name]!;
  const C = config.context;
  const tiers = config.tiers;
  const [full, reduced, safe] = [
    { layers: config.layers, tokens: C, window: tiers?.windowNormal ?? C },
    {
      layers: tiers?.layersDegraded ?? Math.ceil(config.layers / 2),
      tokens: tiers?.seqLenDegraded ?? C >> 1,
      window: tiers?.windowDegraded ?? Math.max(4, C >> 2),
    },
    { layers: 1, tokens: tiers?.seqLenSafe ?? C >> 3, window: Math.min(4, tiers?.windowNormal ?? C) },
  ];
  const SHAPES = {
    Allow: full,
    ReduceScope: reduced,
    FlushKv: reduced,
    FreezeWrites: safe,
    QuarantineUpdates: safe,
  } as const;

  test.each(['propagate', 'hole'] as const)('macs and kernel calls of n tokens after m, %s', async (kvFill) => {
    const { model, bytes } = await loadRandom(config, { simd: 'plain' });
    const sinks = 3;
    const session = model.createSession({ sinks, kvFill });
    const walk: [keyof typeof SHAPES, number][] = [
      ['Allow', 5],
      ['QuarantineUpdates', 1],
      ['Allow', 1],
      ['ReduceScope', 4],
      ['FreezeWrites', 6],
      ['Allow', 9],
      ['ReduceScope', 2],
      ...(config.positions === 'learned'
        ? []
        : ([
            ['Allow', C - 8],
            ['ReduceScope', C],
            ['QuarantineUpdates', 3],
            ['Allow', 1],
          ] as [keyof typeof SHAPES, number][])),
      ['FlushKv', 7],
      ['Allow', 2],
    ];
    let kept = 0;
    for (const [i, [decision, n]] of walk.entries()) {
      const shape = SHAPES[decision];
      const stored = decision === 'FlushKv' ? 0 : stateOf(bytes, session).positions.length;
      const rows = Math.min(n, shape.tokens);
      const writes = decision === 'Allow' || decision === 'ReduceScope';
      const window = Math.min(shape.window, C - sinks);
      const shown = window < full.window ? Math.min(sinks, stored + rows) : 0;
      const skipped = writes ? config.layers - shape.layers : 0;
      const counted = {
        ...{ rows, stored, layers: shape.layers, window },
        filled: kvFill === 'propagate' ? skipped : 0,
        extras: Array.from({ length: shown }, (_, k) => k),
      };
      const { stats, witness } = session.infer({ tokens: tokensOf(config, n, i), gate: PACKETS[decision] });
      expect(witness.decision).toBe(decision);
      expect([i, stats.macs]).toEqual([i, macs(config, counted)]);
      expect([i, stats.layersExecuted]).toEqual([i, shape.layers]);
      // K and V are written run by run of the ring's slots, through scratch where that overwrites what a row still sees.
      const runs = writes ? runsOf(kept, kept + rows, C, sinks) : 0;
      const scratch = !writes || stored + rows > C;
      const kv = stats.kernelCalls;
      expect(without(kv, 'kvAppend', 'kvCopy', 'kvErase')).toEqual(kernelCalls(config, counted));
      expect(kv.kvAppend).toBe(shape.layers * (scratch ? 1 : runs) + counted.filled * runs);
      expect(kv.kvCopy ?? 0).toBe(scratch ? shape.layers * runs : 0);
      expect(kv.kvErase ?? 0).toBe(kvFill === 'hole' ? skipped * runs : 0);
      kept = decision === 'FlushKv' ? 0 : kept + (writes ? rows : 0);
      expect(stats.relaxedDot).toBe(0);
    }
  });

  test('sparse keys are counted where they are outside the window, once', async () => {
    const { model } = await loadRandom(config, { simd: 'plain' });
    const session = model.createSession({ sinks: 0 });
    session.infer({ tokens: tokensOf(config, 20, 1) });
    const call = (topIdx: number[]): InferInput => ({
      tokens: [1, 2],
      gate: PACKETS.FreezeWrites,
      spikes: { flags: 3, topIdx, topWQ15: topIdx.map(() => 1) },
    });
    const counted = { rows: 2, stored: 20, layers: 1, filled: 0, window: safe.window };
    // Position 21 is the call's second token: its first never sees it. 500 is unknown, 19 in the window, 3 there twice.
    for (const [given, extras] of [
      [[], []],
      [
        [3, 7, 3],
        [3, 7],
      ],
      [
        [0, 19, 21, 500],
        [0, 19, 21],
      ],
    ] as const)
      expect(session.infer(call([...given])).stats.macs).toEqual(macs(config, { ...counted, extras }));
  });

  test('a skip counts the cheap path alone, a cached one nothing', async () => {
    const { model } = await loadRandom(config, { simd: 'plain' });
    const session = model.createSession();
    session.infer({ tokens: tokensOf(config, 6, 1), signature: 4 });
    const none = { rows: 1, stored: 6, layers: 0, filled: 0, window: 1, extras: [] };
    const { stats } = session.infer({ tokens: tokensOf(config, 6, 1), gate: PACKETS.Skip });
    expect(stats).toMatchObject({ cached: 0, layersExecuted: 0, macs: { linear: 0, attention: 0, gate: 0 } });
    expect(stats.macs.head).toBe(config.vocab * config.hidden);
    expect(stats.kernelCalls).toEqual(kernelCalls(config, none));
    const cached = session.infer({ tokens: [1], gate: PACKETS.Skip, signature: 4 }).stats;
    expect(cached).toMatchObject({ cached: 1, kernelCalls: {}, layersExecuted: 0 });
    expect(cached.macs).toEqual({ linear: 0, attention: 0, head: 0, gate: 0 });
  });
});

test("IN2: the crate's own figures of baseline at tier 0, whatever the input's length and whatever is stored", async () => {
  const { model } = await loadRandom(models.baseline!);
  const session = model.createSession();
  const expected = {
    ...{ qgemmCalls: 25, attnDotOps: 4096, ffnOps: 262144, kvBytes: 2048 },
    ...{ effectiveSeqLen: 64, effectiveWindow: 16, tier: 0, skipped: 0, layersExecuted: 4, earlyExitLayer: -1 },
  };
  for (const n of [1, 2, 17, 64]) {
    const input = { tokens: tokensOf(models.baseline!, n, n) };
    expect(model.infer(input).stats.upstream).toEqual(expected);
    expect(session.infer(input).stats.upstream).toEqual(expected);
  }
});
