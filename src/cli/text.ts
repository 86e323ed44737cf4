import { open } from 'node:fs/promises';
import { checkSignal } from '../check.js';
import { MgtError } from '../errors.js';
import { headerLength, parseHeader } from '../format/file.js';
import { FIXED_BYTES } from '../format/header.js';
import type { TextTokenizer } from '../text/tokenizer.js';

/**
 * The tokenizer of a model file; its weights are not read.
 * @throws MgtError `FileNotFound`, what is wrong with the header, `UnsupportedMode` where there is no tokenizer
 */
export async function openTokenizer(path: string, signal: AbortSignal): Promise<TextTokenizer> {
  const { meta } = await readHeader(path);
  checkSignal(signal, path);
  if (!meta.tokenizer)
    throw new MgtError('UnsupportedMode', 'tokenizer', 'a model file with a tokenizer', 'one without');
  const { TextTokenizer: Tokenizer } = await import('../text/tokenizer.js');
  return new Tokenizer(meta.tokenizer.json, meta.tokenizer.config);
}

async function readHeader(path: string): Promise<ReturnType<typeof parseHeader>> {
  let bytes = new Uint8Array(FIXED_BYTES);
  let size: number;
  try {
    const file = await open(path, 'r');
    try {
      ({ size } = await file.stat());
      bytes = bytes.subarray(0, (await file.read(bytes, 0, bytes.length, 0)).bytesRead);
      const length = headerLength(bytes);
      bytes = new Uint8Array(Math.min(length, size));
      bytes = bytes.subarray(0, (await file.read(bytes, 0, bytes.length, 0)).bytesRead);
    } finally {
      await file.close();
    }
  } catch (cause) {
    if (cause instanceof MgtError) throw cause;
    throw new MgtError('FileNotFound', path, 'a readable file', cause, { cause });
  }
  return parseHeader(bytes, size);
}

/** Everything of a text, with the special tokens of the tokenizer's post-processor unless told. */
export const encodeAll = (tokenizer: TextTokenizer, text: string, specials = true): number[] =>
  tokenizer.encode(text, Number.MAX_SAFE_INTEGER, specials).tokens;
