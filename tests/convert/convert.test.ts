import { describe, expect, test } from '@jest/globals';
import { convert, type ConvertProgress, type ConvertReport, type EncoderAccuracy } from '../../src/convert/index.js';
import { floatForward } from '../../src/convert/float.js';
import { readHuggingFace } from '../../src/convert/huggingface.js';
import { ACCURACY_TEXTS } from '../../src/convert/texts.js';
import { MincutGatedTransformer } from '../../src/core.node.js';
import { parseHeader } from '../../src/format/file.js';
import { Rng } from '../support/rng.js';
import { FIXTURES, cosine, expectedOf, filesOf, refusal } from './fixtures.js';
import {
  bertConfig,
  bertFiles,
  json,
  memorySource,
  randomBert,
  safetensors,
  tokenizerJson,
  type BertRecipe,
} from './make-bert.js';

const TINY: BertRecipe = { vocab: 13, hidden: 8, heads: 2, ffn: 12, layers: 1, positions: 12, std: 0.2 };

async function embeddings(bytes: Uint8Array, ids: readonly number[][]): Promise<Float32Array[]> {
  const model = await MincutGatedTransformer.load(bytes);
  try {
    return ids.map((tokens) => model.infer({ tokens }).embedding!);
  } finally {
    model.dispose();
  }
}

/** Sequences of 1 to `longest` ids, from a seed that no converter uses. */
function sequences(vocab: number, longest: number): number[][] {
  const rng = new Rng(`${vocab} ${longest}`);
  return Array.from({ length: 24 }, (_, i) => {
    return Array.from({ length: 1 + Math.floor((i / 23) * (longest - 1)) }, () => rng.int(0, vocab - 1));
  });
}

const cosinesOf = ({ accuracy }: ConvertReport): EncoderAccuracy => accuracy as EncoderAccuracy;

describe('cosine to float32 of at least 0.998', () => {
  test.each<[string, BertRecipe]>([
    ['hidden 96, 6 heads, FFN 176, vocabulary 257', {}],
    ['hidden 100, 4 heads, FFN 333', { hidden: 100, heads: 4, ffn: 333 }],
    ['with a bert. prefix, old LayerNorm names, F16', { prefix: true, oldNames: true, dtype: 'F16' }],
    ['BF16, ReLU', { dtype: 'BF16', act: 'relu', std: 0.1 }],
    ['gelu_new', { act: 'gelu_new', std: 0.1 }],
    ['12 layers', { layers: 12, hidden: 48, heads: 4, ffn: 96, std: 0.1 }],
    ['one head, one layer, odd sizes', { hidden: 7, heads: 1, layers: 1, ffn: 9, vocab: 3, positions: 5, std: 0.3 }],
    ['hidden 3, heads of one', { hidden: 3, heads: 3, layers: 3, ffn: 5, vocab: 5, positions: 16, std: 0.3 }],
    ['large weights', { std: 0.2 }],
    ['LayerNorm outliers', { std: 0.05, outliers: { every: 17, times: 30 } }],
    ['a few huge LayerNorm outliers', { outliers: { every: 31, times: 100 } }],
    ['one position', { positions: 1 }],
    ['cls pooling', { config: { pooling: 'cls' } }],
  ])('%s', async (_, recipe) => {
    const files = bertFiles(recipe);
    if (recipe.config?.pooling === 'cls') files.set('1_Pooling/config.json', json({ pooling_mode_cls_token: true }));
    const { bytes, report } = await convert(memorySource(files));
    const { bert, pooling } = await readHuggingFace(memorySource(files));
    const ids = sequences(bert.vocab, bert.context);
    const float = floatForward(bert, ids, pooling);
    const engine = await embeddings(bytes, ids);
    const cosines = engine.map((vector, i) => cosine(vector, float[i]!));
    expect(Math.min(...cosines)).toBeGreaterThanOrEqual(0.998);
    // What the converter states is what another set of ids shows.
    const mean = cosines.reduce((sum, c) => sum + c, 0) / cosines.length;
    expect(Math.abs(cosinesOf(report).cosineMean - mean)).toBeLessThan(1e-3);
    expect(report).toMatchObject({ measuredOn: 'random ids', tokenizer: false });
    expect(cosinesOf(report).texts).toBeGreaterThanOrEqual(32);
  });

  test.each(FIXTURES)('%s against PyTorch', async (name) => {
    const { ids, mean } = expectedOf(name);
    const { bytes } = await convert(memorySource(filesOf(name)));
    const engine = await embeddings(bytes, ids);
    engine.forEach((vector, i) => {
      expect(cosine(vector, mean[i]!)).toBeGreaterThanOrEqual(0.998);
      expect(cosine(vector, vector)).toBeCloseTo(1, 6);
      expect(vector.reduce((sum, v) => sum + v * v, 0)).toBeCloseTo(1, 5); // normalised by default
    });
  });
});

