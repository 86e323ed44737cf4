import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { initModel } from '../../src/convert/init.js';
import { parseHeader } from '../../src/format/file.js';
import { PANEL_HEAD, planWeights } from '../../src/format/tensors.js';
import { writeModel } from '../../src/format/write.js';
import { link, readLog, writeLog, type Link } from '../../src/log/chain.js';
import type { Entry } from '../../src/log/entry.js';
import { DECISIONS } from '../../src/packets/fields.js';
import { failureInside, inferInside, inside, untouched } from './inside.js';
import { writeMicro } from './models.js';
import { MAIN, expectFailure, expectJsonFailure, mgt, results, scratch } from './support.js';

const dir = scratch();
const micro = dir.path('micro.mgt');
const FORMS = ['json', 'bin'] as const;
const short = { json: dir.path('short.json'), bin: dir.path('short.bin') };

beforeAll(async () => {
  await writeMicro(micro);
  for (const form of FORMS) {
    const session = ['--session', dir.path(`short.${form}.s`)];
    await inferInside(micro, '--tokens', '1,2', '--log', short[form], ...session);
    await inferInside(micro, '--tokens', '3', '--log', short[form], '--gate', '{"lambda":20}');
    await inferInside(micro, '--tokens', '4', '--log', short[form], ...session, '--signature', '9');
  }
});
afterAll(() => dir.remove());

/** Where each entry of a log begins, the seal's too, and the file's end. */
function startsOf(bytes: Buffer, form: 'json' | 'bin'): number[] {
  const starts = [form === 'json' ? 0 : 8];
  while (starts.at(-1)! < bytes.length) {
    const at = starts.at(-1)!;
    starts.push(form === 'json' ? bytes.indexOf('\n', at) + 1 : at + 8 + bytes.readUInt32LE(at) + 32);
  }
  return starts;
}

const scene = dir.path('scene');
const failureOf = async (bytes: Uint8Array, model = micro): Promise<string> => {
  writeFileSync(scene, bytes);
  return untouched([scene], () => failureInside('replay', scene, '--model', model));
};

describe('mgt replay', () => {
  test.each(FORMS)('%s: exit 0, and exactly the two counts; one line for people', (form) => {
    const { code, stdout, stderr } = mgt(['replay', short[form], '--model', micro, '--json']);
    expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: '{"calls":3,"verified":3}\n', stderr: '' });
    const human = mgt(['replay', short[form], '--model', micro]);
    expect(human).toEqual({ code: 0, stdout: `${short[form]}: 3 of 3 calls give the same bits\n`, stderr: '' });
  });

  test('a log without calls', async () => {
    writeFileSync(scene, await writeLog('json', []));
    expect(JSON.parse(await inside('replay', scene, '--model', micro, '--json'))).toEqual({ calls: 0, verified: 0 });
  });

  test('files that are none', () => {
    mkdirSync(dir.path('folder'), { recursive: true });
    writeFileSync(dir.path('empty'), '');
    const run = (log: string, model: string) => mgt(['replay', log, '--model', model, '--json']);
    expectJsonFailure(run(dir.path('none'), micro), { exit: 3, code: 'FileNotFound', field: dir.path('none') });
    expectJsonFailure(run(dir.path('folder'), micro), { exit: 3, code: 'FileNotFound' });
    expectJsonFailure(run(dir.path('empty'), micro), { exit: 3, code: 'Truncated', field: 'line 1: seal' });
    expectJsonFailure(run(micro, micro), { exit: 3, code: 'BadFile', field: 'line 1: syntax' });
    expectJsonFailure(run(short.json, short.json), { exit: 3, code: 'BadFile', field: 'magic' });
    // Without --model it is the default one, whose log this is not.
    expectFailure(mgt(['replay', short.json]), { exit: 3, code: 'BadChecksum', field: 'line 1: modelHash' });
    expectFailure(mgt(['replay', '--model', micro]), { exit: 2, code: 'Usage', field: 'LOG' });
  });
});

