import { MgtError } from '../errors.js';
import type { TextTokenizer } from '../text/tokenizer.js';
import { readBert, type BertModel } from './bert.js';
import { readBertConfig, type BertConfig } from './bert-config.js';
import { objectOf, type JsonObject } from './json.js';
import { licenceOf, modelName } from './provenance.js';
import { openSafetensors } from './safetensors.js';
import { readSentenceConfig } from './sentence-transformers.js';
import type { FileSource, ReadOptions } from './source.js';
import { readTokenizer, type SourceTokenizer } from './source-tokenizer.js';

/** Everything the converter takes from a Hugging Face directory. */
export interface SourceModel {
  readonly bert: BertModel;
  readonly pooling: 'mean' | 'cls';
  readonly normalize: boolean;
  readonly name: string;
  readonly license: string;
  readonly tokenizer: SourceTokenizer | undefined;
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
  const tokenizer = await readTokenizer(read, folder, { ...about, context });
  // sentence-transformers lowers the text itself then; a tokenizer that keeps case would give other ids.
  if (sentence?.do_lower_case === true && tokenizer && cased(tokenizer.text)) {
    const field = `${folder}sentence_bert_config.json.do_lower_case`;
    throw new MgtError('UnsupportedArchitecture', field, 'false with a cased tokenizer', true);
  }
  const [readme, licence] = await Promise.all([read('README.md'), read('LICENSE')]);
  const weights = await source.read(folder + WEIGHTS, options);
  if (!weights) throw await noWeights(read, folder);
  return {
    bert: readBert(about, context, openSafetensors(weights, folder + WEIGHTS), folder + WEIGHTS),
    ...{ pooling, normalize, tokenizer },
    name: modelName(source.name, about.name),
    license: licenceOf(readme, licence),
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

const cased = (tokenizer: TextTokenizer): boolean =>
  tokenizer.encode('A', 64).tokens.join() !== tokenizer.encode('a', 64).tokens.join();
