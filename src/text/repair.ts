import { libraryNormalizer, libraryPreTokenizer, type Kind, type Normalize, type Split } from './library.js';
import { ACCENTS, CJK, MARKS, PUNCTUATION, REMOVED, SPACE, WHITE, WHOLE } from './unicode.js';

/**
 * Normalisers and pre-tokenizers that answer as Python's `tokenizers` does, in place of the JavaScript library's own
 * where those differ; all other kinds are the library's. Each function says what differs. Measured: docs/tokenizer.md.
 */

/** Every character of the class, in code points: a pair of surrogates is one. */
const all = (characters: string): RegExp => new RegExp(`[${characters}]`, 'gu');

const removed = all(REMOVED);
const spaces = all(SPACE);
const cjk = all(CJK);
const marks = all(MARKS);
const accents = all(MARKS + ACCENTS);
/** Runs without a mark, and single marks. */
const unordered = new RegExp(`[^\\p{M}${WHOLE}]+|(?![${WHOLE}])\\p{M}`, 'gu');
const decomposable = new RegExp(`[^${WHOLE}]+`, 'gu');
const bertWords = new RegExp(`[^${WHITE}${PUNCTUATION}]+|[${PUNCTUATION}]`, 'gu');
const spacedWords = new RegExp(`[^${WHITE}]+`, 'gu');
const leadingSpace = new RegExp(`^[${WHITE}]+`, 'u');
const space = new RegExp(`^[${WHITE}]$`, 'u');
/** Rust's \w. The library's is ASCII only: `\w+|[^\w\s]+` without the `u` flag tears `café` into `caf` and `é`. */
const WORD = '\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}';
const wordsAndSigns = new RegExp(`[${WORD}]+|[^${WORD}${WHITE}]+`, 'gu');

/** GPT-2's words. The library's `\\s` takes U+FEFF for white space and U+0085 for none. */
const byteLevelWords = new RegExp(
  "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+" + `| ?[^${WHITE}\\p{L}\\p{N}]+|[${WHITE}]+(?![^${WHITE}])|[${WHITE}]+`,
  'gu',
);

const words =
  (pattern: RegExp): Split =>
  (text) =>
    text.match(pattern) ?? [];

/**
 * Lower case, one code point at a time as Rust does it: JavaScript writes a final capital sigma as ς, Rust always as σ.
 * (Final sigma is the only rule of `toLowerCase` that looks at neighbours.)
 */
const lowercase: Normalize = (text) => text.replaceAll('Σ', 'σ').toLowerCase();

/**
 * NFD without its reordering of marks, which takes n² steps in a run of n (100,000 alternating marks: 3.5 s), and without
 * what only a newer Unicode than the original's decomposes. Nonspacing marks are dropped around it; the few others keep
 * their typed order.
 */
const decompose: Normalize = (text) => text.replace(unordered, (run) => run.normalize('NFD'));

/**
 * BertNormalizer. The library looks at CJK by UTF-16 unit, so it never finds an ideograph above U+FFFF; it lowers final
 * sigma to ς; it takes categories from the engine's Unicode (494 code points are marks there and not in the original);
 * and its NFD takes quadratic time.
 */
function bertNormalizer(kind: Kind): Normalize {
  const lower = kind['lowercase'] !== false;
  const clean = kind['clean_text'] !== false;
  const ideographs = kind['handle_chinese_chars'] !== false;
  const strip = typeof kind['strip_accents'] === 'boolean' ? kind['strip_accents'] : lower;
  return (text) => {
    if (/^[ -~]*$/.test(text)) return lower ? text.toLowerCase() : text;
    let out = text;
    if (clean) out = out.replace(removed, '').replace(spaces, ' ');
    if (ideographs) out = out.replace(cjk, ' $& ');
    if (strip) out = decompose(out.replace(marks, '')).replace(marks, '');
    return lower ? lowercase(out) : out;
  };
}

/** NFD, but for characters that only a newer Unicode than the original's decomposes. */
const nfd: Normalize = (text) => text.replace(decomposable, (run) => run.normalize('NFD'));

/** StripAccents: the marks of an older Unicode than the engine's. */
const stripAccents: Normalize = (text) => text.replace(accents, '');

/** Strip. JavaScript's `trim` takes U+FEFF for white space and leaves U+0085; Rust's does the opposite. */
function strip(kind: Kind): Normalize {
  const left = kind['strip_left'] !== false;
  const right = kind['strip_right'] !== false;
  return (text) => {
    const cut = left ? text.replace(leadingSpace, '') : text;
    let end = cut.length;
    // Not a pattern that ends in `$`: it would begin anew at every space of a long run within the text.
    while (right && space.test(cut.charAt(end - 1))) end--;
    return cut.slice(0, end);
  };
}

