import { describe, expect, test } from '@jest/globals';
import { readHuggingFace, type SourceModel } from '../../src/convert/huggingface.js';
import { refusal } from './fixtures.js';
import { bertFiles, json, memorySource, randomBert, safetensors, tokenizerJson, type BertRecipe } from './make-bert.js';

const SMALL: BertRecipe = { vocab: 11, hidden: 12, heads: 3, ffn: 20, layers: 1, positions: 16 };
const text = (content: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(content);

/** A directory: a recipe and files laid over it (`undefined` removes one). */
function directory(recipe: BertRecipe, over: Record<string, unknown> = {}): ReturnType<typeof memorySource> {
  const files = bertFiles({ ...SMALL, ...recipe });
  for (const [path, content] of Object.entries(over)) {
    if (content === undefined) files.delete(path);
    else files.set(path, content instanceof Uint8Array ? Uint8Array.from(content) : json(content));
  }
  return memorySource(files);
}
const read = (recipe: BertRecipe = {}, over: Record<string, unknown> = {}): Promise<SourceModel> =>
  readHuggingFace(directory(recipe, over));
const st = (type: string): string => `sentence_transformers.models.${type}`;
const modules = (...types: string[]): unknown =>
  types.map((type, idx) => ({ idx, name: String(idx), path: idx === 0 ? '' : `${idx}_${type}`, type: st(type) }));
const MEAN = { word_embedding_dimension: 12, pooling_mode_cls_token: false, pooling_mode_mean_tokens: true };
const CLS = { pooling_mode_cls_token: true, pooling_mode_mean_tokens: false, pooling_mode_max_tokens: false };

describe('config.json', () => {
  test('sizes and activations', async () => {
    const { bert } = await read({ act: 'gelu_new', config: { layer_norm_eps: 1e-5 } });
    expect(bert).toMatchObject({ vocab: 11, hidden: 12, heads: 3, ffn: 20, context: 16, eps: 1e-5 });
    expect(bert.activation).toBe('gelu_tanh');
    expect((await read({ act: 'relu', config: { position_embedding_type: 'absolute' } })).bert.activation).toBe('relu');
  });

  test.each<[Record<string, unknown>, string, string]>([
    [{ model_type: 'roberta' }, 'UnsupportedArchitecture', 'model_type'],
    [{ model_type: 'llama' }, 'UnsupportedArchitecture', 'model_type'],
    [{ hidden_act: 'silu' }, 'UnsupportedArchitecture', 'hidden_act'],
    [{ hidden_act: 'gelu_pytorch_tanh' }, 'UnsupportedArchitecture', 'hidden_act'],
    [{ hidden_act: 'toString' }, 'UnsupportedArchitecture', 'hidden_act'],
    [{ position_embedding_type: 'relative_key' }, 'UnsupportedArchitecture', 'position_embedding_type'],
    [{ is_decoder: true }, 'UnsupportedArchitecture', 'is_decoder'],
    [{ add_cross_attention: true }, 'UnsupportedArchitecture', 'add_cross_attention'],
    [{ pruned_heads: { 0: [1] } }, 'UnsupportedArchitecture', 'pruned_heads'],
    [{ quantization_config: { bits: 4 } }, 'UnsupportedArchitecture', 'quantization_config'],
    [{ model_type: undefined }, 'BadFile', 'model_type'],
    [{ hidden_act: 3 }, 'BadFile', 'hidden_act'],
    [{ hidden_size: undefined }, 'BadFile', 'hidden_size'],
    [{ hidden_size: '12' }, 'BadFile', 'hidden_size'],
    [{ vocab_size: 11.5 }, 'BadFile', 'vocab_size'],
    [{ num_hidden_layers: 0 }, 'BadFile', 'num_hidden_layers'],
    [{ intermediate_size: -20 }, 'BadFile', 'intermediate_size'],
    [{ max_position_embeddings: 2 ** 30 }, 'BadFile', 'max_position_embeddings'],
    [{ type_vocab_size: null }, 'BadFile', 'type_vocab_size'],
    [{ num_attention_heads: 5 }, 'BadFile', 'num_attention_heads'],
    [{ layer_norm_eps: 0 }, 'BadFile', 'layer_norm_eps'],
    [{ layer_norm_eps: '1e-12' }, 'BadFile', 'layer_norm_eps'],
  ])('%j is refused by name', async (config, code, key) => {
    expect(await refusal(() => read({ config }))).toMatchObject({ code, field: `config.json.${key}` });
  });

  test.each<[string, unknown, string]>([
    ['missing', undefined, 'FileNotFound'],
    ['empty', text(''), 'BadFile'],
    ['no JSON', text('model_type: bert'), 'BadFile'],
    ['an array', [], 'BadFile'],
    ['no UTF-8', Uint8Array.of(0xff, 0xfe), 'BadFile'],
  ])('%s', async (_, content, code) => {
    expect(await refusal(() => read({}, { 'config.json': content }))).toMatchObject({ code, field: 'config.json' });
  });
});

describe('tensors', () => {
  test('prefix, old names and dtype change nothing but precision', async () => {
    const plain = (await read()).bert;
    for (const recipe of [{ prefix: true }, { oldNames: true }, { prefix: true, oldNames: true }]) {
      expect((await read(recipe)).bert).toEqual(plain);
    }
    const half = (await read({ dtype: 'F16' })).bert;
    const brain = (await read({ dtype: 'BF16' })).bert;
    plain.token.forEach((v, i) => {
      expect(Math.abs(half.token[i]! - v)).toBeLessThanOrEqual(Math.abs(v) / 2048 + 2 ** -25);
      expect(Math.abs(brain.token[i]! - v)).toBeLessThanOrEqual(Math.abs(v) / 128);
    });
  });

  test('token type 0 is folded into the positions that fit the limit', async () => {
    const tensors = randomBert(SMALL);
    const positions = tensors.get('embeddings.position_embeddings.weight')!.values;
    const types = tensors.get('embeddings.token_type_embeddings.weight')!.values;
    const { bert } = await read({}, { 'sentence_bert_config.json': { max_seq_length: 5 } });
    expect(bert.context).toBe(5);
    expect(bert.position).toEqual(positions.slice(0, 60).map((v, i) => v + types[i % 12]!));
  });

  test('each tensor of the encoder is needed, by name; the pooler is not', async () => {
    for (const name of randomBert(SMALL).keys()) {
      const tensors = randomBert(SMALL);
      tensors.delete(name);
      const reading = (): Promise<SourceModel> => read({}, { 'model.safetensors': safetensors(tensors) });
      if (name.startsWith('pooler')) await reading();
      else expect(await refusal(reading)).toMatchObject({ code: 'BadFile', field: `model.safetensors.${name}` });
    }
  });

  test('each shape is checked against config.json', async () => {
    for (const [name, tensor] of randomBert(SMALL)) {
      if (name.startsWith('pooler')) continue;
      const tensors = randomBert(SMALL).set(name, { ...tensor, shape: [1, ...tensor.shape] });
      expect(await refusal(() => read({}, { 'model.safetensors': safetensors(tensors) }))).toEqual({
        code: 'BadFile',
        field: `model.safetensors.${name}.shape`,
        expected: `[${tensor.shape}]`,
        got: `[1,${tensor.shape}]`,
      });
    }
    expect(await refusal(() => read({ config: { vocab_size: 12 } }))).toMatchObject({
      expected: '[12,12]',
      got: '[11,12]',
    });
  });

  test.each([NaN, Infinity, -Infinity])('%d in any used tensor is refused by its name', async (value) => {
    for (const [name, { shape, values }] of randomBert(SMALL)) {
      const broken = values.slice();
      broken[name.includes('token_type') ? 0 : broken.length - 1] = value;
      const tensors = randomBert(SMALL).set(name, { shape, values: broken });
      const reading = (): Promise<SourceModel> => read({}, { 'model.safetensors': safetensors(tensors) });
      if (name.startsWith('pooler')) await reading();
      else expect(await refusal(reading)).toMatchObject({ code: 'BadWeights', field: name });
    }
  });

  test('no weights, weights in several files', async () => {
    const none = { 'model.safetensors': undefined };
    expect(await refusal(() => read({}, none))).toMatchObject({ code: 'FileNotFound', field: 'model.safetensors' });
    const sharded = { ...none, 'model.safetensors.index.json': { weight_map: {} } };
    expect(await refusal(() => read({}, sharded))).toMatchObject({
      ...{ code: 'FileNotFound', field: 'model.safetensors', got: 'weights in several files' },
    });
  });
});

describe('pooling and normalisation', () => {
  test.each<[string, Record<string, unknown>, 'mean' | 'cls', boolean]>([
    ['no sentence-transformers files', {}, 'mean', true],
    ['no modules.json, a pooling file', { '1_Pooling/config.json': CLS }, 'cls', true],
    [
      'mean without normalisation',
      { 'modules.json': modules('Transformer', 'Pooling'), '1_Pooling/config.json': MEAN },
      'mean',
      false,
    ],
    [
      'cls with normalisation',
      { 'modules.json': modules('Transformer', 'Pooling', 'Normalize'), '1_Pooling/config.json': CLS },
      'cls',
      true,
    ],
    [
      'another folder',
      {
        'modules.json': [
          { path: '', type: st('Transformer') },
          { path: 'pool/it/', type: st('Pooling') },
        ],
        'pool/it/config.json': CLS,
      },
      'cls',
      false,
    ],
    [
      'the names of release 5',
      {
        'modules.json': [
          { path: '', type: 'sentence_transformers.base.modules.transformer.Transformer' },
          { path: '1_Pooling', type: 'sentence_transformers.sentence_transformer.modules.pooling.Pooling' },
        ],
        '1_Pooling/config.json': { embedding_dimension: 12, pooling_mode: 'mean', include_prompt: true },
      },
      'mean',
      false,
    ],
  ])('%s', async (_, over, pooling, normalize) => {
    const model = await read({}, over);
    expect([model.pooling, model.normalize]).toEqual([pooling, normalize]);
  });

  test('the transformer may lie in a folder of its own', async () => {
    const files = bertFiles(SMALL);
    const moved = new Map([...files].map(([path, bytes]) => [`0_Transformer/${path}`, bytes]));
    moved.set(
      'modules.json',
      json([
        { path: '0_Transformer', type: st('Transformer') },
        { path: '1_Pooling', type: st('Pooling') },
      ]),
    );
    moved.set('1_Pooling/config.json', json(CLS));
    moved.set('0_Transformer/sentence_bert_config.json', json({ max_seq_length: 7 }));
    const { bert, pooling } = await readHuggingFace(memorySource(moved));
    expect([bert.context, pooling]).toEqual([7, 'cls']);
  });

  const chain = { 'modules.json': modules('Transformer', 'Pooling', 'Normalize') };
  const pool = (config: unknown): Record<string, unknown> => ({ ...chain, '1_Pooling/config.json': config });
  test.each<[string, Record<string, unknown>, string, string]>([
    ['max', pool({ pooling_mode_max_tokens: true }), 'UnsupportedArchitecture', '1_Pooling/config.json.pooling_mode_max_tokens'],
    ['sqrt', pool({ pooling_mode_mean_sqrt_len_tokens: true }), 'UnsupportedArchitecture', '1_Pooling/config.json.pooling_mode_mean_sqrt_len_tokens'],
    ['weighted mean', pool({ pooling_mode_weightedmean_tokens: true }), 'UnsupportedArchitecture', '1_Pooling/config.json.pooling_mode_weightedmean_tokens'],
    ['last token', pool({ pooling_mode_lasttoken: true }), 'UnsupportedArchitecture', '1_Pooling/config.json.pooling_mode_lasttoken'],
    ['max by its new name', pool({ pooling_mode: 'max' }), 'UnsupportedArchitecture', '1_Pooling/config.json.pooling_mode'],
    ['two at once', pool({ ...MEAN, pooling_mode_cls_token: true }), 'UnsupportedArchitecture', '1_Pooling/config.json.pooling_mode_mean_tokens'],
    ['none', pool({ pooling_mode_mean_tokens: false }), 'BadFile', '1_Pooling/config.json'],
    ['no boolean', pool({ pooling_mode_mean_tokens: 1 }), 'BadFile', '1_Pooling/config.json.pooling_mode_mean_tokens'],
    ['another width', pool({ ...MEAN, word_embedding_dimension: 13 }), 'BadFile', '1_Pooling/config.json.word_embedding_dimension'],
    ['no pooling file', chain, 'FileNotFound', '1_Pooling/config.json'],
    ['a Dense module', { 'modules.json': modules('Transformer', 'Pooling', 'Dense', 'Normalize') }, 'UnsupportedArchitecture', 'modules.json[2].type'],
    ['a fourth module', { 'modules.json': modules('Transformer', 'Pooling', 'Normalize', 'Normalize') }, 'UnsupportedArchitecture', 'modules.json[3].type'],
    ['another first module', { 'modules.json': modules('CLIPModel', 'Pooling') }, 'UnsupportedArchitecture', 'modules.json[0].type'],
    ['a module of one\'s own', { 'modules.json': [{ type: 'my.Transformer', path: '' }] }, 'UnsupportedArchitecture', 'modules.json[0].type'],
    ['no pooling module', { 'modules.json': modules('Transformer') }, 'UnsupportedArchitecture', 'modules.json'],
    ['no module', { 'modules.json': [] }, 'UnsupportedArchitecture', 'modules.json'],
    ['no array', { 'modules.json': {} }, 'BadFile', 'modules.json'],
    ['no text', { 'modules.json': [{ type: 1 }] }, 'BadFile', 'modules.json[0].type'],
    ['a way out', { 'modules.json': [{ type: st('Transformer'), path: '' }, { type: st('Pooling'), path: 'a/../../b' }] }, 'BadFile', 'modules.json[1].path'],
    ['an absolute path', { 'modules.json': [{ type: st('Transformer'), path: '/etc' }] }, 'BadFile', 'modules.json[0].path'],
  ])('%s is refused by name', async (_, over, code, field) => {
    expect(await refusal(() => read({}, over))).toMatchObject({ code, field });
  }); // prettier-ignore
});

describe('length limit and tokenizer', () => {
  const limit = (value: unknown): Record<string, unknown> => ({
    'sentence_bert_config.json': { max_seq_length: value },
  });

  test.each<[unknown, number]>([
    [9, 9],
    [16, 16],
    [512, 16],
    [null, 16],
    [undefined, 16],
  ])('max_seq_length %j of 16 positions gives %i', async (value, context) => {
    expect((await read({}, limit(value))).bert.context).toBe(context);
  });

  test.each([0, -1, 2.5, '9'])('max_seq_length %j is refused', async (value) => {
    expect(await refusal(() => read({}, limit(value)))).toMatchObject({
      ...{ code: 'BadFile', field: 'sentence_bert_config.json.max_seq_length' },
    });
  });

  test('travels verbatim, with or without its config', async () => {
    const wide = { vocab: 257 };
    const tokenizer = tokenizerJson();
    expect((await read()).tokenizer).toBeUndefined();
    const alone = await read(wide, { 'tokenizer.json': tokenizer });
    expect([alone.tokenizer!.json, alone.tokenizer!.config]).toEqual([JSON.stringify(tokenizer), '{}']);
    const settings = { do_lower_case: true };
    const both = await read(wide, { 'tokenizer.json': tokenizer, 'tokenizer_config.json': settings });
    expect(both.tokenizer!.config).toBe(JSON.stringify(settings));
    expect(both.tokenizer!.text.encode('ab', 16).tokens).toEqual([2, 4, 72, 3]);
  });

  test.each<[string, BertRecipe, Record<string, unknown>, string, string]>([
    ['a tokenizer that is none', {}, { 'tokenizer.json': text('{') }, 'BadFile', 'tokenizer.json'],
    ['ids past the vocabulary', { vocab: 100 }, { 'tokenizer.json': tokenizerJson() }, 'BadFile', 'tokenizer.json'],
    ['no room beside the specials', { vocab: 257, positions: 2 }, { 'tokenizer.json': tokenizerJson() }, 'BadFile', 'max_position_embeddings'],
    ['lower case outside of a cased tokenizer', { vocab: 257 }, { 'tokenizer.json': tokenizerJson({ lowercase: false }), 'sentence_bert_config.json': { do_lower_case: true } }, 'UnsupportedArchitecture', 'sentence_bert_config.json.do_lower_case'],
  ])('%s is refused', async (_, recipe, over, code, field) => {
    expect(await refusal(() => read(recipe, over))).toMatchObject({ code, field });
  }); // prettier-ignore

  test('lower case outside of a tokenizer that lowers anyway is fine', async () => {
    const over = { 'tokenizer.json': tokenizerJson(), 'sentence_bert_config.json': { do_lower_case: true } };
    expect((await read({ vocab: 257 }, over)).tokenizer).toBeDefined();
  });
});

test('an unsupported model is refused before its weights are asked for', async () => {
  const source = directory({ config: { model_type: 'gpt2' } });
  await refusal(() => readHuggingFace(source));
  expect(source.asked).toContain('config.json');
  expect(source.asked).not.toContain('model.safetensors');
});
