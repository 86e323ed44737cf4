import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { writeDecoder } from './generate-models.js';
import { failureInside, inferInside, inside } from './inside.js';
import { writeEncoder } from './models.js';
import { mgt, results, scratch } from './support.js';

const dir = scratch();
const [file, bare, encoder] = ['d', 'n', 'e'].map((name) => dir.path(`${name}.mgt`)) as [string, string, string];
beforeAll(async () => {
  await writeDecoder(file);
  await writeDecoder(bare, { tokenizer: 'none' });
  await writeEncoder(encoder, true);
});
afterAll(() => dir.remove());

const TOKENS = '227,230,85,3,72,68,75,90,100,4,5,6';

describe('mgt infer --all', () => {
  test("every token's logits, each as a call on the tokens up to it gives them", async () => {
    const { shape, values, sha256 } = await inferInside(file, '--tokens', TOKENS, '--all');
    expect([shape, values.length]).toEqual([[12, 257], 12 * 257]);
    expect(
      createHash('sha256')
        .update(Buffer.from(Float32Array.from(values).buffer))
        .digest('hex'),
    ).toBe(sha256);
    for (const n of [1, 5, 12]) {
      const last = await inferInside(file, '--tokens', TOKENS.split(',').slice(0, n).join(','));
      expect(last.shape).toEqual([257]);
      expect(values.slice((n - 1) * 257, n * 257)).toEqual(last.values);
    }
    const one = await inferInside(file, '--tokens', '5', '--all');
    expect(one.shape).toEqual([1, 257]);
  });

  test('a process prints the same, on every engine', () => {
    const run = (...words: string[]): Record<string, unknown> => {
      const [line] = results(mgt(['infer', file, '--tokens', TOKENS, '--all', '--json', ...words]));
      const { stats, ...rest } = line!;
      expect(stats).toMatchObject({ layersExecuted: 2, macs: { head: 12 * 257 * 96 } });
      return rest;
    };
    const wasm = run();
    expect(wasm.shape).toEqual([12, 257]);
    expect(run('--simd', 'plain')).toEqual(wasm);
    expect(run('--engine', 'reference')).toEqual(wasm);
  });

  test('of a session: the tokens of this call, and the pieces joined are the bytes of one call', async () => {
    const whole = dir.path('whole.f32');
    await inside('infer', file, '--tokens', TOKENS, '--all', '--out', whole);
    for (const engine of ['wasm', 'reference']) {
      const session = dir.path(`${engine}.mgts`);
      const parts: Buffer[] = [];
      for (const [i, tokens] of ['227,230,85', '3', '72,68,75,90,100,4,5', '6'].entries()) {
        const out = dir.path(`part${i}`);
        const words = ['--tokens', tokens, '--all', '--session', session, '--engine', engine, '--out', out, '--json'];
        const [{ shape }] = results(mgt(['infer', file, ...words])) as [{ shape: number[] }];
        expect(shape).toEqual([tokens.split(',').length, 257]);
        parts.push(readFileSync(out));
      }
      expect(Buffer.concat(parts).equals(readFileSync(whole))).toBe(true);
    }
  });

  test('without --json the last token of them', async () => {
    const shown = await inside('infer', file, '--tokens', TOKENS, '--all');
    const last = await inside('infer', file, '--tokens', TOKENS);
    expect(shown).toContain('of the last of 12 tokens');
    expect(shown.split('\n')[0]).toBe(last.split('\n')[0]);
  });

  test('no encoder, and no log, which holds one output of a call', async () => {
    expect(await failureInside('infer', encoder, '--tokens', '1', '--all')).toBe('5 UnsupportedMode all');
    const log = dir.path('log.jsonl');
    expect(await failureInside('infer', file, '--tokens', '1', '--all', '--log', log)).toBe('2 Usage --all');
    expect(() => readFileSync(log)).toThrow('ENOENT');
  });
});

describe('mgt infer --prompt', () => {
  test("a text's tokens, as mgt tokenize gives them", async () => {
    for (const [path, text] of [
      [file, 'the sea<|im_end|>'],
      [encoder, 'the ships'],
    ] as const) {
      const { tokens } = JSON.parse(await inside('tokenize', path, text, '--json')) as { tokens: number[] };
      const told = await inferInside(path, '--tokens', tokens.join(','));
      expect(await inferInside(path, '--prompt', text)).toEqual(told);
      const [reference] = results(mgt(['infer', path, '--prompt', text, '--engine', 'reference', '--json']));
      expect(reference!.sha256).toBe(told.sha256);
    }
  });

  test.each<[string, string[], string]>([
    ['file', ['--prompt', ''], '4 BadInput tokens'],
    ['file', ['--prompt', 'a b '.repeat(40)], '4 BadInput tokens'],
    ['file', ['--prompt', 'a', '--tokens', '1'], '2 Usage --prompt'],
    ['file', [], '2 Usage --tokens'],
    ['bare', ['--prompt', 'a'], '5 UnsupportedMode tokenizer'],
  ])('%s %j: %s', async (name, words, failure) => {
    expect(await failureInside('infer', name === 'bare' ? bare : file, ...words)).toBe(failure);
  });
});
