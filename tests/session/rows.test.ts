import { beforeAll, describe, expect, test } from '@jest/globals';
import type { GatePacket, InferInput, InferResult, MincutGatedTransformer } from '../../src/core.node.js';
import { POLICY_NAMES } from '../../src/gate/policy.js';
import { planArena } from '../../src/plan/plan.js';
import { g } from '../gate/support.js';
import { models } from '../support/models.js';
import { bits, bitsOf, builds, errorOf, hex, loadRandom, PACKETS, stateOf, tokensOf, valuesOf } from './support.js';

/** The behaviour rows that run through `infer`: names begin with the row. */
const micro = models.micro!;
const baseline = models.baseline!;
const SKIP = 2;
const TIERS: GatePacket[] = [g(100, 95), g(100, 95, 30), g(20, 100), g(100, 95, 5, 8192, 3, SKIP)];
const tokens = tokensOf(baseline, 12, 1).map((t) => t % micro.vocab);

let small: MincutGatedTransformer;
let large: MincutGatedTransformer;
let smallFile: Uint8Array;
beforeAll(async () => {
  ({ model: small, bytes: smallFile } = await loadRandom(micro));
  ({ model: large } = await loadRandom(baseline));
});

/** All a caller can compare of a result, bits for values. */
const seen = (result: InferResult): unknown => ({
  ...{ bits: bitsOf(result), witness: result.witness, stats: result.stats },
});
const nonZero = (result: InferResult): boolean => valuesOf(result).some((v) => v !== 0);

describe('one call', () => {
  test('IN1: micro, four tokens, Allow; a buffer of 10 values is too small and the call has not happened', () => {
    const session = small.createSession();
    const call = { tokens: tokens.slice(0, 4), gate: g(100, 95) };
    const before = hex(session.snapshot());
    const error = errorOf(() => session.infer({ ...call, out: new Float32Array(10) }));
    expect([error.code, error.field, error.got]).toEqual(['OutputTooSmall', 'out', '10']);
    expect(error.message).toMatch(/256.*10/);
    expect(hex(session.snapshot())).toBe(before);
    const out = new Float32Array(300).fill(7);
    const result = session.infer({ ...call, out });
    expect(result.witness.decision).toBe('Allow');
    expect(result.logits).toBe(out);
    expect(bits(out.subarray(0, 256))).toBe(bitsOf(small.infer(call)));
    expect(out.subarray(256).every((v) => v === 7)).toBe(true);
  });

  test('IN3: tiers 1, 2 and 3 run 2, 1 and 0 layers; every count falls; KV is kept at tier 1 only', () => {
    const session = large.createSession();
    const results = TIERS.map((gate) => session.infer({ tokens: tokensOf(baseline, 64, 2), gate }));
    expect(results.map(({ witness }) => [witness.tier, witness.layersExecuted])).toEqual([
      [0, 4],
      [1, 2],
      [2, 1],
      [3, 0],
    ]);
    expect(results.map(({ witness }) => witness.kvWritesEnabled)).toEqual([1, 1, 0, 0]);
    expect(results.map(({ stats }) => stats.upstream.skipped)).toEqual([0, 0, 0, 1]);
    for (let tier = 1; tier < 4; tier++) {
      const [now, before] = [results[tier]!.stats, results[tier - 1]!.stats];
      for (const key of ['qgemmCalls', 'attnDotOps', 'ffnOps', 'kvBytes'] as const)
        expect(now.upstream[key]).toBeLessThan(before.upstream[key]);
      for (const key of ['linear', 'attention'] as const) expect(now.macs[key]).toBeLessThan(before.macs[key]);
    }
  });

  test('IN9: 8, 16, 32 and 64 tokens run, never more than the tier has; 65 are refused', () => {
    const session = large.createSession();
    for (const n of [8, 16, 32, 64])
      for (const gate of TIERS) {
        const result = session.infer({ tokens: tokensOf(baseline, n, n), gate });
        expect(result.witness.effectiveSeqLen).toBe([64, 32, 8, 0][result.witness.tier]);
        expect(nonZero(result)).toBe(true);
      }
    const error = errorOf(() => session.infer({ tokens: tokensOf(baseline, 65, 1) }));
    expect([error.code, error.field, error.got]).toEqual(['BadInput', 'tokens', '65']);
  });

  test('ST1: micro holds q and k of 4096; one token is length 1 and position 1 in every layer; flushed is 0; 123 hits, 456 misses', () => {
    const { regions } = planArena(micro, micro.context);
    for (const name of ['buffers.q', 'buffers.k'])
      expect(regions.find((r) => r.name === name)!.shape.reduce((a, b) => a * b)).toBe(4096);
    const session = small.createSession();
    session.infer({ tokens: [5], signature: 123 });
    const { layers } = stateOf(smallFile, session);
    expect([session.length, session.position]).toEqual([1, 1]);
    expect(layers.map(({ kScales }) => kScales.length / micro.kvHeads)).toEqual([1, 1]);
    session.infer({ tokens: [5], gate: PACKETS.FlushKv });
    expect([session.length, session.position]).toEqual([0, 0]);
    const skip = (signature: number) => session.infer({ tokens: [5], gate: PACKETS.Skip, signature }).stats.cached;
    expect([skip(123), skip(456)]).toEqual([1, 0]);
  });
});

