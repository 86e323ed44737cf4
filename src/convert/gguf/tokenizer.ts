import { MgtError } from '../../errors.js';
import type { GgufFile } from './file.js';
import { preTokenizer } from './pre-tokenizers.js';
import { endsAtSpaces, MARK, mergesOf } from './sentencepiece.js';

/** The two files of a Hugging Face tokenizer, as text. */
export interface TokenizerFiles {
  /** tokenizer.json */
  readonly json: string;
  /** tokenizer_config.json: bos, eos, unknown and padding tokens, what is added to a text, the chat template. */
  readonly config: string;
}

/** `tokenizer.ggml.token_type` of llama.cpp. */
const TYPE = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const;

/** What the vocabulary of either kind shares. */
interface Vocabulary {
  readonly tokens: readonly string[];
  readonly types: readonly number[];
  readonly bos: number | undefined;
  readonly eos: number | undefined;
  readonly unknown: number | undefined;
  readonly padding: number | undefined;
}

/** Parts of a tokenizer.json that depend on the kind. */
interface Kind {
  readonly parts: Readonly<Record<'normalizer' | 'pre_tokenizer' | 'model' | 'decoder', object | null>>;
  /** Whether a text begins with the BOS token where the file does not say. */
  readonly addBos: boolean;
}

const PREFIX = 'tokenizer.ggml';

/**
 * The tokenizer that a GGUF file holds: `gpt2` (byte-level BPE) and `llama` (SentencePiece BPE). Its ids are those of
 * llama.cpp, special tokens in a text included.
 * @throws MgtError `UnsupportedMode` naming a model or pre-tokenizer that is not known, `BadFile`; undefined where the
 * file holds none
 */
export function ggufTokenizer(file: GgufFile): TokenizerFiles | undefined {
  const { metadata } = file;
  const model = metadata.text(`${PREFIX}.model`, 'none');
  if (model === 'none' || model === 'no_vocab') return undefined;
  if (model !== 'gpt2' && model !== 'llama') {
    throw new MgtError('UnsupportedMode', `${file.name}.${PREFIX}.model`, 'gpt2 or llama', model);
  }
  const vocabulary = readVocabulary(file, model === 'llama');
  const { parts, addBos } = model === 'gpt2' ? byteLevel(file, vocabulary) : sentencePiece(file, vocabulary);
  const opening = metadata.flag(`${PREFIX}.add_bos_token`, addBos) ? edge(file, 'bos', vocabulary.bos) : [];
  const closing = metadata.flag(`${PREFIX}.add_eos_token`, false) ? edge(file, 'eos', vocabulary.eos) : [];
  const json = {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: addedTokens(vocabulary),
    normalizer: parts.normalizer,
    pre_tokenizer: parts.pre_tokenizer,
    post_processor: postProcessor(vocabulary, opening, closing),
    decoder: parts.decoder,
    model: parts.model,
  };
  return { json: JSON.stringify(json), config: JSON.stringify(configOf(file, vocabulary, opening, closing)) };
}

function readVocabulary({ metadata, name }: GgufFile, sentencePieces: boolean): Vocabulary {
  const listed = metadata.texts(`${PREFIX}.tokens`);
  // @huggingface/gguf drops a byte order mark that begins a string: Llama's token of nothing else comes as ''.
  const tokens = sentencePieces ? listed.map((token) => (token === '' ? '\ufeff' : token)) : listed;
  const first = new Map<string, number>();
  tokens.forEach((token, id) => {
    const field = `${name}.${PREFIX}.tokens[${id}]`;
    if (token === '') throw new MgtError('BadFile', field, 'a token', 'an empty text');
    const before = first.get(token);
    if (before !== undefined) throw new MgtError('BadFile', field, `another token than ${before}`, token);
    first.set(token, id);
  });
  const types = metadata.numbers(`${PREFIX}.token_type`) ?? tokens.map(() => TYPE.normal);
  if (types.length !== tokens.length) {
    throw new MgtError('BadFile', `${name}.${PREFIX}.token_type`, `${tokens.length} entries`, types.length);
  }
  const special = (key: string, missing: number | undefined): number | undefined => {
    const full = `${PREFIX}.${key}_token_id`;
    const id = metadata.has(full) ? metadata.integer(full, -1, 2 ** 32) : missing;
    return id !== undefined && id >= 0 && id < tokens.length ? id : undefined; // as llama.cpp: out of range is none
  };
  return {
    tokens,
    types,
    bos: special('bos', sentencePieces ? 1 : undefined),
    eos: special('eos', sentencePieces ? 2 : undefined),
    unknown: special('unknown', sentencePieces ? 0 : undefined),
    padding: special('padding', undefined),
  };
}

/** A token set before or after every text, which must then be one. */
function edge({ name }: GgufFile, which: 'bos' | 'eos', id: number | undefined): number[] {
  if (id !== undefined) return [id];
  throw new MgtError('BadFile', `${name}.${PREFIX}.${which}_token_id`, 'a token, since one is added', 'none');
}