describe('damage is named', () => {
  test.each(FORMS)('%s: any byte changed, by the entry it stands in', async (form) => {
    const good = readFileSync(short[form]);
    const starts = startsOf(good, form);
    const word = form === 'json' ? 'line' : 'record';
    const offsets = new Set(starts.slice(1).map((start) => start - 1));
    for (let at = 0; at < good.length; at += at < 60 ? 1 : 9) offsets.add(at);
    for (const at of offsets) {
      const copy = Buffer.from(good);
      copy[at]! ^= 1 << (at % 8);
      const entry = Math.max(1, starts.filter((start) => start <= at).length);
      expect([at, await failureOf(copy)]).toEqual([
        at,
        expect.stringMatching(new RegExp(`^3 (BadChecksum|BadFile) ${word} ${entry}: (hash|syntax|length|magic)$`)),
      ]);
    }
  });

  test.each(FORMS)('%s: cut anywhere it is Truncated', async (form) => {
    const good = readFileSync(short[form]);
    const starts = startsOf(good, form);
    const lengths = new Set([0, 1, ...starts.slice(0, -1), ...starts.map((start) => start - 1)]);
    for (let length = 2; length < good.length; length += 17) lengths.add(length);
    for (const length of lengths) {
      if (length < 0 || length >= good.length) continue;
      // A binary log without all of its magic might be anything.
      const magic = form === 'bin' && length > 0 && length < 8;
      const failure = magic ? /^3 (BadFile|Truncated) record 1: / : /^3 Truncated (line|record) \d: seal$/;
      expect([length, await failureOf(good.subarray(0, length))]).toEqual([length, expect.stringMatching(failure)]);
    }
  });

  test.each(FORMS)('%s: entries left out, doubled or out of order, and what stands behind the seal', async (form) => {
    const good = readFileSync(short[form]);
    const starts = startsOf(good, form);
    const head = good.subarray(0, starts[0]);
    const entries = starts.slice(1).map((end, i) => good.subarray(starts[i], end));
    const word = form === 'json' ? 'line' : 'record';
    for (const [order, failure] of [
      [[1, 0, 2, 3], `3 BadChecksum ${word} 1: hash`],
      [[0, 2, 1, 3], `3 BadChecksum ${word} 2: hash`],
      [[0, 2, 3], `3 BadChecksum ${word} 2: hash`],
      [[1, 2, 3], `3 BadChecksum ${word} 1: hash`],
      [[0, 1, 3], `3 BadChecksum ${word} 3: hash`],
      [[0, 0, 1, 2, 3], `3 BadChecksum ${word} 2: hash`],
      [[3], `3 BadChecksum ${word} 1: hash`],
      [[0, 1, 2], `3 Truncated ${word} 4: seal`],
      [[0, 1, 2, 3, 3], `3 BadFile ${word} 5: seal`],
      [[0, 1, 2, 3, 0], `3 BadFile ${word} 5: seal`],
    ] as const) {
      const bytes = Buffer.concat([head, ...order.map((i) => entries[i]!)]);
      expect([order, await failureOf(bytes)]).toEqual([order, failure]);
    }
  });

  test('JSON lines that were tidied up', async () => {
    const good = readFileSync(short.json, 'utf8');
    for (const [text, failure] of [
      [good.replaceAll('\n', '\r\n'), '3 BadFile line 1: syntax'],
      [`\ufeff${good}`, '3 BadFile line 1: syntax'],
      [`\n${good}`, '3 BadFile line 1: syntax'],
      [good.replace('\n', '\n\n'), '3 BadFile line 2: syntax'],
      [good.replace(',"', ', "'), '3 BadChecksum line 1: hash'],
      [`${good}\n`, '3 BadFile line 5: seal'],
    ] as const) {
      expect(await failureOf(Buffer.from(text))).toBe(failure);
    }
  });
});

/** The log with another model's hash in each of its calls, every hash of the chain made anew. */
async function restamped(bytes: Uint8Array, modelHash: string): Promise<Uint8Array> {
  const { format, entries } = await readLog(bytes);
  const links: Link[] = [];
  for (const entry of entries) {
    links.push(await link(format, entry.type === 'call' ? { ...entry, modelHash } : entry, links.at(-1)));
  }
  return writeLog(format, links);
}

