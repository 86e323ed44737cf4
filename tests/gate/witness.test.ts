import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { judge } from '../../src/gate/controller.js';
import { choosePolicy, POLICIES } from '../../src/gate/policy.js';
import { witnessOf } from '../../src/gate/witness.js';
import { GATE_FLAGS, type GatePacket } from '../../src/packets/gate.js';
import { decodeWitness, witnessBytes } from '../../src/packets/witness.js';
import { gatePackets, spikePackets } from '../packets/support.js';
import { BASELINE, decided, g, nearLimits, policies, shapes, spikes, witnessed } from './support.js';

const { FORCE_SAFE, SKIP } = GATE_FLAGS;
const withFlags = (gate: GatePacket, flags: number): GatePacket => ({ ...gate, flags });
const STABLE = g(100, 95);
/** One packet for each decision of the default policy. */
const ALLOW = STABLE;
const REDUCE = g(100, 95, 30);
const FLUSH = g(40, 100);
const FREEZE = withFlags(STABLE, FORCE_SAFE);
const QUARANTINE = g(20, 100);
const ALL = [ALLOW, REDUCE, FLUSH, FREEZE, QUARANTINE];

describe('the witness of a call', () => {
  test('says what was seen, decided and run', () => {
    const rules = { ...choosePolicy('conservative'), scheduler: false };
    const verdict = judge(g(40, 100, 5, 8192, 3), undefined, { ...rules, policy: POLICIES.default }, BASELINE);
    expect(witnessOf(g(40, 100, 5, 8192, 3), verdict, 1, rules.policyId)).toEqual({
      lambda: 40,
      lambdaPrev: 100,
      lambdaDelta: -60,
      topBoundaryEdgeIds: [0, 0, 0, 0, 0, 0, 0, 0],
      effectiveSeqLen: 32,
      effectiveWindow: 8,
      boundaryEdges: 5,
      boundaryConcentrationQ15: 8192,
      partitionCount: 3,
      decision: 'FlushKv',
      reason: 'LambdaDroppedFast',
      kvWritesEnabled: 0,
      externalWritesEnabled: 0,
      tier: 1,
      flags: 0,
      layersExecuted: 1,
      policyId: 1,
    });
  });

  test('survives its 64 bytes, whatever was decided', () => {
    const anySpikes = fc.option(spikePackets, { nil: undefined });
    fc.assert(
      fc.property(fc.oneof(gatePackets, nearLimits), anySpikes, policies, shapes, (gate, spike, policy, shape) => {
        const witness = witnessed(gate, { spike, policy, shape });
        expect(decodeWitness(new DataView(witnessBytes(witness).buffer), 0)).toEqual(witness);
      }),
    );
  });

  test('counts beyond u16 read 65535', () => {
    const shape = { ...BASELINE, seqLen: 131072, windowNormal: 131072, layers: 70000 };
    const verdict = judge(STABLE, undefined, { ...choosePolicy(undefined), scheduler: false }, shape);
    expect(verdict.effectiveSeqLen).toBe(131072);
    const witness = witnessOf(STABLE, verdict, verdict.layersToRun, 0);
    expect([witness.effectiveSeqLen, witness.effectiveWindow, witness.layersExecuted]).toEqual([65535, 65535, 65535]);
  });

  test('its edge ids cannot be changed by who receives them', () => {
    expect(Object.isFrozen(witnessed(STABLE).topBoundaryEdgeIds)).toBe(true);
  });
});

describe('D1-skip-is-not-consent', () => {
  const skip = (gate: GatePacket, more: Parameters<typeof witnessed>[1] = {}) => witnessed(withFlags(gate, SKIP), more);
  const idle = spikes({ fired: 0 });

  test('a skip keeps the reason of a failing lambda check and permits nothing', () => {
    const denied = { decision: 'Allow', tier: 3, kvWritesEnabled: 0, externalWritesEnabled: 0, layersExecuted: 0 };
    for (const lambda of [0, 29]) {
      expect(skip(g(lambda, lambda))).toMatchObject({ ...denied, reason: 'LambdaBelowMin' });
      expect(witnessed(g(lambda, lambda), { spike: idle })).toMatchObject({ ...denied, reason: 'LambdaBelowMin' });
    }
    expect(skip(g(40, 100))).toMatchObject({ ...denied, reason: 'LambdaDroppedFast' });
    expect(witnessed(g(40, 100), { spike: idle })).toMatchObject({ ...denied, reason: 'LambdaDroppedFast' });
  });

  test('a skip of a stable packet permits external writes, never KV writes', () => {
    const allowed = { decision: 'Allow', tier: 3, kvWritesEnabled: 0, externalWritesEnabled: 1 };
    expect(skip(STABLE)).toMatchObject({ ...allowed, reason: 'ForcedByFlag' });
    expect(skip(g(30, 48, 20, 20480, 10))).toMatchObject({ ...allowed, reason: 'ForcedByFlag' });
    expect(witnessed(STABLE, { spike: idle })).toMatchObject({ ...allowed, reason: 'None' });
  });

  test.each([
    ['edges', g(100, 95, 21), undefined],
    ['concentration', g(100, 95, 5, 20481), undefined],
    ['partitions', g(100, 95, 5, 8192, 11), undefined],
    ['a storm', STABLE, spikes({ rateQ15: 16385 })],
    ['FORCE_SAFE', FREEZE, undefined],
  ])('a skip over %s permits nothing, though its reason is its own', (_, gate, spike) => {
    const witness = witnessed(withFlags(gate, gate.flags | SKIP), { spike });
    expect(witness).toMatchObject({ reason: 'ForcedByFlag', kvWritesEnabled: 0, externalWritesEnabled: 0 });
  });

  test('no skip permits what the same packets, not skipped, would deny', () => {
    const anySpikes = fc.option(spikePackets, { nil: undefined });
    const strict = policies.map((policy) => ({ ...policy, allowExternalWriteWhenUnstable: false }));
    fc.assert(
      fc.property(nearLimits, anySpikes, strict, shapes, (gate, spike, policy, shape) => {
        const asked = witnessed(withFlags(gate, gate.flags & ~SKIP), {
          spike: spike && { ...spike, fired: 1 },
          policy,
          shape,
        });
        const skips = [
          witnessed(withFlags(gate, gate.flags | SKIP), { spike, policy, shape }),
          witnessed(gate, { spike: spikes({ ...spike, fired: 0 }), policy, shape }),
        ];
        for (const skipped of skips) {
          expect(skipped.kvWritesEnabled).toBe(0);
          expect(skipped.externalWritesEnabled).toBeLessThanOrEqual(asked.externalWritesEnabled);
        }
      }),
      { numRuns: 1000 },
    );
  });
});

