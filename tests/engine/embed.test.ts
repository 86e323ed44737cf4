import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { beforeAll, expect, test } from '@jest/globals';
import { randomWeights } from '../../src/convert/init.js';
import { MgtError } from '../../src/errors.js';
import { packPayload } from '../../src/format/pack.js';
import { writeModel } from '../../src/format/write.js';
import { MincutGatedTransformer } from '../../src/index.node.js';
import { oddEncoder } from '../support/models.js';

/** Random weights behind MiniLM's tokenizer: nonsense vectors, real texts and lengths. */
const config = { ...oddEncoder, vocab: 30522, hidden: 24, heads: 3, kvHeads: 3, headDim: 8, ffn: 40 };
const texts = [
  'one',
  '',
  'a sentence of some length, with punctuation!',
  'ДВА слова',
  'x'.repeat(400),
  'the same words the same words the same words the same words the same words the same words the same words',
  'last',
];
let model: MincutGatedTransformer;

async function open(): Promise<MincutGatedTransformer> {
  const fixture = readFileSync(new URL('../fixtures/minilm/tokenizer.json.gz', import.meta.url));
  const { payload } = packPayload(config, randomWeights(9));
  const file = await writeModel(config, payload, {
    source: { name: 'random', license: 'CC0-1.0' },
    report: { scheme: 'int8', worstTensor: { name: 'none', error: 0 } },
    tokenizer: { json: gunzipSync(fixture).toString('utf8'), config: '{}' },
  });
  return MincutGatedTransformer.load(file);
}

beforeAll(async () => {
  model = await open();
});

const bits = (v: Float32Array): string => Buffer.from(v.buffer, v.byteOffset, v.byteLength).toString('hex');

test("a batch's vectors are the single ones, bit for bit, and those of infer on the same ids", async () => {
  const batch = (await model.embed(texts)).map(bits);
  for (const [i, text] of texts.entries()) {
    const [alone] = await model.embed([text]);
    expect(batch[i]).toBe(bits(alone!));
    expect(batch[i]).toBe(bits(model.infer({ tokens: model.tokenize(text) }).embedding!));
  }
  expect(new Set(batch).size).toBe(texts.length);
  expect((await model.embed([...texts].reverse())).map(bits)).toEqual([...batch].reverse());
});

test('pooling of a call: cls is the first row, mean the model’s own', async () => {
  const [mean, cls] = [await model.embed(texts, { pooling: 'mean' }), await model.embed(texts, { pooling: 'cls' })];
  expect(mean.map(bits)).toEqual((await model.embed(texts)).map(bits));
  expect(cls.map(bits)).not.toEqual(mean.map(bits));
  for (const v of [...mean, ...cls]) expect(Math.hypot(...v)).toBeCloseTo(1, 5);
});

test('no texts give no vectors; what is no text is refused by index', async () => {
  expect(await model.embed([])).toEqual([]);
  await expect(model.embed(['a', 5 as never])).rejects.toMatchObject({ code: 'BadInput', field: 'texts[1]' });
  await expect(model.embed('a' as never)).rejects.toMatchObject({ code: 'BadInput', field: 'texts' });
  await expect(model.embed(['a'], { pool: 'cls' } as never)).rejects.toMatchObject({ field: 'options.pool' });
});

test('progress counts texts; an abort between passes ends the call, and the model goes on with the same bits', async () => {
  const before = (await model.embed(texts)).map(bits);
  const seen: number[] = [];
  const controller = new AbortController();
  const call = model.embed(texts, {
    signal: controller.signal,
    onProgress: ({ loaded, total }) => {
      seen.push(loaded);
      expect(total).toBe(texts.length);
      controller.abort();
    },
  });
  await expect(call).rejects.toMatchObject({ code: 'Aborted' });
  expect(seen.length).toBe(1);
  expect((await model.embed(texts)).map(bits)).toEqual(before);
});

test('calls that interleave do not disturb each other', async () => {
  const alone = [(await model.embed(texts)).map(bits), (await model.embed([...texts].reverse())).map(bits)];
  const together = await Promise.all([model.embed(texts), model.embed([...texts].reverse())]);
  expect(together.map((vectors) => vectors.map(bits))).toEqual(alone);
});

test('a model disposed while it embeds says so', async () => {
  const other = await open();
  const call = other.embed(texts);
  other.dispose();
  await expect(call).rejects.toThrow(MgtError);
});
