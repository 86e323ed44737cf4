import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { RecordedCall, Settings } from '../../src/engine/record.js';
import { POLICIES } from '../../src/gate/policy.js';
import { readLog } from '../../src/log/chain.js';
import { CallLog } from '../../src/log/log.js';
import { replayLog } from '../../src/log/replay.js';
import { NEUTRAL_GATE } from '../../src/packets/gate.js';
import { witnessBytes } from '../../src/packets/witness.js';
import { gatePackets, refusal, spikePackets, witnesses } from '../packets/support.js';
import {
  entriesOf,
  fakeModel,
  modelHash,
  Process,
  rejection,
  SETTINGS,
  sha,
  SPIKES,
  STEPS,
  witnessFor,
} from './support.js';

const FORMATS = ['json', 'binary'] as const;

async function shortLog(format: 'json' | 'binary' = 'json'): Promise<{ log: CallLog; calls: RecordedCall[] }> {
  const log = new CallLog(format);
  const process = new Process(3);
  const calls: RecordedCall[] = [];
  for (const step of STEPS) calls.push(await process.run(log, step));
  return { log, calls };
}

describe('the file', () => {
  test('JSON, byte for byte: one stateless call and the seal', async () => {
    const log = new CallLog();
    const gate = { ...NEUTRAL_GATE, lambda: 90 };
    const { output } = await new Process(3).run(log, { tokens: [101, 102], gate, spikes: SPIKES, signature: 5n });
    const floats = new DataView(new ArrayBuffer(4 * output.length));
    output.forEach((value, i) => floats.setFloat32(4 * i, value, true));
    const body =
      `{"type":"call","modelHash":"${modelHash(3)}","settings":{"context":32,"policy":"default","energy":null,` +
      `"scheduler":false,"partitions":false,"tiers":null,"layerOrder":"first","kvFill":"propagate","sinks":0,"seed":7},"session":null,` +
      `"from":"none","tokens":[101,102],"gate":{"lambda":90,"lambdaPrev":100,"boundaryEdges":0,` +
      `"boundaryConcentrationQ15":0,"partitionCount":1,"flags":0},"spikes":{"rateQ15":100,"noveltyQ15":3000,"flags":1,` +
      `"fired":1,"topLen":2,"topIdx":[3,9],"topWQ15":[32767,5]},"signature":"5",` +
      `"output":"${sha(new Uint8Array(floats.buffer))}","witness":{"lambda":90,` +
      `"lambdaPrev":100,"lambdaDelta":-10,"topBoundaryEdgeIds":[0,0,0,0,0,0,0,0],"effectiveSeqLen":32,` +
      `"effectiveWindow":0,"boundaryEdges":0,"boundaryConcentrationQ15":0,"partitionCount":1,"decision":"Allow",` +
      `"reason":"None","kvWritesEnabled":1,"externalWritesEnabled":1,"tier":0,"flags":0,"layersExecuted":2,` +
      `"policyId":0},"state":null`;
    const first = sha(new Uint8Array(32), body);
    const seal = `{"type":"seal","count":1,"last":"${first}"`;
    const second = sha(Buffer.from(first, 'hex'), seal);
    const text = new TextDecoder().decode(await log.bytes());
    expect(text).toBe(`${body},"hash":"${first}"}\n${seal},"hash":"${second}"}\n`);
  });

  test('binary, byte for byte: the same entries in frames', async () => {
    const { log, calls } = await shortLog('binary');
    const file = Buffer.from(await log.bytes());
    const u32 = (n: number): Buffer => Buffer.from(new Uint32Array([n]).buffer);
    const call = (index: number, before: (Buffer | Uint8Array)[], spikes: Buffer, signature: Buffer): Buffer => {
      const c = calls[index]!;
      const settings = Buffer.from(JSON.stringify(SETTINGS));
      return Buffer.concat([
        ...[Buffer.of(0), Buffer.from(modelHash(3), 'hex'), u32(settings.length), settings, ...before],
        ...[u32(c.tokens.length), ...c.tokens.map(u32)],
        ...[u32(100), u32(100), Buffer.of(0, 0, 0, 0, 1, 0, 0, 0), spikes, signature],
        Buffer.from(sha(new Uint8Array(c.output.buffer)), 'hex'),
        witnessBytes(c.witness),
        c.state ? Buffer.concat([Buffer.of(1), Buffer.from(sha(c.state), 'hex')]) : Buffer.of(0),
      ]);
    };
    const none = Buffer.of(0);
    const session = (from: number): Buffer[] => [Buffer.of(1), u32(0), Buffer.of(from)];
    const top = new Uint16Array(32);
    top.set([3, 9], 0);
    top.set([32767, 5], 16);
    const spikes = Buffer.concat([Buffer.of(1, 100, 0, 0xb8, 0x0b, 1, 0, 1, 2), Buffer.from(top.buffer)]);
    const bodies = [
      call(0, [Buffer.of(0), Buffer.of(0)], none, none),
      call(1, session(1), none, Buffer.alloc(9, 255).fill(1, 0, 1)),
      call(2, session(2), spikes, none),
      Buffer.concat([Buffer.of(1), u32(0), u32(4), calls[3]!.snapshot!]),
      call(3, session(3), none, none),
    ];
    let last = '00'.repeat(32);
    let expected = Buffer.from('\x89MGTLOG\x01', 'latin1');
    const add = (body: Buffer): void => {
      last = sha(Buffer.from(last, 'hex'), body);
      expected = Buffer.concat([expected, u32(body.length), u32(~body.length), body, Buffer.from(last, 'hex')]);
    };
    bodies.forEach(add);
    add(Buffer.concat([Buffer.of(2), u32(5), Buffer.from(last, 'hex')]));
    expect(file.toString('hex')).toBe(expected.toString('hex'));
  });

  test('holds what was recorded', async () => {
    const { log, calls } = await shortLog();
    const { entries } = await readLog(await log.bytes());
    expect(log.length).toBe(5);
    expect(entries.map(({ type, session }) => [type, session])).toEqual([
      ...[
        ['call', null],
        ['call', 0],
        ['call', 0],
      ],
      ...[
        ['state', 0],
        ['call', 0],
      ],
    ]);
    expect(entries[3]).toEqual({ type: 'state', session: 0, snapshot: calls[3]!.snapshot });
    const { output, state, ...last } = { ...calls[3]!, snapshot: undefined };
    const hashes = { output: sha(new Uint8Array(output.buffer)), state: sha(state!) };
    expect(entries[4]).toEqual({ ...last, ...hashes, type: 'call', session: 0, signature: null });
    expect(entries[1]).toMatchObject({ signature: '18446744073709551615', from: 'start', spikes: null });
  });

  test('an empty log is its seal', async () => {
    for (const format of FORMATS) {
      const bytes = await new CallLog(format).bytes();
      expect((await CallLog.open(bytes)).length).toBe(0);
      expect(await replayLog(bytes, fakeModel(1))).toEqual({ calls: 0, verified: 0 });
    }
  });

  test('a snapshot of many bytes, every value among them', async () => {
    const log = new CallLog();
    const snapshot = Uint8Array.from({ length: 70001 }, (_, i) => (i * 7 + (i >> 8)) & 255);
    const call = { ...(await new Process(3).run(new CallLog(), { session: 1, tokens: [1] })), snapshot };
    log.record({ ...call, from: 'state' });
    for (const format of FORMATS) {
      const { entries } = await readLog(await log.bytes(format));
      expect(entries[0]).toEqual({ type: 'state', session: 0, snapshot });
    }
  });
});

