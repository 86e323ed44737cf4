import { describe, expect, test } from '@jest/globals';
import { judge } from '../../src/gate/controller.js';
import { choosePolicy } from '../../src/gate/policy.js';
import { upstreamStats, type UpstreamStats } from '../../src/gate/upstream.js';
import { GATE_FLAGS, type GatePacket } from '../../src/packets/gate.js';
import { presetModel } from '../../src/presets.js';
import { BASELINE, g } from './support.js';

const MODEL = presetModel('baseline');
const judged = (gate: GatePacket) => judge(gate, undefined, { ...choosePolicy(undefined), scheduler: false }, BASELINE);
const stats = (gate: GatePacket): UpstreamStats => {
  const verdict = judged(gate);
  return upstreamStats(MODEL, verdict, verdict.layersToRun);
};
const TIER_PACKETS = [g(100, 95), g(100, 95, 30), g(20, 100), g(100, 95, 5, 8192, 3, GATE_FLAGS.SKIP)];

describe("the crate's own figures", () => {
  test('IN2: baseline at tier 0', () => {
    expect(stats(g(100, 95))).toEqual({
      tier: 0,
      layersExecuted: 4,
      qgemmCalls: 25,
      attnDotOps: 4096,
      ffnOps: 262144,
      kvBytes: 2048,
      earlyExitLayer: -1,
      skipped: 0,
      effectiveSeqLen: 64,
      effectiveWindow: 16,
    });
  });

  test('IN3: every count falls from tier to tier; layers 4, 2, 1, 0; only tier 3 is skipped', () => {
    const tiers = TIER_PACKETS.map(stats);
    expect(tiers.map(({ tier }) => tier)).toEqual([0, 1, 2, 3]);
    expect(tiers.map(({ layersExecuted }) => layersExecuted)).toEqual([4, 2, 1, 0]);
    expect(tiers.map(({ skipped }) => skipped)).toEqual([0, 0, 0, 1]);
    for (const key of ['qgemmCalls', 'attnDotOps', 'ffnOps', 'kvBytes'] as const) {
      for (let tier = 1; tier < 4; tier++) expect(tiers[tier]![key]).toBeLessThan(tiers[tier - 1]![key]);
    }
  });

  test('IN3: KV writes 1 at tier 1, 0 at tier 2, none in a skip', () => {
    expect(TIER_PACKETS.slice(1).map((gate) => judged(gate).kvWrites)).toEqual([1, 0, 0]);
  });

  test('a skip is zeros', () => {
    expect(stats(TIER_PACKETS[3]!)).toEqual({
      tier: 3,
      layersExecuted: 0,
      qgemmCalls: 0,
      attnDotOps: 0,
      ffnOps: 0,
      kvBytes: 0,
      earlyExitLayer: -1,
      skipped: 1,
      effectiveSeqLen: 0,
      effectiveWindow: 0,
    });
  });

  test('fewer layers than decided count as an exit before the next one, the first layer included', () => {
    const verdict = judged(g(100, 95));
    expect(upstreamStats(MODEL, verdict, 3)).toMatchObject({ earlyExitLayer: 3, qgemmCalls: 19, attnDotOps: 3072 });
    expect(upstreamStats(MODEL, verdict, 0)).toMatchObject({ earlyExitLayer: 0, qgemmCalls: 1, ffnOps: 0 });
  });
});
