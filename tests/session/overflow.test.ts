import { beforeAll, expect, test } from '@jest/globals';
import { MincutGatedTransformer } from '../../src/core.node.js';
import type { RecordedCall } from '../../src/engine/record.js';
import { randomWeights } from '../../src/convert/init.js';
import { packPayload } from '../../src/format/pack.js';
import { writeModel } from '../../src/format/write.js';
import { models } from '../support/models.js';
import { bitsOf, errorOf, hex, PACKETS, ReferenceSession, tokensOf } from './support.js';

/** A token whose row overflows f32: calls that meet it fail after much has run. */
const WILD = 7;
const config = { ...models['odd decoder']!, norm: 'layernorm' as const, tiedHead: false };
let bytes: Uint8Array;
let model: MincutGatedTransformer;

beforeAll(async () => {
  const random = randomWeights(3);
  const { payload } = packPayload(config, (tensor) => {
    const made = random(tensor);
    const { hidden } = config;
    if (tensor.name === 'embeddings.token') made.values.fill(3e38, WILD * hidden, (WILD + 1) * hidden);
    return made;
  });
  const meta = {
    source: { name: 'x', license: 'x' },
    report: { scheme: 'int8', worstTensor: { name: 'x', error: 0 } },
  };
  bytes = await writeModel(config, payload, meta);
  model = await MincutGatedTransformer.load(bytes);
});

test.each(Object.entries(PACKETS))(
  '%s of it is BadWeights; session, witness and next call are as before',
  (_d, gate) => {
    const [session, twin, reference] = [model.createSession(), model.createSession(), new ReferenceSession(bytes)];
    for (const s of [session, twin, reference]) s.infer({ tokens: [1, 2, 3, 4, 5], signature: 1 });
    const before = hex(session.snapshot());
    const { witness } = session;
    const out = new Float32Array(config.vocab).fill(5);
    for (const s of [session, reference]) {
      const error = errorOf(() => s.infer({ tokens: [8, WILD], gate, signature: 2, out }));
      expect([error.code, hex(s.snapshot())]).toEqual(['BadWeights', before]);
    }
    expect(out.every((v) => v === 5)).toBe(true);
    expect([session.witness, session.trace.calls]).toEqual([witness, 1]);
    const next = { tokens: [6, 9, 10] };
    expect(bitsOf(session.infer(next))).toBe(bitsOf(twin.infer(next)));
    expect(hex(session.snapshot())).toBe(hex(twin.snapshot()));
  },
);

test('where the ring was full, a call that keeps tokens leaves an empty cache: no state that never was', () => {
  const session = model.createSession({ seed: 3 });
  const fill = (): void => {
    session.infer({ tokens: tokensOf(config, config.context, 1).map((t) => (t === WILD ? 8 : t)), signature: 1 });
  };
  fill();
  const before = hex(session.snapshot());
  expect(errorOf(() => session.infer({ tokens: [WILD], gate: PACKETS.FreezeWrites })).code).toBe('BadWeights');
  expect(hex(session.snapshot())).toBe(before);
  expect(errorOf(() => session.infer({ tokens: [WILD] })).code).toBe('BadWeights');
  expect([session.length, session.position]).toEqual([0, 0]);
  expect(session.infer({ tokens: [1], gate: PACKETS.Skip, signature: 1 }).stats.cached).toBe(1);
  fill();
  expect(hex(session.snapshot())).toBe(before);
});

test('a log is told that the cache is empty: the next call comes with the state before it', () => {
  const calls: RecordedCall[] = [];
  const session = model.createSession({ log: { record: (call) => void calls.push(call) } });
  session.infer({ tokens: new Array<number>(config.context).fill(1) });
  errorOf(() => session.infer({ tokens: [WILD] }));
  const before = hex(session.snapshot());
  session.infer({ tokens: [2] });
  session.infer({ tokens: [3] });
  expect(calls.map(({ from }) => from)).toEqual(['start', 'state', 'last']);
  expect(hex(calls[1]!.snapshot!)).toBe(before);
});
