import { beforeAll, beforeEach, describe, expect, jest, test } from '@jest/globals';
import type { InferInput, MincutGatedTransformer, Session } from '../../src/core.node.js';
import { encodeSnapshot, type SessionState } from '../../src/format/snapshot.js';
import { gateShape } from '../../src/gate/shape.js';
import { planArena } from '../../src/plan/plan.js';
import { models } from '../support/models.js';
import { bits, bitsOf, loadRandom, ownerOf, PACKETS, stateOf, tokensKv, tokensOf, valuesOf } from './support.js';

/** What a decision may change of a session, and nothing else: whole snapshots before and after, bit for bit. */
const NAMES = ['micro', 'baseline', 'odd decoder', 'windowed decoder', 'gpt-like', 'odd encoder'];

/** Calls that keep nothing and leave what stands. Each gives the signature the cache already has. */
const READ_ONLY = {
  FreezeWrites: { gate: PACKETS.FreezeWrites },
  QuarantineUpdates: { gate: PACKETS.QuarantineUpdates },
  'a storm': { spikes: { rateQ15: 20000 } },
  'a skip by flag': { gate: PACKETS.Skip },
  'a skip by an inactive spike': { spikes: { fired: 0 } },
  'a skip by the scheduler': { spikes: { fired: 1, rateQ15: 1023 } },
  'a FlushKv skipped by the scheduler': { gate: PACKETS.FlushKv, spikes: { fired: 1, rateQ15: 1023 } },
} as const satisfies Record<string, Omit<InferInput, 'tokens'>>;
const SCHEDULED = Object.keys(READ_ONLY).filter((name) => name.endsWith('scheduler'));

