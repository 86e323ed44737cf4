import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { readLog } from '../../src/log/chain.js';
import type { CallEntry, Entry } from '../../src/log/entry.js';
import { failureInside, inferInside, inside, untouched } from './inside.js';
import { writeEncoder, writeMicro } from './models.js';
import { each, expectFailure, expectJsonFailure, mgt, mgtAsync, results, scratch } from './support.js';

const dir = scratch();
const micro = dir.path('micro.mgt');
const encoder = dir.path('encoder.mgt');

beforeAll(async () => {
  await writeMicro(micro);
  await writeEncoder(encoder, false);
});
afterAll(() => dir.remove());

const entriesOf = async (path: string): Promise<readonly Entry[]> => (await readLog(readFileSync(path))).entries;
const replay = async (path: string, model = micro): Promise<unknown> =>
  JSON.parse(await inside('replay', path, '--model', model, '--json'));

/** Length of a log without its seal. */
function unsealed(bytes: Buffer, binary: boolean): number {
  if (binary) return bytes.length - (8 + 1 + 4 + 32 + 32);
  return bytes.lastIndexOf('\n', bytes.length - 2) + 1;
}

describe('mgt infer --log', () => {
  // Each call: engine, and what it is given besides the tokens.
  const calls: readonly (readonly ['wasm' | 'reference', string, ...string[]])[] = [
    ['wasm', '1,2,3'],
    ['reference', '4', '--session', 'a', '--seed', '7'],
    ['wasm', '5,6', '--session', 'b', '--signature', '18446744073709551615'],
    ['wasm', '7', '--session', 'a', '--gate', '{"boundaryEdges":30}'],
    ['reference', '8', '--session', 'b', '--policy', 'conservative', '--energy'],
    ['wasm', '9', '--session', 'b', '--spikes', '{"fired":1,"rateQ15":9,"topIdx":[1,0],"topWQ15":[5,6]}'],
  ];

  test.each(['l.jsonl', 'l.bin', 'l.mgtlog'])('%s: calls of every kind, one behind the other', async (name) => {
    const binary = !name.endsWith('jsonl');
    const path = dir.path(name);
    let before = Buffer.alloc(0);
    for (const [engine, tokens, ...rest] of calls) {
      const words = rest.map((word) => (['a', 'b'].includes(word) ? dir.path(`${name}.${word}`) : word));
      const all = ['--tokens', tokens, '--log', path, ...words];
      if (engine === 'wasm') await inferInside(micro, ...all);
      else results(mgt(['infer', micro, ...all, '--engine', engine, '--json']));
      const now = readFileSync(path);
      // Only the seal gives way.
      expect(now.subarray(0, before.length).equals(before)).toBe(true);
      expect(now.length).toBeGreaterThan(before.length);
      before = now.subarray(0, unsealed(now, binary));
    }
    const { format, entries } = await readLog(readFileSync(path));
    expect(format).toBe(binary ? 'binary' : 'json');
    expect((entries as CallEntry[]).map(({ type, session, from }) => [type, session, from])).toEqual([
      ['call', null, 'none'],
      ['call', 0, 'start'],
      ['call', 1, 'start'],
      ['call', 0, 'last'],
      ['call', 1, 'last'],
      ['call', 1, 'last'],
    ]);
    expect(entries[1]).toMatchObject({ tokens: [4], settings: { seed: 7, policy: 'default', energy: null } });
    expect(entries[2]).toMatchObject({ tokens: [5, 6], signature: '18446744073709551615' });
    expect(entries[3]).toMatchObject({ gate: { boundaryEdges: 30 }, witness: { decision: 'ReduceScope' } });
    expect(entries[4]).toMatchObject({
      settings: { policy: 'conservative', energy: { minConfidence: expect.any(Number) } },
    });
    expect(entries[5]).toMatchObject({ spikes: { topIdx: [1, 0], topWQ15: [5, 6] }, signature: null });
    expect(await replay(path)).toEqual({ calls: 6, verified: 6 });
    expect(results(mgt(['replay', path, '--model', micro, '--simd', 'plain', '--json']))).toEqual([
      { calls: 6, verified: 6 },
    ]);
  });

  test('its form is what it was begun in, whatever the name', async () => {
    await inferInside(micro, '--tokens', '1', '--log', dir.path('begun.bin'));
    writeFileSync(dir.path('renamed.jsonl'), readFileSync(dir.path('begun.bin')));
    await inferInside(micro, '--tokens', '2', '--log', dir.path('renamed.jsonl'));
    expect((await readLog(readFileSync(dir.path('renamed.jsonl')))).format).toBe('binary');
    expect(await replay(dir.path('renamed.jsonl'))).toEqual({ calls: 2, verified: 2 });
  });

  test('a session that went on elsewhere comes with its state, once', async () => {
    const [log, other, session] = ['away.jsonl', 'elsewhere.jsonl', 'away.s'].map(dir.path) as [string, string, string];
    const call = (tokens: string, ...words: string[]) =>
      inferInside(micro, '--tokens', tokens, '--session', session, ...words);
    await call('1', '--log', log);
    await call('2');
    await call('3', '--log', log);
    await call('4', '--log', log);
    await call('5', '--log', other);
    expect((await entriesOf(log)).map(({ type }) => type)).toEqual(['call', 'state', 'call', 'call']);
    expect((await entriesOf(other)).map(({ type }) => type)).toEqual(['state', 'call']);
    expect([await replay(log), await replay(other)]).toEqual([
      { calls: 3, verified: 3 },
      { calls: 1, verified: 1 },
    ]);
  });

  test("an encoder; another model's call is refused, and the log is as it was", async () => {
    const log = dir.path('encoder.jsonl');
    await inferInside(encoder, '--tokens', '2,9,3', '--log', log);
    await inferInside(
      encoder,
      '--tokens',
      '2,8,3',
      '--log',
      log,
      '--session',
      dir.path('encoder.s'),
      '--signature',
      '1',
    );
    expect(await replay(log, encoder)).toEqual({ calls: 2, verified: 2 });
    expect(await failureInside('infer', micro, '--tokens', '1', '--log', log)).toBe('3 BadChecksum modelHash');
    expect(await replay(log, encoder)).toEqual({ calls: 2, verified: 2 });
    expect(await failureInside('replay', log, '--model', micro)).toBe('3 BadChecksum line 1: modelHash');
  });

  test('a call that changes nothing is recorded too; --out and --json do not change the log', async () => {
    const [one, two] = ['one.jsonl', 'two.jsonl'].map(dir.path) as [string, string];
    for (const [log, words] of [
      [one, []],
      [two, ['--out', dir.path('raw')]],
    ] as const) {
      await inside('infer', micro, '--tokens', '1', '--log', log, '--gate', '{"flags":2}', ...words);
    }
    expect(readFileSync(one).equals(readFileSync(two))).toBe(true);
    expect(await entriesOf(one)).toMatchObject([{ witness: { tier: 3, kvWritesEnabled: 0 } }]);
  });
});