test('smoothing is what carries LayerNorm outliers', async () => {
  // 40 times the gamma in every 17th channel; see the same model without its outliers above.
  const { report } = await convert(memorySource(bertFiles({ std: 0.05, outliers: { every: 17, times: 40 } })));
  expect(report).toMatchObject({ smoothed: true });
  expect(cosinesOf(report).cosineMin).toBeGreaterThan(0.999);
});

describe('every weight counts', () => {
  test('one changed source tensor changes the output, the key bias excepted', async () => {
    const ids = [[1, 2, 3, 4, 5, 6, 7]];
    const tensors = randomBert(TINY);
    const run = async (changed?: string): Promise<Float32Array> => {
      const all = new Map(tensors);
      if (changed) {
        const { shape, values } = tensors.get(changed)!;
        // Rows the input uses: token ids 1..7, the first positions, type 0.
        all.set(changed, { shape, values: values.map((v, i) => (i < 56 && i >= (changed.includes('token_type') ? 0 : 8) || values.length <= 12 ? v + 0.3 * ((i % 3) - 1) : v)) }); // prettier-ignore
      }
      const files = new Map([['config.json', json(bertConfig(TINY))], ['model.safetensors', safetensors(all)]]); // prettier-ignore
      return (await embeddings((await convert(memorySource(files), { allowNoise: true })).bytes, ids))[0]!;
    };
    const plain = await run();
    const same: string[] = [];
    for (const name of tensors.keys()) {
      const vector = await run(name);
      if (cosine(vector, plain) > 0.99999) same.push(name);
    }
    expect(same.filter((name) => !name.startsWith('pooler'))).toEqual(['encoder.layer.0.attention.self.key.bias']);
  });
});

describe('the file', () => {
  test('is the same for the same source, prefix and names aside, and says what it is', async () => {
    const first = await convert(memorySource(bertFiles(TINY), 'my-model'));
    const again = await convert(memorySource(bertFiles({ ...TINY, prefix: true, oldNames: true }), 'my-model'));
    expect(again.bytes).toEqual(first.bytes);
    const { meta, config, weights } = parseHeader(first.bytes, first.bytes.length);
    expect(config).toMatchObject({
      ...{ kind: 'encoder', vocab: 13, hidden: 8, heads: 2, kvHeads: 2, headDim: 4, ffn: 12, layers: 1, context: 12 },
      ...{ norm: 'layernorm', normPlace: 'post', positions: 'learned', activation: 'gelu', gatedFfn: false },
      ...{ causal: false, tiedHead: false, pooling: 'mean', normalize: true, quant: 'int8', normEps: 1e-12 },
    });
    const { report } = first;
    expect(meta.source).toEqual({ name: 'my-model', license: 'unknown' });
    expect(meta.report).toMatchObject({ worstTensor: report.worstTensor, accuracy: report.accuracy });
    expect(meta.report.allowNoise).toBeUndefined();
    expect(meta.tokenizer).toBeUndefined();
    expect([report.tensors, report.bytes]).toEqual([weights.tensors.length, first.bytes.length]);
    expect(weights.tensors.map(({ name }) => name)).toContain(report.worstTensor.name);
    expect(report.worstTensor.error).toBeGreaterThan(0.001);
    expect(report.worstTensor.error).toBeLessThan(0.03);
  });

  test('carries tokenizer and licence, and is judged on texts', async () => {
    const files = bertFiles({ positions: 128, std: 0.1 });
    const tokenizer = tokenizerJson();
    files.set('tokenizer.json', json(tokenizer));
    files.set('tokenizer_config.json', json({ do_lower_case: true }));
    files.set('README.md', new TextEncoder().encode('---\nlicense: mit\n---\n'));
    const { bytes, report } = await convert(memorySource(files));
    const { meta } = parseHeader(bytes);
    expect(meta.tokenizer).toEqual({ json: JSON.stringify(tokenizer), config: '{"do_lower_case":true}' });
    expect(meta.source.license).toBe('mit');
    expect(report).toMatchObject({ measuredOn: 'texts', tokenizer: true, license: 'mit' });
    expect(cosinesOf(report).texts).toBe(ACCURACY_TEXTS.length);
    expect(cosinesOf(report).cosineMin).toBeGreaterThan(0.998);
  });

  test('int7 is another code of the same model', async () => {
    const files = bertFiles({ std: 0.1 });
    const [int8, int7] = [await convert(memorySource(files)), await convert(memorySource(files), { quant: 'int7' })];
    expect(parseHeader(int7.bytes).config.quant).toBe('int7');
    expect(cosinesOf(int7.report).cosineMin).toBeGreaterThan(0.998);
    expect(int7.report.worstTensor.error).toBeGreaterThan(1.5 * int8.report.worstTensor.error);
  });
});