describe.each(NAMES)('%s', (name) => {
  const config = models[name]!;
  const decoder = config.kind === 'decoder';
  let bytes: Uint8Array;
  let model: MincutGatedTransformer;
  let scheduled: MincutGatedTransformer;
  let session: Session;

  beforeAll(async () => {
    ({ model, bytes } = await loadRandom(config));
    ({ model: scheduled } = await loadRandom(config, { scheduler: true }));
  });
  const modelFor = (what: string): MincutGatedTransformer => (SCHEDULED.includes(what) ? scheduled : model);

  /** A session in the middle of its life: six tokens, a cached output, a generator that has moved. */
  function lived(from: MincutGatedTransformer): Session {
    const made = from.createSession({ seed: 9 });
    made.random();
    made.infer({ tokens: tokensOf(config, 6, 1), signature: 77 });
    return made;
  }
  beforeEach(() => {
    session?.dispose();
    session = lived(model);
  });
  const stored = decoder ? 6 : 0;
  const encode = (state: SessionState): string => bits8(encodeSnapshot(state, ownerOf(bytes)));
  const bits8 = (snapshot: Uint8Array): string => Buffer.from(snapshot).toString('hex');

  /** The session after a call that keeps tokens of these positions, against the state before it. */
  function expectKept(before: SessionState, positions: number[], consumed: number): SessionState {
    const after = stateOf(bytes, session);
    const { position, positions: all, tokens, layers, ...rest } = after;
    const { position: was, positions: old, tokens: oldTokens, layers: oldLayers, ...same } = before;
    expect(position).toBe(decoder ? was + consumed : 0);
    expect(Array.from(all)).toEqual([...old, ...(decoder ? positions : [])]);
    expect(Array.from(tokens.subarray(0, oldTokens.length))).toEqual([...oldTokens]);
    expect(tokens).toHaveLength(all.length);
    expect({ ...rest, cached: undefined }).toEqual({ ...same, cached: undefined });
    expect(layers).toHaveLength(decoder ? config.layers : 0);
    layers.forEach((layer, i) => {
      const { kvHeads } = config;
      expect(layer.kScales).toHaveLength((old.length + positions.length) * kvHeads);
      expect(tokensKv(layer, kvHeads, 0, old.length)).toEqual(tokensKv(oldLayers[i]!, kvHeads, 0, old.length));
      for (const scales of [layer.kScales, layer.vScales])
        expect(scales.subarray(old.length * kvHeads).every((s) => s > 0)).toBe(true);
    });
    return after;
  }

  test('Allow keeps its tokens after those that stand, untouched, and the output only under a signature', () => {
    const before = stateOf(bytes, session);
    const input = tokensOf(config, 3, 2);
    session.infer({ tokens: input });
    const between = expectKept(before, [6, 7, 8], 3);
    expect(between.cached).toEqual(before.cached);

    const result = session.infer({ tokens: input, signature: 2n ** 64n - 1n });
    const after = expectKept(between, [9, 10, 11], 3);
    expect(after.cached!.signature).toBe(2n ** 64n - 1n);
    expect(bits(after.cached!.output)).toBe(bitsOf(result));
    expect(bits(after.cached!.output)).not.toBe(bits(before.cached!.output));
  });

  test('ReduceScope keeps only the tokens that ran; the position moves by all that were given', () => {
    const { seqLenDegraded: keep } = gateShape(config, config.context);
    const n = keep + 3;
    const before = stateOf(bytes, session);
    const result = session.infer({ tokens: tokensOf(config, n, 3), gate: PACKETS.ReduceScope, signature: 5 });
    expect(result.witness).toMatchObject({ decision: 'ReduceScope', kvWritesEnabled: 1, tier: 1 });
    const ran = Array.from({ length: keep }, (_, i) => stored + 3 + i);
    const after = expectKept(before, ran, n);
    expect(after.cached!.signature).toBe(5n);
    expect(bits(after.cached!.output)).toBe(bitsOf(result));
  });

  test('ReduceScope of a first call keeps the tokens that are to be sinks, too', () => {
    const { seqLenDegraded: keep } = gateShape(config, config.context);
    session = model.createSession();
    const { sinks } = session.options;
    const before = stateOf(bytes, session);
    session.infer({ tokens: tokensOf(config, keep + 3, 4), gate: PACKETS.ReduceScope });
    const first = Array.from({ length: sinks }, (_, i) => i);
    const last = Array.from({ length: keep - sinks }, (_, i) => i + sinks + 3);
    expectKept(before, [...first, ...last], keep + 3);
  });

  test('FlushKv leaves no token; signature cache and generator stay; it runs as on a fresh session', () => {
    const before = stateOf(bytes, session);
    const input = { tokens: tokensOf(config, 3, 5), gate: PACKETS.FlushKv, signature: 6 };
    const result = session.infer(input);
    expect(result.witness).toMatchObject({ decision: 'FlushKv', kvWritesEnabled: 0 });
    const none = new Float32Array(0);
    const layers = before.layers.map(() => ({
      k: new Int8Array(0),
      v: new Int8Array(0),
      kScales: none,
      vScales: none,
    }));
    const expected = { ...before, position: 0, overwritten: 0, positions: new Uint32Array(0), layers };
    expect(bits8(session.snapshot())).toBe(encode(expected));
    expect([session.length, session.position]).toEqual([0, 0]);
    expect(bitsOf(result)).toBe(bitsOf(model.createSession().infer(input)));
  });

  test.each(Object.entries(READ_ONLY))('%s changes no byte of the snapshot, signature or not', (what, input) => {
    const on = lived(modelFor(what));
    const before = bits8(on.snapshot());
    for (const signature of [undefined, 77, 78]) {
      const { witness } = on.infer({ tokens: tokensOf(config, 2, 6), ...input, signature });
      expect(witness.kvWritesEnabled).toBe(0);
      expect(bits8(on.snapshot())).toBe(before);
    }
    expect([on.length, on.position]).toEqual([stored, stored]);
  });

  test.each(['FreezeWrites', 'QuarantineUpdates'] as const)('%s sees what is stored', (decision) => {
    const input = { tokens: tokensOf(config, 2, 7), gate: PACKETS[decision] };
    const alone = bitsOf(model.createSession().infer(input));
    const seen = bitsOf(session.infer(input));
    if (!decoder) return expect(seen).toBe(alone);
    expect(seen).not.toBe(alone);
    // A call that keeps nothing sees what one that keeps would have seen.
    session.infer({ tokens: tokensOf(config, 1, 8) });
    expect(bitsOf(session.infer(input))).not.toBe(seen);
  });

  test.each(Object.entries(READ_ONLY))('D3 quarantine-discards: Allow, %s, Allow is Allow, Allow', (what, input) => {
    const [plain, disturbed] = [lived(modelFor(what)), lived(modelFor(what))];
    disturbed.infer({ tokens: tokensOf(config, 2, 9), ...input, signature: 77 });
    const next = { tokens: tokensOf(config, 3, 10) };
    expect(bitsOf(disturbed.infer(next))).toBe(bitsOf(plain.infer(next)));
    expect(bits8(disturbed.snapshot())).toBe(bits8(plain.snapshot()));
    // The output that answers a skip is the first Allow's still.
    const skip = { tokens: [1], gate: PACKETS.Skip, signature: 77 };
    const cached = disturbed.infer(skip);
    expect([cached.stats.cached, bitsOf(cached)]).toEqual([1, bitsOf(plain.infer(skip))]);
  });

  test('conservative: ReduceScope sees the context and writes nothing', async () => {
    const { model: careful } = await loadRandom(config, { policy: 'conservative' });
    const on = lived(careful);
    const before = bits8(on.snapshot());
    const input = { tokens: tokensOf(config, 2, 11), gate: PACKETS.ReduceScope };
    const result = on.infer({ ...input, signature: 77 });
    expect(result.witness).toMatchObject({ decision: 'ReduceScope', kvWritesEnabled: 0 });
    expect(bits8(on.snapshot())).toBe(before);
    // The same layers over the same keys as where it writes.
    expect(bitsOf(result)).toBe(bitsOf(session.infer(input)));
  });

  test('enableKvCache false: no call writes, whatever the decision', async () => {
    const { model: closed } = await loadRandom(config, { tiers: { enableKvCache: false } });
    const on = closed.createSession({ seed: 3 });
    const before = bits8(on.snapshot());
    for (const gate of Object.values(PACKETS)) {
      const input = { tokens: tokensOf(config, 4, 12), gate, signature: 1 };
      const result = on.infer(input);
      expect(result.witness.kvWritesEnabled).toBe(0);
      expect(bits8(on.snapshot())).toBe(before);
      expect(valuesOf(result).some((v) => v !== 0)).toBe(true);
    }
  });
});

