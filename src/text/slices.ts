import type { TokenizerJson } from './library.js';

/**
 * Characters of text that go through the tokenizer at once where a text may be cut: a long one then costs what its first
 * few hundred tokens cost, not what its whole length costs.
 */
const SLICE = 4096;

/**
 * Characters before which any text may be cut, its parts giving the ids of the whole: white space where words end there,
 * and in BERT's pipeline also punctuation and ideographs. None where an added token holds such a character.
 * @returns a global pattern of one character
 */
export function cutPoints(file: TokenizerJson): RegExp | undefined {
  const is = (type: unknown, ...types: string[]): boolean => types.includes(String(type));
  const [normalizer, splitter] = [file.normalizer?.['type'], file.pre_tokenizer?.['type']];
  if (!is(file.model['type'], 'WordPiece', 'WordLevel')) return undefined;
  if (!is(normalizer, 'BertNormalizer', 'Lowercase', 'undefined')) return undefined;
  if (!is(splitter, 'BertPreTokenizer', 'Whitespace', 'WhitespaceSplit')) return undefined;
  const free = (pattern: RegExp): boolean => !file.added_tokens.some(({ content }) => content.search(pattern) >= 0);
  const bert = normalizer === 'BertNormalizer' && file.normalizer?.['handle_chinese_chars'] !== false;
  const rich = /[ \n!,.;?、。，！？\u3400-\u4dbf\u4e00-\u9fff]/g;
  if (bert && splitter === 'BertPreTokenizer' && free(rich)) return rich;
  return free(/\s/) ? /[ \n]/g : undefined;
}

/** Pieces of SLICE characters and a little more, each but the first beginning at a cut point; whole without them. */
export function* slices(text: string, cutPoint: RegExp | undefined): Generator<string> {
  let start = 0;
  while (cutPoint && text.length - start > SLICE) {
    cutPoint.lastIndex = start + SLICE;
    const end = cutPoint.exec(text)?.index ?? text.length;
    yield text.slice(start, end);
    start = end;
  }
  if (start < text.length) yield text.slice(start);
}