describe('D2-policy-allow-flags', () => {
  const writes = (gate: GatePacket, policy: unknown, shape = BASELINE) => {
    const witness = witnessed(gate, { policy, shape });
    return [witness.kvWritesEnabled, witness.externalWritesEnabled];
  };

  test.each([
    ['default', true, false],
    ['conservative flags', false, false],
    ['both', true, true],
    ['external only', false, true],
  ])('the table under %s: flags only narrow what a decision permits', (_, kv, external) => {
    const policy = { allowKvWriteWhenUnstable: kv, allowExternalWriteWhenUnstable: external };
    expect(ALL.map((gate) => writes(gate, policy))).toEqual([
      [1, 1],
      [kv ? 1 : 0, 0],
      [0, 0],
      [0, 0],
      [0, 0],
    ]);
  });

  test('the three policies on a packet each of them reduces', () => {
    const gate = g(100, 100, 60);
    expect(writes(gate, 'default')).toEqual([1, 0]);
    expect(writes(gate, 'conservative')).toEqual([0, 0]);
    expect(writes(gate, 'permissive')).toEqual([1, 0]);
  });

  test('quarantine blocks whatever the policy allows', () => {
    expect(witnessed(g(5, 5), { policy: 'permissive' })).toMatchObject({
      decision: 'QuarantineUpdates',
      kvWritesEnabled: 0,
      externalWritesEnabled: 0,
    });
  });

  test('the external flag reaches skips over a boundary, not over lambda or FORCE_SAFE', () => {
    const policy = { allowExternalWriteWhenUnstable: true };
    const external = (gate: GatePacket) => witnessed(gate, { policy }).externalWritesEnabled;
    expect(external(withFlags(REDUCE, SKIP))).toBe(1);
    expect(external(withFlags(FLUSH, SKIP))).toBe(0);
    expect(external(withFlags(QUARANTINE, SKIP))).toBe(0);
    expect(external(withFlags(STABLE, SKIP | FORCE_SAFE))).toBe(0);
  });

  test('a switch of the configuration blocks its writes under every decision', () => {
    const policy = { allowKvWriteWhenUnstable: true, allowExternalWriteWhenUnstable: true };
    for (const gate of [...ALL, withFlags(STABLE, SKIP)]) {
      const [kv, external] = writes(gate, policy);
      expect(writes(gate, policy, { ...BASELINE, enableKvCache: false })).toEqual([0, external]);
      expect(writes(gate, policy, { ...BASELINE, enableExternalWrites: false })).toEqual([kv, 0]);
    }
  });
});

describe('D5-q15-saturates', () => {
  test('a fall to 0 exceeds even the largest maximum', () => {
    const policy = { ...POLICIES.default, lambdaMin: 0, dropRatioQ15Max: 32767 };
    for (const previous of [1, 100, 2 ** 32 - 1]) {
      expect(decided(g(0, previous), undefined, policy)).toMatchObject({
        decision: 'FlushKv',
        reason: 'LambdaDroppedFast',
      });
    }
    expect(decided(g(1, 2 ** 15), undefined, policy).decision).toBe('Allow');
  });
});

describe('D6-lambda-delta-saturates', () => {
  test.each([
    [2 ** 32 - 1, 0, 2 ** 31 - 1],
    [2 ** 31, 0, 2 ** 31 - 1],
    [2 ** 31, 1, 2 ** 31 - 1],
    [2 ** 31 - 1, 0, 2 ** 31 - 1],
    [0, 2 ** 32 - 1, -(2 ** 31)],
    [0, 2 ** 31, -(2 ** 31)],
    [0, 2 ** 31 - 1, -(2 ** 31) + 1],
  ])('%d after %d is a change of %d, also in the record', (lambda, previous, delta) => {
    const witness = witnessed(g(lambda, previous));
    expect(witness.lambdaDelta).toBe(delta);
    expect(decodeWitness(new DataView(witnessBytes(witness).buffer), 0).lambdaDelta).toBe(delta);
  });
});
