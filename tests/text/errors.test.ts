import { describe, expect, test } from '@jest/globals';
import { MgtError } from '../../src/errors.js';
import { TextTokenizer } from '../../src/text/tokenizer.js';
import { tokenizerJson } from './golden.js';

type Json = { [key: string]: unknown };
const small: Json = {
  added_tokens: [{ id: 1, content: '[CLS]', special: true, normalized: false }],
  normalizer: { type: 'BertNormalizer' },
  pre_tokenizer: { type: 'BertPreTokenizer' },
  post_processor: null,
  decoder: { type: 'WordPiece', prefix: '##', cleanup: true },
  model: {
    type: 'WordPiece',
    unk_token: '[UNK]',
    continuing_subword_prefix: '##',
    max_input_chars_per_word: 100,
    vocab: { '[UNK]': 0, '[CLS]': 1, a: 2, '##b': 3 },
  },
};
const model = small['model'] as Json;
const open = (change: Json): TextTokenizer => new TextTokenizer(JSON.stringify({ ...small, ...change }), '');

/** The error of an action as `CODE field`, so that one line says what was expected. */
function errorOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    expect(error).toBeInstanceOf(MgtError);
    const { code, field } = error as MgtError;
    return `${code} ${field}`;
  }
  return 'none';
}

test('the small tokenizer is sound', () => {
  const tokenizer = open({});
  expect(tokenizer.encode('ab b a', 9)).toEqual({ tokens: [2, 3, 0, 2], truncated: false });
  expect(tokenizer.decode([2, 3, 2])).toBe('ab a');
  expect(tokenizer.largestId).toBe(3);
  expect(new TextTokenizer(tokenizerJson, '').largestId).toBe(30521);
});

test('parts that are absent count as null', () => {
  const bare = { model, added_tokens: undefined };
  expect(new TextTokenizer(JSON.stringify(bare), '').encode('ab', 9).tokens).toEqual([2, 3]);
});

describe('a file that is no tokenizer', () => {
  test.each<[string, string]>([
    ['', 'BadFile tokenizer.json'],
    ['{', 'BadFile tokenizer.json'],
    ['[]', 'BadFile tokenizer.json'],
    ['null', 'BadFile tokenizer.json'],
    ['"text"', 'BadFile tokenizer.json'],
    ['{}', 'BadFile tokenizer.model'],
  ])('%j', (json, expected) => {
    expect(errorOf(() => new TextTokenizer(json, ''))).toBe(expected);
  });

  test('a config that is not JSON', () => {
    expect(errorOf(() => new TextTokenizer(JSON.stringify(small), '{'))).toBe('BadFile tokenizer_config.json');
    expect(errorOf(() => new TextTokenizer(JSON.stringify(small), '[1]'))).toBe('BadFile tokenizer_config.json');
  });

  test.each<[Json, string]>([
    [{ model: 7 }, 'BadFile tokenizer.model'],
    [{ model: { ...model, vocab: undefined } }, 'BadFile tokenizer.model.vocab'],
    [{ model: { ...model, vocab: ['a'] } }, 'BadFile tokenizer.model.vocab'],
    [{ model: { ...model, unk_token: '[unk]' } }, 'BadFile tokenizer.model.unk_token'],
    [{ model: { ...model, vocab: { '[UNK]': 0, x: -1 } } }, 'BadFile tokenizer.model.vocab.x'],
    [{ model: { ...model, vocab: { '[UNK]': 0, x: 1.5 } } }, 'BadFile tokenizer.model.vocab.x'],
    [{ model: { ...model, vocab: { '[UNK]': 0, x: 2 ** 31 } } }, 'BadFile tokenizer.model.vocab.x'],
    [{ model: { ...model, continuing_subword_prefix: 3 } }, 'BadFile tokenizer.model.continuing_subword_prefix'],
    [{ model: { type: 'BPE', vocab: { a: 0 } } }, 'BadFile tokenizer.model.merges'],
    [{ model: { type: 'BPE', vocab: { a: 'x' }, merges: [] } }, 'BadFile tokenizer.model.vocab.a'],
    [{ model: { type: 'Unigram', vocab: [] } }, 'BadFile tokenizer.model.vocab'],
    [{ model: { type: 'Unigram', vocab: [['a']] } }, 'BadFile tokenizer.model.vocab[0]'],
    [{ model: { type: 'Unigram', vocab: [['a', 0]], unk_id: 4 } }, 'BadFile tokenizer.model.unk_id'],
    [{ normalizer: 'lower' }, 'BadFile tokenizer.normalizer'],
    [{ normalizer: { type: 'Sequence' } }, 'BadFile tokenizer.normalizer.normalizers'],
    [{ added_tokens: {} }, 'BadFile tokenizer.added_tokens'],
    [{ added_tokens: [{ id: 1 }] }, 'BadFile tokenizer.added_tokens[0]'],
    [{ added_tokens: [{ id: '1', content: 'x' }] }, 'BadFile tokenizer.added_tokens[0].id'],
    [
      { post_processor: { type: 'TemplateProcessing', single: 5, pair: [], special_tokens: {} } },
      'BadFile tokenizer.json',
    ],
  ])('%j', (change, expected) => {
    expect(errorOf(() => open(change))).toBe(expected);
  });

  test('special tokens that are in no vocabulary', () => {
    const single = [{ Sequence: { id: 'A', type_id: 0 } }, { SpecialToken: { id: '[END]', type_id: 0 } }];
    const change = { post_processor: { type: 'TemplateProcessing', single, pair: single, special_tokens: {} } };
    expect(errorOf(() => open(change))).toBe('BadFile tokenizer.post_processor');
  });
});

