import { describe, expect, test } from '@jest/globals';
import { TokenBytes } from '../../src/generate/bytes.js';
import { Detokenizer, type DetokenizeOptions } from '../../src/generate/detokenize.js';
import type { AddedToken, Kind } from '../../src/text/library.js';
import { Rng } from '../support/rng.js';

/** A SentencePiece tokenizer's vocabulary: specials, the 256 byte tokens, pieces. */
const PIECES = ['▁', '▁Hello', '▁world', 'ello', 'H', '▁▁', 'é', '日', '本', '!', '▁a'];
const HEX = Array.from({ length: 256 }, (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`);
const VOCAB = ['<unk>', '<s>', '</s>', ...HEX, ...PIECES];
const special = (id: number): AddedToken => ({ id, content: VOCAB[id]!, special: true });
const STRIP = { type: 'Strip', content: ' ', start: 1, stop: 0 };
const SPACES = { type: 'Replace', pattern: { String: '▁' }, content: ' ' };
const LLAMA = { type: 'Sequence', decoders: [SPACES, { type: 'ByteFallback' }, { type: 'Fuse' }, STRIP] };

const added = [...[0, 1, 2].map(special), { id: 270, content: '<tool▁>', special: false }];
const open = (decoder: Kind | null): TokenBytes => new TokenBytes({ tokens: VOCAB, added, decoder });

const idOf = (token: string): number => (token === '<tool▁>' ? 270 : VOCAB.indexOf(token));
const stream = (tokens: TokenBytes, ids: number[], options?: DetokenizeOptions): string[] => {
  const detokenizer = new Detokenizer(tokens, options);
  return [...ids.map((id) => detokenizer.push(id)), detokenizer.flush()];
};

/** Byte-level tokens that stand for any bytes, by GPT-2's own definition of its alphabet. */
function byteLevel(pieces: Uint8Array[]): TokenBytes {
  const letters = [...'!~', ...'¡¬', ...'®ÿ'].map((c) => c.charCodeAt(0)) as [number, number, ...number[]];
  const own: number[] = [];
  for (let i = 0; i < letters.length; i += 2) for (let c = letters[i]!; c <= letters[i + 1]!; c++) own.push(c);
  const others = Array.from({ length: 256 }, (_, byte) => byte).filter((byte) => !own.includes(byte));
  const letter = (byte: number): string => String.fromCodePoint(own.includes(byte) ? byte : 256 + others.indexOf(byte));
  const tokens = pieces.map((bytes) => Array.from(bytes, letter).join(''));
  return new TokenBytes({ tokens, added: [], decoder: { type: 'ByteLevel' } });
}

describe('bytes of tokens', () => {
  test('byte-level: every byte, and what is no letter of the alphabet as it stands', () => {
    const all = Uint8Array.from({ length: 256 }, (_, byte) => byte);
    expect(byteLevel([all]).of(0)).toEqual(all);
    const tokens = ['Ġhello', 'ĊĊ', 'a b', '日'];
    const bytes = new TokenBytes({ tokens, added: [], decoder: { type: 'ByteLevel' } });
    expect(tokens.map((_, id) => new TextDecoder().decode(bytes.of(id)))).toEqual([' hello', '\n\n', 'a b', '日']);
  });

  test('SentencePiece: byte tokens, spaces, added tokens as they stand, nothing for ids without a token', () => {
    const bytes = open(LLAMA);
    expect(HEX.map((token) => [...bytes.of(idOf(token))])).toEqual(HEX.map((_, byte) => [byte]));
    expect([...bytes.of(idOf('▁a'))]).toEqual([0x20, 0x61]);
    expect(bytes.of(270)).toEqual(new TextEncoder().encode('<tool▁>'));
    expect([bytes.of(271), bytes.of(1e9)]).toEqual([new Uint8Array(), new Uint8Array()]);
    expect([0, 2, 3, 270].map((id) => bytes.isSpecial(id))).toEqual([true, true, false, false]);
    const list = open({ type: 'Metaspace', replacement: '▁' });
    expect([...list.of(idOf('<0x41>'))]).toEqual([...new TextEncoder().encode('<0x41>')]);
  });

  test.each<[string, number]>([
    ['{"type":"Metaspace","replacement":"▁","prepend_scheme":"always"}', 1],
    ['{"type":"Metaspace","replacement":"▁","prepend_scheme":"never"}', 0],
    ['{"type":"Metaspace","replacement":"▁","add_prefix_space":false}', 0],
    [JSON.stringify(LLAMA), 1],
    [JSON.stringify({ ...LLAMA, decoders: LLAMA.decoders.slice(0, 3) }), 0],
  ])('%s: %d leading space goes', (decoder, spaces) => {
    expect(open(JSON.parse(decoder) as Kind).leadingSpaces).toBe(spaces);
  });

  test.each([
    [null],
    [{ type: 'WordPiece', prefix: '##' }],
    [{ type: 'Sequence', decoders: [SPACES, { type: 'CTC' }] }],
    [{ type: 'Replace', pattern: { Regex: 'a' }, content: '' }],
    [{ type: 'Sequence', decoders: [{ ...STRIP, stop: 1 }] }],
    [{ type: 'Sequence', decoders: [STRIP, { type: 'Fuse' }] }],
  ])('refuses the decoder %j', (decoder) => {
    expect(() => open(decoder)).toThrow(
      expect.objectContaining({ code: 'UnsupportedMode', field: 'tokenizer.decoder' }),
    );
  });
});

describe('streaming', () => {
  // `decode` of Python's tokenizers 0.23.3 with and without skip_special_tokens.
  test.each([
    ['<s> ▁Hello ▁world ! </s>', 'Hello world!', '<s> Hello world!</s>'],
    ['<s> ▁ ▁Hello', ' Hello', '<s>  Hello'],
    ['▁▁ ▁a', '  a', '  a'],
    ['H ello <0xF0> <0x9F> <0x98> <0x80> ▁world', 'Hello😀 world', 'Hello😀 world'],
    ['日 <0xE6> <0x9C> <0xAC> 本', '日本本', '日本本'],
    ['<s> ▁a </s> ▁a', 'a a', '<s> a</s> a'],
  ])('%s', (names, hidden, shown) => {
    const ids = names.split(' ').map(idOf);
    expect(stream(open(LLAMA), ids, { atStart: true }).join('')).toBe(hidden);
    expect(stream(open(LLAMA), ids, { atStart: true, special: true }).join('')).toBe(shown);
  });

  test('a text that goes on keeps its space', () => {
    expect(stream(open(LLAMA), [idOf('▁world')])).toEqual([' world', '']);
  });

  test('characters come whole, as soon as they are', () => {
    const ids = '<0xF0> <0x9F> </s> <0x98> <0x80> <0xC3> H <0xE6> <0x9C>'.split(' ').map(idOf);
    expect(stream(open(LLAMA), ids)).toEqual(['', '', '', '', '😀', '', '\ufffdH', '', '', '\ufffd']);
  });

  test('any bytes under every cut in two, and random cuts: the pieces joined are the whole decoded', () => {
    const rng = new Rng('utf-8');
    const whole = new TextDecoder('utf-8', { ignoreBOM: true });
    const text = new TextEncoder();
    const samples = ['\ufeffa', 'é日本😀', '👩‍👩‍👧 ok', '\u07ff\u0800\uffff\u{10000}\u{10ffff}', ''];
    const hostile = [0xf0, 0x80, 0xed, 0xa0, 0xc0, 0xf4, 0x90, 0xe2, 0x82, 0xff, 0xef, 0xbb, 0xbf, 0x41];
    let broken = 0;
    for (let round = 0; round < 400; round++) {
      const bytes =
        round < samples.length
          ? text.encode(samples[round])
          : Uint8Array.from({ length: rng.int(1, 14) }, () =>
              rng.int(0, 2) ? hostile[rng.int(0, hostile.length - 1)]! : rng.int(0, 255),
            );
      const expected = whole.decode(bytes);
      const cuts = Array.from(bytes, (_, i) => [bytes.subarray(0, i), bytes.subarray(i)]);
      cuts.push(Array.from(bytes, (byte) => Uint8Array.of(byte)));
      for (const pieces of cuts) {
        const out = stream(byteLevel(pieces), [...pieces.keys()]);
        expect({ bytes: [...bytes], text: out.join('') }).toEqual({ bytes: [...bytes], text: expected });
        for (const piece of out) if (/\p{Surrogate}/u.test(piece)) throw new Error(`half a pair in ${piece}`);
      }
      broken += expected.includes('\ufffd') ? 1 : 0;
    }
    expect(broken).toBeGreaterThan(300);
  });

  test('says when the end would add something', () => {
    const bytes = [[0x41], [0xf0, 0x9f], [0x99], [0x82], [0xc3], [0xc3, 0xa9], [0xe6, 0x97], [0x41], [0x80], [0xff]];
    const tokens = byteLevel(bytes.map((list) => Uint8Array.from(list)));
    const detokenizer = new Detokenizer(tokens);
    const held = bytes.map((_, id) => {
      detokenizer.push(id);
      return detokenizer.holds;
    });
    expect(held.slice(0, -1)).toEqual([false, true, true, false, true, false, true, false, false]);
    // Whatever was cut: where it says no, nothing comes.
    for (let seed = 0; seed < 300; seed++) {
      const rng = new Rng(seed);
      const ids = Array.from({ length: 6 }, () => rng.int(0, bytes.length - 1));
      const stream = new Detokenizer(tokens);
      ids.forEach((id) => stream.push(id));
      const { holds } = stream;
      const rest = stream.flush();
      if (!holds) expect([ids, rest]).toEqual([ids, '']);
    }
  });
});
