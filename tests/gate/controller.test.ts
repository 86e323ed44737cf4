import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { judge, type GateRules } from '../../src/gate/controller.js';
import { boundaryFailure, decide, isForced, isStorm, lambdaFailure } from '../../src/gate/decide.js';
import { decideByEnergy, ENERGY_DEFAULTS, energyOutcome } from '../../src/gate/energy.js';
import { POLICIES } from '../../src/gate/policy.js';
import { schedule } from '../../src/gate/scheduler.js';
import { GATE_FLAGS, type GatePacket } from '../../src/packets/gate.js';
import type { SpikePacket } from '../../src/packets/spike.js';
import { gatePackets, spikePackets } from '../packets/support.js';
import { BASELINE, decided, g, nearLimits, policies, shapes, spikes, TIERS } from './support.js';

const { FORCE_SAFE, SKIP } = GATE_FLAGS;
const RULES: GateRules = { policy: POLICIES.default, policyId: 0, scheduler: false };
const ENERGY: GateRules = { ...RULES, energy: ENERGY_DEFAULTS };
const SCHEDULED: GateRules = { ...RULES, scheduler: true };
const judged = (gate: GatePacket, rules: GateRules, spike?: SpikePacket) => judge(gate, spike, rules, BASELINE);

const packets = fc.oneof(gatePackets, nearLimits);
/** Half of the packets fire at a rate where storms are rare, so that every part decides now and then. */
const someSpikes = fc.option(
  fc.oneof(
    spikePackets,
    spikePackets.map((spike) => ({ ...spike, fired: 1 as const, rateQ15: spike.rateQ15 >> 1 })),
  ),
  { nil: undefined },
);
const energies = fc
  .tuple(...(['a', 'b', 'c'] as const).map(() => fc.double({ min: 0, max: 1, noNaN: true })))
  .map(([a, b, c]) => ({ allowBelow: Math.min(a!, b!), quarantineFrom: Math.max(a!, b!), minConfidence: c! }));
const rulesOf = (policy = policies): fc.Arbitrary<GateRules> =>
  fc.record({
    policy,
    policyId: fc.constant(65535),
    energy: fc.option(fc.oneof(energies, fc.constant(ENERGY_DEFAULTS)), { nil: undefined }),
    scheduler: fc.boolean(),
  });
const flagsOff = policies.map((policy) => ({
  ...policy,
  allowKvWriteWhenUnstable: false,
  allowExternalWriteWhenUnstable: false,
}));

