import { describe, expect, test } from '@jest/globals';
import { ggufTokenizer, openGguf, type TokenizerFiles } from '../../src/convert/gguf/index.js';
import { MgtError } from '../../src/errors.js';
import { TextTokenizer } from '../../src/text/tokenizer.js';
import { Rng } from '../support/rng.js';
import { writeGguf, type Metadata } from './gguf-writer.js';

const NORMAL = 1;
const UNKNOWN = 2;
const CONTROL = 3;
const USER = 4;
const BYTE = 6;

async function failure(action: () => unknown): Promise<MgtError> {
  try {
    await action();
  } catch (error) {
    if (error instanceof MgtError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

const filesOf = async (metadata: Metadata): Promise<TokenizerFiles> => {
  const files = ggufTokenizer(await openGguf(writeGguf(metadata)));
  if (!files) throw new Error('no tokenizer');
  return files;
};

const idsOf = ({ json, config }: TokenizerFiles, text: string): number[] =>
  new TextTokenizer(json, config).encode(text, 1e6).tokens;

describe('Byte-level BPE', () => {
  /** GPT-2's characters for bytes: the printable ones are themselves, the others follow U+0100 in order. */
  const characters: string[] = [];
  for (let byte = 0, other = 256; byte < 256; byte++) {
    const printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    characters.push(String.fromCharCode(printable ? byte : other++));
  }
  const merges = ['1 2', '12 3', '123 4', "' S", "' s", '! Ċ', 'Ġ Ġ', '! a', 'a b', '! !', 'Ġ a'];
  const joined = merges.map((merge) => merge.replace(' ', ''));
  const tokens = [...characters, ...joined, '<|end|>', '<tool>', 'Ġa!'];
  const END = tokens.indexOf('<|end|>');
  const types = tokens.map((token) => (token === '<|end|>' ? CONTROL : token === '<tool>' ? USER : NORMAL));
  const metadata: Metadata = {
    'tokenizer.ggml.model': { text: 'gpt2' },
    'tokenizer.ggml.pre': { text: 'gpt-2' },
    'tokenizer.ggml.tokens': { texts: tokens },
    'tokenizer.ggml.token_type': { i32s: types },
    'tokenizer.ggml.merges': { texts: merges },
    'tokenizer.ggml.bos_token_id': { u32: END },
    'tokenizer.ggml.eos_token_id': { u32: END },
  };
  const piecesOf = async (pre: string, text: string, extra: Metadata = {}): Promise<string[]> =>
    idsOf(await filesOf({ ...metadata, 'tokenizer.ggml.pre': { text: pre }, ...extra }), text).map((id) => tokens[id]!);

  // What llama.cpp gives: the words differ, not the merges.
  test.each([
    ['gpt-2', '1234', ['1234']],
    ['smollm', '1234', ['1', '2', '3', '4']],
    ['qwen2', '1234', ['1', '2', '3', '4']],
    ['llama-bpe', '1234', ['<|end|>', '123', '4']],
    ['dbrx', '1234', ['123', '4']],
    ['default', '1234', ['123', '4']],
    ['gpt-2', "a's'S", ['a', "'s", "'", 'S']],
    ['qwen2', "a's'S", ['a', "'s", "'S"]],
    ['gpt-2', '!\n', ['!', 'Ċ']],
    ['qwen2', '!\n', ['!Ċ']],
    ['gpt-2', '!a', ['!', 'a']],
    ['qwen2', '!ab', ['!a', 'b']],
    ['gpt-2', '   a', ['ĠĠ', 'Ġa']],
    ['gpt-2', ' a!', ['Ġa', '!']],
    ['gpt-2', 'ab', ['ab']],
    ['default', '!!a', ['!!', 'a']],
  ])('%s: %j', async (pre, text, pieces) => {
    expect(await piecesOf(pre, text)).toEqual(pieces);
  });

  test('a word that is a token goes before the merges in llama-bpe alone', async () => {
    const word = { 'tokenizer.ggml.tokens': { texts: tokens.map((token) => (token === 'Ġa!' ? 'baab' : token)) } };
    expect((await piecesOf('llama-bpe', 'baab', word)).length).toBe(2);
    expect((await piecesOf('dbrx', 'baab', word)).length).toBe(3);
  });

  test('special and user-defined tokens are found in a text; only special ones are left out of decoded text', async () => {
    const files = await filesOf(metadata);
    expect(idsOf(files, 'a<|end|><tool>!<|end').slice(0, 4)).toEqual([97, END, END + 1, 33].map((id) => text(id)));
    const tokenizer = new TextTokenizer(files.json, files.config);
    expect(tokenizer.decode(tokenizer.encode('é a<|end|><tool> x', 99).tokens)).toBe('é a<tool> x');
  });
  /** Id of a byte's token, or the id itself. */
  const text = (id: number): number => (id < 128 ? tokens.indexOf(String.fromCharCode(id)) : id);

  test('begins and ends as the file says', async () => {
    const flag = (bos: boolean, eos: boolean): Metadata => ({
      ...metadata,
      'tokenizer.ggml.add_bos_token': { bool: bos },
      'tokenizer.ggml.add_eos_token': { bool: eos },
    });
    expect(idsOf(await filesOf(metadata), 'ab')).toHaveLength(1);
    expect(idsOf(await filesOf(flag(true, false)), 'ab')).toEqual([END, tokens.indexOf('ab')]);
    expect(idsOf(await filesOf(flag(false, true)), 'ab')).toEqual([tokens.indexOf('ab'), END]);
    expect(idsOf(await filesOf(flag(true, true)), '')).toEqual([END, END]);
    expect(await piecesOf('llama-bpe', 'ab', { 'tokenizer.ggml.add_bos_token': { bool: false } })).toEqual(['ab']);
  });

  test('the configuration names tokens and holds the chat template', async () => {
    const template = '{{ bos_token }}{% for m in messages %}…{% endfor %}';
    const { config } = await filesOf({ ...metadata, 'tokenizer.chat_template': { text: template } });
    expect(JSON.parse(config)).toEqual({
      tokenizer_class: 'PreTrainedTokenizerFast',
      ...{ bos_token: '<|end|>', eos_token: '<|end|>', add_bos_token: false, add_eos_token: false },
      ...{ clean_up_tokenization_spaces: false, chat_template: template },
    });
  });

  test('a byte that the vocabulary lacks is dropped, as in llama.cpp', async () => {
    const texts = tokens.map((token) => (token === 'x' ? '<unused>' : token));
    expect(await piecesOf('gpt-2', 'axb', { 'tokenizer.ggml.tokens': { texts } })).toEqual(['a', 'b']);
  });

  test('tokens named like parts of an object', async () => {
    const texts = tokens.map((token) => (token === '<tool>' ? '__proto__' : token === 'Ġa!' ? 'constructor' : token));
    expect(await piecesOf('gpt-2', 'a__proto__', { 'tokenizer.ggml.tokens': { texts } })).toEqual(['a', '<tool>']);
  });

  const list = (key: string, texts: readonly string[]): Metadata => ({ [`tokenizer.ggml.${key}`]: { texts } });
  test.each([
    ['pre', { 'tokenizer.ggml.pre': { text: 'gpt-5' } }, 'UnsupportedMode'],
    ['pre', { 'tokenizer.ggml.pre': { text: 'constructor' } }, 'UnsupportedMode'],
    ['model', { 'tokenizer.ggml.model': { text: 'rwkv' } }, 'UnsupportedMode'],
    ['tokens', { 'tokenizer.ggml.tokens': { u32: 3 } }, 'BadFile'],
    ['tokens[2]', list('tokens', ['a', 'b', 'a']), 'BadFile'],
    ['tokens[1]', list('tokens', ['a', '']), 'BadFile'],
    ['token_type', { 'tokenizer.ggml.token_type': { i32s: [1, 1] } }, 'BadFile'],
    ['merges[0]', list('merges', ['ab']), 'BadFile'],
    ['merges[1]', list('merges', ['1 2', 'x y']), 'BadFile'],
    ['merges[0]', list('merges', [' a']), 'BadFile'],
    [
      'bos_token_id',
      { 'tokenizer.ggml.add_bos_token': { bool: true }, 'tokenizer.ggml.bos_token_id': { u32: 9999 } },
      'BadFile',
    ],
  ] as const)('%s: %j is %s', async (key, extra, code) => {
    const error = await failure(() => filesOf({ ...metadata, ...extra }));
    expect(error).toMatchObject({ code, field: `model.gguf.tokenizer.ggml.${key}` });
  });

  test('a file without a vocabulary has no tokenizer', async () => {
    expect(ggufTokenizer(await openGguf(writeGguf({})))).toBeUndefined();
    const none = { 'tokenizer.ggml.model': { text: 'no_vocab' } };
    expect(ggufTokenizer(await openGguf(writeGguf(none)))).toBeUndefined();
  });
});

describe('SentencePiece BPE', () => {
  const bytes = Array.from({ length: 256 }, (_, b) => `<0x${b.toString(16).toUpperCase().padStart(2, '0')}>`);
  const letters = ['▁', 'a', 'b', 'c', 'd', '\ufeff'];
  // Every one has a pair of tokens that makes it.
  const unions = ['▁a', 'bc', 'ab', '▁▁', 'abc', '▁ab', 'cd', 'bcd', '▁▁▁▁', '▁▁a', 'dd', 'ddd', 'ca', '▁abc'];
  const tokens = ['<unk>', '<s>', '</s>', ...bytes, ...unions, ...letters, '<|u|>'];
  const types = tokens.map((token, id) =>
    id === 0 ? UNKNOWN : id < 3 ? CONTROL : id < 259 ? BYTE : token === '<|u|>' ? USER : NORMAL,
  );
  const scores = tokens.map((_, id) => (id < 259 ? 0 : -(((id - 259) * 13) % 21)));
  const metadata: Metadata = {
    'tokenizer.ggml.model': { text: 'llama' },
    'tokenizer.ggml.tokens': { texts: tokens },
    'tokenizer.ggml.scores': { f32s: scores },
    'tokenizer.ggml.token_type': { i32s: types },
  };
  const ids = new Map(tokens.map((token, id) => [token, id]));

  /** SentencePiece itself: of all neighbours whose union is a token, the one of the best score, leftmost first. */
  function joinedByScore(text: string): number[] {
    const parts = Array.from(text.replaceAll(' ', '▁'));
    for (;;) {
      let best = -1;
      for (let i = 0; i + 1 < parts.length; i++) {
        const id = ids.get(parts[i]! + parts[i + 1]!);
        if (id === undefined) continue;
        if (best < 0 || scores[id]! > scores[ids.get(parts[best]! + parts[best + 1]!)!]!) best = i;
      }
      if (best < 0) break;
      parts.splice(best, 2, parts[best]! + parts[best + 1]!);
    }
    return parts.flatMap((part) => ids.get(part) ?? [...new TextEncoder().encode(part)].map((byte) => 3 + byte));
  }

  test('random texts, a space before them, a BOS token before that', async () => {
    const files = await filesOf(metadata);
    const tokenizer = new TextTokenizer(files.json, files.config);
    const rng = new Rng('sentencepiece');
    for (let round = 0; round < 500; round++) {
      const text = Array.from({ length: rng.int(1, 30) }, () => 'aabbccdd  \ufeffxé😀\n'[rng.int(0, 14)]!).join('');
      const whole = text.replace(/\p{Surrogate}/gu, 'a');
      expect([whole, tokenizer.encode(whole, 999).tokens]).toEqual([whole, [1, ...joinedByScore(` ${whole}`)]]);
      expect(tokenizer.decode(tokenizer.encode(whole, 999).tokens)).toBe(whole);
    }
    expect(tokenizer.encode('', 9).tokens).toEqual([1]);
  });

  test('a space before the text behind every special token too, unless the file says no', async () => {
    const [u, a, ab] = [ids.get('<|u|>')!, ids.get('▁a')!, ids.get('▁ab')!];
    expect(idsOf(await filesOf(metadata), 'a<|u|>ab</s>a')).toEqual([1, a, u, ab, 2, a]);
    const bare = { ...metadata, 'tokenizer.ggml.add_space_prefix': { bool: false } };
    const files = await filesOf(bare);
    expect(idsOf(files, 'a<|u|>ab')).toEqual([1, ids.get('a'), u, ids.get('ab')]);
    expect(new TextTokenizer(files.json, files.config).decode([ids.get('▁a')!])).toBe(' a');
  });

  test('a token with a space inside forbids cutting at spaces', async () => {
    const texts = tokens.map((token) => (token === 'ca' ? 'a▁' : token));
    const files = await filesOf({ ...metadata, 'tokenizer.ggml.tokens': { texts } });
    expect(JSON.parse(files.json)).toMatchObject({ pre_tokenizer: null });
    expect(idsOf(files, 'ba d')).toContain(texts.indexOf('a▁'));
  });

  test('a long text without spaces takes no time', async () => {
    const tokenizer = new TextTokenizer((await filesOf(metadata)).json, '');
    expect(tokenizer.encode('abcd'.repeat(20_000), 1e6).tokens.length).toBeGreaterThan(20_000);
  });

  test('scores missing, too few, or none', async () => {
    for (const f32s of [[0, 1], scores.map((score, i) => (i === 270 ? NaN : score))]) {
      const error = await failure(() => filesOf({ ...metadata, 'tokenizer.ggml.scores': { f32s } }));
      expect(error).toMatchObject({ code: 'BadFile', field: 'model.gguf.tokenizer.ggml.scores' });
    }
    const rest = Object.fromEntries(Object.entries(metadata).filter(([key]) => !key.endsWith('scores')));
    expect(await failure(() => filesOf(rest))).toMatchObject({ code: 'BadFile' });
  });
});
