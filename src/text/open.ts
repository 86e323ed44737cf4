import { MgtError } from '../errors.js';
import { libraryTokenizer, type LibraryTokenizer, type Normalize, type TokenizerJson } from './library.js';
import { exactNormalizer, exactPreTokenizer } from './repair.js';
import type { Vocabulary } from './vocabulary.js';
import { wordPiece } from './wordpiece.js';

/**
 * The library's tokenizer with its inexact parts replaced.
 * @param parts vocabulary and merges of a model, its own in `file` being empty then: the library walks a vocabulary three
 * times, which takes longer than parsing it (30,522 tokens: 38 ms), and keeps merges three times
 * @param spaced words end at white space
 */
export function openTokenizer(
  file: TokenizerJson,
  { vocabulary, merges }: { readonly vocabulary?: Vocabulary; readonly merges?: unknown },
  spaced: boolean,
): LibraryTokenizer {
  const library = libraryTokenizer(file);
  // The library spreads a word's tokens into one call, which overflows the stack on some 100,000 of them.
  const { tokenize } = library.model;
  if (tokenize) library.model.encode = (words) => words.flatMap((word) => tokenize.call(library.model, word));
  const normalize = exactNormalizer(file.normalizer);
  if (vocabulary) setVocabulary(library, file, vocabulary, normalize);
  if (vocabulary && file.model['type'] === 'BPE') setMerges(library, merges as readonly unknown[]);
  library.normalizer = normalize && spaced ? apart(normalize, file) : normalize;
  library.pre_tokenizer = exactPreTokenizer(file.pre_tokenizer);
  return library;
}

/** What the library throws on a file that it cannot read, as an MgtError; a pattern of it in a SyntaxError. */
export function readable<T>(action: () => T): T {
  try {
    return action();
  } catch (cause) {
    if (cause instanceof MgtError) throw cause;
    const code = cause instanceof SyntaxError ? 'UnsupportedMode' : 'BadFile';
    throw new MgtError(code, 'tokenizer.json', 'a tokenizer that @huggingface/tokenizers reads', cause, { cause });
  }
}

/**
 * Token to id and back, and the model over them. In WordLevel the library forgets the unknown token's id; in WordPiece it
 * lets words match added tokens, which the original finds before words are made.
 */
function setVocabulary(
  { model }: LibraryTokenizer,
  file: TokenizerJson,
  { ids, tokens }: Vocabulary,
  normalize: Normalize | null,
): void {
  const isBpe = file.model['type'] === 'BPE';
  for (const { content, id, normalized } of file.added_tokens) {
    tokens[id] = !isBpe && normalized === true && normalize ? normalize(content) : content;
    if (isBpe) ids.set(content, id);
  }
  const unknown = isBpe ? (file.model['unk_token'] as string | undefined) : String(file.model['unk_token']);
  model.tokens_to_ids = ids;
  model.vocab = tokens;
  model.unk_token = unknown;
  model.unk_token_id = ids.get(unknown!);
  if (file.model['type'] === 'WordPiece') {
    const { continuing_subword_prefix: prefix, max_input_chars_per_word: longest } = file.model;
    model.encode = wordPiece(ids, String(prefix), unknown!, typeof longest === 'number' ? longest : 100);
  }
}

/**
 * A merge's rank by its text: "a b" as older files write it, or the JSON of a pair.
 * @throws MgtError `BadFile`
 */
function setMerges({ model }: LibraryTokenizer, merges: readonly unknown[]): void {
  const pairs = Array.isArray(merges[0]);
  const keyOf = pairs
    ? (a: string, b: string): string => JSON.stringify([a, b])
    : (a: string, b: string): string => `${a} ${b}`;
  const ranks = new Map<string, number>();
  merges.forEach((merge, i) => {
    const [a, b] = (pairs ? merge : typeof merge === 'string' ? merge.split(' ', 2) : []) as unknown[];
    if (typeof a !== 'string' || typeof b !== 'string') {
      throw new MgtError('BadFile', `tokenizer.model.merges[${i}]`, pairs ? 'two tokens' : '"token token"', merge);
    }
    ranks.set(keyOf(a, b), i);
  });
  model.add_node = (queue, node) => {
    const rank = ranks.get(keyOf(node.token, node.next.token));
    if (rank === undefined) return;
    node.score = rank + node.bias;
    queue.push(node);
  };
}

/**
 * Keeps normalised text apart from added tokens: the library takes `[C\0LS]`, once cleaned to `[CLS]`, for the special
 * token. A space after it, where words end at spaces, is no text.
 */
function apart(normalize: Normalize, file: TokenizerJson): Normalize {
  const added = new Set(file.added_tokens.map((token) => token.content));
  return (text) => {
    const out = normalize(text);
    return added.has(out) ? `${out} ` : out;
  };
}
