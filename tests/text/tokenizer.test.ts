import { createHash } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import { TextTokenizer } from '../../src/text/tokenizer.js';
import { blockText, blocks, fnv1a, fuzz, others, tokenizerJson, tokens } from './golden.js';

const tokenizer = new TextTokenizer(tokenizerJson, '{}');
const NO_LIMIT = Number.MAX_SAFE_INTEGER;
const ids = (text: string): number[] => tokenizer.encode(text, NO_LIMIT).tokens;

/** Texts whose ids are not the expected ones; an empty list reads better in a failure than a count. */
function differing(texts: readonly string[], expected: readonly (readonly number[])[], encode = ids): unknown[] {
  return texts.flatMap((text, i) => {
    const found = encode(text);
    return found.join() === expected[i]?.join() ? [] : [{ text, found, expected: expected[i] }];
  });
}

describe("MiniLM's ids are those of Python's tokenizers", () => {
  test('the tokenizer is the one the goldens were made with', () => {
    expect(createHash('sha256').update(tokenizerJson).digest('hex')).toBe(tokens.tokenizerSha256);
  });

  test('natural text of many scripts', () => {
    const scripts = new Set(tokens.natural.map(([name]) => name.split(',')[0]));
    expect(scripts.size).toBeGreaterThanOrEqual(40);
    expect(
      differing(
        tokens.natural.map((row) => row[1]),
        tokens.natural.map((row) => row[2]),
      ),
    ).toEqual([]);
  });

  test('tricky strings', () => {
    expect(
      differing(
        tokens.tricky.map((row) => row[0]),
        tokens.tricky.map((row) => row[1]),
      ),
    ).toEqual([]);
  });

  test('the fuzz corpus', () => {
    expect(fuzz.texts.length).toBeGreaterThanOrEqual(3000);
    expect(new Set(fuzz.texts).size).toBe(fuzz.texts.length);
    expect(differing(fuzz.texts, fuzz.ids)).toEqual([]);
  });

  test('every code point of the planes in use, in a word and alone', () => {
    expect(blocks.length).toBeGreaterThan(800);
    const wrong = blocks.filter(([first, hash]) => fnv1a(ids(blockText(parseInt(first, 16)))) !== hash);
    expect(wrong.map(([first]) => first)).toEqual([]);
  });

  test('all texts joined into one long text, which is tokenized in slices', () => {
    const text = [...tokens.natural.map((row) => row[1]), ...tokens.tricky.map((row) => row[0]), ...fuzz.texts].join(
      ' ',
    );
    expect(text.length).toBeGreaterThan(40_000);
    const found = ids(text);
    expect({ tokens: found.length, fnv1a: fnv1a(found) }).toEqual(tokens.joined);
  });

  test('every whole word of the vocabulary is its own token, the longest included', () => {
    const { vocab } = (JSON.parse(tokenizerJson) as { model: { vocab: Record<string, number> } }).model;
    const whole = Object.entries(vocab).filter(([token]) => /^[a-z]+$/.test(token));
    expect(Math.max(...whole.map(([token]) => token.length))).toBe(18);
    expect(ids(whole.map(([token]) => token).join(' ')).slice(1, -1)).toEqual(whole.map(([, id]) => id));
  });

  test('decode gives the text of the original', () => {
    const rows = [...tokens.natural.map((row) => row.slice(2)), ...tokens.tricky.map((row) => row.slice(1))];
    for (const [found, text] of rows) expect(tokenizer.decode(found as number[])).toBe(text);
  });
});

describe('other tokenizers a BERT directory may hold', () => {
  test.each(Object.entries(others.tokenizers))('%s', (_name, { json, ids: expected, decoded }) => {
    const other = new TextTokenizer(JSON.stringify(json), '');
    expect(differing(others.texts, expected, (text) => other.encode(text, NO_LIMIT).tokens)).toEqual([]);
    expect(expected.map((found) => other.decode(found))).toEqual(decoded);
  });
});

