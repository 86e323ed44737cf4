import { describe, expect, test } from '@jest/globals';
import { readDecoderConfig } from '../../src/convert/decoder-config.js';
import { floatLogits } from '../../src/convert/decoder-float.js';
import type { DecoderModel } from '../../src/convert/decoder.js';
import { refusal } from './fixtures.js';
import { decoderFiles, gpt2Config, gpt2Files, openFiles, randomGpt2, type DecoderRecipe } from './make-decoder.js';

/** Row-major [inputs][outputs] to rows first..first + n − 1 of [outputs][inputs]. */
function columns(values: Float32Array, inputs: number, outputs: number, first: number, n: number): Float32Array {
  return Float32Array.from({ length: n * inputs }, (_, i) => {
    const column = first + Math.floor(i / inputs);
    return values[(i % inputs) * outputs + column]!;
  });
}

describe.each<[string, DecoderRecipe]>([
  ['transformer., tied', {}],
  ['no prefix, a head of its own, shards', { prefix: false, tied: false, shards: 3 }],
])('%s', (_name, recipe) => {
  const tensors = randomGpt2(recipe);
  const body = recipe.prefix === false ? '' : 'transformer.';
  const values = (name: string): Float32Array => tensors.get(body + name)!.values;
  const open = async (): Promise<DecoderModel> => (await openFiles(gpt2Files(recipe))).model;

  test('Conv1D turned, c_attn split, tables as they are', async () => {
    const model = await open();
    for (let i = 0; i < 2; i++) {
      ['query', 'key', 'value'].forEach((part, n) => {
        const fused = values(`h.${i}.attn.c_attn.weight`);
        expect(model.rows(`layers.${i}.attention.${part}`, 0, 120)).toEqual(columns(fused, 120, 360, 120 * n, 120));
        expect(model.rows(`layers.${i}.attention.${part}`, 17, 20)).toEqual(columns(fused, 120, 360, 120 * n + 17, 3));
        const bias = values(`h.${i}.attn.c_attn.bias`).subarray(120 * n, 120 * n + 120);
        expect(model.vector(`layers.${i}.attention.${part}.bias`)).toEqual(bias);
      });
      const conv = (ours: string, theirs: string, inputs: number, outputs: number): void => {
        const expected = columns(values(`h.${i}.${theirs}.weight`), inputs, outputs, 0, outputs);
        expect(model.rows(`layers.${i}.${ours}`, 0, outputs)).toEqual(expected);
        expect(model.vector(`layers.${i}.${ours}.bias`)).toEqual(values(`h.${i}.${theirs}.bias`));
      };
      conv('attention.output', 'attn.c_proj', 120, 120);
      conv('ffn.up', 'mlp.c_fc', 120, 77);
      conv('ffn.down', 'mlp.c_proj', 77, 120);
      for (const part of ['weight', 'bias']) {
        expect(model.vector(`layers.${i}.attention.norm.${part}`)).toEqual(values(`h.${i}.ln_1.${part}`));
        expect(model.vector(`layers.${i}.ffn.norm.${part}`)).toEqual(values(`h.${i}.ln_2.${part}`));
        expect(model.vector(`final.norm.${part}`)).toEqual(values(`ln_f.${part}`));
      }
    }
    expect(model.rows('embeddings.token', 3, 5)).toEqual(values('wte.weight').subarray(360, 600));
    expect(model.rows('embeddings.position', 0, 64)).toEqual(values('wpe.weight'));
    expect(model.facts.tiedHead).toBe(recipe.tied ?? true);
    if (recipe.tied === false) expect(model.rows('head', 0, 301)).toEqual(tensors.get('lm_head.weight')!.values);
  });

  test('every tensor that is missing or has another shape is named', async () => {
    const one: DecoderRecipe = { ...recipe, layers: 1, shards: 1 };
    for (const [name, { shape }] of randomGpt2(one)) {
      if (name.endsWith('attn.bias') || name === `${body}wte.weight`) continue; // a mask; the prefix is found by the table
      const left = randomGpt2(one);
      left.delete(name);
      const other = randomGpt2(one);
      other.get(name)!.shape = [...shape, 1];
      const fields = [];
      for (const files of [left, other]) {
        const { code, field } = await refusal(() => openFiles(decoderFiles(gpt2Config(one), files)));
        fields.push(`${code} ${field}`);
      }
      const whole = `BadFile model.safetensors.${name}`;
      expect(fields).toEqual([whole, `${whole}.shape`]);
    }
  });
});

test('NaN in a fused tensor is refused by its name, though q alone is read', async () => {
  const tensors = randomGpt2();
  tensors.get('transformer.h.0.attn.c_attn.weight')!.values[359] = NaN; // a value row
  const { model } = await openFiles(decoderFiles(gpt2Config(), tensors));
  const { code, field } = await refusal(() => model.rows('layers.0.attention.query', 0, 1));
  expect([code, field]).toEqual(['BadWeights', 'transformer.h.0.attn.c_attn.weight']);
  expect(model.rows('layers.1.attention.query', 0, 1).length).toBe(120);
});

test('positions count: the same token gives other logits one place on', async () => {
  const { model } = await openFiles(gpt2Files());
  const logits = floatLogits(model, [5, 5]);
  expect(logits.subarray(0, 301)).not.toEqual(logits.subarray(301));
});

describe('config.json', () => {
  test('defaults are those of GPT-2', () => {
    const { facts, tied, bias } = readDecoderConfig({ model_type: 'gpt2', n_inner: null, bos_token_id: 50256 });
    expect([facts.vocab, facts.hidden, facts.layers, facts.heads, facts.headDim, facts.ffn, facts.context]).toEqual([
      ...[50257, 768, 12, 12, 64, 3072, 1024],
    ]);
    expect([facts.activation, facts.normEps, facts.norm, facts.positions, facts.gatedFfn, facts.ropeBase]).toEqual([
      ...['gelu_tanh', 1e-5, 'layernorm', 'learned', false, 0],
    ]);
    expect([facts.bos, facts.eos, tied]).toEqual([50256, [], true]);
    expect(bias).toEqual({ qkv: true, output: true, ffn: true });
  });

  test.each([
    [{ scale_attn_weights: false }, 'UnsupportedArchitecture scale_attn_weights'],
    [{ scale_attn_by_inverse_layer_idx: true }, 'UnsupportedArchitecture scale_attn_by_inverse_layer_idx'],
    [{ add_cross_attention: true }, 'UnsupportedArchitecture add_cross_attention'],
    [{ architectures: ['GPT2ForTokenClassification'] }, 'UnsupportedArchitecture architectures'],
    [{ activation_function: 'tanh' }, 'UnsupportedArchitecture activation_function'],
    [{ n_head: 7 }, 'BadFile n_head'],
    [{ n_positions: 0 }, 'BadFile n_positions'],
    [{ layer_norm_epsilon: 'small' }, 'BadFile layer_norm_epsilon'],
  ])('%j is refused', async (config, expected) => {
    const { code, field } = await refusal(() => readDecoderConfig(gpt2Config({ config })));
    expect(`${code} ${field}`).toBe(expected.replace(' ', ' config.json.'));
  });
});