describe('who decides', () => {
  test('the rules alone, without energy gate and scheduler', () => {
    fc.assert(
      fc.property(packets, someSpikes, policies, shapes, (gate, spike, policy, shape) => {
        const verdict = judge(gate, spike, { ...RULES, policy }, shape);
        expect(verdict).toEqual({ ...decide(gate, spike, policy, shape), ...writesOf(verdict) });
      }),
    );
  });

  test('the energy gate where it is sure: it allows what the rules reduce', () => {
    const gate = g(400, 400, 25, 0, 1);
    expect(decided(gate)).toMatchObject({ decision: 'ReduceScope', reason: 'BoundarySpike' });
    expect(judged(gate, ENERGY)).toEqual({
      ...TIERS[0],
      decision: 'Allow',
      reason: 'None',
      kvWrites: 1,
      externalWrites: 0,
    });
    const strict = { ...ENERGY, policy: { ...POLICIES.default, allowKvWriteWhenUnstable: false } };
    expect(writesOf(judged(gate, strict))).toEqual({ kvWrites: 0, externalWrites: 0 });
  });

  test('and it reduces what the rules allow, everything being at its limit', () => {
    const gate = g(60, 60, 20, 20480, 10);
    expect(decided(gate)).toMatchObject({ decision: 'Allow', tier: 0 });
    expect(judged(gate, ENERGY)).toEqual({
      ...TIERS[1],
      decision: 'ReduceScope',
      reason: 'LambdaBelowMin',
      kvWrites: 1,
      externalWrites: 0,
    });
    // No check fails: the conservative flag, which is for the unstable, does not take the KV away.
    const strict = { ...ENERGY, policy: { ...POLICIES.default, allowKvWriteWhenUnstable: false } };
    expect(judged(gate, strict).kvWrites).toBe(1);
  });

  test('it quarantines what lies at the very top', () => {
    const gate = g(0, 0, 100, 32767, 10);
    expect(judged(gate, { ...ENERGY, policy: { ...POLICIES.default, lambdaMin: 0 } })).toMatchObject({
      ...TIERS[2],
      decision: 'QuarantineUpdates',
      kvWrites: 0,
      externalWrites: 0,
    });
  });

  test('left unsure, the rules', () => {
    for (const gate of [g(150, 145, 5, 4096, 2), g(20, 100, 50, 20000, 8), g(100, 95, 30)]) {
      expect(decideByEnergy(gate, ENERGY_DEFAULTS).fallback).toBe(true);
      expect(judged(gate, ENERGY)).toEqual(judged(gate, RULES));
    }
  });

  test('what is forced, always the rules: flags, an inactive spike, a storm', () => {
    const gate = g(400, 400, 25, 0, 1);
    for (const [packet, spike] of [
      [{ ...gate, flags: SKIP }, undefined],
      [{ ...gate, flags: FORCE_SAFE }, undefined],
      [gate, spikes({ fired: 0 })],
      [gate, spikes({ rateQ15: 16385 })],
    ] as const) {
      expect(judged(packet, ENERGY, spike)).toMatchObject(decided(packet, spike));
      expect(judged(packet, ENERGY, spike).tier).toBeGreaterThanOrEqual(2);
    }
    expect(judged(gate, ENERGY, spikes({ rateQ15: 16384 })).decision).toBe('Allow');
  });

  test('one of the two, for any packets and rules', () => {
    fc.assert(
      fc.property(packets, someSpikes, rulesOf(), shapes, (gate, spike, rules, shape) => {
        const { decision, reason } = judge(gate, spike, rules, shape);
        const byRules = decide(gate, spike, rules.policy, shape);
        const byEnergy =
          isForced(gate, spike, rules.policy) || !rules.energy ? undefined : energyOutcome(gate, rules.energy);
        expect({ decision, reason }).toEqual({
          decision: (byEnergy ?? byRules).decision,
          reason: (byEnergy ?? byRules).reason,
        });
      }),
      { numRuns: 500 },
    );
  });
});

