import { writeFileSync } from 'node:fs';
import type { ModelConfig } from '../../src/config.js';
import { randomWeights } from '../../src/convert/init.js';
import { packPayload } from '../../src/format/pack.js';
import { writeModel } from '../../src/format/write.js';
import { oddEncoder } from '../support/models.js';
import { writeEncoder } from './models.js';

/** A Llama-like decoder of odd shape: hidden 96, 6 heads of 16, FFN 176, vocabulary 257. */
export const decoder: ModelConfig = {
  ...oddEncoder,
  ...{ kind: 'decoder', kvHeads: 2, context: 64, norm: 'rmsnorm', normPlace: 'pre', normEps: 1e-5 },
  ...{ positions: 'rope', ropeBase: 10000, activation: 'silu', gatedFfn: true, causal: true, tiedHead: true },
  ...{ pooling: 'none', normalize: false, smoothed: false },
};

/** GPT-2's letters for bytes: printable ones for themselves, the others U+0100 onwards. */
const letters = ((): string[] => {
  let next = 256;
  const printable = (byte: number): boolean => (byte > 32 && byte < 127) || (byte > 160 && byte !== 173);
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(printable(byte) ? byte : next++));
})();

export const START = 0;
export const END = 1;
const MERGES = ['t h', 'th e', 'Ġ s', 'Ġs e', 'Ġse a', 'l l', 'll o', 'ð Ł', 'Ġ the', 'u s', 'us er'];
const BYTES = [
  0x0a,
  ...Array.from({ length: 95 }, (_, i) => 32 + i),
  ...Array.from({ length: 128 }, (_, i) => 128 + i),
];
const TOKENS = [
  ...['<|im_start|>', '<|im_end|>'],
  ...BYTES.map((byte) => letters[byte]!),
  ...MERGES.map((pair) => pair.replace(' ', '')),
];

/** Bytes a token stands for, by GPT-2's own definition. */
export const bytesOf = (id: number): Uint8Array =>
  id < 2 ? new Uint8Array() : Uint8Array.from(TOKENS[id] ?? '', (letter) => letters.indexOf(letter));

const tokenizer = (opening: boolean, list: boolean): object => ({
  version: '1.0',
  added_tokens: TOKENS.slice(0, 2).map((content, id) => ({ id, content, special: true, normalized: false })),
  normalizer: null,
  pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
  post_processor: opening
    ? {
        type: 'TemplateProcessing',
        single: [{ SpecialToken: { id: '<|im_start|>', type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }],
        pair: [],
        special_tokens: { '<|im_start|>': { id: '<|im_start|>', ids: [START], tokens: ['<|im_start|>'] } },
      }
    : null,
  decoder: list
    ? { type: 'Metaspace', replacement: 'Ġ', prepend_scheme: 'always' }
    : { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
  model: {
    type: 'BPE',
    dropout: null,
    unk_token: null,
    continuing_subword_prefix: null,
    end_of_word_suffix: null,
    fuse_unk: false,
    byte_fallback: false,
    vocab: Object.fromEntries(TOKENS.map((token, id) => [token, id])),
    merges: MERGES,
  },
});

export const TEMPLATE =
  "{% for m in messages %}{% if m.role not in ['system', 'user', 'assistant'] %}{{ raise_exception('no such role') }}{% endif %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}{{ '<|im_start|>assistant\n' }}";

export interface DecoderFile {
  readonly config?: Partial<ModelConfig>;
  /** Default: one without tokens around a text. `opening`: with one before it; `words`: its decoder makes words, as SentencePiece's. */
  readonly tokenizer?: 'opening' | 'words' | 'none';
  /** Default `TEMPLATE`; null: none. */
  readonly template?: string | null | readonly object[];
  readonly endTokens?: readonly number[];
  readonly seed?: number;
}

/** A random decoder with a byte-level tokenizer. */
export async function decoderBytes(file: DecoderFile = {}): Promise<Uint8Array> {
  const config = { ...decoder, ...file.config };
  const { payload, errors } = packPayload(config, randomWeights(file.seed ?? 7));
  const { template = TEMPLATE } = file;
  return writeModel(config, payload, {
    source: { name: 'random decoder', license: 'CC0-1.0' },
    report: { scheme: 'int8', worstTensor: errors[0]! },
    ...(file.tokenizer !== 'none' && {
      tokenizer: {
        json: JSON.stringify(tokenizer(file.tokenizer === 'opening', file.tokenizer === 'words')),
        config: JSON.stringify({ eos_token: '<|im_end|>', ...(template !== null && { chat_template: template }) }),
      },
    }),
    endTokens: file.endTokens ?? [END],
  });
}

export async function writeDecoder(path: string, file: DecoderFile = {}): Promise<Uint8Array> {
  const bytes = await decoderBytes(file);
  writeFileSync(path, bytes);
  return bytes;
}

/** What the text commands are tried on, in a scratch folder: a decoder, one that begins with a BOS, one without tokenizer, an encoder. */
export function textModels(dir: { path(name: string): string }): {
  readonly file: string;
  readonly opening: string;
  readonly bare: string;
  readonly encoder: string;
  write(): Promise<void>;
} {
  const at = (name: string): string => dir.path(`${name}.mgt`);
  const [file, opening, bare, encoder] = [at('d'), at('o'), at('n'), at('e')];
  return {
    ...{ file, opening, bare, encoder },
    async write() {
      await writeDecoder(file);
      await writeDecoder(opening, { tokenizer: 'opening' });
      await writeDecoder(bare, { tokenizer: 'none' });
      await writeEncoder(encoder, true);
    },
  };
}
