import { writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { END, START, writeDecoder } from './generate-models.js';
import { failureInside, inferInside, inside } from './inside.js';
import { writeEncoder, type Inferred } from './models.js';
import { mgt, results, scratch } from './support.js';

const dir = scratch();
const [file, opening, bare, encoder] = ['d', 'o', 'b', 'e'].map((name) => dir.path(`${name}.mgt`)) as [
  string,
  string,
  string,
  string,
];
const LAYERS = 5;
const [VOCAB, HIDDEN] = [257, 96];
const config = { layers: LAYERS, exitLayers: [1, 2, 4] };
const TEXT = 'The sea is the sea, and a user is no ship.\n'.repeat(5);
const text = (content: string, name = 'text'): string => {
  writeFileSync(dir.path(name), content);
  return dir.path(name);
};
beforeAll(async () => {
  await writeDecoder(file, { config });
  await writeDecoder(opening, { config, tokenizer: 'opening' });
  await writeDecoder(bare, { config, tokenizer: 'none' });
  await writeEncoder(encoder, true);
});
afterAll(() => dir.remove());

interface Scored {
  tokens: number;
  documents?: number;
  bytes: number;
  nll: number;
  bitsPerByte: number;
  meanLayers: number;
  macs: { spent: number; full: number; share: number };
  exits?: { layer: number; bitsPerByte: number }[];
}
const perplexity = async (...words: string[]): Promise<Scored> =>
  JSON.parse(await inside('perplexity', ...words, '--json')) as Scored;

const tokenize = async (content: string, ...more: string[]): Promise<number[]> =>
  (JSON.parse(await inside('tokenize', file, content, ...more, '--json')) as { tokens: number[] }).tokens;

/** Rows of ids, each by one call of a new session: what `mgt infer --all` says of them. */
async function oracle(rows: readonly (readonly number[])[], context: number, ...depth: string[]): Promise<Scored> {
  let [tokens, nats, layers, spent, full] = [0, 0, 0, 0, 0];
  for (const row of rows) {
    const calls: (Inferred & { layers: number[] })[] = [];
    for (const words of [depth, []]) {
      const session = dir.path(`session${Math.random()}.mgts`);
      const given = ['--tokens', row.slice(0, -1).join(','), '--all', '--session', session];
      given.push('--context', String(context), ...words);
      calls.push((await inferInside(file, ...given)) as (typeof calls)[number]);
    }
    const [{ values, layers: ran, stats }, whole] = calls as [(typeof calls)[number], (typeof calls)[number]];
    row.slice(1).forEach((id, i) => {
      const logits = values.slice(i * VOCAB, (i + 1) * VOCAB);
      const most = Math.max(...logits);
      nats += Math.log(logits.reduce((sum, x) => sum + Math.exp(x - most), 0)) + most - logits[id]!;
    });
    const sum = (of: Record<string, number>): number => Object.values(of).reduce((a, b) => a + b);
    tokens += ran.length;
    layers += ran.reduce((a, b) => a + b);
    spent += sum(stats.macs);
    full += sum(whole.stats.macs);
  }
  const macs = { spent, full, share: spent / full };
  return { tokens, bytes: 0, nll: nats / tokens, bitsPerByte: nats / Math.LN2, meanLayers: layers / tokens, macs };
}

describe('mgt perplexity with exits', () => {
  test.each<[string[]]>([
    [['--exit', 'saturation:0.85']],
    [['--exit', 'maxProb:0.99', '--exit-layers', '2,3']],
    [['--exit', 'entropy:0.02', '--kv-fill', 'hole']],
    [['--layers', '3']],
    [['--layers', '3', '--exit', 'saturation:0.85', '--exit-layers', '2']],
  ])('%j: what infer says of each window, one call each', async (depth) => {
    const ids = await tokenize(TEXT);
    const rows = [0, 50, 100, 150].map((start) => ids.slice(start, start + 50)).filter((row) => row.length > 1);
    const expected = await oracle(rows, 50, ...depth);
    const scored = await perplexity(file, '--file', text(TEXT), '--context', '50', ...depth);
    expect(expected.meanLayers % 1).not.toBe(depth.includes('--exit') ? 0 : 1);
    expect(scored).toMatchObject({ tokens: expected.tokens, meanLayers: expected.meanLayers, macs: expected.macs });
    expect(scored.nll).toBeCloseTo(expected.nll, 10);
  });

  test('less than full compute where every token leaves at once, more where all are asked in vain', async () => {
    const words = [file, '--file', text(TEXT)];
    const whole = await perplexity(...words);
    const early = await perplexity(...words, '--exit', 'maxProb:0');
    expect(early.meanLayers).toBe(1);
    expect(early.macs.full).toBe(whole.macs.full);
    expect(early.macs.share).toBeLessThan(0.6);
    const never = await perplexity(...words, '--exit', 'entropy:0', '--exit-layers', '1,3');
    expect(never).toMatchObject({ nll: whole.nll, meanLayers: LAYERS });
    expect(never.macs.spent - whole.macs.spent).toBe(2 * whole.tokens * VOCAB * HIDDEN);
    expect(never.macs.share).toBeGreaterThan(1);
  });

  test('--exits: each layer as --layers says; the last is the full model, whatever else is asked', async () => {
    const words = [file, '--file', text(TEXT), '--context', '40'];
    const whole = await perplexity(...words);
    for (const depth of [[], ['--exit', 'maxProb:0.9'], ['--layers', '2']]) {
      const { exits, ...plain } = await perplexity(...words, '--exits', ...depth);
      expect(plain).toEqual(await perplexity(...words, ...depth));
      expect(exits!.map(({ layer }) => layer)).toEqual([1, 2, 3, 4, 5]);
      expect(exits!.map((exit) => Object.keys(exit))).toEqual(new Array(5).fill(['layer', 'bitsPerByte']));
      expect(exits!.at(-1)!.bitsPerByte).toBe(whole.bitsPerByte);
      for (const { layer, bitsPerByte } of exits!) {
        expect((await perplexity(...words, '--layers', String(layer))).bitsPerByte).toBe(bitsPerByte);
      }
    }
    const all = await perplexity(...words, '--exit', 'margin:0', '--exit-layers', '3');
    const three = await perplexity(...words, '--layers', '3');
    expect(all).toEqual(three);
    expect(new Set((await perplexity(...words, '--exits')).exits!.map((exit) => exit.bitsPerByte)).size).toBe(LAYERS);
  });

  test('a process says the same; lines for people', () => {
    const words = ['perplexity', file, '--file', text(TEXT), '--exit', 'saturation:0.85', '--exits'];
    const [plain] = results(mgt([...words, '--simd', 'plain', '--json']));
    expect(results(mgt([...words, '--json']))).toEqual([plain]);
    const { stdout } = mgt(words);
    const lines = stdout.split('\n');
    expect(lines[2]).toMatch(/^4\.\d\d of 5 layers a token · multiply-adds \S+ M, \S+ % of \S+ M$/);
    expect(lines.slice(3)).toEqual([
      ...[1, 2, 3, 4, 5].map((n) => expect.stringMatching(`^all leave after layer ${n}: \\S+ bits a byte$`)),
      '',
    ]);
  });
});

describe('mgt perplexity --documents', () => {
  const documents = ['The sea is the sea.', 'a user\nis no 🌊 ship', 'x', 'the '.repeat(80).trim()];

  test('each by itself, from the end token to the end token; a long one goes on in another row', async () => {
    const scored = await perplexity(file, '--documents', '--file', text(`${documents.join('\n\n')}\n`));
    const rows: number[][] = [];
    for (const document of documents) {
      const ids = [END, ...(await tokenize(document)), END];
      for (let at = 0; at < ids.length - 1; at += 64) rows.push(ids.slice(at, at + 65));
    }
    expect(rows).toHaveLength(5);
    const expected = await oracle(rows, 64);
    const bytes = documents.reduce((sum, document) => sum + Buffer.byteLength(document), 0);
    expect(scored).toMatchObject({ tokens: expected.tokens, documents: 4, bytes, macs: expected.macs });
    expect(scored.bitsPerByte).toBeCloseTo(expected.bitsPerByte / bytes, 9);
  });

  test('a start token where the tokenizer has one', async () => {
    const scored = await perplexity(opening, '--documents', '--file', text('the sea\n\nis'));
    const rows = [
      [START, ...(await tokenize('the sea')), END],
      [START, ...(await tokenize('is')), END],
    ];
    const expected = await oracle(rows, 64);
    expect(scored.tokens).toBe(expected.tokens);
    expect(scored.nll).toBeCloseTo(expected.nll, 10);
  });

  test('blank lines of any number and kind', async () => {
    const plain = await perplexity(file, '--documents', '--file', text('the sea\nis\n\na ship'));
    for (const content of [
      '\n\nthe sea\nis\n\n\n\na ship\n\n',
      'the sea\nis\n \t\na ship\n',
      '\r\nthe sea\nis\r\n\r\na ship\r\n',
    ]) {
      expect(await perplexity(file, '--documents', '--file', text(content))).toEqual(plain);
    }
  });

  test('with exits; lines for people', async () => {
    const words = [file, '--documents', '--file', text(documents.join('\n\n'))];
    const { exits, ...scored } = await perplexity(...words, '--exit', 'maxProb:0', '--exits');
    expect(scored.bitsPerByte).toBe(exits![0]!.bitsPerByte);
    expect((await perplexity(...words)).bitsPerByte).toBe(exits!.at(-1)!.bitsPerByte);
    expect(await inside('perplexity', ...words)).toMatch(/ tokens scored of 4 documents$/m);
    const one = await inside('perplexity', file, '--documents', '--file', text('a'));
    expect(one).toMatch(/ 2 tokens scored of 1 document\n\S+ bits a byte · 1 bytes\n/);
  });
});

test.each<[string, () => string[], string]>([
  ['a rule of no score', () => [file, '--exit', '0.5'], '2 Usage --exit'],
  ['a threshold that is none', () => [file, '--exit', 'maxProb:high'], '2 Usage --exit'],
  ['a threshold beyond 1', () => [file, '--exit', 'maxProb:1.01'], '4 BadInput exit.threshold'],
  ['layers without a rule', () => [file, '--exit-layers', '1'], '2 Usage --exit-layers'],
  ['the last layer asked', () => [file, '--exit', 'maxProb:1', '--exit-layers', '5'], '4 BadInput exit.layers[0]'],
  ['no layers', () => [file, '--layers', '0'], '4 BadInput layers'],
  ['too many layers', () => [file, '--layers', '6'], '4 BadInput layers'],
  ['layers in words', () => [file, '--layers', 'all'], '2 Usage --layers'],
  ['a value for --exits', () => [file, '--exits=2'], '2 Usage --exits'],
  ['no tokenizer', () => [bare, '--documents'], '5 UnsupportedMode tokenizer'],
  ['no end token', () => [encoder, '--documents'], '5 UnsupportedMode perplexity'],
])('%s', async (_, words, failure) => {
  expect(await failureInside('perplexity', ...words(), '--file', text(TEXT))).toBe(failure);
});

test('no documents', async () => {
  for (const content of ['', '\n', '\n \n\n'])
    expect(await failureInside('perplexity', file, '--documents', '--file', text(content))).toBe('4 BadInput --file');
});