describe('length', () => {
  test.each(tokens.cuts)('%j cut to %i keeps its closing token', (text, limit, expected) => {
    expect(tokenizer.encode(text, limit).tokens).toEqual(expected);
  });

  test('truncated says whether something was cut', () => {
    for (const [, text, full] of tokens.natural) {
      expect(tokenizer.encode(text, full.length).truncated).toBe(false);
      expect(tokenizer.encode(text, full.length - 1).truncated).toBe(true);
    }
    expect(tokenizer.encode('', 2)).toEqual({ tokens: tokens.specials, truncated: false });
  });

  test.each([
    ['two closing tokens', 'accents kept, two closing tokens', 1, 2],
    ['a closing token only', 'sequences of steps, closing token only', 0, 1],
    ['an opening token only', 'WordLevel, opening token only', 1, 0],
    ['none', 'no normalizer, Whitespace, no post-processor', 0, 0],
    ['one of each', 'byte-level BPE, RobertaProcessing', 1, 1],
  ])('special tokens stay where there are %s', (_what, name, opening, closing) => {
    const other = new TextTokenizer(JSON.stringify(others.tokenizers[name]?.json), '');
    const full = other.encode('the ferry to the island leaves at half past six', NO_LIMIT).tokens;
    for (let limit = opening + closing; limit < full.length; limit++) {
      const { tokens: found, truncated } = other.encode('the ferry to the island leaves at half past six', limit);
      expect(truncated).toBe(true);
      expect(found).toEqual([...full.slice(0, limit - closing), ...full.slice(full.length - closing)]);
    }
  });

  test("the file's own truncation and padding are not used", () => {
    const file = JSON.parse(tokenizerJson) as { truncation: { max_length: number }; padding: unknown };
    expect(file.truncation.max_length).toBe(128);
    expect(file.padding).not.toBeNull();
    expect(tokenizer.encode('word '.repeat(300), 256)).toMatchObject({ tokens: { length: 256 }, truncated: true });
    expect(tokenizer.encode('word', 256).tokens).toHaveLength(3);
  });

  test.each([
    ['words', 'The quick brown fox jumps over the lazy dog. '],
    ['no spaces', 'ab'],
    ['signs', '!'],
    ['ideographs', '漢'],
    ['marks in the worst order', '\u0316\u0301'],
    ['spacing marks in the worst order', '\u302e\u{1d165}'],
    ['accents', 'é'],
    ['controls', '\0'],
    ['lone surrogates', '\ud800'],
    ['long unknown words', `${'zqxjvkbw'.repeat(12)}ﷺ `],
  ])('a megabyte of %s takes seconds at most', (_what, unit) => {
    const text = unit.repeat(2 ** 20 / unit.length);
    const started = performance.now();
    const { tokens: found } = tokenizer.encode(text, 256);
    expect(performance.now() - started).toBeLessThan(8000);
    expect(found.length).toBeLessThanOrEqual(256);
    expect(found.at(-1)).toBe(tokens.specials[1]);
  });
});

test('what a Replace normalizer puts in is literal', () => {
  const file = JSON.parse(tokenizerJson) as { normalizer: unknown };
  const [lower, dollars] = [file.normalizer, { type: 'Replace', pattern: { String: 'euro' }, content: '$&' }];
  const normalizer = { type: 'Sequence', normalizers: [lower, dollars] };
  const replacing = new TextTokenizer(JSON.stringify({ ...file, normalizer }), '');
  expect(replacing.encode('5 Euro', 9).tokens).toEqual(ids('5 $&'));
});

describe('odd text', () => {
  test('lone surrogates count as U+FFFD', () => {
    for (const text of ['\ud800', 'a\udc00b', '\ud83d \ude00', '\udc00\ud800', 'x\ud800\ud83d\ude00y']) {
      expect(ids(text)).toEqual(ids(text.replace(/\p{Surrogate}/gu, '\ufffd')));
    }
    const bytes = new TextTokenizer(JSON.stringify(others.tokenizers['byte-level BPE, RobertaProcessing']?.json), '');
    expect(bytes.decode(bytes.encode('a\ud800b', 99).tokens)).toBe('a\ufffdb');
  });

  test('nothing, spaces and NULs give the special tokens alone', () => {
    for (const text of ['', ' ', '\t\n  ', '\0\0', '\u200b']) expect(ids(text)).toEqual(tokens.specials);
  });
});

describe('decode', () => {
  test('leaves out special tokens and ids without a token', () => {
    expect(tokenizer.decode(Uint32Array.of(101, 7592, 2088, 102, 0, 30522, 9_999_999))).toBe('hello world');
    expect(tokenizer.decode([])).toBe('');
    expect(tokenizer.decode([101, 102])).toBe('');
  });

  test.each([[-1], [0.5], [NaN], ['7']])('refuses %p', (id) => {
    expect(() => tokenizer.decode([101, id] as number[])).toThrow(
      expect.objectContaining({ code: 'BadInput', field: 'tokens[1]' }),
    );
  });
});
