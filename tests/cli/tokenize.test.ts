import { readFileSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { parseHeader } from '../../src/format/file.js';
import { bytesOf, END, START, textModels } from './generate-models.js';
import { failureInside, inside } from './inside.js';
import { expectFailure, mgt, results, scratch } from './support.js';

const dir = scratch();
const models = textModels(dir);
const { file, opening, bare, encoder } = models;
beforeAll(() => models.write());
afterAll(() => dir.remove());

interface Tokenized {
  tokens: number[];
  pieces: string[];
}
const tokenize = async (...words: string[]): Promise<Tokenized> =>
  JSON.parse(await inside('tokenize', ...words, '--json')) as Tokenized;

describe('mgt tokenize', () => {
  test('ids and the text each completes; joined they are the text', async () => {
    expect(results(mgt(['tokenize', file, 'the sea', '--json']))).toEqual([
      { tokens: [227, 230], pieces: ['the', ' sea'] },
    ]);
    for (const text of ['', 'Hello  sea\n', '🌊 日本é!', ' the', 'x\u0301🏴‍☠️the']) {
      const { tokens, pieces } = await tokenize(file, text);
      expect([text, pieces.join(''), pieces.length]).toEqual([text, text, tokens.length]);
      expect(new TextDecoder().decode(Buffer.concat(tokens.map(bytesOf)))).toBe(text);
    }
    const { tokens, pieces } = await tokenize(file, '🌊');
    expect([tokens.length, pieces]).toEqual([3, ['', '', '🌊']]);
  });

  test('specials: those the model puts around, unless told; those written in the text always', async () => {
    expect(await tokenize(file, 'the<|im_end|>')).toEqual({ tokens: [227, END], pieces: ['the', '<|im_end|>'] });
    expect(await tokenize(opening, 'the')).toEqual({ tokens: [START, 227], pieces: ['<|im_start|>', 'the'] });
    expect(await tokenize(opening, 'the<|im_end|>', '--no-special')).toMatchObject({ tokens: [227, END] });
    expect(await tokenize(opening, '')).toMatchObject({ tokens: [START] });
  });

  test('lines for people; a word model by its vocabulary; texts that begin with a dash', async () => {
    expect(await inside('tokenize', file, 'the\n')).toBe('227  "the"\n  2  "\\n"\n');
    expect(await tokenize(encoder, 'ships')).toEqual({
      tokens: [2, 7, 8, 3],
      pieces: ['[CLS]', 'ship', '##s', '[SEP]'],
    });
    expect(results(mgt(['tokenize', file, '--json', '--', '-a']))).toMatchObject([{ pieces: ['-', 'a'] }]);
  });

  test('the weights are not read, the header is checked', async () => {
    const bytes = readFileSync(file);
    const { payloadOffset } = parseHeader(bytes, bytes.length);
    const broken = dir.path('broken.mgt');
    writeFileSync(
      broken,
      Buffer.concat([bytes.subarray(0, payloadOffset), Buffer.alloc(bytes.length - payloadOffset)]),
    );
    expect((await tokenize(broken, 'the')).tokens).toEqual([227]);
    writeFileSync(broken, bytes.subarray(0, payloadOffset - 5));
    expect(await failureInside('tokenize', broken, 'the')).toMatch(/^3 Truncated /);
    writeFileSync(broken, bytes.subarray(0, 10));
    expect(await failureInside('tokenize', broken, 'the')).toMatch(/^3 Truncated /);
    writeFileSync(broken, 'GGUF');
    expect(await failureInside('tokenize', broken, 'the')).toBe('3 BadFile magic');
  });

  test('what it refuses', async () => {
    expectFailure(mgt(['tokenize', bare, 'a']), { exit: 5, code: 'UnsupportedMode', field: 'tokenizer' });
    expect(await failureInside('tokenize', file)).toBe('2 Usage TEXT');
    expect(await failureInside('tokenize', file, 'a', 'b')).toBe('2 Usage operands');
    expect(await failureInside('tokenize', dir.path('none'), 'a')).toMatch(/^3 FileNotFound /);
    expect(await failureInside('tokenize', dir.path('.'), 'a')).toMatch(/^3 FileNotFound /);
  });
});