describe('a damaged log is refused, untouched, and so is the session', () => {
  test.each(['d.jsonl', 'd.bin'])('%s', async (name) => {
    const [path, session] = [dir.path(name), dir.path(`${name}.s`)];
    for (const tokens of ['1', '2']) await inferInside(micro, '--tokens', tokens, '--log', path, '--session', session);
    const good = readFileSync(path);
    const damaged: Buffer[] = [Buffer.of(), Buffer.from('{}\n'), Buffer.from('my diary'), Buffer.concat([good, good])];
    for (let i = 1; i < 40; i++) {
      const at = (i * 389) % good.length;
      const copy = Buffer.from(good);
      copy[at]! ^= 1 << (i % 8);
      damaged.push(copy, good.subarray(0, at));
    }
    for (const bytes of damaged) {
      writeFileSync(path, bytes);
      const failure = await untouched([path, session], () =>
        failureInside('infer', micro, '--tokens', '3', '--log', path, '--session', session),
      );
      expect(failure).toMatch(/^3 (BadFile|BadChecksum|Truncated) (line|record) \d+: \w+$/);
    }
    writeFileSync(path, good.subarray(0, -20));
    await untouched([path, session], () => {
      const words = ['infer', micro, '--tokens', '3', '--log', path, '--session', session];
      expectJsonFailure(mgt([...words, '--json']), { exit: 3, code: 'Truncated', field: /^(line|record) 3: seal$/ });
      expectFailure(mgt([...words, '--engine', 'reference']), { exit: 3, code: 'Truncated' });
    });
    writeFileSync(path, good);
    await inferInside(micro, '--tokens', '3', '--log', path, '--session', session);
    expect(await replay(path)).toEqual({ calls: 3, verified: 3 });
  });
});

test('calls made at the same time all stand in the log and in the session', async () => {
  const [log, session] = [dir.path('busy.jsonl'), dir.path('busy.s')];
  const jobs = Array.from({ length: 8 }, (_, i) => [String(100 + i), ...(i % 2 ? ['--session', session] : [])]);
  const ran = await each(jobs, 8, ([tokens, ...words]) =>
    mgtAsync(['infer', micro, '--tokens', tokens!, '--log', log, ...words, '--json']),
  );
  expect(ran.map(({ code, stderr }) => [code, stderr])).toEqual(jobs.map(() => [0, '']));
  const entries = (await entriesOf(log)) as CallEntry[];
  expect(entries.map(({ tokens }) => tokens[0]!).sort()).toEqual(jobs.map(([token]) => Number(token)));
  expect(entries.filter((entry) => entry.session === 0)).toHaveLength(4);
  expect(
    readdirSync(dir.path('.'))
      .filter((name) => name.includes('busy'))
      .sort(),
  ).toEqual(['busy.jsonl', 'busy.s']);
  expect(await replay(log)).toEqual({ calls: 8, verified: 8 });
});
