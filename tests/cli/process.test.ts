import { spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { initModel } from '../../src/convert/init.js';
import { EXIT_CODES } from '../../src/cli/output.js';
import { writeEncoder, writeMiniLike } from './models.js';
import { expectFailure, MAIN, mgt, results, scratch } from './support.js';

const dir = scratch();
const model = dir.path('encoder.mgt');
beforeAll(() => writeEncoder(model, true));
afterAll(() => dir.remove());

describe('mgt init', () => {
  test('the same seed gives the same file, as the library makes it', async () => {
    const init = (...rest: string[]): Buffer => {
      const [line] = results(mgt(['init', 'micro', '-o', dir.path('m.mgt'), '--json', ...rest]));
      const written = readFileSync(dir.path('m.mgt'));
      expect(line).toMatchObject({ preset: 'micro', bytes: written.length });
      return written;
    };
    expect(init('--seed', '3').equals(await initModel('micro', 3))).toBe(true);
    expect(init('--seed', '4294967295', '--quant', 'int7').equals(await initModel('micro', 2 ** 32 - 1, 'int7'))).toBe(
      true,
    );
    expect(init('--seed', '3').equals(init('--seed', '4'))).toBe(false);
  });

  test.each(['-1', '1.5', '4294967296', '1e999'])('--seed %s exits 4 and writes nothing', (seed) => {
    const path = dir.path('never.mgt');
    expectFailure(mgt(['init', 'micro', '--seed', seed, '-o', path]), { exit: 4, code: 'BadInput', field: 'seed' });
    expect(() => readFileSync(path)).toThrow('ENOENT');
  });
});

describe('the process', () => {
  test('Ctrl-C exits 130 with one line and nothing on stdout', async () => {
    const child = spawn(process.execPath, [MAIN, 'embed', model, '--json'], { stdio: ['pipe', 'pipe', 'pipe'] });
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
    child.stdin.write('a text without an end\n');
    // It waits for the rest of stdin once it has started; nothing shows when that is.
    await new Promise((resolve) => setTimeout(resolve, 1000));
    child.kill('SIGINT');
    const code = await new Promise((resolve) => child.on('close', resolve));
    expect({ code, stdout }).toEqual({ code: 130, stdout: '' });
    expect(JSON.parse(stderr)).toMatchObject({ error: { code: 'Aborted' } });
  });

  test('Ctrl-C stops the reference at once, long as it may compute', async () => {
    const tokens = Array.from({ length: 60 }, () => '1').join(',');
    await writeMiniLike(dir.path('large.mgt'));
    const args = ['--jitless', MAIN, 'infer', dir.path('large.mgt'), '--tokens', tokens, '--engine', 'reference'];
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    setTimeout(() => child.kill('SIGINT'), 1500);
    const code = await new Promise((resolve) => child.on('close', resolve));
    expect(code).toBe(130);
  });

  test('a reader that leaves is no error', async () => {
    writeFileSync(dir.path('many'), 'sea\n'.repeat(500));
    const child = spawn(process.execPath, [MAIN, 'embed', model, '--file', dir.path('many'), '--json'], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let stderr = '';
    child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
    child.stdout.once('data', () => child.stdout.destroy());
    const code = await new Promise((resolve) => child.on('close', resolve));
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  });

  test('a defect is one line too: Internal, exit 1', () => {
    // A fault that no code foresees: stdout itself throws.
    writeFileSync(dir.path('broken.mjs'), 'process.stdout.write = () => { throw new TypeError("no\\npaper"); };');
    const ran = mgt(['embed', model, 'a'], { node: ['--import', dir.path('broken.mjs')] });
    expectFailure(ran, { exit: 1, code: 'Internal' });
  });

  test('every error code has its exit code', () => {
    const groups: Record<number, string[]> = {};
    for (const [code, exit] of Object.entries(EXIT_CODES)) (groups[exit] ??= []).push(code);
    expect(groups).toEqual({
      2: ['Usage'],
      3: [
        ...['BadFile', 'Truncated', 'BadChecksum', 'UnknownVersion', 'FileNotFound'],
        ...['BadWeights', 'BadConfig', 'NoisyModel'],
      ],
      4: ['BadInput', 'OutputTooSmall', 'OutOfMemory', 'Disposed'],
      5: ['UnsupportedMode', 'UnsupportedArchitecture', 'MissingDependency'],
      130: ['Aborted'],
    });
  });
});
