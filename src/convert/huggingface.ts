import { MgtError } from '../errors.js';
import { TextTokenizer } from '../text/tokenizer.js';
import { readBert, type BertModel } from './bert.js';
import { readBertConfig, type BertConfig } from './bert-config.js';
import { objectOf, textOf, type JsonObject } from './json.js';
import { licenceOf, modelName } from './provenance.js';
import { openSafetensors } from './safetensors.js';
import { readSentenceConfig } from './sentence-transformers.js';
import type { FileSource, ReadOptions } from './source.js';

/** Everything the converter takes from a Hugging Face directory. */
export interface SourceModel {
  readonly bert: BertModel;
  readonly pooling: 'mean' | 'cls';
  readonly normalize: boolean;
  readonly name: string;
  readonly license: string;
  /** Absent where the directory has no tokenizer.json. */
  readonly tokenizer: { readonly text: TextTokenizer; readonly json: string; readonly config: string } | undefined;
}

const WEIGHTS = 'model.safetensors';

/**
 * Reads a sentence encoder: config.json, model.safetensors, and where they exist the tokenizer and the
 * sentence-transformers files. Small files first, so that an unsupported model is refused before a download.
 * @throws MgtError `FileNotFound`, `UnsupportedArchitecture`, `BadFile`, `Truncated`, `BadWeights`, `Aborted`
 */
export async function readHuggingFace(source: FileSource, options: ReadOptions = {}): Promise<SourceModel> {
  const { signal } = options;
  const read = (path: string): Promise<Uint8Array | undefined> => source.read(path, { signal });
  const { folder, pooling, normalize, width } = await readSentenceConfig(read);
  const raw = await readObject(read, `${folder}config.json`);
  if (!raw) throw new MgtError('FileNotFound', `${folder}config.json`, 'a Hugging Face directory', 'no such file');
  const about = readBertConfig(raw);
  if (width && width.value !== about.hidden) {
    throw new MgtError('BadFile', width.field, `hidden_size ${about.hidden}`, width.value);
  }
  const sentence = await readObject(read, `${folder}sentence_bert_config.json`);
  const context = contextOf(about, sentence, `${folder}sentence_bert_config.json`);
  const tokenizer = await readTokenizer(read, folder, about, context, sentence);
  const [readme, licence] = await Promise.all([read('README.md'), read('LICENSE')]);
  const weights = await source.read(folder + WEIGHTS, options);
  if (!weights) throw await noWeights(read, folder);
  return {
    bert: readBert(about, context, openSafetensors(weights, folder + WEIGHTS), folder + WEIGHTS),
    ...{ pooling, normalize, tokenizer },
    name: modelName(source.name, about.name),
    license: licenceOf(readme && lossyText(readme), licence && lossyText(licence)),
  };
}

async function readObject(
  read: (path: string) => Promise<Uint8Array | undefined>,
  path: string,
): Promise<JsonObject | undefined> {
  const bytes = await read(path);
  return bytes && objectOf(path, bytes);
}

/** Longest input: the sentence-transformers limit, never beyond the position table. */
function contextOf(config: BertConfig, sentence: JsonObject | undefined, file: string): number {
  const limit = sentence?.max_seq_length ?? config.positions;
  if (typeof limit !== 'number' || !Number.isInteger(limit) || limit < 1) {
    throw new MgtError('BadFile', `${file}.max_seq_length`, 'an integer ≥ 1', limit);
  }
  return Math.min(limit, config.positions);
}

async function readTokenizer(
  read: (path: string) => Promise<Uint8Array | undefined>,
  folder: string,
  config: BertConfig,
  context: number,
  sentence: JsonObject | undefined,
): Promise<SourceModel['tokenizer']> {
  const [json, settings] = await Promise.all([read(`${folder}tokenizer.json`), read(`${folder}tokenizer_config.json`)]);
  if (!json) return undefined;
  const text = {
    json: textOf(`${folder}tokenizer.json`, json),
    config: settings ? textOf(`${folder}tokenizer_config.json`, settings) : '{}',
  };
  const tokenizer = new TextTokenizer(text.json, text.config);
  if (tokenizer.largestId >= config.vocab) {
    const expected = `ids below vocab_size ${config.vocab}`;
    throw new MgtError('BadFile', `${folder}tokenizer.json`, expected, tokenizer.largestId);
  }
  const specials = tokenizer.encode('', Number.MAX_SAFE_INTEGER).tokens.length;
  if (context <= specials) {
    throw new MgtError(
      'BadFile',
      `${folder}max_position_embeddings`,
      `room beside ${specials} special tokens`,
      context,
    );
  }
  // sentence-transformers lowers the text itself then; a tokenizer that keeps case would give other ids.
  if (sentence?.do_lower_case === true && cased(tokenizer)) {
    const field = `${folder}sentence_bert_config.json.do_lower_case`;
    throw new MgtError('UnsupportedArchitecture', field, 'false with a cased tokenizer', true);
  }
  return { text: tokenizer, ...text };
}

/** Why there is no model.safetensors, as far as the files beside it tell. */
async function noWeights(read: (path: string) => Promise<Uint8Array | undefined>, folder: string): Promise<MgtError> {
  const sharded = await read(`${folder}${WEIGHTS}.index.json`);
  const expected = sharded ? 'one file with all weights' : 'the weights of the model';
  return new MgtError(
    'FileNotFound',
    folder + WEIGHTS,
    expected,
    sharded ? 'weights in several files' : 'no such file',
  );
}

/** A text that is only shown, never parsed for meaning: odd bytes become U+FFFD. */
const lossyText = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

const cased = (tokenizer: TextTokenizer): boolean =>
  tokenizer.encode('A', 64).tokens.join() !== tokenizer.encode('a', 64).tokens.join();