test('FlushKv and dispose leave no byte of the tokens in memory', async () => {
  let memory: WebAssembly.Memory | undefined;
  const spy = jest.spyOn(WebAssembly, 'Memory').mockImplementation(function (
    this: unknown,
    descriptor: WebAssembly.MemoryDescriptor,
  ) {
    spy.mockRestore();
    return (memory = new WebAssembly.Memory(descriptor));
  });
  const config = models['odd decoder']!;
  const { model } = await loadRandom(config);
  const { sessionsAt, session: layout } = planArena(config, config.context);
  const block = (to: number): Uint8Array => new Uint8Array(memory!.buffer, sessionsAt, to);
  const used = (to: number): number => block(to).reduce((sum, byte) => sum + (byte === 0 ? 0 : 1), 0);

  const session = model.createSession();
  const call = { tokens: tokensOf(config, 20, 1), signature: 1 };
  session.infer(call);
  expect(used(layout.output)).toBeGreaterThan(20 * 2 * config.layers * config.kvHeads * config.headDim * 0.9);
  session.infer({ tokens: [1], gate: PACKETS.FlushKv });
  expect(used(layout.output)).toBe(0);
  expect(used(layout.bytes)).toBeGreaterThan(0);

  session.infer(call);
  session.truncate(5);
  const left = used(layout.output);
  session.reset();
  session.infer({ tokens: call.tokens.slice(0, 5) });
  expect(used(layout.output)).toBe(left);
  session.dispose();
  expect(used(layout.bytes)).toBe(0);
});
