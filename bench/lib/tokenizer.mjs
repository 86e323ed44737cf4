import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Tokenizer } from '@huggingface/tokenizers';
import { SOURCE } from './paths.mjs';

/** MiniLM's own tokenizer as a peer's user would set it up. Returns text → ids with specials. */
export async function openTokenizer() {
  const [json, config] = await Promise.all(
    ['tokenizer.json', 'tokenizer_config.json'].map(async (name) =>
      JSON.parse(await readFile(join(SOURCE, name), 'utf8')),
    ),
  );
  const tokenizer = new Tokenizer(json, config);
  return (text) => tokenizer.encode(text).ids;
}