describe('refused', () => {
  /** Attention so peaked that any rounding turns it. */
  const noisy = memorySource(bertFiles({ std: 3, layers: 4 }));

  test('noise, unless told otherwise, and then it is written down', async () => {
    expect(await refusal(() => convert(noisy))).toMatchObject({ code: 'NoisyModel', expected: expect.stringMatching(/^at least 0\.9/) as unknown }); // prettier-ignore
    const { bytes, report } = await convert(noisy, { allowNoise: true });
    expect(cosinesOf(report).cosineMin).toBeLessThan(0.97);
    expect(parseHeader(bytes).meta.report).toMatchObject({ allowNoise: true, accuracy: report.accuracy });
  });

  test('weights that overflow float arithmetic', async () => {
    const tensors = randomBert(TINY);
    const { shape, values } = tensors.get('encoder.layer.0.output.dense.weight')!;
    tensors.set('encoder.layer.0.output.dense.weight', { shape, values: values.map(() => 3e38) });
    const files = bertFiles(TINY).set('model.safetensors', safetensors(tensors));
    expect(await refusal(() => convert(memorySource(files)))).toMatchObject({ code: 'BadWeights' });
  });

  test.each<[string, unknown, string]>([
    ['an unknown option', { quantisation: 'int8' }, 'options.quantisation'],
    ['an unknown code', { quant: 'int5' }, 'quant'],
    ['no boolean', { allowNoise: 1 }, 'allowNoise'],
  ])('%s', async (_, options, field) => {
    expect(await refusal(() => convert(noisy, options as object))).toMatchObject({ code: 'BadInput', field });
  });

  test('four bits, which an encoder does not have', async () => {
    const error = await refusal(() => convert(noisy, { quant: 'int4' }));
    expect(error).toMatchObject({ code: 'UnsupportedMode', field: 'quant' });
  });

  test('a directory that is not there', async () => {
    expect(await refusal(() => convert('/no/such/directory'))).toMatchObject({ code: 'FileNotFound' });
  });

  test('an abort before it begins, and in every phase', async () => {
    const source = memorySource(bertFiles(TINY));
    expect(await refusal(() => convert(source, { signal: AbortSignal.abort() }))).toMatchObject({ code: 'Aborted' });
    expect(source.asked).toEqual([]);
    const phases = new Set<string>();
    await convert(source, { onProgress: ({ phase }) => phases.add(phase) });
    expect([...phases]).toEqual(['calibrate', 'pack', 'measure']);
    for (const stop of phases) {
      const abort = new AbortController();
      const onProgress = ({ phase }: ConvertProgress): void => {
        if (phase === stop) abort.abort();
      };
      const error = await refusal(() => convert(source, { signal: abort.signal, onProgress }));
      expect(error).toMatchObject({ code: 'Aborted', field: 'convert' });
    }
  });
});
