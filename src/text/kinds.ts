import { MgtError } from '../errors.js';
import type { AddedToken, Kind, TokenizerJson } from './library.js';
import { SCANNED, scanVocabulary, type Vocabulary } from './vocabulary.js';

/** tokenizer.json, checked at the door: what the library would misread is refused here by name. */

/** Kinds of each part that give the original's ids; anything else is `UnsupportedMode`. */
const KNOWN: Readonly<Record<string, readonly string[]>> = {
  normalizer: [
    ...['BertNormalizer', 'Lowercase', 'NFC', 'NFD', 'NFKC', 'NFKD', 'Precompiled', 'Prepend', 'Replace'],
    ...['Strip', 'StripAccents'],
  ],
  pre_tokenizer: [
    ...['BertPreTokenizer', 'ByteLevel', 'Digits', 'FixedLength', 'Metaspace', 'Punctuation', 'Split', 'Whitespace'],
    'WhitespaceSplit',
  ],
  post_processor: ['BertProcessing', 'ByteLevel', 'RobertaProcessing', 'TemplateProcessing'],
  decoder: [
    ...['BPEDecoder', 'ByteFallback', 'ByteLevel', 'CTC', 'Fuse', 'Metaspace', 'Replace', 'Strip', 'WordPiece'],
  ],
  model: ['BPE', 'Unigram', 'WordLevel', 'WordPiece'],
};

/** The field that holds the steps of each part's `Sequence`. */
const STEPS: Readonly<Record<string, string>> = {
  normalizer: 'normalizers',
  pre_tokenizer: 'pretokenizers',
  post_processor: 'processors',
  decoder: 'decoders',
};

/** Models whose vocabulary is scanned, not parsed. */
const SCANNABLE: readonly unknown[] = ['WordPiece', 'BPE'];

/** Largest token id taken: holes below it cost memory. */
const LAST_ID = 0xffffff;

const isObject = (value: unknown): value is Kind =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** The part of `tokenizer.json` at a path, as it stands in error messages. */
const at = (path: string): string => `tokenizer.${path}`;

function unsupported(path: string, expected: string, got: unknown): never {
  throw new MgtError('UnsupportedMode', at(path), expected, got);
}

/** An integer in 0..LAST_ID, else BadFile. */
function checkId(path: string, id: unknown): number {
  if (typeof id === 'number' && Number.isInteger(id) && id >= 0 && id <= LAST_ID) return id;
  throw new MgtError('BadFile', at(path), `a token id in 0..${LAST_ID}`, id);
}

/** JSON text of an object, else BadFile. */
export function parseObject(field: string, json: string): Kind {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch (cause) {
    throw new MgtError('BadFile', field, 'JSON', cause, { cause });
  }
  if (!isObject(value)) throw new MgtError('BadFile', field, 'a JSON object', Array.isArray(value) ? 'a list' : value);
  return value;
}

/** One part and, inside a `Sequence`, all its steps. */
function checkPart(part: string, path: string, value: unknown): Kind | null {
  if (value === undefined || value === null) return null;
  if (!isObject(value)) throw new MgtError('BadFile', at(path), 'an object or null', value);
  const steps = STEPS[part];
  if (steps !== undefined && value['type'] === 'Sequence') {
    const inner = value[steps];
    if (!Array.isArray(inner)) throw new MgtError('BadFile', at(`${path}.${steps}`), 'a list', inner);
    inner.forEach((step, i) => checkPart(part, `${path}.${steps}[${i}]`, step));
    return value;
  }
  const known = KNOWN[part] ?? [];
  if (typeof value['type'] !== 'string' || !known.includes(value['type'])) {
    unsupported(`${path}.type`, `one of ${known.join(', ')}`, value['type']);
  }
  checkOptions(path, value);
  return value;
}

/** Options that the library reads as if they were not there. */
function checkOptions(path: string, kind: Kind): void {
  const { type, behavior, invert } = kind;
  if (type === 'Punctuation' || type === 'Split') {
    const taken = type === 'Split' ? ['Isolated', 'Removed'] : ['Isolated', 'Removed', 'Contiguous'];
    if (!taken.includes(String(behavior ?? 'Isolated'))) {
      unsupported(`${path}.behavior`, `one of ${taken.join(', ')}`, behavior);
    }
    if (invert === true && behavior !== 'Removed') unsupported(`${path}.invert`, 'false', invert);
  }
}

/** The type of a model, inferred as the original does where an old file does not name it. */
function modelType(model: Kind): unknown {
  if (model['type'] !== undefined) return model['type'];
  if (Array.isArray(model['vocab'])) return 'Unigram';
  if (model['merges'] !== undefined) return 'BPE';
  return model['continuing_subword_prefix'] === undefined ? 'WordLevel' : 'WordPiece';
}

