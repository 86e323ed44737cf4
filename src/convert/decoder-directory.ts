import { MgtError } from '../errors.js';
import type { DecoderModel } from './decoder.js';
import { readDecoderConfig, type DecoderConfig } from './decoder-config.js';
import { gpt2Model } from './gpt2.js';
import { objectOf, type JsonObject } from './json.js';
import { llamaModel } from './llama.js';
import { openShards } from './shards.js';
import type { FileSource, ReadOptions } from './source.js';

/** A decoder of a Hugging Face directory, opened: its files stay open until `model.close()`. */
export interface OpenDecoder<T> {
  readonly model: DecoderModel;
  readonly config: DecoderConfig;
  readonly tokenizer: T | undefined;
}

/**
 * Opens a Llama-like or GPT-2-like directory: config.json, generation_config.json where there is one, and the headers of
 * its safetensors files. Small files first, so that an unsupported model is refused before a download.
 * @param tokenizerFor reads the tokenizer, once the configuration is known
 * @throws MgtError `FileNotFound`, `UnsupportedArchitecture`, `BadFile`, `Truncated`, `Aborted`
 */
export async function openDecoder<T>(
  source: FileSource,
  options: ReadOptions = {},
  tokenizerFor?: (facts: DecoderConfig['facts']) => Promise<T | undefined>,
): Promise<OpenDecoder<T>> {
  const object = async (path: string): Promise<JsonObject | undefined> => {
    const bytes = await source.read(path, { signal: options.signal });
    return bytes && objectOf(path, bytes);
  };
  const raw = await object('config.json');
  if (!raw) throw new MgtError('FileNotFound', 'config.json', 'a Hugging Face directory', 'no such file');
  const config = readDecoderConfig(raw, await object('generation_config.json'));
  const tokenizer = await tokenizerFor?.(config.facts);
  const files = await openShards(source, '', options);
  try {
    return {
      config,
      tokenizer,
      model: config.family === 'gpt2' ? gpt2Model(config, files) : llamaModel(config, files),
    };
  } catch (error) {
    files.close();
    throw error;
  }
}