describe('another model', () => {
  test.each(FORMS)('%s: modelHash; with that hash in the log, output', async (form) => {
    const word = form === 'json' ? 'line' : 'record';
    const bytes = await initModel('micro', 1);
    const { config, payloadOffset, payloadBytes, meta } = parseHeader(bytes, bytes.length);
    const payload = bytes.slice(payloadOffset, payloadOffset + payloadBytes);
    // One weight by one step of its grid: the first of token 2, with which the first call ends.
    const weights = planWeights(config).tensors.find(({ name }) => name === 'embeddings.token')!;
    const code = weights.offset + PANEL_HEAD + 4 * 2;
    payload[code]! += payload[code] === 127 ? -1 : 1;
    const changed = await writeModel(config, payload, meta);
    const path = dir.path(`changed.${form}.mgt`);
    writeFileSync(path, changed);
    expect(await failureOf(readFileSync(short[form]), path)).toBe(`3 BadChecksum ${word} 1: modelHash`);
    const sha256 = Buffer.from(parseHeader(changed, changed.length).sha256).toString('hex');
    writeFileSync(scene, await restamped(readFileSync(short[form]), sha256));
    expectJsonFailure(mgt(['replay', scene, '--model', path, '--json']), {
      exit: 3,
      code: 'BadChecksum',
      field: `${word} 1: output`,
    });
    expect(await failureOf(readFileSync(scene))).toBe(`3 BadChecksum ${word} 1: modelHash`);
    // With its own hash again it is the log it was: nothing else was changed.
    const own = Buffer.from(parseHeader(bytes, bytes.length).sha256).toString('hex');
    writeFileSync(scene, await restamped(readFileSync(scene), own));
    expect(readFileSync(scene).equals(readFileSync(short[form]))).toBe(true);
  });
});

describe('every kind of call replays', () => {
  const DECIDED: Record<(typeof DECISIONS)[number], string> = {
    Allow: '{}',
    ReduceScope: '{"boundaryEdges":30}',
    FlushKv: '{"lambda":40,"lambdaPrev":100}',
    FreezeWrites: '{"flags":1}',
    QuarantineUpdates: '{"lambda":20}',
  };
  const long = Array.from({ length: 18 }, (_, i) => (i * 91) % 256).join();
  const OPTIONS: readonly (readonly string[])[] = [
    [],
    ['--layer-order', 'last', '--kv-fill', 'hole', '--sinks', '3', '--seed', '5'],
    ['--tiers', '{"layersDegraded":2,"seqLenDegraded":5,"windowDegraded":3}', '--context', '20'],
    ['--energy', '--scheduler', '--policy', 'permissive', '--partitions'],
  ];

  test.each(['all.jsonl', 'all.bin'])('%s', async (name) => {
    const log = dir.path(name);
    let calls = 0;
    const call = async (...words: string[]): Promise<string> => {
      calls++;
      return ((await inferInside(micro, ...words, '--log', log)).witness as { decision: string }).decision;
    };
    for (const [i, options] of OPTIONS.entries()) {
      const session = ['--session', dir.path(`${name}.${i}`)];
      await call('--tokens', long, ...options, ...session, '--signature', '1');
      for (const gate of Object.values(DECIDED)) {
        await call('--tokens', long, '--gate', gate, ...options, ...session);
        if (i < 2) await call('--tokens', '7,8', '--gate', gate, ...options);
      }
      await call('--tokens', '3', '--gate', '{"flags":2}', ...options, ...session, '--signature', '1');
      const spikes = '{"fired":1,"rateQ15":9000,"noveltyQ15":20000,"flags":1,"topIdx":[0,2],"topWQ15":[9,8]}';
      await call('--tokens', '4,5,6', '--spikes', spikes, ...options, ...session);
      await call('--tokens', '4,5,6', '--spikes', '{"fired":0}', ...options, ...session);
    }
    const { entries } = await readLog(readFileSync(log));
    const seen = new Set(entries.map((entry) => (entry.type === 'call' ? entry.witness.decision : '')));
    expect([...seen].sort()).toEqual([...DECISIONS].sort());
    expect(JSON.parse(await inside('replay', log, '--model', micro, '--json'))).toEqual({ calls, verified: calls });
    expect(results(mgt(['replay', log, '--model', micro, '--simd', 'plain', '--json']))).toEqual([
      { calls, verified: calls },
    ]);
    expect(existsSync(dir.path(`.${name}.lock`))).toBe(false);
  });
});

test('Ctrl-C stops a long replay at once', async () => {
  const { entries } = await readLog(readFileSync(short.json));
  const links: Link[] = [];
  const call = { ...entries[0]!, session: null, from: 'none', state: null } as Entry;
  for (let i = 0; i < 20_000; i++) links.push(await link('binary', call, links.at(-1)));
  writeFileSync(dir.path('long.bin'), await writeLog('binary', links));
  const child = spawn(process.execPath, [MAIN, 'replay', dir.path('long.bin'), '--model', micro], { stdio: 'pipe' });
  let printed = '';
  child.stdout.on('data', (chunk: Buffer) => (printed += chunk.toString()));
  // Between its start and the seconds that so many calls take.
  const timer = setTimeout(() => child.kill('SIGINT'), 800);
  const code = await new Promise((resolve) => child.on('close', resolve));
  clearTimeout(timer);
  expect({ code, printed }).toEqual({ code: 130, printed: '' });
});
