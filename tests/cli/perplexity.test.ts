import { writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { MincutGatedTransformer } from '../../src/index.node.js';
import { bytesOf, textModels } from './generate-models.js';
import { failureInside, inside } from './inside.js';
import { mgt, results, scratch } from './support.js';

const dir = scratch();
const models = textModels(dir);
const { file, opening, bare, encoder } = models;
const TEXT = 'The sea is the sea, and a user is no ship.\n'.repeat(9);
const text = (content: string | Uint8Array, name = 'text'): string => {
  writeFileSync(dir.path(name), content);
  return dir.path(name);
};
beforeAll(() => models.write());
afterAll(() => dir.remove());

interface Scored {
  tokens: number;
  nll: number;
  perplexity: number;
  bytes: number;
  bitsPerByte: number;
  meanLayers: number;
  macs: { spent: number; full: number; share: number };
}
const KEYS = ['tokens', 'bytes', 'nll', 'perplexity', 'bitsPerByte', 'meanLayers', 'macs'];
const perplexity = async (...words: string[]): Promise<Scored> =>
  JSON.parse(await inside('perplexity', ...words, '--json')) as Scored;

/** Each token from a call of its own, on all before it in its window; the bytes are those of the tokens' own definition. */
async function oracle(
  path: string,
  content: string,
  context: number,
): Promise<{ tokens: number; nll: number; bytes: number }> {
  const model = await MincutGatedTransformer.load(path, { context });
  const { tokens: ids } = JSON.parse(await inside('tokenize', path, content, '--json')) as { tokens: number[] };
  const scores = ids.flatMap((id, i) => {
    const start = i - (i % context);
    if (i === start) return [];
    const { logits } = model.infer({ tokens: ids.slice(start, i) });
    const most = Math.max(...logits!);
    return [Math.log(logits!.reduce((sum, x) => sum + Math.exp(x - most), 0)) + most - logits![id]!];
  });
  const bytes = ids.reduce((sum, id, i) => sum + (i % context === 0 ? 0 : bytesOf(id).length), 0);
  return { tokens: scores.length, nll: scores.reduce((a, b) => a + b) / scores.length, bytes };
}

describe('mgt perplexity', () => {
  test('the mean over windows that do not overlap, their first tokens unscored', async () => {
    for (const [path, context] of [
      [file, 64],
      [file, 7],
      [opening, 33],
      [opening, 2],
    ] as const) {
      const scored = await perplexity(path, '--file', text(TEXT), '--context', String(context));
      const expected = await oracle(path, TEXT, context);
      expect(Object.keys(scored)).toEqual(KEYS);
      expect(scored.tokens).toBe(expected.tokens);
      expect(scored.nll).toBeCloseTo(expected.nll, 10);
      expect(scored.perplexity).toBe(Math.exp(scored.nll));
      expect(scored.bytes).toBe(expected.bytes);
      expect(scored.bitsPerByte).toBeCloseTo((expected.tokens * expected.nll) / Math.LN2 / expected.bytes, 9);
      expect(scored).toMatchObject({ meanLayers: 2, macs: { share: 1 } });
      expect(scored.macs.spent).toBe(scored.macs.full);
    }
    expect(await perplexity(file, '--file', text(TEXT))).toEqual(
      await perplexity(file, '--file', text(TEXT), '--context', '64', '--simd', 'plain'),
    );
  });

  test('bytes of characters that windows cut, and of marks written in the text', async () => {
    const content = 'ð 🌊🌊 sea<|im_end|>🌊 é<|im_start|>é\n';
    const { tokens: ids } = JSON.parse(await inside('tokenize', file, content, '--json')) as { tokens: number[] };
    const marks = ['<|im_start|>', '<|im_end|>'];
    for (let context = 2; context < 20; context++) {
      const bytes = ids.map((id, i) => (i % context === 0 ? 0 : (marks[id]?.length ?? bytesOf(id).length)));
      const scored = await perplexity(file, '--file', text(content), '--context', String(context));
      expect(scored.bytes).toBe(bytes.reduce((a, b) => a + b));
    }
    expect((await perplexity(opening, '--file', text(content))).bytes).toBe(Buffer.byteLength(content));
  });

  test('reads stdin; lines for people', () => {
    const [line] = results(mgt(['perplexity', file, '--file', '-', '--json'], { input: 'the sea is' }));
    expect(line).toMatchObject({ tokens: 4 });
    const { stdout, code } = mgt(['perplexity', file, '--file', '-'], { input: 'the sea is' });
    expect([code, stdout]).toEqual([
      0,
      expect.stringMatching(
        /^perplexity \S+ · \S+ nats a token · 4 tokens scored\n\S+ bits a byte · 7 bytes\n2\.00 of 2 layers a token · multiply-adds (\S+ [KM]), 100\.0 % of \1\n$/,
      ),
    ]);
  });

  test.each<[string, () => string[], string]>([
    ['an empty text', () => [file, '--file', text('')], '4 BadInput --file'],
    ['one token', () => [file, '--file', text('the')], '4 BadInput --file'],
    ['windows of one', () => [file, '--file', text(TEXT), '--context', '1'], '4 BadInput --file'],
    ['windows of none', () => [file, '--file', text(TEXT), '--context', '0'], '4 BadInput context'],
    ['windows beyond the model', () => [file, '--file', text(TEXT), '--context', '65'], '4 BadInput context'],
    ['no UTF-8', () => [file, '--file', text(Uint8Array.of(0xff, 0xfe))], '3 BadFile --file'],
    ['no file', () => [file, '--file', dir.path('missing')], '3 FileNotFound --file'],
    ['no tokenizer', () => [bare, '--file', text(TEXT)], '5 UnsupportedMode tokenizer'],
    ['an encoder', () => [encoder, '--file', text('the sea')], '5 UnsupportedMode perplexity'],
    ['no option', () => [file], '2 Usage --file'],
  ])('%s', async (_, words, failure) => {
    expect(await failureInside('perplexity', ...words())).toBe(failure);
  });
});