describe('the same again', () => {
  const spikes = { rateQ15: 12000, noveltyQ15: 9000, flags: 1, topIdx: [0, 2], topWQ15: [9, 8] };
  const extremes: InferInput[] = [
    { tokens: [0], gate: g(0, 0, 0, 0, 0) },
    { tokens: [micro.vocab - 1], gate: g(2 ** 32 - 1, 2 ** 32 - 1, 65535, 32767, 65535) },
  ];
  const calls: InferInput[] = [
    ...TIERS.flatMap((gate) => [
      { tokens, gate },
      { tokens: tokens.slice(0, 3), gate, spikes, signature: 3 },
    ]),
    ...extremes,
    { tokens: tokens.slice(0, 1), spikes: { fired: 0 } },
  ];

  test.each([
    ['micro', 'IN4'],
    ['baseline', 'IN4'],
  ])(
    '%s: %s: equal values, witness and stats after a reset and on a second instance, every tier and policy',
    async (name) => {
      for (const policy of POLICY_NAMES) {
        const [a, b] = await Promise.all([1, 2].map(() => loadRandom(models[name]!, { policy })));
        const [first, second] = [a!.model.createSession(), b!.model.createSession()];
        const once = calls.map((call) => first.infer(call));
        expect(once.every(nonZero)).toBe(true);
        first.reset();
        expect(calls.map((call) => seen(first.infer(call)))).toEqual(once.map(seen));
        expect(calls.map((call) => seen(second.infer(call)))).toEqual(once.map(seen));
        expect(hex(second.snapshot())).toBe(hex(first.snapshot()));
      }
    },
  );

  test.each(['micro', 'baseline'])(
    'DET: %s: policies, tiers, spikes, sequences, extremes; every build',
    async (name) => {
      const config = models[name]!;
      for (const policy of POLICY_NAMES) {
        const runs = await Promise.all(
          [...builds, ...builds].map(async (simd) => {
            const { model } = await loadRandom(config, { policy, simd, scheduler: true, energy: true });
            const session = model.createSession({ seed: 1 });
            const results = calls.map((call) => session.infer(call));
            const counts = results.map(({ stats }) => ({ ...stats, build: '', kernelCalls: {}, relaxedDot: 0 }));
            const values = results.map((result) => [bitsOf(result), result.witness]);
            return {
              values,
              counts,
              state: hex(session.snapshot()),
              stateless: calls.map((c) => bitsOf(model.infer(c))),
            };
          }),
        );
        for (const run of runs) expect(run).toEqual(runs[0]);
      }
    },
  );
});

