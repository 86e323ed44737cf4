import type { DecoderModel } from './decoder.js';
import { openDecoder } from './decoder-directory.js';
import { ggufDecoder, ggufTokenizer, openGguf, type TokenizerFiles } from './gguf/index.js';
import { chooseInputs, type Inputs } from './inputs.js';
import { licenceOf, modelName, oneLine } from './provenance.js';
import type { FileSource, RandomAccess, ReadOptions } from './source.js';
import { openTokenizer, readTokenizer, type SourceTokenizer } from './source-tokenizer.js';

/** Everything the converter takes of a decoder. Its files stay open until `model.close`. */
export interface DecoderSource {
  readonly model: DecoderModel;
  readonly name: string;
  readonly license: string;
  readonly tokenizer: TokenizerFiles | undefined;
  /** What its accuracy is measured on. */
  readonly inputs: Inputs;
}

/** A Hugging Face directory. @throws MgtError as `openDecoder`, `readTokenizer` */
export async function readDecoder(source: FileSource, options: ReadOptions): Promise<DecoderSource> {
  const read = (path: string): Promise<Uint8Array | undefined> => source.read(path, { signal: options.signal });
  const [readme, licence] = await Promise.all([read('README.md'), read('LICENSE')]);
  const { model, config, tokenizer } = await openDecoder(source, options, (facts) => readTokenizer(read, '', facts));
  return {
    ...{ model, name: modelName(source.name, config.name), license: licenceOf(readme, licence) },
    ...textOf(tokenizer, model),
  };
}

/** A GGUF file. @throws MgtError as `openGguf`, `ggufDecoder`, `ggufTokenizer` */
export async function readGguf(access: RandomAccess, file: string): Promise<DecoderSource> {
  const gguf = await openGguf(access, file);
  try {
    const model = ggufDecoder(gguf);
    const files = ggufTokenizer(gguf);
    const text = (key: string): string => gguf.metadata.text(`general.${key}`, '');
    const name = modelName(text('name'), file.replace(/\.gguf$/i, ''));
    const license = oneLine(text('license')) || 'unknown';
    gguf.metadata.forget();
    return { model, name, license, ...textOf(files && openTokenizer(files, `${file}: `, model.facts), model) };
  } catch (error) {
    gguf.close();
    throw error;
  }
}

/** The texts as ids, and the tokenizer as text: opened it takes tens of megabytes. */
const textOf = (
  tokenizer: SourceTokenizer | undefined,
  { facts }: DecoderModel,
): Pick<DecoderSource, 'tokenizer' | 'inputs'> => ({
  tokenizer: tokenizer && { json: tokenizer.json, config: tokenizer.config },
  inputs: chooseInputs(tokenizer, facts),
});
