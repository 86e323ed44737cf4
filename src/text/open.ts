import { MgtError } from '../errors.js';
import { libraryTokenizer, type LibraryTokenizer, type Normalize, type TokenizerJson } from './library.js';
import { exactNormalizer, exactPreTokenizer } from './repair.js';
import type { Vocabulary } from './vocabulary.js';
import { wordPiece } from './wordpiece.js';

/**
 * The library's tokenizer with its inexact parts replaced.
 * @param vocabulary of a WordPiece or WordLevel model, whose own in `file` is then empty: the library walks one three
 * times, which takes longer than parsing it (30,522 tokens: 38 ms)
 * @param spaced words end at white space
 */
export function openTokenizer(
  file: TokenizerJson,
  vocabulary: Vocabulary | undefined,
  spaced: boolean,
): LibraryTokenizer {
  const library = libraryTokenizer(file);
  // The library spreads a word's tokens into one call, which overflows the stack on some 100,000 of them.
  const { tokenize } = library.model;
  if (tokenize) library.model.encode = (words) => words.flatMap((word) => tokenize.call(library.model, word));
  const normalize = exactNormalizer(file.normalizer);
  if (vocabulary) setVocabulary(library, file, vocabulary, normalize);
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
  for (const { content, id, normalized } of file.added_tokens) {
    tokens[id] = normalized === true && normalize ? normalize(content) : content;
  }
  const unknown = String(file.model['unk_token']);
  model.tokens_to_ids = ids;
  model.vocab = tokens;
  model.unk_token = unknown;
  model.unk_token_id = ids.get(unknown);
  if (file.model['type'] === 'WordPiece') {
    const { continuing_subword_prefix: prefix, max_input_chars_per_word: longest } = file.model;
    model.encode = wordPiece(ids, String(prefix), unknown, typeof longest === 'number' ? longest : 100);
  }
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
