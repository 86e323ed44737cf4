import { mkdirSync, readFileSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { toLines } from '../../src/cli/files.js';
import { VERSION } from '../../src/format/header.js';
import { Rng } from '../support/rng.js';
import { writeMicro } from './models.js';
import { each, expectFailure, expectJsonFailure, mgt, mgtAsync, results, scratch } from './support.js';

const dir = scratch();
const micro = dir.path('micro.mgt');
let bytes: Uint8Array;

beforeAll(async () => {
  bytes = await writeMicro(micro);
});
afterAll(() => dir.remove());

/** The commands that read a model file, each with what else it needs. */
const READERS: readonly (readonly [string, ...string[]])[] = [
  ['inspect'],
  ['infer', '--tokens', '1,2'],
  ['infer', '--tokens', '1,2', '--engine', 'reference'],
  ['embed', 'a text'],
];
const read = ([command, ...rest]: readonly string[], path: string): string[] => [command!, path, ...rest];

describe('a file that cannot be used exits 3', () => {
  const write = (name: string, content: Uint8Array | string): string => {
    writeFileSync(dir.path(name), content);
    return dir.path(name);
  };
  const changed = (offset: number, value: number): Uint8Array => {
    const copy = bytes.slice();
    copy[offset] = value;
    return copy;
  };

  test.each(READERS)('%s %s %s %s %s', (...words) => {
    const command = words.filter((word) => word !== undefined);
    const flipped = write('flipped.mgt', changed(bytes.length - 100, bytes.at(-100)! ^ 1));
    expectFailure(mgt(read(command, dir.path('missing.mgt'))), { exit: 3, code: 'FileNotFound' });
    expectJsonFailure(mgt([...read(command, flipped), '--json']), { exit: 3, code: 'BadChecksum', field: 'payload' });
    expectFailure(mgt(read(command, write('empty.mgt', ''))), { exit: 3, code: 'Truncated' });
  });

  test.each(READERS.slice(0, 2))('%s, by what is wrong with it', (...words) => {
    const command = words.filter((word) => word !== undefined);
    mkdirSync(dir.path('folder'), { recursive: true });
    const cases = [
      [dir.path('folder'), 'FileNotFound', undefined],
      [write('text.mgt', 'not a model\n'.repeat(20)), 'BadFile', 'magic'],
      [write('version.mgt', changed(8, VERSION + 1)), 'UnknownVersion', 'version'],
      [write('long.mgt', Buffer.concat([bytes, new Uint8Array(1)])), 'BadFile', undefined],
    ] as const;
    for (const [path, code, field] of cases) {
      expectFailure(mgt(read(command, path)), { exit: 3, code, ...(field && { field }) });
    }
  });

  test('one flipped byte anywhere, or any cut, is found by every reader', async () => {
    const rng = new Rng(3);
    const anywhere = (count: number, from: number, to: number): number[] => rng.ints(count, from, to - 1);
    const payloadAt = new DataView(bytes.buffer, bytes.byteOffset).getUint32(16, true);
    const flips = [0, 8, 12, 20, 24, 32, 64, 72, 84, 96, 128, 271, payloadAt - 1, payloadAt, bytes.length - 1];
    flips.push(...anywhere(4, 272, payloadAt), ...anywhere(4, payloadAt, bytes.length));
    const cuts = [1, 127, 128, 271, payloadAt, payloadAt + 1, bytes.length - 1];
    cuts.push(...anywhere(3, 1, bytes.length));

    const damaged = [
      ...flips.map((at) => {
        const copy = bytes.slice();
        copy[at]! ^= 1 << rng.int(0, 7);
        return { name: `flip ${at}`, content: copy };
      }),
      ...cuts.map((length) => ({ name: `cut to ${length}`, content: bytes.subarray(0, length) })),
    ];
    const verdicts = await each(damaged, 2, async ({ name, content }) => {
      const path = dir.path(`${name}.mgt`);
      writeFileSync(path, content);
      const reader = READERS[damaged.findIndex((d) => d.name === name) % READERS.length]!;
      const { code, stdout, stderr } = await mgtAsync(read(reader, path));
      rmSync(path);
      return { name, code, stdout, form: /^mgt: \w+ "[^\n]*" expected [^\n]+, got [^\n]+\n$/.test(stderr) || stderr };
    });
    expect(verdicts).toEqual(damaged.map(({ name }) => ({ name, code: 3, stdout: '', form: true })));
  });
});

describe('a file that cannot be written exits 3 and leaves nothing', () => {
  const init = (path: string): string[] => ['init', 'micro', '--seed', '1', '-o', path];

  test('no such folder, a folder, a file as a folder', () => {
    mkdirSync(dir.path('target'), { recursive: true });
    for (const path of ['nowhere/x.mgt', 'target', 'micro.mgt/x.mgt']) {
      expectFailure(mgt(init(dir.path(path))), { exit: 3, code: 'FileNotFound', field: '-o' });
    }
    expectFailure(mgt(['infer', micro, '--tokens', '1', '--out', dir.path('nowhere/raw')]), {
      exit: 3,
      code: 'FileNotFound',
      field: '--out',
    });
    expectFailure(mgt(init('')), { exit: 3, code: 'FileNotFound', field: '-o' });
    expect(readdirSync(dir.path('target'))).toEqual([]);
    expect(readdirSync(dir.path('.')).filter((name) => name.endsWith('.tmp'))).toEqual([]);
  });

  test('a file is replaced whole, a link stays a link, a device stays a device', () => {
    writeFileSync(dir.path('old.mgt'), 'old');
    symlinkSync(dir.path('old.mgt'), dir.path('link.mgt'));
    results(mgt([...init(dir.path('link.mgt')), '--json']));
    expect(readFileSync(dir.path('old.mgt')).equals(bytes)).toBe(true);
    expect(readdirSync(dir.path('.'))).toContain('link.mgt');
    results(mgt([...init('/dev/null'), '--json']));
    expect(statSync('/dev/null').isCharacterDevice()).toBe(true);
  });
});

describe('lines of a text file', () => {
  const lines = (text: string): string[] => toLines('--file', new TextEncoder().encode(text));

  test.each([
    ['', []],
    ['\n', ['']],
    ['a', ['a']],
    ['a\n', ['a']],
    ['a\n\n', ['a', '']],
    ['\n\na\r\nb\r\n', ['', '', 'a', 'b']],
    ['a\u2028b\rc\n', ['a\u2028b\rc']],
    ['\ufeffa\n', ['a']],
  ])('%j is %j', (text, expected) => {
    expect(lines(text)).toEqual(expected);
  });

  test('other encodings are refused', () => {
    expect(() => toLines('--file', Uint8Array.of(0x61, 0xe9, 0x0a))).toThrow('"--file" expected UTF-8 text');
  });
});
