import { describe, expect, test } from '@jest/globals';
import { exactNormalizer, exactPreTokenizer } from '../../src/text/repair.js';
import { others } from './golden.js';

/** Each part by itself against Python's `tokenizers`; texts in lists, so that a failure shows the first that differs. */

const rows = <T>(parts: [{ [option: string]: unknown }, T[]][]): [string, { [option: string]: unknown }, T[]][] =>
  parts.map(([json, expected]) => [JSON.stringify(json), json, expected]);

describe('normalizers', () => {
  test.each(rows(others.normalizers))('%s', (_name, json, expected) => {
    const normalize = exactNormalizer(json);
    expect(others.partTexts.map((text) => normalize?.(text))).toEqual(expected);
  });
});

describe('pre-tokenizers', () => {
  test.each(rows(others.splitters))('%s', (_name, json, expected) => {
    const split = exactPreTokenizer(json);
    // The tokenizer itself never hands on an empty stretch of text.
    const texts = others.partTexts.map((text, i) => [text, expected[i]] as const).filter(([text]) => text !== '');
    expect(texts.map(([text]) => split?.(text, { section_index: 0 }))).toEqual(texts.map(([, pieces]) => pieces));
  });
});

test('no part where the file has none', () => {
  expect(exactNormalizer(null)).toBeNull();
  expect(exactPreTokenizer(null)).toBeNull();
});
