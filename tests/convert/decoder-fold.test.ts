import { describe, expect, test } from '@jest/globals';
import { foldSteps } from '../../src/convert/decoder-fold.js';
import { floatLogits, floatSteps } from '../../src/convert/decoder-float.js';
import type { DecoderModel } from '../../src/convert/decoder.js';
import { INT8_LIMIT, quantize, scaleOf } from '../../src/round.js';
import { gpt2Files, llamaFiles, openFiles } from './make-decoder.js';

const HIDDEN = 128;
const FFN = 192;
const SEQUENCES = [0, 1, 2].map((s) => Array.from({ length: 11 + s }, (_, i) => (i * 37 + 91 * s) % 301));
const TOKENS = Array.from({ length: 20 }, (_, i) => (i * 53 + 7) % 301);

function finished<T>(steps: Generator<number, T>): { value: T; yielded: number[] } {
  const yielded: number[] = [];
  for (;;) {
    const { done, value } = steps.next();
    if (done) return { value, yielded };
    yielded.push(value);
  }
}

/** Largest difference of the logits, over the largest logit. */
function difference(a: DecoderModel, b: DecoderModel): number {
  const [x, y] = [floatLogits(a, TOKENS), floatLogits(b, TOKENS)];
  const largest = (values: Float32Array): number => values.reduce((m, v) => Math.max(m, Math.abs(v)), 0);
  return largest(x.map((v, i) => v - y[i]!)) / largest(y);
}

const fold = (model: DecoderModel): DecoderModel => finished(foldSteps(model, SEQUENCES)).value;

/** A model of which some channels are far larger than others: in the norms' weights, and in the rows of `up`. */
function uneven(model: DecoderModel): DecoderModel {
  const scaled = (values: Float32Array | undefined, factor: (i: number) => number): Float32Array | undefined =>
    values?.map((v, i) => v * factor(i));
  return {
    facts: model.facts,
    rows: (name, from, to) =>
      scaled(model.rows(name, from, to), (i) =>
        name.endsWith('ffn.up') && (from + Math.floor(i / model.facts.hidden)) % 32 === 5 ? 40 : 1,
      )!,
    vector: (name) => scaled(model.vector(name), (i) => (name.endsWith('norm.weight') && i % 32 === 3 ? 40 : 1)),
  };
}

const quantised = (x: Float32Array, group: number): Float32Array => {
  const out = new Float32Array(x.length);
  for (let at = 0; at < x.length; at += group) {
    const part = x.subarray(at, at + group);
    const scale = scaleOf(
      part.reduce((a, b) => Math.max(a, Math.abs(b)), 0),
      INT8_LIMIT,
    );
    part.forEach((v, i) => (out[at + i] = quantize(v, scale, INT8_LIMIT) * scale));
  }
  return out;
};

/** Error of a linear layer whose inputs are int8 in groups of 64 and whose rows are int8: relative to its float outputs. */
function layerError(model: DecoderModel, site: string, linear: string, outputs: number): number {
  let input = new Float32Array();
  let width = 0;
  finished(
    floatSteps(model, [TOKENS], {
      observe: (name, x, w) => {
        if (name === site) [input, width] = [x.slice(), w];
      },
    }),
  );
  const weights = model.rows(linear, 0, outputs);
  const [x, w] = [quantised(input, 64), quantised(weights, width)];
  let lost = 0;
  let total = 0;
  for (let r = 0; r < TOKENS.length; r++) {
    for (let n = 0; n < outputs; n++) {
      let exact = 0;
      let got = 0;
      for (let k = 0; k < width; k++) {
        exact += input[r * width + k]! * weights[n * width + k]!;
        got += x[r * width + k]! * w[n * width + k]!;
      }
      lost += (got - exact) ** 2;
      total += exact ** 2;
    }
  }
  return Math.sqrt(lost / total);
}

describe.each([
  ['llama with biases', llamaFiles({ bias: 'all' })],
  ['gpt2', gpt2Files()],
])('%s', (_name, files) => {
  test('the folded model computes what the model does, from other weights and without grids', async () => {
    const model = uneven((await openFiles(files)).model);
    const { value: folded, yielded } = finished(foldSteps(model, SEQUENCES));
    expect(yielded).toEqual([1, 2]);
    expect(folded.facts).toBe(model.facts);
    expect(difference(folded, model)).toBeLessThan(2e-5);
    const norm = 'layers.1.ffn.norm.weight';
    expect(folded.vector(norm)).not.toEqual(model.vector(norm));
    expect(folded.rows('layers.1.ffn.up', 3, 9)).not.toEqual(model.rows('layers.1.ffn.up', 3, 9));
    expect(folded.rows('layers.1.ffn.up', 5, 6)).toEqual(folded.rows('layers.1.ffn.up', 3, 9).slice(240, 360));
    expect(folded.rows('embeddings.token', 3, 9)).toEqual(model.rows('embeddings.token', 3, 9));
    expect(folded.grid).toBeUndefined();
  });
});

test('uneven channels cost a folded model far less', async () => {
  const { model } = await openFiles(llamaFiles({ hidden: HIDDEN, ffn: FFN, headDim: 32, heads: 4, kvHeads: 2 }));
  const before = uneven(model);
  const after = fold(before);
  expect(difference(after, before)).toBeLessThan(2e-5);
  for (const [site, linear, outputs] of [
    ['layers.1.attention.norm', 'layers.1.attention.query', 128],
    ['layers.0.ffn.norm', 'layers.0.ffn.gate', FFN],
    ['layers.1.ffn.down', 'layers.1.ffn.down', HIDDEN],
  ] as const) {
    const [was, is] = [before, after].map((m) => layerError(m, site, linear, outputs));
    expect([linear, is! < 0.8 * was!]).toEqual([linear, true]);
  }
});

test('what is wrong with the calibration is said', async () => {
  const { model } = await openFiles(llamaFiles());
  expect(() => finished(foldSteps(model, [[301]]))).toThrow('tokens[0][0]');
  expect(() => finished(foldSteps(model, [[]]))).toThrow('tokens[0].length');
});