describe('kinds that would give other ids are refused by name', () => {
  test.each<[Json, string]>([
    [{ model: { ...model, type: 'Character' } }, 'UnsupportedMode tokenizer.model.type'],
    [{ normalizer: { type: 'Nmt' } }, 'UnsupportedMode tokenizer.normalizer.type'],
    [{ normalizer: {} }, 'UnsupportedMode tokenizer.normalizer.type'],
    [
      { normalizer: { type: 'Sequence', normalizers: [{ type: 'NFC' }, { type: 'Nmt' }] } },
      'UnsupportedMode tokenizer.normalizer.normalizers[1].type',
    ],
    [{ pre_tokenizer: { type: 'UnicodeScripts' } }, 'UnsupportedMode tokenizer.pre_tokenizer.type'],
    [{ decoder: { type: 'Morse' } }, 'UnsupportedMode tokenizer.decoder.type'],
    [{ post_processor: { type: 'Stamp' } }, 'UnsupportedMode tokenizer.post_processor.type'],
    [
      { pre_tokenizer: { type: 'Split', pattern: { String: '-' }, behavior: 'MergedWithNext', invert: false } },
      'UnsupportedMode tokenizer.pre_tokenizer.behavior',
    ],
    [
      { pre_tokenizer: { type: 'Split', pattern: { String: '-' }, behavior: 'Isolated', invert: true } },
      'UnsupportedMode tokenizer.pre_tokenizer.invert',
    ],
    [
      { added_tokens: [{ id: 1, content: 'x', single_word: true }] },
      'UnsupportedMode tokenizer.added_tokens[0].single_word',
    ],
    [
      { model: { type: 'Unigram', vocab: [['a', -1]], unk_id: 0, byte_fallback: true } },
      'UnsupportedMode tokenizer.model.byte_fallback',
    ],
    [
      { model: { type: 'BPE', vocab: { a: 0 }, merges: [], continuing_subword_prefix: '##' } },
      'UnsupportedMode tokenizer.model.continuing_subword_prefix',
    ],
  ])('%j', (change, expected) => {
    expect(errorOf(() => open(change))).toBe(expected);
  });

  test('the name stands in the message', () => {
    expect(() => open({ pre_tokenizer: { type: 'UnicodeScripts' } })).toThrow(/got UnicodeScripts/);
  });
});

describe('the scanned vocabulary is the parsed one', () => {
  const tokens = [
    '[UNK]',
    '[CLS]',
    'a',
    '##b',
    '"',
    '\\',
    '\\"',
    'é',
    '\u0001',
    'tab\t',
    '\ud83d\ude00',
    '": 7, "',
    '',
  ];
  const vocab = Object.fromEntries(tokens.map((token, id) => [token, id]));
  const file = { ...small, model: { ...model, vocab } };
  const idsOf = (json: string): unknown => {
    const tokenizer = new TextTokenizer(json, '');
    return [tokenizer.largestId, tokens.map((_, id) => tokenizer.decode([id])), tokenizer.encode('ab é 😀', 99)];
  };
  const expected = idsOf(JSON.stringify({ ...file, model: { ...file.model, type: undefined } }));

  test.each([
    ['as written by the original', JSON.stringify(file, null, 2)],
    ['without spaces', JSON.stringify(file)],
    ['with tabs and returns', JSON.stringify(file, null, '\t').replaceAll('\n', '\r\n')],
    ['in ASCII', JSON.stringify(file).replace(/[^ -~]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`)],
    ['after another "vocab"', JSON.stringify({ note: { vocab: { a: 9 } }, ...file })],
    ['after a string that looks like one', JSON.stringify({ note: '"vocab":{"a":9}', ...file })],
    ['with ids in exponents', JSON.stringify(file).replace('"a":2', '"a":0.2e1')],
  ])('%s', (_how, json) => {
    expect(idsOf(json)).toEqual(expected);
  });

  test.each(['"a":2,', '"a":2}', '"a":2 3', '"a" 2', '"a:2', 'a:2', '"a":', ''])('damage %j is found', (damage) => {
    const json = JSON.stringify(small);
    expect(json).toContain('"a":2');
    expect(errorOf(() => new TextTokenizer(json.replace('"a":2,"##b":3', damage), ''))).toMatch(/^BadFile /);
  });
});

describe('calls', () => {
  test('text that is no string, a limit without room for the special tokens', () => {
    const minilm = new TextTokenizer(tokenizerJson, '{}');
    expect(errorOf(() => minilm.encode(7 as unknown as string, 9))).toBe('BadInput text');
    expect(errorOf(() => minilm.encode('a', 1))).toBe('BadInput limit');
    expect(errorOf(() => minilm.encode('a', 2.5))).toBe('BadInput limit');
    expect(minilm.encode('a', 2)).toEqual({ tokens: [101, 102], truncated: true });
  });

  test('unknown text in a model without an unknown token is left out, as by the original', () => {
    const bpe = open({ model: { type: 'BPE', vocab: { a: 0 }, merges: [] }, pre_tokenizer: null, decoder: null });
    expect(bpe.encode('aza', 9).tokens).toEqual([0, 0]);
  });
});
