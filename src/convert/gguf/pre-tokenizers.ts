import { MgtError } from '../../errors.js';

/**
 * How a text is cut into words before byte-level BPE, by `tokenizer.ggml.pre`: the names and the patterns of llama.cpp
 * (src/llama-vocab.cpp), as parts of a tokenizer.json.
 */
export interface PreTokenizer {
  /** `pre_tokenizer` of tokenizer.json. */
  readonly json: object;
  /** A word that is a token is that token, whatever the merges say. */
  readonly ignoreMerges: boolean;
  /** Begin with the BOS token where the file does not say. */
  readonly addBos: boolean;
}

/** Unicode's White_Space, spelled out: `\s` is another set in JavaScript (with U+FEFF, without U+0085). */
const WHITE = '\\t-\\r \\u0085\\u00A0\\u1680\\u2000-\\u200A\\u2028\\u2029\\u202F\\u205F\\u3000';
const CONTRACTION = "'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]";

/** GPT-2's words. */
const GPT2 =
  "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+" + `| ?[^${WHITE}\\p{L}\\p{N}]+|[${WHITE}]+(?![^${WHITE}])|[${WHITE}]+`;

/** Words of cl100k and its followers. @param digits the alternative for numbers */
const cl100k = (digits: string): string =>
  `${CONTRACTION}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|${digits}| ?[^${WHITE}\\p{L}\\p{N}]+[\\r\\n]*` +
  `|[${WHITE}]*[\\r\\n]+|[${WHITE}]+(?![^${WHITE}])|[${WHITE}]+`;

const split = (pattern: string): object => ({
  type: 'Split',
  pattern: { Regex: pattern },
  behavior: 'Isolated',
  invert: false,
});
const bytes = (words: boolean): object => ({
  ...{ type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: words },
});
const sequence = (...pretokenizers: object[]): object => ({ type: 'Sequence', pretokenizers });

const plain = { ignoreMerges: false, addBos: false };
const gpt2: PreTokenizer = { ...plain, json: bytes(true) };
const smollm: PreTokenizer = {
  ...plain,
  json: sequence({ type: 'Digits', individual_digits: true }, bytes(true)),
};
const qwen2: PreTokenizer = { ...plain, json: sequence(split(cl100k('\\p{N}')), bytes(false)) };
const dbrx: PreTokenizer = { ...plain, json: sequence(split(cl100k('\\p{N}{1,3}')), bytes(false)) };
const llama3: PreTokenizer = { ...dbrx, ignoreMerges: true, addBos: true };
/** What llama.cpp takes where a file names none: punctuation, then GPT-2's words, then numbers, then digits by three. */
const unnamed: PreTokenizer = {
  ...plain,
  json: sequence(split('[\\p{P}$+<=>^~|]+'), split(GPT2), split('\\p{N}+'), split('[0-9][0-9][0-9]'), bytes(false)),
};

const KNOWN: Readonly<Record<string, PreTokenizer>> = {
  default: unnamed,
  ...{ 'gpt-2': gpt2, 'phi-2': gpt2, mpt: gpt2, olmo: gpt2 },
  ...{ smollm, starcoder: smollm, refact: smollm, 'command-r': smollm, codeshell: smollm, exaone: smollm },
  ...{ qwen2, 'deepseek-r1-qwen': qwen2, stablelm2: qwen2 },
  ...{ dbrx, 'smaug-bpe': dbrx },
  ...{ 'llama-bpe': llama3, llama3, 'llama-v3': llama3, falcon3: llama3 },
};

/**
 * @param name `tokenizer.ggml.pre`
 * @throws MgtError `UnsupportedMode` naming one that is not known: its words would be guessed
 */
export function preTokenizer(field: string, name: string): PreTokenizer {
  if (Object.hasOwn(KNOWN, name)) return KNOWN[name]!;
  throw new MgtError('UnsupportedMode', field, `one of ${Object.keys(KNOWN).join(', ')}`, name);
}