describe('the scheduler', () => {
  const stable = g(100, 95);
  test.each([
    [20000, 20000, 2, 'SpikeStorm'],
    [16384, 20000, 0, 'None'],
    [10000, 20000, 1, 'None'],
    [10000, 4095, 2, 'None'],
    [8191, 20000, 2, 'None'],
    [1023, 20000, 3, 'None'],
  ] as const)(
    'rate %d, novelty %d: a stable packet runs in tier %d, reason %s',
    (rateQ15, noveltyQ15, tier, reason) => {
      expect(judged(stable, SCHEDULED, spikes({ rateQ15, noveltyQ15 }))).toMatchObject({ ...TIERS[tier], reason });
    },
  );

  test('keeps decision, reason and permissions where it only makes the tier deeper', () => {
    const low = spikes({ rateQ15: 2000, noveltyQ15: 20000 });
    expect(judged(stable, SCHEDULED, low)).toEqual({ ...judged(stable, RULES, low), ...TIERS[2] });
    const reduced = g(100, 95, 30);
    expect(judged(reduced, SCHEDULED, low)).toEqual({ ...judged(reduced, RULES, low), ...TIERS[2] });
    expect(judged(stable, SCHEDULED, low)).toMatchObject({ decision: 'Allow', kvWrites: 1, externalWrites: 1 });
  });

  test('never lifts what the rules lowered', () => {
    const busy = spikes({ rateQ15: 16384, noveltyQ15: 32767 });
    for (const gate of [g(20, 100), g(40, 100), g(100, 95, 30), { ...stable, flags: SKIP }]) {
      expect(judged(gate, SCHEDULED, busy)).toEqual(judged(gate, RULES, busy));
    }
  });

  test('its tier 3 is a skip: nothing runs, no KV is kept, the decision that was not carried out is still named', () => {
    const idle = spikes({ rateQ15: 1023 });
    expect(judged(stable, SCHEDULED, idle)).toEqual({
      ...TIERS[3],
      decision: 'Allow',
      reason: 'None',
      kvWrites: 0,
      externalWrites: 1,
    });
    for (const gate of [g(20, 100), g(40, 100), g(100, 95, 30), { ...stable, flags: FORCE_SAFE }]) {
      const { decision, reason } = decided(gate);
      expect(judged(gate, SCHEDULED, idle)).toEqual({ ...TIERS[3], decision, reason, kvWrites: 0, externalWrites: 0 });
    }
  });

  test('says nothing where no spike packet came', () => {
    expect(judged(stable, SCHEDULED)).toEqual(judged(stable, RULES));
  });

  test('with it no tier is shallower and no more may be written; the tier is the deeper of the two', () => {
    fc.assert(
      fc.property(packets, someSpikes, rulesOf(), shapes, (gate, spike, rules, shape) => {
        const without = judge(gate, spike, { ...rules, scheduler: false }, shape);
        const narrowed = judge(gate, spike, { ...rules, scheduler: true }, shape);
        expect(narrowed.tier).toBe(Math.max(without.tier, spike ? schedule(spike).tier : 0));
        expect(narrowed.kvWrites).toBeLessThanOrEqual(without.kvWrites);
        expect(narrowed.externalWrites).toBeLessThanOrEqual(without.externalWrites);
        expect([narrowed.decision, narrowed.reason]).toEqual([without.decision, without.reason]);
        expect(narrowed.skip).toBe(narrowed.tier === 3 ? 1 : 0);
      }),
      { numRuns: 500 },
    );
  });
});

describe('D2-policy-allow-flags, under any rules', () => {
  test('nothing is written where a check fails and the flags are off', () => {
    fc.assert(
      fc.property(packets, someSpikes, rulesOf(flagsOff), shapes, (gate, spike, rules, shape) => {
        const { policy } = rules;
        const fails =
          lambdaFailure(gate, policy) !== 'None' || boundaryFailure(gate, policy) !== 'None' || isStorm(spike, policy);
        fc.pre(fails);
        expect(writesOf(judge(gate, spike, rules, shape))).toEqual({ kvWrites: 0, externalWrites: 0 });
      }),
      { numRuns: 500 },
    );
  });

  test('nothing is written where a lambda check fails, whatever the flags and the energy', () => {
    fc.assert(
      fc.property(nearLimits, someSpikes, rulesOf(), shapes, (gate, spike, rules, shape) => {
        fc.pre(lambdaFailure(gate, rules.policy) !== 'None');
        expect(writesOf(judge(gate, spike, rules, shape))).toEqual({ kvWrites: 0, externalWrites: 0 });
      }),
      { numRuns: 500 },
    );
    // Nothing coheres, but the boundary is quiet: E is 0.68, and the gate is sure.
    expect(judged(g(0, 0, 5, 8192, 3), ENERGY)).toMatchObject({ decision: 'ReduceScope', tier: 1, kvWrites: 0 });
    // Lambda fell from 4000 to 2000: the rules would flush, the energy of 2000 is low.
    const energy = judged(g(2000, 4000, 0, 0, 1), ENERGY);
    expect(energy).toMatchObject({ decision: 'Allow', tier: 0, kvWrites: 0, externalWrites: 0 });
  });

  test('only Allow writes externally, only Allow and ReduceScope keep KV, and the switches take both away', () => {
    fc.assert(
      fc.property(packets, someSpikes, rulesOf(), shapes, (gate, spike, rules, shape) => {
        const { decision, tier, kvWrites, externalWrites } = judge(gate, spike, rules, shape);
        if (decision !== 'Allow' || !shape.enableExternalWrites) expect(externalWrites).toBe(0);
        if ((decision !== 'Allow' && decision !== 'ReduceScope') || tier === 3 || !shape.enableKvCache) {
          expect(kvWrites).toBe(0);
        }
      }),
      { numRuns: 500 },
    );
  });
});