describe('appending', () => {
  test.each(FORMATS)('%s: a further call replaces the seal and leaves every byte before it', async (format) => {
    const { log } = await shortLog(format);
    const before = await log.bytes();
    const again = await CallLog.open(before);
    expect(again.format).toBe(format);
    expect(await again.bytes()).toEqual(before);
    await new Process(3).run(again, { tokens: [9] });
    const after = await again.bytes();
    const sealBytes = format === 'json' ? entriesSealLength(before) : 8 + 1 + 4 + 32 + 32;
    const kept = before.length - sealBytes;
    expect(Buffer.compare(after.subarray(0, kept), before.subarray(0, kept))).toBe(0);
    expect(Buffer.compare(after.subarray(0, before.length), before)).not.toBe(0);
    expect(again.length).toBe(6);
    expect(await replayLog(after, fakeModel(3))).toEqual({ calls: 5, verified: 5 });
    expect(await replayLog(before, fakeModel(3))).toEqual({ calls: 4, verified: 4 });
  });

  test('a session goes on in another process from the state it left', async () => {
    const first = new Process(3);
    const log = new CallLog();
    await first.run(log, { session: 11, tokens: [1] });
    const left = await first.run(log, { session: 12, tokens: [1], keep: true, settings: { seed: 9 } });
    expect(log.sessionWithState(sha(left.state!))).toBeUndefined(); // not hashed yet
    const file = await log.bytes();
    expect(log.sessionWithState(sha(left.state!))).toBe(1);

    const second = new Process(3);
    const again = await CallLog.open(file);
    expect(again.sessionWithState(sha('other'))).toBeUndefined();
    const session = again.sessionWithState(sha(left.state!));
    expect(session).toBe(1);
    again.adopt(5, session!);
    second.sessions.set(5, second.engine.restore(left.state!));
    await second.run(again, { session: 5, tokens: [2] });
    expect(again.sessionWithState(sha(left.state!))).toBeUndefined(); // it has moved on
    await second.run(again, { session: 77, tokens: [2] });
    const { entries } = await readLog(await again.bytes());
    expect(entries.map((entry) => entry.type === 'call' && [entry.session, entry.from])).toEqual([
      ...[
        [0, 'start'],
        [1, 'start'],
      ],
      ...[
        [1, 'last'],
        [2, 'start'],
      ],
    ]);
    expect(await replayLog(await again.bytes(), fakeModel(3))).toEqual({ calls: 4, verified: 4 });
  });

  test('a reset session starts under a new number', async () => {
    const process = new Process(3);
    const log = new CallLog();
    await process.run(log, { session: 1, tokens: [1] });
    await process.run(log, { session: 1, from: 'start', tokens: [1] });
    await process.run(log, { session: 1, tokens: [4] });
    expect(entriesOf(await log.bytes()).map(({ session }) => session)).toEqual([0, 1, 1]);
    expect(await replayLog(await log.bytes(), fakeModel(3))).toEqual({ calls: 3, verified: 3 });
  });

  test('what is recorded while a file is being made stands in the next', async () => {
    const { log } = await shortLog();
    const pending = log.bytes();
    await new Process(3).run(log, { tokens: [9] });
    expect((await readLog(await pending)).entries.length).toBeGreaterThanOrEqual(5);
    expect((await readLog(await log.bytes())).entries).toHaveLength(6);
  });

  test('what cannot be a call is refused and leaves no trace', async () => {
    const log = new CallLog();
    const call = await new Process(3).run(new CallLog(), { session: 1, tokens: [1] });
    expect(refusal(() => log.record({ ...call, from: 'none' }))).toMatchObject({ code: 'BadInput', field: 'from' });
    expect(refusal(() => log.record({ ...call, session: null }))).toMatchObject({ code: 'BadInput', field: 'from' });
    expect(refusal(() => log.record({ ...call, from: 'last' }))).toMatchObject({ code: 'BadInput', field: 'session' });
    expect(refusal(() => log.record({ ...call, from: 'state' }))).toMatchObject({ field: 'snapshot' });
    expect(refusal(() => log.adopt(1, 0))).toMatchObject({ code: 'BadInput', field: 'session' });
    expect(log.length).toBe(0);
    expect(await log.bytes()).toEqual(await new CallLog().bytes());
  });

  test('a call that cannot be hashed fails the file', async () => {
    const log = new CallLog();
    const call = await new Process(3).run(new CallLog(), { tokens: [1] });
    log.record({ ...call, witness: { ...call.witness, decision: 'Nothing' as 'Allow' } });
    expect((await rejection(log.bytes())).field).toBe('witness.decision');
  });
});

