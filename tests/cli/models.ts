import { writeFileSync } from 'node:fs';
import { initModel, randomModel, randomWeights } from '../../src/convert/init.js';
import type { ModelMeta } from '../../src/format/file.js';
import { packPayload } from '../../src/format/pack.js';
import { writeModel } from '../../src/format/write.js';
import { oddEncoder } from '../support/models.js';

/** Small model files for the command line to work on. */

const WORDS = [
  '[PAD]',
  '[UNK]',
  '[CLS]',
  '[SEP]',
  'a',
  'b',
  'sea',
  'ship',
  '##s',
  'harbour',
  'the',
  '.',
  ',',
  '-',
  '5',
];
export const CLS = 2;
export const SEP = 3;

/** A WordPiece tokenizer of a few words, as BERT's. */
const TOKENIZER = {
  version: '1.0',
  truncation: null,
  padding: null,
  added_tokens: ['[PAD]', '[UNK]', '[CLS]', '[SEP]'].map((content, id) => ({
    id,
    content,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: true,
  })),
  normalizer: {
    type: 'BertNormalizer',
    clean_text: true,
    handle_chinese_chars: true,
    strip_accents: null,
    lowercase: true,
  },
  pre_tokenizer: { type: 'BertPreTokenizer' },
  post_processor: {
    type: 'TemplateProcessing',
    single: [
      { SpecialToken: { id: '[CLS]', type_id: 0 } },
      { Sequence: { id: 'A', type_id: 0 } },
      { SpecialToken: { id: '[SEP]', type_id: 0 } },
    ],
    pair: [],
    special_tokens: {
      '[CLS]': { id: '[CLS]', ids: [CLS], tokens: ['[CLS]'] },
      '[SEP]': { id: '[SEP]', ids: [SEP], tokens: ['[SEP]'] },
    },
  },
  decoder: { type: 'WordPiece', prefix: '##', cleanup: true },
  model: {
    type: 'WordPiece',
    unk_token: '[UNK]',
    continuing_subword_prefix: '##',
    max_input_chars_per_word: 100,
    vocab: Object.fromEntries(WORDS.map((word, id) => [word, id])),
  },
};

/** One line of `mgt infer --json`. */
export interface Inferred {
  kind: string;
  shape: number[];
  sha256: string;
  values: number[];
  witness: Record<string, unknown>;
  stats: {
    layersExecuted: number;
    macs: Record<string, number>;
    kernelCalls: Record<string, number>;
    build: string;
    cached: number;
  };
}

export async function writeMicro(path: string, seed = 1): Promise<Uint8Array> {
  const bytes = await initModel('micro', seed);
  writeFileSync(path, bytes);
  return bytes;
}

/** A random encoder of 37 tokens at most, hidden 96, vocabulary 257; without a tokenizer unless told. */
export async function writeEncoder(path: string, tokenizer: boolean): Promise<void> {
  if (!tokenizer) return writeFileSync(path, await randomModel(oddEncoder, 7));
  const { payload, errors } = packPayload(oddEncoder, randomWeights(7));
  const meta: ModelMeta = {
    source: { name: 'random encoder', license: 'CC0-1.0' },
    report: { scheme: 'int8', worstTensor: errors[0]! },
    tokenizer: { json: JSON.stringify(TOKENIZER), config: '{}' },
  };
  writeFileSync(path, await writeModel(oddEncoder, payload, meta));
}

/** A random encoder too large for the reference to finish with soon: 12 layers, hidden 384. */
export async function writeMiniLike(path: string): Promise<void> {
  const size = { vocab: 64, hidden: 384, layers: 12, heads: 12, kvHeads: 12, headDim: 32, ffn: 1536, context: 64 };
  writeFileSync(path, await randomModel({ ...oddEncoder, ...size }, 7));
}