describe('D1-skip-is-not-consent, under any rules', () => {
  test('no skip permits what the same packets, not skipped, would deny', () => {
    const strict = policies.map((policy) => ({ ...policy, allowExternalWriteWhenUnstable: false }));
    fc.assert(
      fc.property(packets, someSpikes, rulesOf(strict), shapes, (gate, spike, rules, shape) => {
        const busy = spike && { ...spike, fired: 1 as const };
        const asked = judge({ ...gate, flags: gate.flags & ~SKIP }, busy, { ...rules, scheduler: false }, shape);
        const skips = [
          judge({ ...gate, flags: gate.flags | SKIP }, spike, rules, shape),
          judge(gate, spikes({ ...spike, fired: 0 }), rules, shape),
          judge(gate, spikes({ ...spike, fired: 1, rateQ15: 1023 }), { ...rules, scheduler: true }, shape),
        ];
        for (const [i, skipped] of skips.entries()) {
          // FORCE_SAFE comes before an inactive spike: that call runs its safe tier, and writes as little.
          if (i !== 1 || (gate.flags & (SKIP | FORCE_SAFE)) !== FORCE_SAFE) expect(skipped).toMatchObject(TIERS[3]);
          expect(skipped.kvWrites).toBe(0);
          // A storm is no longer one at the rate of the third.
          if (i !== 2 || !isStorm(busy, rules.policy)) {
            expect(skipped.externalWrites).toBeLessThanOrEqual(asked.externalWrites);
          }
        }
      }),
      { numRuns: 1000 },
    );
  });

  test('a skip is held to the energy gate, which would have reduced the same packet', () => {
    const gate = g(60, 60, 20, 20480, 10, SKIP);
    expect(judged(gate, RULES).externalWrites).toBe(1);
    expect(judged(gate, ENERGY)).toMatchObject({ ...TIERS[3], decision: 'Allow', externalWrites: 0 });
  });
});

describe('judge is a function', () => {
  test('DET: frozen inputs, equal results, whatever was judged between', () => {
    fc.assert(
      fc.property(packets, someSpikes, rulesOf(), shapes, (gate, spike, rules, shape) => {
        const inputs = [
          Object.freeze(gate),
          spike && Object.freeze(spike),
          Object.freeze(rules),
          Object.freeze(shape),
        ] as const;
        const first = judge(...inputs);
        judge({ ...gate, flags: gate.flags ^ SKIP }, undefined, { ...rules, scheduler: !rules.scheduler }, shape);
        expect(judge(...inputs)).toEqual(first);
        expect(judge(...inputs)).not.toBe(first);
      }),
    );
  });

  test('a judgement takes less than a microsecond', () => {
    const rules: GateRules = { ...ENERGY, scheduler: true };
    const batch = Array.from({ length: 64 }, (_, i) => g(50 + 10 * i, 100, i, 500 * i, i % 12));
    const spike = spikes({ rateQ15: 12000, noveltyQ15: 9000 });
    let best = Infinity;
    let tiers = 0;
    // The quickest of many short rounds: what it costs, not what else the machine did.
    for (let round = 0; round < 200; round++) {
      const start = performance.now();
      for (let i = 0; i < 20; i++) for (const gate of batch) tiers += judge(gate, spike, rules, BASELINE).tier;
      best = Math.min(best, (performance.now() - start) / (20 * batch.length));
    }
    expect(tiers).toBeGreaterThan(0);
    expect(best).toBeLessThan(0.001);
  });
});

function writesOf({ kvWrites, externalWrites }: { kvWrites: number; externalWrites: number }) {
  return { kvWrites, externalWrites };
}
