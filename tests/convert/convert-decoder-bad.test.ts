import { describe, expect, test } from '@jest/globals';
import { convert, type ConvertOptions, type ConvertProgress } from '../../src/convert/convert.js';
import { Rng } from '../support/rng.js';
import { refusal } from './fixtures.js';
import { json, memorySource, bertFiles, safetensors, tokenizerJson, type Files } from './make-bert.js';
import {
  decoderFiles,
  gpt2Files,
  llamaConfig,
  llamaFiles,
  randomGpt2,
  gpt2Config,
  randomLlama,
} from './make-decoder.js';
import { llamaGguf } from './make-gguf.js';

const SMALL = { vocab: 33, hidden: 32, heads: 4, kvHeads: 2, headDim: 8, ffn: 64, context: 8, std: 0.05 } as const;

const run = (source: Files | Uint8Array | string, options: ConvertOptions = {}): ReturnType<typeof convert> =>
  convert(source instanceof Map ? memorySource(source) : source, options);
const refused = async (source: Files | Uint8Array | string, options?: ConvertOptions): Promise<string> => {
  const { code, field } = await refusal(() => run(source, options));
  return `${code} ${field}`;
};

/** A small directory, changed. */
const changed = (file: string, content: Uint8Array | null, shards = 1): Files => {
  const files = llamaFiles({ ...SMALL, shards });
  if (content) files.set(file, Uint8Array.from(content));
  else files.delete(file);
  return files;
};
const withConfig = (config: Record<string, unknown>): Files => llamaFiles({ ...SMALL, config });
/** With one tensor changed: its first value, or gone. */
const withTensor = (name: string, value?: number): Files => {
  const tensors = randomLlama(SMALL);
  if (value === undefined) tensors.delete(name);
  else tensors.get(name)!.values[0] = value;
  return decoderFiles(llamaConfig(SMALL), tensors);
};

describe('directories', () => {
  const layer = 'model.layers.1.mlp.down_proj.weight';
  const shard = 'model-2-of-3.safetensors';
  const at = (field: string): string => `model.safetensors.${field}`;

  test.each([
    ['an empty one', new Map(), 'FileNotFound config.json'],
    ['no weights', changed('model.safetensors', null), 'FileNotFound model.safetensors'],
    ['config.json that is no JSON', changed('config.json', json({}).subarray(1)), 'BadFile config.json'],
    ['another family', withConfig({ model_type: 'mamba' }), 'UnsupportedArchitecture config.json.model_type'],
    ['a tensor missing', withTensor(layer), `BadFile ${at(layer)}`],
    ['a norm missing', withTensor('model.norm.weight'), `BadFile ${at('model.norm.weight')}`],
    [
      'another shape',
      withConfig({ intermediate_size: 65 }),
      'BadFile model.safetensors.model.layers.0.mlp.gate_proj.weight.shape',
    ],
    ['a head missing', withTensor('lm_head.weight'), `BadFile ${at('lm_head.weight')}`],
    ['NaN in a matrix', withTensor(layer, NaN), `BadWeights ${layer}`],
    [
      'Infinity in the table',
      withTensor('model.embed_tokens.weight', Infinity),
      'BadWeights model.embed_tokens.weight',
    ],
    ['NaN in a norm', withTensor('model.norm.weight', NaN), 'BadWeights model.norm.weight'],
    ['−Infinity in the head', withTensor('lm_head.weight', -Infinity), 'BadWeights lm_head.weight'],
    ['a shard missing', changed(shard, null, 3), `FileNotFound ${shard}`],
    ['an empty shard', changed(shard, new Uint8Array(0), 3), `Truncated ${shard}`],
    ['a shard that is text', changed(shard, json('of the ship'), 3), `BadFile ${shard} header`],
    [
      'more layers',
      withConfig({ num_hidden_layers: 2 ** 24 }),
      'BadFile model.safetensors.model.layers.2.input_layernorm.weight',
    ],
    ['sizes beyond any file', withConfig({ vocab_size: 2 ** 40 }), 'BadFile config.json.vocab_size'],
  ] as const)('%s', async (_, files, expected) => {
    expect(await refused(files as Files)).toBe(expected);
  });

  test('a tied head is not missing, one that is named tied and differs is kept', async () => {
    const tensors = randomLlama({ ...SMALL, tied: true });
    const files = decoderFiles({ ...llamaConfig(SMALL), tie_word_embeddings: undefined }, tensors);
    expect((await run(files)).report.tensors).toBe(2 * 9 + 2);
    expect((await run(withConfig({ tie_word_embeddings: true }))).report.tensors).toBe(2 * 9 + 3);
  });

  test('cut anywhere: the weights, a shard', async () => {
    const rng = new Rng('cuts');
    for (const [name, shards] of [
      ['model.safetensors', 1],
      [shard, 3],
    ] as const) {
      const whole = llamaFiles({ ...SMALL, shards }).get(name)!;
      for (const n of [7, 8, 9, whole.length - 1, ...rng.ints(20, 0, whole.length - 1)]) {
        expect([n, await refused(changed(name, whole.subarray(0, n), shards))]).toEqual([
          ...[n, expect.stringMatching(/^(Truncated|BadFile) model/)],
        ]);
      }
    }
  });

  test('huge counts in a header of safetensors', async () => {
    const entry = { dtype: 'F32', shape: [2 ** 40, 2 ** 40], data_offsets: [0, 4] };
    for (const [header, length] of [
      [{ x: entry }, undefined],
      [{ x: { ...entry, shape: [1], data_offsets: [0, 2 ** 52] } }, undefined],
      [{}, 2 ** 52],
    ] as const) {
      const text = json(header);
      const bytes = new Uint8Array(8 + text.length);
      new DataView(bytes.buffer).setBigUint64(0, BigInt(length ?? text.length), true);
      bytes.set(text, 8);
      expect(await refused(changed('model.safetensors', bytes))).toMatch(/^(BadFile|Truncated) model\.safetensors/);
    }
  });

  test('a tensor twice', async () => {
    const whole = Buffer.from(safetensors(randomLlama(SMALL)));
    const name = 'model.layers.1.self_attn.q_proj.weight';
    const twice = Buffer.from(whole.toString('latin1').replace(name, name.replace('.1.', '.0.')), 'latin1');
    expect(await refused(changed('model.safetensors', twice))).toBe(`BadFile ${at(name.replace('.1.', '.0.'))}`);
  });

  test('a tokenizer larger than the vocabulary, or not one', async () => {
    const tokenizer = (content: Uint8Array): Files => changed('tokenizer.json', content);
    expect(await refused(tokenizer(json(tokenizerJson())))).toBe('BadFile tokenizer.json');
    for (const content of [new Uint8Array(0), json([]), json({ model: {} }), Uint8Array.of(255, 254)]) {
      expect(await refused(tokenizer(content))).toMatch(/^(BadFile|UnsupportedMode) tokenizer/);
    }
  });

  test('weights whose float arithmetic overflows', async () => {
    const tensors = randomLlama(SMALL);
    for (const { values } of tensors.values()) values.forEach((v, i) => (values[i] = v * 1e25));
    expect(await refused(decoderFiles(llamaConfig(SMALL), tensors), { allowNoise: true })).toBe('BadWeights model');
  });

  test('NaN in the positions of GPT-2', async () => {
    const tensors = randomGpt2({ ...SMALL, heads: 2 });
    tensors.get('transformer.wpe.weight')!.values[5] = NaN;
    const files = decoderFiles(gpt2Config({ ...SMALL, heads: 2 }), tensors);
    expect(await refused(files)).toBe('BadWeights transformer.wpe.weight');
  });

  test('all zeros, and weights that nothing is left of, are a model', async () => {
    for (const factor of [0, 1e-30]) {
      const tensors = randomLlama(SMALL);
      for (const { values } of tensors.values()) values.forEach((v, i) => (values[i] = v * factor));
      for (const quant of ['int8', 'int4', 'int7'] as const) {
        const { report } = await run(decoderFiles(llamaConfig(SMALL), tensors), { quant });
        expect(report.accuracy).toMatchObject({ kl: 0, top1: 1 });
      }
    }
  });
});