/** A vocabulary that was not scanned. */
function vocabularyOf(vocab: Kind): Vocabulary {
  const ids = new Map<string, number>();
  const tokens: (string | undefined)[] = [];
  for (const token in vocab) {
    const id = checkId(`model.vocab.${token}`, vocab[token]);
    ids.set(token, id);
    tokens[id] = token;
  }
  return { ids, tokens };
}

function checkModel(value: unknown, scanned: Vocabulary | undefined): { model: Kind; vocabulary?: Vocabulary } {
  if (!isObject(value)) throw new MgtError('BadFile', at('model'), 'an object', value);
  const model: Kind = { ...value, type: modelType(value) };
  checkPart('model', 'model', model);
  const { type, vocab, merges } = model;
  if (type === 'Unigram') {
    if (!Array.isArray(vocab) || vocab.length === 0) {
      throw new MgtError('BadFile', at('model.vocab'), 'a list of [token, score]', vocab);
    }
    vocab.forEach((entry: unknown, i) => {
      const good = Array.isArray(entry) && typeof entry[0] === 'string' && Number.isFinite(entry[1]);
      if (!good) throw new MgtError('BadFile', at(`model.vocab[${i}]`), '[token, score]', entry);
    });
    if (!vocab[checkId('model.unk_id', model['unk_id'])]) {
      throw new MgtError('BadFile', at('model.unk_id'), `an id below ${vocab.length}`, model['unk_id']);
    }
    if (model['byte_fallback'] === true) unsupported('model.byte_fallback', 'false in a Unigram model', true);
    return { model };
  }
  if (!scanned && !isObject(vocab)) throw new MgtError('BadFile', at('model.vocab'), 'an object of token to id', vocab);
  const vocabulary = scanned ?? vocabularyOf(vocab as Kind);
  if (type === 'BPE') {
    if (!Array.isArray(merges)) throw new MgtError('BadFile', at('model.merges'), 'a list', merges);
    const prefix = model['continuing_subword_prefix'];
    if (prefix !== undefined && prefix !== null && prefix !== '') {
      unsupported('model.continuing_subword_prefix', 'none in a BPE model', prefix);
    }
    return { model, vocabulary };
  }
  const unk = model['unk_token'];
  if (typeof unk !== 'string' || !vocabulary.ids.has(unk)) {
    throw new MgtError('BadFile', at('model.unk_token'), 'a token of the vocabulary', unk);
  }
  if (type === 'WordPiece' && typeof model['continuing_subword_prefix'] !== 'string') {
    throw new MgtError('BadFile', at('model.continuing_subword_prefix'), 'a string', undefined);
  }
  return { model, vocabulary };
}

function checkAdded(value: unknown): AddedToken[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) throw new MgtError('BadFile', at('added_tokens'), 'a list', value);
  return value.map((token: unknown, i): AddedToken => {
    const path = `added_tokens[${i}]`;
    if (!isObject(token) || typeof token['content'] !== 'string' || token['content'] === '') {
      throw new MgtError('BadFile', at(path), 'an object with a content', token);
    }
    if (token['single_word'] === true) unsupported(`${path}.single_word`, 'false', true);
    return { ...token, content: token['content'], id: checkId(`${path}.id`, token['id']) };
  });
}

/**
 * Checks tokenizer.json; absent parts become null, as in the original. Truncation and padding are not read.
 * @returns the file, without its vocabulary and merges where these are given apart (all but Unigram)
 */
export function parseTokenizer(json: string): { file: TokenizerJson; vocabulary?: Vocabulary; merges?: unknown } {
  const scan = /"(?:WordPiece|BPE)"/.test(json) ? scanVocabulary(json, LAST_ID) : undefined;
  const rest = scan && parseObject('tokenizer.json', scan.rest);
  const model = rest?.['model'];
  // Another "vocab" than the model's may have been scanned, or the vocabulary of a model that needs it whole.
  const scanned = isObject(model) && model['vocab'] === SCANNED && SCANNABLE.includes(model['type']);
  const parsed = rest && scanned ? rest : parseObject('tokenizer.json', json);
  const part = (name: string): Kind | null => checkPart(name, name, parsed[name]);
  const checked = checkModel(parsed['model'], scanned ? scan?.vocabulary : undefined);
  const file: TokenizerJson = {
    model: checked.vocabulary ? { ...checked.model, vocab: {}, merges: [] } : checked.model,
    normalizer: part('normalizer'),
    pre_tokenizer: part('pre_tokenizer'),
    post_processor: part('post_processor'),
    decoder: part('decoder'),
    added_tokens: checkAdded(parsed['added_tokens']),
  };
  return checked.vocabulary ? { file, vocabulary: checked.vocabulary, merges: checked.model['merges'] } : { file };
}
