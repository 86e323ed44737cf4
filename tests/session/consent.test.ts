import { beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { InferInput, MincutGatedTransformer } from '../../src/core.node.js';
import { POLICY_NAMES } from '../../src/gate/policy.js';
import { g } from '../gate/support.js';
import { models } from '../support/models.js';
import { bitsOf, errorOf, hex, loadRandom, PACKETS } from './support.js';

/** Whether the host may act on a result, and the defects of the crate that touch it, in sessions. */
const SKIP = 2;
const micro = models.micro!;
let model: MincutGatedTransformer;
beforeAll(async () => {
  ({ model } = await loadRandom(micro));
});
const call = (gate: InferInput['gate'], more: Partial<InferInput> = {}): InferInput => ({
  tokens: [1, 2],
  gate,
  ...more,
});

describe('commit', () => {
  test('asks the last witness: yes after an Allow, no after any other decision, with its reason', () => {
    const session = model.createSession();
    const acted: string[] = [];
    const commit = (): unknown =>
      session.commit((witness) => {
        acted.push(witness.decision);
        return acted.length;
      });
    for (const [decision, gate] of Object.entries(PACKETS)) {
      const { witness } = session.infer(call(gate));
      const before = acted.length;
      const yes = decision === 'Allow' || decision === 'Skip';
      expect(commit()).toEqual(
        yes ? { allowed: true, value: before + 1, witness } : { allowed: false, reason: witness.reason, witness },
      );
      expect(acted).toHaveLength(before + (yes ? 1 : 0));
    }
    expect(acted).toEqual(['Allow', 'Allow']);
  });

  test('there is no consent before a call, after a reset, in a fork or a restored session', () => {
    const session = model.createSession();
    const never = (): never => {
      throw new Error('acted');
    };
    const none = { allowed: false, reason: 'None', witness: undefined };
    expect(session.commit(never)).toEqual(none);
    session.infer(call({}));
    expect(session.commit(() => 1).allowed).toBe(true);
    const [fork, restored] = [session.fork(), model.restore(session.snapshot())];
    expect([fork.witness, fork.commit(never), restored.commit(never)]).toEqual([undefined, none, none]);
    session.reset();
    expect(session.commit(never)).toEqual(none);
    // Where it came from is not touched by a fork's own calls.
    session.infer(call({}));
    fork.infer(call(PACKETS.QuarantineUpdates));
    expect([session.commit(() => 1).allowed, fork.commit(() => 1).allowed]).toEqual([true, false]);
  });

  test('a refused call changes no consent; what act throws is the caller’s', () => {
    const session = model.createSession();
    session.infer(call(PACKETS.QuarantineUpdates));
    errorOf(() => session.infer(call({ lambda: -1 })));
    expect(session.commit(() => 1)).toMatchObject({ allowed: false, reason: 'LambdaBelowMin' });
    session.infer(call({}));
    errorOf(() => session.infer({ tokens: [] }));
    expect(session.commit(() => 1).allowed).toBe(true);
    const mine = new Error('mine');
    expect(() =>
      session.commit(() => {
        throw mine;
      }),
    ).toThrow(mine);
  });

  const u32 = fc.oneof(fc.nat(120), fc.constantFrom(0, 29, 30, 49, 50, 2 ** 32 - 1));
  const packet = fc.record({
    lambda: u32,
    lambdaPrev: u32,
    boundaryEdges: fc.nat(60),
    boundaryConcentrationQ15: fc.nat(32767),
    partitionCount: fc.nat(25),
    flags: fc.nat(7),
  });
  const spike = fc.option(
    fc.record({ fired: fc.constantFrom(0 as const, 1 as const), rateQ15: fc.nat(32767), noveltyQ15: fc.nat(32767) }),
    { nil: undefined },
  );

  test.each([
    ['the rules', {}],
    ['scheduler and energy gate', { scheduler: true, energy: true }],
    ['no external writes', { tiers: { enableExternalWrites: false } }],
  ])('any packets, any policy, %s: allowed exactly where the witness says 1', async (_what, options) => {
    const { model: any } = await loadRandom(micro, options);
    const session = any.createSession();
    const policy = fc.oneof(
      fc.constantFrom(...POLICY_NAMES),
      fc.record({ allowExternalWriteWhenUnstable: fc.boolean(), allowKvWriteWhenUnstable: fc.boolean() }),
    );
    let both = 0;
    fc.assert(
      fc.property(policy, packet, spike, (chosen, gate, spikes) => {
        any.setPolicy(chosen);
        const { witness } = session.infer({ tokens: [1], gate, spikes });
        const committed = session.commit((w) => w);
        expect(committed.allowed).toBe(witness.externalWritesEnabled === 1);
        expect(committed.witness).toEqual(witness);
        both |= committed.allowed ? 1 : 2;
        // No consent of any kind below the policy's lambda.
        if (witness.reason === 'LambdaBelowMin') expect(committed.allowed).toBe(false);
      }),
      { numRuns: 400 },
    );
    expect(both).toBe('tiers' in options ? 2 : 3);
  });
});

test('D1 skip-is-not-consent: no skip, cached or not, permits what its packet denies', () => {
  const session = model.createSession();
  session.infer(call({}, { signature: 1 }));
  const skip = (gate: ReturnType<typeof g>, signature?: number) => {
    const before = hex(session.snapshot());
    const result = session.infer(call({ ...gate, flags: gate.flags | SKIP }, { signature }));
    expect(hex(session.snapshot())).toBe(before);
    expect(result.witness).toMatchObject({ decision: 'Allow', tier: 3, kvWritesEnabled: 0, layersExecuted: 0 });
    expect(result.stats.cached).toBe(signature === undefined ? 0 : 1);
    return [session.commit(() => 1).allowed, result.witness.reason];
  };
  for (const signature of [1, undefined]) {
    expect(skip(g(100, 95), signature)).toEqual([true, 'ForcedByFlag']);
    expect(skip(g(0, 0), signature)).toEqual([false, 'LambdaBelowMin']);
    expect(skip(g(40, 100), signature)).toEqual([false, 'LambdaDroppedFast']);
    expect(skip(g(100, 95, 30), signature)).toEqual([false, 'ForcedByFlag']);
    expect(skip(g(100, 95, 5, 8192, 3, 1), signature)).toEqual([false, 'ForcedByFlag']);
  }
});

test('D2 policy-allow-flags: they narrow what a decision permits, and the configuration’s switches narrow both', async () => {
  const over = { ...g(100, 95, 30), flags: SKIP };
  const outcome = (m: MincutGatedTransformer, gate: InferInput['gate']) => {
    const session = m.createSession();
    session.infer(call(gate, { signature: 1 }));
    const answer = [session.length, session.commit(() => 1).allowed];
    session.dispose();
    return answer;
  };
  const rows = [
    [{}, {}, { Allow: [2, true], ReduceScope: [2, false], over: [0, false] }],
    [{ allowKvWriteWhenUnstable: false }, {}, { Allow: [2, true], ReduceScope: [0, false], over: [0, false] }],
    [{ allowExternalWriteWhenUnstable: true }, {}, { Allow: [2, true], ReduceScope: [2, false], over: [0, true] }],
    [{}, { enableKvCache: false }, { Allow: [0, true], ReduceScope: [0, false], over: [0, false] }],
    [
      { allowExternalWriteWhenUnstable: true },
      { enableExternalWrites: false },
      { Allow: [2, false], ReduceScope: [2, false], over: [0, false] },
    ],
  ] as const;
  for (const [policy, tiers, expected] of rows) {
    const { model: m } = await loadRandom(micro, { policy, tiers });
    expect(outcome(m, {})).toEqual(expected.Allow);
    expect(outcome(m, PACKETS.ReduceScope)).toEqual(expected.ReduceScope);
    expect(outcome(m, over)).toEqual(expected.over);
    for (const decision of ['FlushKv', 'FreezeWrites', 'QuarantineUpdates'] as const)
      expect(outcome(m, PACKETS[decision])).toEqual([0, false]);
  }
});

describe('D4 set-policy-keeps-shape', () => {
  test('another policy decides the next call of model and sessions; tiers stay those of micro', async () => {
    const { model: m } = await loadRandom(micro);
    const session = m.createSession();
    const gate = g(40, 45, 8, 12000, 4);
    const shape = { tier: 2, effectiveSeqLen: 4, effectiveWindow: 4, layersExecuted: 1 };
    expect(session.infer(call(gate)).witness).toMatchObject({ decision: 'Allow', effectiveSeqLen: 32, policyId: 0 });
    m.setPolicy('conservative');
    expect(session.infer(call(gate)).witness).toMatchObject({ decision: 'QuarantineUpdates', ...shape, policyId: 1 });
    expect(m.infer(call(gate)).witness).toMatchObject({ ...shape, policyId: 1 });
    expect(session.infer(call(g(100, 95, 30))).witness).toMatchObject({
      ...{ tier: 1, effectiveSeqLen: 16, effectiveWindow: 4, layersExecuted: 1 },
    });
    expect(session.infer(call({})).witness).toMatchObject({ tier: 0, effectiveSeqLen: 32, effectiveWindow: 8 });
    m.setPolicy({ lambdaMin: 0, boundaryEdgesMax: 65535 });
    expect(session.infer(call(g(0, 0, 60000))).witness).toMatchObject({ decision: 'Allow', policyId: 65535 });
  });

  test('shapes given at load stay too', async () => {
    const { model: m } = await loadRandom(micro, { tiers: { seqLenSafe: 3, seqLenDegraded: 9, windowDegraded: 2 } });
    m.setPolicy('permissive');
    expect(m.infer(call(g(100, 95, 60))).witness).toMatchObject({ tier: 1, effectiveSeqLen: 9, effectiveWindow: 2 });
    expect(m.infer(call(g(10, 10))).witness).toMatchObject({ tier: 2, effectiveSeqLen: 3 });
  });

  test('a policy that cannot be is refused by name and leaves the old one', async () => {
    const { model: m } = await loadRandom(micro, { policy: 'conservative' });
    const session = m.createSession();
    const before = session.infer(call(g(40, 45))).witness;
    const bad: [unknown, string][] = [
      [undefined, 'policy'],
      [null, 'policy'],
      ['lenient', 'policy'],
      [7, 'policy'],
      [{ lambdaMin: -1 }, 'policy.lambdaMin'],
      [{ dropRatioQ15Max: 40000 }, 'policy.dropRatioQ15Max'],
      [{ lambdaMin: 0, colour: 1 }, 'policy.colour'],
    ];
    for (const [policy, field] of bad) {
      const error = errorOf(() => m.setPolicy(policy as never));
      expect([error.code, error.field]).toEqual(['BadConfig', field]);
      expect(session.infer(call(g(40, 45))).witness).toEqual(before);
    }
  });
});

test('D5 q15-saturates: a fall to zero flushes under the largest maximum a policy can have', async () => {
  const { model: m } = await loadRandom(micro, { policy: { lambdaMin: 0, dropRatioQ15Max: 32767 } });
  const session = m.createSession();
  session.infer(call({}));
  expect(session.infer(call(g(1, 2 ** 32 - 1))).witness.decision).toBe('Allow');
  expect(session.length).toBe(4);
  const { witness } = session.infer(call(g(0, 100)));
  expect([witness.decision, witness.reason, session.length]).toEqual(['FlushKv', 'LambdaDroppedFast', 0]);
});

test('D6 lambda-delta-saturates: the witness of a call holds an i32', () => {
  const session = model.createSession();
  const delta = (lambda: number, prev: number): number => session.infer(call(g(lambda, prev))).witness.lambdaDelta;
  expect([delta(2 ** 32 - 1, 0), delta(0, 2 ** 32 - 1), delta(2 ** 31, 1), delta(100, 95)]).toEqual([
    ...[2 ** 31 - 1, -(2 ** 31), 2 ** 31 - 1, 5],
  ]);
});

test.each(['micro', 'baseline', 'odd decoder', 'odd encoder'])(
  'D7 exit-stats: %s: layersExecuted counts the layers whose attention ran',
  async (name) => {
    const { model: m } = await loadRandom(models[name]!);
    const session = m.createSession();
    const executed = Object.values(PACKETS).map((gate) => {
      const { witness, stats } = session.infer(call(gate, { signature: 1 }));
      const ran = stats.kernelCalls.attention ?? 0;
      expect([witness.layersExecuted, stats.layersExecuted, stats.upstream.layersExecuted]).toEqual([ran, ran, ran]);
      return ran;
    });
    const { layers, tiers } = models[name]!;
    const reduced = tiers?.layersDegraded ?? Math.ceil(layers / 2);
    expect(executed).toEqual([layers, reduced, reduced, 1, 1, 0]);
    expect(bitsOf(session.infer(call(PACKETS.Skip, { signature: 2 })))).toBe(bitsOf(m.infer(call(PACKETS.Skip))));
  },
);
