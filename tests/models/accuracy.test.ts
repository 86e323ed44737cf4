import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import * as converterTexts from '../../src/convert/texts.js';
import { MincutGatedTransformer } from '../../src/index.node.js';
import { cosine, mean, pairwise, spearman } from '../support/metrics.js';

/**
 * The real model, all-MiniLM-L6-v2 quantised by the converter, against embeddings of the original in float32
 * (scripts/goldens/embeddings.py). Run by scripts/real-model.mjs, which says so where the model cannot be fetched.
 */

const fixture = (name: string): Buffer => readFileSync(new URL(`../fixtures/minilm/${name}`, import.meta.url));
const { texts, limit, dimensions } = JSON.parse(fixture('embeddings.json').toString('utf8')) as {
  texts: { text: string; truncated: boolean; ids: number[] }[];
  limit: number;
  dimensions: number;
};
const bytes = Uint8Array.from(fixture('embeddings.f32')).buffer;
const originals = texts.map((_, i) => new Float32Array(bytes, i * dimensions * 4, dimensions));

/** Path of the converted model, kept in the cache; made by dist/, as a user's would be. */
function modelPath(): string {
  const script = fileURLToPath(new URL('../../scripts/fetch-minilm.mjs', import.meta.url));
  const stdio: ['ignore', 'pipe', 'inherit'] = ['ignore', 'pipe', 'inherit'];
  return execFileSync(process.execPath, [script, '--converted'], { stdio, encoding: 'utf8' }).trim();
}

test('the goldens are texts that the converter has not seen, many and mixed', () => {
  const seen = new Set(Object.values(converterTexts).flat());
  expect(seen.size).toBeGreaterThan(32);
  expect(texts.filter(({ text }) => seen.has(text))).toEqual([]);
  expect(new Set(texts.map(({ text }) => text)).size).toBeGreaterThanOrEqual(110);
  expect(texts.filter(({ truncated }) => truncated).length).toBeGreaterThanOrEqual(2);
  for (const vector of originals) expect(Math.hypot(...vector)).toBeCloseTo(1, 5);
});

describe('all-MiniLM-L6-v2', () => {
  let model: MincutGatedTransformer;
  let vectors: Float32Array[];

  beforeAll(async () => {
    model = await MincutGatedTransformer.load(modelPath());
    vectors = await model.embed(texts.map(({ text }) => text));
  }, 180_000);
  afterAll(() => model?.dispose());

  test("token ids are the original's, cut at 256 with the closing token kept", () => {
    expect(model.info.context).toBe(limit);
    for (const { text, truncated, ids } of texts) {
      expect(model.tokenize(text)).toEqual(ids);
      expect(model.encode(text)).toEqual({ tokens: ids, truncated });
    }
  });

  test('embeddings are those of the original in float32', () => {
    const cosines = vectors.map((vector, i) => cosine(vector, originals[i]!));
    const figures = {
      texts: cosines.length,
      cosineMean: mean(cosines),
      cosineMin: Math.min(...cosines),
      spearman: spearman(pairwise(vectors), pairwise(originals)),
    };
    const worst = texts[cosines.indexOf(figures.cosineMin)]!.text;
    process.stderr.write(
      `MiniLM against float32, ${figures.texts} texts: cosine mean ${figures.cosineMean.toFixed(5)}, ` +
        `min ${figures.cosineMin.toFixed(5)} (${JSON.stringify(worst.slice(0, 40))}), ` +
        `Spearman of similarities ${figures.spearman.toFixed(5)}\n`,
    );
    expect(figures.cosineMean).toBeGreaterThanOrEqual(0.9985);
    expect(figures.cosineMin).toBeGreaterThanOrEqual(0.992);
    expect(figures.spearman).toBeGreaterThanOrEqual(0.998);
  });

  test('vectors are of unit length', () => {
    for (const vector of vectors) expect(Math.hypot(...vector)).toBeCloseTo(1, 5);
  });

  test("a batch's vectors are the single ones, bit for bit, in any order", async () => {
    const order = texts.map((_, i) => (i * 37) % texts.length).filter((_, k) => k % 3 === 0);
    for (const i of order) {
      const [single] = await model.embed([texts[i]!.text]);
      expect(Buffer.from(single!.buffer).equals(Buffer.from(vectors[i]!.slice().buffer))).toBe(true);
    }
    const reversed = await model.embed(order.map((i) => texts[i]!.text).reverse());
    reversed.reverse().forEach((vector, k) => expect(vector).toEqual(vectors[order[k]!]));
  }, 60_000);

  test('text of the ids reads like the text', () => {
    expect(model.decode(model.tokenize('Water boils at one hundred degrees, at sea level!'))).toBe(
      'water boils at one hundred degrees, at sea level!',
    );
  });
});