describe('signatures', () => {
  const stable = { tokens: tokens.slice(0, 6), gate: g(100, 95), signature: 12345 };
  const skip = (signature: number | undefined, gate = g(100, 95, 5, 8192, 3, SKIP)): InferInput => ({
    ...{ tokens: tokens.slice(0, 6), gate, signature },
  });
  const cheap = (): string => bitsOf(large.infer(skip(undefined)));

  test('IN5: a skip of the same name gives the cached logits; of another name, or after a reset, the cheap path', () => {
    const session = large.createSession();
    const kept = bitsOf(session.infer(stable));
    const hit = session.infer(skip(12345));
    expect([bitsOf(hit), hit.stats.upstream.skipped, hit.stats.cached]).toEqual([kept, 1, 1]);
    expect(hit.stats.kernelCalls).toEqual({});
    for (const other of [12346, undefined, 0]) {
      const miss = session.infer(skip(other));
      expect([bitsOf(miss), miss.stats.upstream.skipped, miss.stats.cached]).toEqual([cheap(), 1, 0]);
    }
    expect(cheap()).not.toBe(kept);
    expect(bitsOf(session.infer(skip(12345)))).toBe(kept);
    session.reset();
    const after = session.infer(skip(12345));
    expect([bitsOf(after), after.stats.cached]).toEqual([cheap(), 0]);
    expect(nonZero(after)).toBe(true);
  });

  test('IN5: a signature of 0 is a name like any other; a stateless call keeps none', () => {
    const session = large.createSession();
    const kept = bitsOf(session.infer({ ...stable, signature: 0 }));
    expect(bitsOf(session.infer(skip(0)))).toBe(kept);
    large.infer(stable);
    expect(large.infer(skip(12345)).stats.cached).toBe(0);
  });

  test('IN6: an unstable skip is still a skip with its cached answer, but no consent', () => {
    const session = large.createSession();
    const kept = bitsOf(session.infer(stable));
    const result = session.infer(skip(12345, g(5, 100, 5, 8192, 3, SKIP)));
    expect([bitsOf(result), result.stats.upstream.skipped]).toEqual([kept, 1]);
    expect(result.witness).toMatchObject({ reason: 'LambdaBelowMin', externalWritesEnabled: 0, kvWritesEnabled: 0 });
  });

  test('D3 quarantine-discards: the output of a call that is not kept answers no skip', () => {
    for (const gate of [PACKETS.QuarantineUpdates, PACKETS.FreezeWrites, PACKETS.FlushKv]) {
      const session = large.createSession();
      session.infer({ ...stable, gate });
      expect(session.infer(skip(12345)).stats.cached).toBe(0);
    }
  });
});

describe('sequences of calls', () => {
  test('IN7: of activity 1 0 0 1 0 0 0 1 0 0, seven are skips', () => {
    const session = small.createSession();
    const activity = [1, 0, 0, 1, 0, 0, 0, 1, 0, 0] as const;
    const skips = activity.map((fired) => session.infer({ tokens: [1], spikes: { fired } }).stats.upstream.skipped);
    expect(skips).toEqual(activity.map((fired) => 1 - fired));
    expect(session.trace.skipRate).toBe(0.7);
    expect(session.length).toBe(3);
  });

  test('IN8: as coherence falls, 4, 4, 4, 2, 2 layers run', () => {
    const session = large.createSession();
    const lambdas = [
      [100, 95, 5],
      [95, 100, 10],
      [90, 95, 20],
      [85, 90, 35],
      [40, 85, 40],
    ] as const;
    const layers = lambdas.map(([now, before, edges]) => {
      const { stats } = session.infer({ tokens, gate: g(now, before, edges) });
      expect(stats.kernelCalls.attention).toBe(stats.layersExecuted);
      return stats.layersExecuted;
    });
    expect(layers).toEqual([4, 4, 4, 2, 2]);
  });

  test('G13: an oscillation empties the cache at each fall and fills it between', () => {
    const session = small.createSession();
    const lambdas = [100, 50, 100, 45, 100, 40, 100, 35];
    const path = lambdas.map((lambda, i) => {
      const { witness } = session.infer({ tokens: [1, 2, 3], gate: g(lambda, lambdas[i - 1] ?? lambda) });
      return [witness.decision, session.length];
    });
    expect(path).toEqual(lambdas.map((_, i) => (i % 2 === 0 ? ['Allow', 3] : ['FlushKv', 0])));
    expect(session.trace.interventionRate).toBe(0.5);
  });

  test('G14: a slow fall and a rise run in full and keep everything', () => {
    const falling = Array.from({ length: 9 }, (_, i) => g(95 - 5 * i, 100 - 5 * i));
    const rising = Array.from({ length: 9 }, (_, i) => g(60 + 10 * i, 50 + 10 * i));
    const session = small.createSession();
    for (const gate of [...falling, ...rising])
      expect(session.infer({ tokens: [1], gate }).witness).toMatchObject({ tier: 0, layersExecuted: 2 });
    expect(session.length).toBe(18);
  });

  test('G15: ten times the same packet after a reset: the same decision, bits and state', () => {
    const session = small.createSession();
    const results = Array.from({ length: 10 }, () => {
      session.reset();
      const result = session.infer({ tokens: tokens.slice(0, 5), gate: g(50, 80, 25, 10000, 5) });
      expect(result.witness).toMatchObject({ decision: 'ReduceScope', reason: 'BoundarySpike' });
      return [seen(result), hex(session.snapshot())];
    });
    for (const result of results) expect(result).toEqual(results[0]);
  });

  test('G16: the extremes run, the same each time, and keep what their decision says', () => {
    const session = small.createSession();
    session.infer({ tokens: [1, 2] });
    for (let i = 0; i < 3; i++) {
      const before = hex(session.snapshot());
      const low = session.infer({ tokens: [3], gate: g(0, 100) });
      expect(low.witness).toMatchObject({ decision: 'QuarantineUpdates', reason: 'LambdaBelowMin' });
      expect(hex(session.snapshot())).toBe(before);
      const high = session.infer({ tokens: [3], gate: g(2 ** 32 - 1, 2 ** 32 - 1, 65535, 32767, 65535) });
      expect(high.witness).toMatchObject({ decision: 'ReduceScope', reason: 'BoundarySpike' });
      expect(session.length).toBe(3 + i);
      expect([nonZero(low), nonZero(high)]).toEqual([true, true]);
    }
  });

  test('G17: of 5 to 40 edges, 25 and more intervene', () => {
    const session = large.createSession();
    const layers = [5, 10, 15, 20, 25, 30, 35, 40].map(
      (edges) => session.infer({ tokens: [1], gate: g(100, 95, edges) }).stats.layersExecuted,
    );
    expect(layers).toEqual([4, 4, 4, 4, 2, 2, 2, 2]);
  });
});

