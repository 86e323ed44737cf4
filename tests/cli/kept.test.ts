import { spawn } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { openKept } from '../../src/cli/kept.js';
import { MincutGatedTransformer } from '../../src/core.node.js';
import { failureInside, inferInside, untouched } from './inside.js';
import { writeMicro, writeMiniLike } from './models.js';
import { MAIN, scratch } from './support.js';

const dir = scratch();
const micro = dir.path('micro.mgt');
let model: MincutGatedTransformer;

/** A folder of its own within the scratch: what else appears beside a file is seen. */
let made = 0;
const folder = (): ((name: string) => string) => {
  const name = `folder${made++}`;
  mkdirSync(dir.path(name));
  return (file) => dir.path(`${name}/${file}`);
};

beforeAll(async () => {
  model = await MincutGatedTransformer.load(await writeMicro(micro));
});
afterAll(() => {
  model.dispose();
  dir.remove();
});

describe('where the files of a call lie', () => {
  test('each has a path of its own', async () => {
    const path = folder();
    await inferInside(micro, '--tokens', '1', '--session', path('s'), '--log', path('l'));
    symlinkSync(path('s'), path('link'));
    copyFileSync(micro, path('m'));
    for (const [words, field] of [
      [['--session', path('x'), '--log', path('x')], '--log'],
      [['--session', path('s'), '--log', path('../') + path('').split('/').at(-2)! + '/s'], '--log'],
      [['--session', path('s'), '--out', path('link')], '--out'],
      [['--log', path('l'), '--out', path('l')], '--out'],
      [['--out', path('m')], '--out'],
    ] as const) {
      const failure = await untouched([path('s'), path('l'), path('m')], () =>
        failureInside('infer', path('m'), '--tokens', '4', ...words),
      );
      expect([words, failure]).toEqual([words, `2 Usage ${field}`]);
    }
  });

  test('what is no regular file, or cannot be made, is refused', async () => {
    const path = folder();
    mkdirSync(path('folder'));
    writeFileSync(path('file'), '');
    for (const option of ['--session', '--log']) {
      for (const place of [
        '/dev/full',
        '/dev/null',
        '',
        path('folder'),
        path('nowhere/x'),
        path('file/x'),
        path('x/'),
      ]) {
        const failure = await untouched([path('file')], () =>
          failureInside('infer', micro, '--tokens', '1', option, place),
        );
        expect([place, failure]).toEqual([place, `3 FileNotFound ${option}`]);
      }
    }
    expect(readdirSync(path('folder'))).toEqual([]);
  });

  test('a link stays a link, and permissions stay as they were', async () => {
    const path = folder();
    const words = ['--session', path('link'), '--log', path('l')];
    await inferInside(micro, '--tokens', '1', '--session', path('s'), '--log', path('l'));
    symlinkSync(path('s'), path('link'));
    for (const name of ['s', 'l']) chmodSync(path(name), 0o600);
    await inferInside(micro, '--tokens', '2', ...words);
    expect(model.restore(readFileSync(path('s'))).position).toBe(2);
    expect(['s', 'l'].map((name) => statSync(path(name)).mode & 0o777)).toEqual([0o600, 0o600]);
    expect(readdirSync(path(''))).toEqual(['l', 'link', 's']);
  });

  test('a file that another process has is waited for, then refused; a Ctrl-C ends the wait', async () => {
    const path = folder();
    const stop = new AbortController();
    const { bytes, next } = await openKept('--log', path('l'), stop.signal);
    expect(bytes).toBeUndefined();
    await expect(openKept('--log', path('l'), stop.signal, 40)).rejects.toMatchObject({
      code: 'FileNotFound',
      field: '--log',
      expected: `no ${path('.l.lock')}: delete it if no other mgt runs`,
    });
    const waiting = openKept('--log', path('l'), stop.signal);
    await next.write(Buffer.from('first'));
    await next.commit();
    const second = await waiting;
    expect(Buffer.from(second.bytes!).toString()).toBe('first');
    const third = openKept('--log', path('l'), stop.signal);
    stop.abort();
    await expect(third).rejects.toMatchObject({ code: 'Aborted' });
    await second.next.discard();
    expect(readdirSync(path(''))).toEqual(['l']);
  });

  test('a run that is stopped leaves what was there, and no lock', async () => {
    const path = folder();
    await writeMiniLike(path('large.mgt'));
    writeFileSync(dir.path('exit.mjs'), 'setTimeout(() => process.exit(9), 1200);');
    const tokens = Array.from({ length: 60 }, () => '1').join();
    const files = ['--session', path('s'), '--log', path('l'), '--out', path('raw')];
    const words = [MAIN, 'infer', path('large.mgt'), '--tokens', tokens, '--engine', 'reference', ...files];
    const stop = async (node: string[], signal?: NodeJS.Signals): Promise<unknown> => {
      const child = spawn(process.execPath, ['--jitless', ...node, ...words], { stdio: 'ignore' });
      const code = new Promise((resolve) => child.on('close', resolve));
      while (signal && !existsSync(path('.l.lock'))) await setTimeout(20);
      if (signal) child.kill(signal);
      return code;
    };
    expect(await stop([], 'SIGTERM')).toBe(130);
    expect(readdirSync(path(''))).toEqual(['large.mgt']);
    expect(await stop(['--import', dir.path('exit.mjs')])).toBe(9);
    expect(readdirSync(path(''))).toEqual(['large.mgt']);
  });
});