/** Control and unknown tokens are special (left out of decoded text), user-defined ones are text; both are found whole. */
function addedTokens({ tokens, types }: Vocabulary): object[] {
  return tokens.flatMap((content, id) => {
    const type = types[id]!;
    if (type !== TYPE.control && type !== TYPE.userDefined && type !== TYPE.unknown) return [];
    const special = type !== TYPE.userDefined;
    return [{ id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special }];
  });
}

function postProcessor({ tokens }: Vocabulary, opening: readonly number[], closing: readonly number[]): object | null {
  const added = [...opening, ...closing];
  if (added.length === 0) return null;
  const special = (id: number): object => ({ SpecialToken: { id: tokens[id], type_id: 0 } });
  const text = (id: 'A' | 'B'): object[] => [
    ...opening.map(special),
    { Sequence: { id, type_id: 0 } },
    ...closing.map(special),
  ];
  return {
    type: 'TemplateProcessing',
    single: text('A'),
    pair: [...text('A'), ...text('B')],
    special_tokens: Object.fromEntries(
      added.map((id) => [tokens[id]!, { id: tokens[id], ids: [id], tokens: [tokens[id]] }]),
    ),
  };
}

function configOf(
  { metadata }: GgufFile,
  { tokens, bos, eos, unknown, padding }: Vocabulary,
  opening: readonly number[],
  closing: readonly number[],
): object {
  const named = (key: string, id: number | undefined): object => (id === undefined ? {} : { [key]: tokens[id] });
  const template = metadata.text('tokenizer.chat_template', '');
  return {
    tokenizer_class: 'PreTrainedTokenizerFast',
    add_bos_token: opening.length > 0,
    add_eos_token: closing.length > 0,
    ...named('bos_token', bos),
    ...named('eos_token', eos),
    ...named('unk_token', unknown),
    ...named('pad_token', padding),
    clean_up_tokenization_spaces: false,
    ...(template === '' ? {} : { chat_template: template }),
  };
}

/** Token to id; without a prototype, so that `__proto__` is a token like any other. */
function idsOf(tokens: readonly string[]): Record<string, number> {
  const ids = Object.create(null) as Record<string, number>;
  tokens.forEach((token, id) => (ids[token] = id));
  return ids;
}

function byteLevel({ metadata, name }: GgufFile, { tokens }: Vocabulary): Kind {
  const vocab = idsOf(tokens);
  const { json, ignoreMerges, addBos } = preTokenizer(
    `${name}.${PREFIX}.pre`,
    metadata.text(`${PREFIX}.pre`, 'default'),
  );
  const merges = metadata.texts(`${PREFIX}.merges`).map((merge, i): [string, string] => {
    const space = merge.indexOf(' ', 1);
    const [left, right] = [merge.slice(0, space), merge.slice(space + 1)];
    if (space > 0 && left in vocab && right in vocab && left + right in vocab) return [left, right];
    throw new MgtError('BadFile', `${name}.${PREFIX}.merges[${i}]`, 'two tokens that make a third', merge);
  });
  return {
    addBos,
    parts: {
      normalizer: null,
      pre_tokenizer: json,
      // No unknown token: as in llama.cpp, a byte that the vocabulary lacks is dropped.
      model: {
        type: 'BPE',
        unk_token: null,
        fuse_unk: false,
        byte_fallback: false,
        ignore_merges: ignoreMerges,
        vocab,
        merges,
      },
      decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    },
  };
}

function sentencePiece({ metadata, name }: GgufFile, { tokens, types, unknown }: Vocabulary): Kind {
  const scores = metadata.numbers(`${PREFIX}.scores`);
  if (scores?.length !== tokens.length || scores.some((score) => Number.isNaN(score))) {
    throw new MgtError('BadFile', `${name}.${PREFIX}.scores`, `${tokens.length} numbers`, scores?.length);
  }
  const joinable = [...tokens.keys()].filter((id) => types[id] === TYPE.normal);
  const spaced = metadata.flag(`${PREFIX}.add_space_prefix`, true);
  const prefix = spaced ? [{ type: 'Prepend', prepend: MARK }] : [];
  const words = { Regex: `${MARK}+[^${MARK}]*|[^${MARK}]+` };
  return {
    addBos: true,
    parts: {
      normalizer: {
        type: 'Sequence',
        normalizers: [...prefix, { type: 'Replace', pattern: { String: ' ' }, content: MARK }],
      },
      // Changes no id and keeps words short: BPE over a whole text is slow.
      pre_tokenizer: endsAtSpaces(joinable.map((id) => tokens[id]!))
        ? { type: 'Split', pattern: words, behavior: 'Isolated', invert: false }
        : null,
      model: {
        ...{ type: 'BPE', fuse_unk: true, byte_fallback: true, ignore_merges: false },
        unk_token: unknown === undefined ? null : tokens[unknown],
        vocab: idsOf(tokens),
        merges: mergesOf(tokens, scores, joinable),
      },
      decoder: {
        type: 'Sequence',
        decoders: [
          { type: 'Replace', pattern: { String: MARK }, content: ' ' },
          { type: 'ByteFallback' },
          { type: 'Fuse' },
          ...(spaced ? [{ type: 'Strip', content: ' ', start: 1, stop: 0 }] : []),
        ],
      },
    },
  };
}