describe('energy gate and scheduler decide what runs', () => {
  test('SP1, SP2: rate and novelty choose the tier that runs; silence computes nothing', async () => {
    const { model } = await loadRandom(baseline, { scheduler: true });
    const rows = [
      [20000, 20000, 4],
      [10000, 20000, 2],
      [16384, 4095, 2],
      [16384, 4096, 4],
      [8191, 20000, 1],
      [1023, 20000, 0],
    ] as const;
    // The default policy calls more than 16384 a storm.
    model.setPolicy({ spikeRateQ15Max: 32767 });
    for (const [rateQ15, noveltyQ15, layers] of rows) {
      const session = model.createSession();
      const { stats, witness } = session.infer({ tokens, spikes: { rateQ15, noveltyQ15 } });
      expect([rateQ15, stats.kernelCalls.attention ?? 0, witness.layersExecuted]).toEqual([rateQ15, layers, layers]);
      expect(session.length).toBe(layers === 0 ? 0 : Math.min(tokens.length, witness.effectiveSeqLen));
      session.dispose();
    }
    const silent = model.createSession();
    const { witness } = silent.infer({ tokens, spikes: { fired: 0, rateQ15: 20000 } });
    expect([witness.tier, silent.length]).toEqual([3, 0]);
  });

  test('EN5: the energy gate decides where it is sure: packets within every rule run reduced, and force still wins', async () => {
    const { model } = await loadRandom(baseline, { energy: true });
    const session = model.createSession();
    const sure = g(50, 50, 20, 20480, 10);
    expect(large.infer({ tokens, gate: sure }).witness.decision).toBe('Allow');
    const { witness, stats } = session.infer({ tokens, gate: sure });
    expect(witness).toMatchObject({ decision: 'ReduceScope', tier: 1, kvWritesEnabled: 1, externalWritesEnabled: 0 });
    expect(stats.kernelCalls.attention).toBe(2);
    expect(session.infer({ tokens, gate: g(150, 145, 5, 4096, 2) }).witness.decision).toBe('Allow');
    expect(session.infer({ tokens, gate: { ...sure, flags: SKIP } }).witness.tier).toBe(3);
    expect(session.infer({ tokens, gate: { ...sure, flags: 1 } }).witness.reason).toBe('ForcedByFlag');
  });
});