describe('options', () => {
  test('int4 is for decoders; what is no option is named', async () => {
    expect(await refused(bertFiles({ vocab: 40 }), { quant: 'int4' })).toMatch(/^UnsupportedMode /);
    expect(await refused(llamaFiles(SMALL), { quant: 'int3' as never })).toBe('BadInput quant');
    expect(await refused(llamaFiles(SMALL), { allowNoise: 1 as never })).toBe('BadInput allowNoise');
    expect(await refused(llamaFiles(SMALL), { wish: 1 } as never)).toBe('BadInput options.wish');
  });

  test('what is no source', async () => {
    const { buffer } = llamaGguf(SMALL).file;
    for (const source of [null, undefined, 42, {}, buffer, new URL('https://example.org/x.gguf'), { read: 1 }]) {
      expect(await refused(source as never)).toBe('BadInput source');
    }
    const inside = new Uint8Array([0, 0, 0, ...llamaGguf(SMALL).file]);
    for (const view of [inside.subarray(3), Buffer.from(inside).subarray(3), new DataView(inside.buffer, 3)]) {
      expect((await run(view as never)).report.tensors).toBe(2 * 9 + 3);
    }
  });

  test.each(['calibrate', 'pack', 'measure'] as const)('an abort while it is to %s', async (phase) => {
    for (const source of [llamaFiles(SMALL), gpt2Files({ ...SMALL, heads: 2 }), llamaGguf(SMALL).file]) {
      const seen: ConvertProgress[] = [];
      const stop = new AbortController();
      const onProgress = (progress: ConvertProgress): void => {
        seen.push(progress);
        if (progress.phase === phase) stop.abort();
      };
      expect(await refused(source, { signal: stop.signal, onProgress })).toBe('Aborted convert');
      expect(seen.filter((progress) => progress.phase === phase)).toHaveLength(1);
    }
    expect(await refused(llamaFiles(SMALL), { signal: AbortSignal.abort() })).toBe('Aborted convert');
  });

  test('progress reaches its end in every phase', async () => {
    const last = new Map<string, ConvertProgress>();
    await run(llamaFiles(SMALL), { onProgress: (progress) => last.set(progress.phase, progress) });
    expect([...last.keys()]).toEqual(['calibrate', 'pack', 'measure']);
    for (const { loaded, total } of last.values()) expect([loaded, total > 0]).toEqual([total, true]);
  });
});