/** Digits: runs (or single ones) of characters with a numeric category; the library sees ASCII digits only. */
const digits = (kind: Kind): Split => words(kind['individual_digits'] === true ? /\P{N}+|\p{N}/gu : /\P{N}+|\p{N}+/gu);

/** Punctuation. The library joins neighbours whatever `behavior` says, and the default keeps them apart. */
function punctuation(kind: Kind): Split {
  const others = `[^${PUNCTUATION}]+`;
  const behavior = kind['behavior'] ?? 'Isolated';
  if (behavior === 'Removed') return words(new RegExp(others, 'gu'));
  const signs = `[${PUNCTUATION}]${behavior === 'Contiguous' ? '+' : ''}`;
  return words(new RegExp(`${others}|${signs}`, 'gu'));
}

/**
 * Metaspace. The library never splits, so a whole text reaches the model as one word (slow, and a stack overflow on long
 * ones); it ignores the older `add_prefix_space`; and with scheme `first` it marks every piece of the first section.
 */
function metaspace(kind: Kind): Split {
  const mark = typeof kind['replacement'] === 'string' ? kind['replacement'] : '\u2581';
  const scheme = kind['add_prefix_space'] === false ? 'never' : (kind['prepend_scheme'] ?? 'always');
  return (text, section) => {
    let marked = text.replaceAll(' ', mark);
    const wanted = scheme === 'always' || (scheme === 'first' && section?.section_index === 0);
    if (wanted && !marked.startsWith(mark)) marked = mark + marked;
    return kind['split'] === false ? [marked] : splitBefore(marked, mark);
  };
}

/** ByteLevel: the words as above; the library writes their bytes. */
function byteLevel(kind: Kind): Split {
  const bytes = libraryPreTokenizer({ ...kind, add_prefix_space: false, use_regex: false });
  return (text) => {
    const spaced = kind['add_prefix_space'] === true && !text.startsWith(' ') ? ` ${text}` : text;
    return (kind['use_regex'] === false ? [spaced] : (spaced.match(byteLevelWords) ?? [])).flatMap((word) =>
      bytes(word),
    );
  };
}

/** Cuts `text` before every `mark`. */
function splitBefore(text: string, mark: string): string[] {
  const pieces: string[] = [];
  let start = 0;
  while (start < text.length) {
    const next = text.indexOf(mark, start + 1);
    const end = next < 0 ? text.length : next;
    pieces.push(text.slice(start, end));
    start = end;
  }
  return pieces;
}

const list = (value: unknown): readonly Kind[] => (Array.isArray(value) ? (value as Kind[]) : []);

/** The normaliser of tokenizer.json's `normalizer`, null where there is none. */
export function exactNormalizer(kind: Kind | null): Normalize | null {
  switch (kind?.['type']) {
    case undefined:
      return null;
    case 'Sequence': {
      const steps = list(kind?.['normalizers']).flatMap((step) => exactNormalizer(step) ?? []);
      return (text) => steps.reduce((out, step) => step(out), text);
    }
    case 'BertNormalizer':
      return bertNormalizer(kind ?? {});
    case 'Lowercase':
      return lowercase;
    case 'NFD':
      return nfd;
    case 'StripAccents':
      return stripAccents;
    case 'Replace':
      // The library hands `content` to replaceAll, where `$` has meanings.
      return libraryNormalizer({ ...kind, content: String(kind?.['content'] ?? '').replaceAll('$', '$$$$') });
    case 'Strip':
      return strip(kind ?? {});
    default:
      return kind ? libraryNormalizer(kind) : null;
  }
}

/** The pre-tokenizer of tokenizer.json's `pre_tokenizer`, null where there is none. */
export function exactPreTokenizer(kind: Kind | null): Split | null {
  switch (kind?.['type']) {
    case undefined:
      return null;
    case 'Sequence': {
      const steps = list(kind?.['pretokenizers']).flatMap((step) => exactPreTokenizer(step) ?? []);
      // Only the piece that begins the text is still "first" for a later step.
      return (text, section) =>
        steps.reduce<string[]>(
          (pieces, step) =>
            pieces.flatMap((piece, i) => step(piece, i === 0 && text.startsWith(piece) ? section : undefined)),
          [text],
        );
    }
    case 'BertPreTokenizer':
      return words(bertWords);
    case 'Whitespace':
      return words(wordsAndSigns);
    case 'WhitespaceSplit':
      return words(spacedWords);
    case 'Punctuation':
      return punctuation(kind ?? {});
    case 'Digits':
      return digits(kind ?? {});
    case 'ByteLevel':
      return byteLevel(kind ?? {});
    case 'Metaspace':
      return metaspace(kind ?? {});
    default:
      return kind ? libraryPreTokenizer(kind) : null;
  }
}
