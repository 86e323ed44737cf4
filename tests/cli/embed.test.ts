import { writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { CLS, SEP, writeEncoder, writeMicro } from './models.js';
import { expectFailure, expectJsonFailure, mgt, results, scratch } from './support.js';

const dir = scratch();
const model = dir.path('encoder.mgt');
const bare = dir.path('bare.mgt');
const decoder = dir.path('micro.mgt');

beforeAll(async () => {
  await writeEncoder(model, true);
  await writeEncoder(bare, false);
  await writeMicro(decoder);
});
afterAll(() => dir.remove());

interface Embedded {
  text: string;
  tokens: number[];
  truncated: boolean;
  embedding: number[];
}
const embed = (args: string[], input = ''): Embedded[] =>
  results(mgt(['embed', model, '--json', ...args], { input })) as unknown as Embedded[];

describe('mgt embed --json', () => {
  test('one line per text, in order, with ids, specials and the vector of infer', () => {
    const lines = embed(['a ships', '', 'the sea.']);
    expect(lines.map(({ text, tokens, truncated }) => ({ text, tokens, truncated }))).toEqual([
      { text: 'a ships', tokens: [CLS, 4, 7, 8, SEP], truncated: false },
      { text: '', tokens: [CLS, SEP], truncated: false },
      { text: 'the sea.', tokens: [CLS, 10, 6, 11, SEP], truncated: false },
    ]);
    for (const line of lines) {
      expect(Object.keys(line)).toEqual(['text', 'tokens', 'truncated', 'embedding']);
      expect(line.embedding).toHaveLength(96);
      const [inferred] = results(mgt(['infer', model, '--tokens', line.tokens.join(','), '--json']));
      expect(inferred!.values).toEqual(line.embedding);
    }
  });

  test('arguments, a file and stdin are the same texts', () => {
    const texts = ['a', '', 'sea', '', '-5'];
    const wanted = embed(['--', ...texts]);
    expect(wanted.map(({ text }) => text)).toEqual(texts);
    for (const [name, content] of [
      ['lf', `${texts.join('\n')}\n`],
      ['crlf', `${texts.join('\r\n')}\r\n`],
      ['open', texts.join('\n')],
    ] as const) {
      writeFileSync(dir.path(name), content);
      expect(embed(['--file', dir.path(name)])).toEqual(wanted);
      expect(embed([], content)).toEqual(wanted);
      expect(embed(['--file', '-'], content)).toEqual(wanted);
    }
    writeFileSync(dir.path('one'), 'a\n');
    expect(embed(['--file', dir.path('one'), 'sea']).map(({ text }) => text)).toEqual(['a', 'sea']);
    expect(embed([], '\n')).toHaveLength(1);
    expect(embed([], '')).toEqual([]);
  });

  test('a text too long is cut and keeps its closing token', () => {
    const [line] = embed(['sea '.repeat(100)]);
    expect(line).toMatchObject({ truncated: true });
    expect(line!.tokens).toHaveLength(37);
    expect(line!.tokens.at(-1)).toBe(SEP);
  });

  test('more texts than one pass holds', () => {
    const texts = Array.from({ length: 60 }, (_, i) => 'sea '.repeat(i % 30));
    const lines = embed([], `${texts.join('\n')}\n`);
    expect(lines.map(({ text }) => text)).toEqual(texts);
    expect(lines[59]!.embedding).toEqual(lines[29]!.embedding);
  });

  test('without --json a line per text', () => {
    const { code, stdout, stderr } = mgt(['embed', model, 'a\x1b[31m', 'sea']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout.split('\n')).toHaveLength(3);
    expect(stdout).not.toContain('\x1b');
  });
});

describe('what embed refuses', () => {
  test('a model without a tokenizer exits 5 and says so, before stdin is read', () => {
    for (const path of [bare, decoder]) {
      expectFailure(mgt(['embed', path, 'a']), { exit: 5, code: 'UnsupportedMode', field: 'tokenizer' });
      expectJsonFailure(mgt(['embed', path, '--json']), { exit: 5, code: 'UnsupportedMode', field: 'tokenizer' });
    }
  });

  test('lines that cannot be read exit 3, and no earlier text is printed', () => {
    expectFailure(mgt(['embed', model, '--file', dir.path('missing')]), {
      exit: 3,
      code: 'FileNotFound',
      field: '--file',
    });
    writeFileSync(dir.path('latin1'), Uint8Array.of(0x61, 0x0a, 0xe9, 0x0a));
    expectFailure(mgt(['embed', model, '--file', dir.path('latin1'), 'a']), {
      exit: 3,
      code: 'BadFile',
      field: '--file',
    });
  });
});
