import { MgtError } from '../errors.js';
import { TextTokenizer } from '../text/tokenizer.js';
import { objectOf, textOf } from './json.js';

/** A tokenizer as the model file takes it, and opened. */
export interface SourceTokenizer {
  readonly text: TextTokenizer;
  readonly json: string;
  readonly config: string;
}

interface Sizes {
  readonly vocab: number;
  readonly context: number;
}

/**
 * tokenizer.json and tokenizer_config.json of a Hugging Face directory, with its chat_template.jinja in the latter, where
 * transformers looks for it first. `undefined` where there is no tokenizer.json.
 * @param folder path below the source, '' or ending in '/'
 * @throws MgtError `BadFile`, `UnsupportedMode`
 */
export async function readTokenizer(
  read: (path: string) => Promise<Uint8Array | undefined>,
  folder: string,
  sizes: Sizes,
): Promise<SourceTokenizer | undefined> {
  const paths = ['tokenizer.json', 'tokenizer_config.json', 'chat_template.jinja'].map((name) => folder + name);
  const [json, settings, template] = await Promise.all(paths.map(read));
  if (!json) return undefined;
  let config = settings ? textOf(paths[1]!, settings) : '{}';
  if (template) {
    const given = settings ? objectOf(paths[1]!, settings) : {};
    config = JSON.stringify({ ...given, chat_template: textOf(paths[2]!, template) });
  }
  return openTokenizer({ json: textOf(paths[0]!, json), config }, folder, sizes);
}

/** @throws MgtError `BadFile`: it gives ids that the model has not, or its special tokens fill the context */
export function openTokenizer(
  { json, config }: { readonly json: string; readonly config: string },
  folder: string,
  { vocab, context }: Sizes,
): SourceTokenizer {
  const text = new TextTokenizer(json, config);
  if (text.largestId >= vocab) {
    throw new MgtError('BadFile', `${folder}tokenizer.json`, `ids below vocab_size ${vocab}`, text.largestId);
  }
  const specials = text.encode('', Number.MAX_SAFE_INTEGER).tokens.length;
  if (context <= specials) {
    const expected = `room beside ${specials} special tokens`;
    throw new MgtError('BadFile', `${folder}max_position_embeddings`, expected, context);
  }
  return { text, json, config };
}