const entriesSealLength = (file: Uint8Array): number => {
  const text = new TextDecoder().decode(file);
  return text.length - text.lastIndexOf('{"type":"seal"');
};

describe('any calls', () => {
  const settings: fc.Arbitrary<Settings> = fc.record({
    context: fc.integer({ min: 1, max: 2 ** 32 - 1 }),
    policy: fc.constantFrom<Settings['policy'][]>('default', 'permissive', POLICIES.conservative),
    energy: fc.option(fc.constant({ allowBelow: 0.1, quarantineFrom: 1 / 3, minConfidence: 0 })),
    scheduler: fc.boolean(),
    partitions: fc.boolean(),
    tiers: fc.constant(null),
    layerOrder: fc.constantFrom('first', 'last'),
    kvFill: fc.constantFrom('propagate', 'hole'),
    sinks: fc.nat(),
    seed: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
  });
  const call = fc.record({
    settings,
    session: fc.option(fc.nat({ max: 2 })),
    fresh: fc.boolean(),
    snapshot: fc.option(fc.uint8Array({ maxLength: 40 })),
    tokens: fc.array(fc.integer({ min: 0, max: 2 ** 32 - 1 }), { maxLength: 9 }),
    gate: gatePackets,
    spikes: fc.option(spikePackets),
    signature: fc.option(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })),
    output: fc.float32Array({ maxLength: 9 }),
    witness: witnesses,
    state: fc.option(fc.uint8Array({ maxLength: 40 }), { nil: undefined }),
  });

  test('are what is read back; either form gives the other, byte for byte', async () => {
    const run = async (calls: (typeof call extends fc.Arbitrary<infer T> ? T : never)[]): Promise<void> => {
      const json = new CallLog('json');
      const binary = new CallLog('binary');
      const started = new Set<number>();
      const expected: unknown[] = [];
      for (const { fresh, snapshot, session, state, ...rest } of calls) {
        const known = session !== null && started.has(session);
        const from = session === null ? 'none' : snapshot ? 'state' : fresh || !known ? 'start' : 'last';
        if (session !== null) started.add(session);
        const recorded = {
          ...rest,
          modelHash: modelHash(3),
          session,
          from,
          snapshot: snapshot ?? undefined,
          state,
        } as const;
        json.record(recorded);
        binary.record(recorded);
        if (from === 'state') expected.push(snapshot);
        const { settings, tokens, gate, spikes, witness } = rest;
        const signature = rest.signature === null ? null : String(rest.signature);
        const hash = session !== null && state ? sha(state) : null;
        const output = sha(new Uint8Array(rest.output.buffer));
        expected.push({ settings, tokens, gate, spikes, witness, signature, from, output, state: hash });
      }
      const files = { json: await json.bytes(), binary: await binary.bytes() };
      expect(await json.bytes('binary')).toEqual(files.binary);
      expect(await binary.bytes('json')).toEqual(files.json);
      expect(await (await CallLog.open(files.binary)).bytes('json')).toEqual(files.json);
      expect(files.json.every((byte) => byte === 10 || (byte >= 32 && byte < 127))).toBe(true);
      for (const file of Object.values(files)) {
        const { entries } = await readLog(file);
        const seen = entries.map((entry) => {
          if (entry.type === 'state') return entry.snapshot;
          expect(entry.modelHash).toBe(modelHash(3));
          const { settings, tokens, gate, spikes, witness, signature, from, output, state } = entry;
          return { settings, tokens, gate, spikes, witness, signature, from, output, state };
        });
        expect(seen).toEqual(expected);
      }
    };
    await fc.assert(fc.asyncProperty(fc.array(call, { maxLength: 6 }), run), { numRuns: 60 });
  });

  test('the fake witness is a witness', () => {
    expect(witnessBytes(witnessFor(NEUTRAL_GATE, 3))).toHaveLength(64);
  });
});
