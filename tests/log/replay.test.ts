import { describe, expect, test } from '@jest/globals';
import { POLICIES } from '../../src/gate/policy.js';
import { CallLog } from '../../src/log/log.js';
import { replayLog } from '../../src/log/replay.js';
import { entriesOf, fakeModel, forge, modelHash, Process, rejection, sha, STEPS, told, type Step } from './support.js';

async function logOf(steps: Step[], format: 'json' | 'binary' = 'json', weight = 3): Promise<Uint8Array> {
  const log = new CallLog(format);
  const process = new Process(weight);
  for (const step of steps) await process.run(log, step);
  return log.bytes();
}

describe('replay', () => {
  test.each(['json', 'binary'] as const)('%s: every call gives its output, witness and state again', async (format) => {
    const model = fakeModel(3);
    expect(await replayLog(await logOf(STEPS, format), model)).toEqual({ calls: 4, verified: 4 });
    expect(model.engines.map(({ runs }) => runs)).toEqual([4]);
  });

  test('sessions that run between each other keep their own state, and end with their last call', async () => {
    const steps: Step[] = [];
    for (let i = 0; i < 12; i++)
      steps.push({ session: i % 3, tokens: [i], keep: i % 2 === 0, settings: { seed: i % 3 } });
    const model = fakeModel(3);
    const file = await logOf([...steps, { tokens: [1] }]);
    let mostOpen = 0;
    const open: typeof model.open = async (settings) => {
      const engine = await model.open(settings);
      const once = engine.infer.bind(engine);
      engine.infer = (call) => {
        mostOpen = model.engines[0]!.open;
        return once(call);
      };
      return engine;
    };
    expect(await replayLog(file, { ...model, open })).toEqual({ calls: 13, verified: 13 });
    expect(mostOpen).toBe(0);
    expect(model.engines).toHaveLength(1); // the seed alone opens none
    expect(model.disposed).toEqual([0]);
  });

  test('a session goes on under other settings where they are in force', async () => {
    const model = fakeModel(3);
    const settings = { policy: POLICIES.conservative };
    const file = await logOf([
      { session: 1, tokens: [1] },
      { session: 1, tokens: [2], settings },
      { session: 1, tokens: [3], keep: true },
      { tokens: [4], settings },
    ]);
    expect(await replayLog(file, model)).toEqual({ calls: 4, verified: 4 });
    expect(model.engines.map(({ runs }) => runs)).toEqual([2, 2]);
    expect(model.engines.map(({ open }) => open)).toEqual([0, 0]);
    expect([...model.disposed].sort()).toEqual([0, 1]);
  });

  test('an engine goes when nothing more needs it', async () => {
    const model = fakeModel(3);
    const open: string[] = [];
    const steps: Step[] = [
      ...[2, 3, 4].map((sinks) => ({ tokens: [sinks], settings: { sinks } })),
      { session: 1, tokens: [5], settings: { sinks: 5 } },
      { tokens: [6], settings: { sinks: 6 } },
      { session: 1, tokens: [7], settings: { sinks: 7 } },
    ];
    const watched: typeof model = {
      ...model,
      open: (settings) => {
        open.push(`${settings.sinks} after ${model.disposed.join()}`);
        return model.open(settings);
      },
    };
    expect(await replayLog(await logOf(steps), watched)).toEqual({ calls: 6, verified: 6 });
    // The session of 5 lies there until 7 takes it over.
    expect(open).toEqual(['2 after ', '3 after 0', '4 after 0,1', '5 after 0,1,2', '6 after 0,1,2', '7 after 0,1,2,4']);
    expect(model.disposed).toEqual([0, 1, 2, 4, 3, 5]);
  });

  test('other weights under the same name: output, at the first call that differs', async () => {
    const model = fakeModel(4, 3);
    expect(await told(replayLog(await logOf(STEPS), model))).toBe('BadChecksum line 1: output');
    expect(model.disposed).toEqual([0]);
    expect(await told(replayLog(await logOf(STEPS, 'binary'), model))).toBe('BadChecksum record 1: output');
  });

  test("another model's hash is refused before anything runs", async () => {
    const model = fakeModel(4);
    const error = await rejection(replayLog(await logOf(STEPS), model));
    expect(error).toMatchObject({ code: 'BadChecksum', field: 'line 1: modelHash', expected: modelHash(3) });
    expect(model.engines).toEqual([]);
    const mixed = entriesOf(await logOf(STEPS));
    mixed[2]!.modelHash = modelHash(4);
    const own = fakeModel(3);
    expect(await told(replayLog(forge(mixed), own))).toBe('BadChecksum line 3: modelHash');
    expect(own.engines).toEqual([]);
  });

  test.each<[string, (entries: Record<string, unknown>[]) => unknown]>([
    ['BadChecksum line 2: output', (e) => (e[1]!.output = sha('other'))],
    ['BadChecksum line 3: output', (e) => (e[2]!.tokens = [9])],
    ['BadChecksum line 1: witness', (e) => ((e[0]!.witness as Record<string, unknown>).policyId = 1)],
    [
      'BadChecksum line 5: witness',
      (e) => ((e[4]!.witness as Record<string, unknown>).topBoundaryEdgeIds = [0, 0, 0, 0, 0, 0, 0, 1]),
    ],
    ['BadChecksum line 2: state', (e) => (e[1]!.state = sha('other'))],
    ['BadChecksum line 2: output', (e) => ((e[1]!.settings as Record<string, unknown>).seed = 8)],
    ['BadChecksum line 2: output', (e) => (e[1]!.signature = null)],
    ['BadChecksum line 5: output', (e) => (e[3]!.snapshot = 'AAAAAA==')],
    ['BadFile line 5: snapshot', (e) => (e[3]!.snapshot = 'AAAA')],
    ['BadFile line 1: context', (e) => ((e[0]!.settings as Record<string, unknown>).context = 65)],
    ['BadFile line 3: session', (e) => (e[2]!.session = 7)],
  ])('a forged chain does not pass: %s', async (expected, edit) => {
    const entries = entriesOf(await logOf(STEPS));
    edit(entries);
    const model = fakeModel(3);
    expect(await told(replayLog(forge(entries), model))).toBe(expected);
    expect(model.engines.map(({ open }) => open)).toEqual(model.engines.map(() => 0));
    expect(model.disposed).toHaveLength(model.engines.length);
  });

  test('a damaged or cut log runs nothing', async () => {
    const model = fakeModel(3);
    const file = await logOf(STEPS);
    expect(await told(replayLog(file.subarray(0, -1), model))).toBe('Truncated line 6: seal');
    file[file.length - 5]! ^= 1;
    expect(await told(replayLog(file, model))).toMatch(/^Bad\w+ line 6: (hash|syntax)$/);
    expect(model.engines).toEqual([]);
  });

  test('what is no fault of the log keeps its kind', async () => {
    const failing = new Error('disk');
    const open = (): never => {
      throw failing;
    };
    const file = await logOf(STEPS);
    await expect(replayLog(file, { modelHash: modelHash(3), open })).rejects.toBe(failing);
  });
});
