import { describe, expect, test } from '@jest/globals';
import { MincutGatedTransformer, signatureOf, type RecordedCall, type Recorder } from '../../src/core.node.js';
import { CallLog, replay } from '../../src/log/index.js';
import { models } from '../support/models.js';
import { bitsOf, errorOf, loadRandom } from './support.js';

/** What callers do that no one would expect of them. */
describe('a caller cannot', () => {
  const micro = models.micro!;

  test('change a witness: commit and the log go by what was decided', async () => {
    const { model } = await loadRandom(micro);
    const session = model.createSession();
    const { witness } = session.infer({ tokens: [1], gate: { lambda: 0 } });
    expect(() => ((witness as { externalWritesEnabled: number }).externalWritesEnabled = 1)).toThrow(TypeError);
    expect(session.commit(() => 1).allowed).toBe(false);
    expect(errorOf(() => session.commit(5 as never)).field).toBe('act');
  });

  test('give tokens that read differently the second time', async () => {
    const { model } = await loadRandom(micro);
    const session = model.createSession();
    let reads = 0;
    const tokens = new Proxy([1, 2], {
      get: (list, key) => (key === '1' ? (reads++ === 0 ? 2 : 1e9) : (Reflect.get(list, key) as unknown)),
    });
    expect(bitsOf(session.infer({ tokens }))).toBe(bitsOf(model.infer({ tokens: [1, 2] })));
    expect(reads).toBe(1);
  });

  test("change the engine's configuration through info", async () => {
    const { model } = await loadRandom(micro);
    const { config } = model.info;
    expect(() => ((config as { vocab: number }).vocab = 1e5)).toThrow(TypeError);
    expect(() => ((config.tiers as { windowNormal: number }).windowNormal = 1)).toThrow(TypeError);
    expect(errorOf(() => model.infer({ tokens: [micro.vocab] })).field).toBe('tokens[0]');
  });

  test('lose a call to a recorder that throws: the session has not kept it', async () => {
    const { model } = await loadRandom(micro);
    let broken = false;
    const calls: RecordedCall[] = [];
    const log: Recorder = {
      record(call) {
        if (broken) throw new Error('full');
        calls.push(call);
      },
    };
    const session = model.createSession({ log });
    session.infer({ tokens: [1, 2], signature: 1 });
    const before = session.snapshot();
    broken = true;
    expect(() => session.infer({ tokens: [3], signature: 2 })).toThrow('full');
    expect(() => session.infer({ tokens: [3], gate: { lambda: 40 } })).toThrow('full');
    expect(Buffer.compare(session.snapshot(), before)).toBe(0);
    expect(session.trace.calls).toBe(1);
    broken = false;
    session.infer({ tokens: [3] });
    expect(calls.map(({ from }) => from)).toEqual(['start', 'last']);
  });

  test('make a log that does not replay: an array that is too long, every row of logits, two models', async () => {
    const { model, bytes } = await loadRandom(micro);
    const log = new CallLog();
    const session = model.createSession({ log });
    session.infer({ tokens: [1, 2], out: new Float32Array(2000).fill(3) });
    expect(errorOf(() => session.infer({ tokens: [1], all: true })).code).toBe('UnsupportedMode');
    const other = (await loadRandom(micro, {}, 8)).model.createSession({ log });
    expect(errorOf(() => other.infer({ tokens: [1] })).field).toBe('modelHash');
    expect(other.position).toBe(0);
    const target = { sha256: model.info.sha256, load: (o: object) => MincutGatedTransformer.load(bytes, o) };
    expect(await replay(await log.bytes(), target)).toEqual({ calls: 1, verified: 1 });
  });

  test('give what is no log, no target, no tokens', async () => {
    for (const wrong of ['abc', null, undefined, [1]] as never[]) {
      await expect(CallLog.open(wrong)).rejects.toMatchObject({ code: 'BadInput', field: 'log' });
      await expect(replay(wrong, {} as never)).rejects.toMatchObject({ code: 'BadInput', field: 'log' });
    }
    await expect(replay(new Uint8Array(1), undefined as never)).rejects.toMatchObject({ field: 'target' });
    expect(errorOf(() => new CallLog('xml' as never)).field).toBe('format');
    for (const [tokens, field] of [
      [null, 'tokens'],
      [[-1], 'tokens[0]'],
      [[1, 2 ** 32], 'tokens[1]'],
    ] as const) {
      expect(errorOf(() => signatureOf(tokens as never)).field).toBe(field);
    }
  });
});
