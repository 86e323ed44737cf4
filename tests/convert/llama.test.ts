import { describe, expect, test } from '@jest/globals';
import { floatLogits } from '../../src/convert/decoder-float.js';
import { DECODERS, readDecoderConfig, type DecoderConfig } from '../../src/convert/decoder-config.js';
import { refusal } from './fixtures.js';
import { memorySource, type Files, type Tensors } from './make-bert.js';
import { openDecoder } from '../../src/convert/decoder-directory.js';
import {
  decoderFiles,
  fixtureFiles,
  llamaConfig,
  llamaFiles,
  openFiles,
  randomLlama,
  type DecoderRecipe,
} from './make-decoder.js';

const all = (tensors: Tensors, name: string): Float32Array => tensors.get(name)!.values;

describe('weights by our names', () => {
  test.each<[string, DecoderRecipe]>([
    ['a head of its own, all biases, 3 shards', { bias: 'all', shards: 3 }],
    ['names without model.', { prefix: false }],
    ['tied', { tied: true, bias: 'qkv' }],
  ])('%s', async (_name, recipe) => {
    const { model } = await openFiles(llamaFiles(recipe));
    const tensors = randomLlama(recipe);
    const p = recipe.prefix === false ? '' : 'model.';
    const { facts } = model;
    expect([facts.hidden, facts.heads, facts.kvHeads, facts.headDim, facts.vocab]).toEqual([120, 6, 3, 20, 301]);
    expect(facts.tiedHead).toBe(recipe.tied ?? false);
    expect(model.rows('embeddings.token', 0, 301)).toEqual(all(tensors, `${p}embed_tokens.weight`));
    expect(model.rows('embeddings.token', 300, 301)).toEqual(all(tensors, `${p}embed_tokens.weight`).subarray(36_000));
    const names = [
      ...[
        ['attention.query', 'self_attn.q_proj', 120],
        ['attention.key', 'self_attn.k_proj', 60],
        ['attention.value', 'self_attn.v_proj', 60],
        ['attention.output', 'self_attn.o_proj', 120],
        ['ffn.gate', 'mlp.gate_proj', 77],
        ['ffn.up', 'mlp.up_proj', 77],
        ['ffn.down', 'mlp.down_proj', 120],
      ],
    ] as [string, string, number][];
    for (let i = 0; i < 2; i++) {
      for (const [ours, theirs, outputs] of names) {
        const there = `${p}layers.${i}.${theirs}`;
        expect(model.rows(`layers.${i}.${ours}`, 0, outputs)).toEqual(all(tensors, `${there}.weight`));
        expect(model.vector(`layers.${i}.${ours}.bias`)).toEqual(tensors.get(`${there}.bias`)?.values);
      }
      const norms = `${p}layers.${i}`;
      expect(model.vector(`layers.${i}.attention.norm.weight`)).toEqual(
        all(tensors, `${norms}.input_layernorm.weight`),
      );
      expect(model.vector(`layers.${i}.ffn.norm.weight`)).toEqual(
        all(tensors, `${norms}.post_attention_layernorm.weight`),
      );
    }
    expect(model.vector('final.norm.weight')).toEqual(all(tensors, `${p}norm.weight`));
    expect(model.vector('final.norm.bias')).toBeUndefined();
    if (recipe.tied) expect((await refusal(() => model.rows('head', 0, 1))).code).toBe('BadInput');
    else expect(model.rows('head', 0, 301)).toEqual(all(tensors, 'lm_head.weight'));
    expect((await refusal(() => model.rows('embeddings.token', 300, 302))).code).toBe('BadInput');
  });

  test.each([
    ['F16', 2 ** -11],
    ['BF16', 2 ** -7],
  ] as const)('%s: the values that were stored, within its rounding', async (dtype, relative) => {
    const { model } = await openFiles(llamaFiles({ dtype }));
    const given = all(randomLlama(), 'model.layers.1.self_attn.k_proj.weight');
    const found = model.rows('layers.1.attention.key', 0, 60);
    expect(found.length).toBe(given.length);
    expect(found.every((v, i) => Math.abs(v - given[i]!) <= Math.abs(given[i]!) * relative + 2 ** -25)).toBe(true);
    expect(found.some((v, i) => v !== given[i])).toBe(true);
  });

  test('the scaling of RoPE is a vector of the model', async () => {
    const { model } = await openFiles(llamaFiles({ config: { rope_scaling: { type: 'linear', factor: 4 } } }));
    expect(model.facts.ropeFactors).toBe(true);
    expect([...model.vector('rope.factors')!]).toEqual(Array.from({ length: 10 }, () => 0.25));
    expect((await openFiles(llamaFiles())).model.vector('rope.factors')).toBeUndefined();
  });
});

describe('the head', () => {
  const equal = (): Tensors => {
    const tensors = randomLlama();
    tensors.get('lm_head.weight')!.values = all(tensors, 'model.embed_tokens.weight').slice();
    return tensors;
  };
  const tiedHead = async (tie: boolean | undefined, tensors: Tensors): Promise<boolean> =>
    (await openFiles(decoderFiles(llamaConfig({ config: { tie_word_embeddings: tie } }), tensors))).model.facts
      .tiedHead;

  test('the configuration and the files decide', async () => {
    expect(await tiedHead(true, randomLlama({ tied: true }))).toBe(true);
    expect(await tiedHead(undefined, randomLlama({ tied: true }))).toBe(true);
    expect(await tiedHead(undefined, randomLlama())).toBe(false);
    expect(await tiedHead(false, equal())).toBe(false);
    expect(await tiedHead(true, equal())).toBe(true);
    expect(await tiedHead(true, randomLlama())).toBe(false); // as transformers 5: it says tied, but has another one
  });

  test('said to be its own and missing', async () => {
    const { code, field } = await refusal(() => tiedHead(false, randomLlama({ tied: true })));
    expect([code, field]).toEqual(['BadFile', 'model.safetensors.lm_head.weight']);
  });
});

describe('files that are not right', () => {
  const refused = async (files: Files): Promise<string> => {
    const { code, field } = await refusal(async () => floatLogits((await openFiles(files)).model, [1, 2, 3]));
    return `${code} ${field}`;
  };

  test('every tensor that is missing or has another shape is named', async () => {
    const recipe = { bias: 'all', layers: 1 } as const;
    const config = llamaConfig(recipe);
    for (const [name, { shape }] of randomLlama(recipe)) {
      const left = randomLlama(recipe);
      left.delete(name);
      const other = randomLlama(recipe);
      other.get(name)!.shape = [1, ...shape];
      const unused = name.includes('rotary_emb');
      for (const [tensors, field] of [
        [left, name],
        [other, `${name}.shape`],
      ] as const) {
        const open = async (): Promise<unknown> => openFiles(decoderFiles(config, tensors));
        if (unused) await open();
        else {
          const { code, field: found } = await refusal(open);
          expect(`${code} ${found}`).toBe(`BadFile model.safetensors.${field}`);
        }
      }
    }
  });

  test('NaN and infinity are refused where they are read, by tensor', async () => {
    for (const value of [NaN, Infinity, -Infinity]) {
      for (const name of ['lm_head.weight', 'model.layers.1.mlp.up_proj.weight', 'model.norm.weight']) {
        const tensors = randomLlama();
        all(tensors, name)[11] = value;
        expect(await refused(decoderFiles(llamaConfig(), tensors))).toBe(`BadWeights ${name}`);
      }
    }
  });

  test('a huge number of layers ends at the first that is not there', async () => {
    const files = llamaFiles({ config: { num_hidden_layers: 2 ** 24 } });
    expect(await refused(files)).toBe('BadFile model.safetensors.model.layers.2.input_layernorm.weight');
  });

  test('no config.json; one that is no JSON', async () => {
    expect(await refused(new Map())).toBe('FileNotFound config.json');
    expect(await refused(new Map([['config.json', Uint8Array.of(123)]]))).toBe('BadFile config.json');
  });

  test('an unsupported model is refused before its weights are asked for', async () => {
    const files = llamaFiles({ config: { model_type: 'mamba' } });
    const source = memorySource(files);
    expect((await refusal(() => openDecoder(source))).field).toBe('config.json.model_type');
    expect(source.asked).not.toContain('model.safetensors');
  });
});

describe('config.json', () => {
  const read = (config: Record<string, unknown>, generation?: Record<string, unknown>): DecoderConfig =>
    readDecoderConfig(llamaConfig({ config }), generation);

  test('what is left out takes its default', () => {
    const left = { head_dim: null, num_key_value_heads: null, attention_bias: undefined, hidden_act: undefined };
    const { facts, bias } = read({ ...left, rms_norm_eps: undefined, tie_word_embeddings: undefined });
    expect([facts.headDim, facts.kvHeads, facts.activation, facts.normEps]).toEqual([20, 6, 'silu', 1e-6]);
    expect(bias).toEqual({ qkv: false, output: false, ffn: false });
    expect(readDecoderConfig(llamaConfig({ bias: 'qkv' })).bias).toEqual({ qkv: true, output: false, ffn: false });
    expect(read({ head_dim: 10 }).facts.headDim).toBe(10);
    expect(DECODERS).toEqual(['llama', 'mistral', 'qwen2', 'gpt2']);
  });

  test('special ids: generation_config.json first; none outside of the vocabulary', () => {
    const ids = (config: Record<string, unknown>, generation?: Record<string, unknown>): unknown => {
      const { bos, eos, pad } = read(config, generation).facts;
      return [bos, eos, pad];
    };
    expect(ids({})).toEqual([undefined, [], undefined]);
    expect(ids({ bos_token_id: 1, eos_token_id: 2, pad_token_id: null })).toEqual([1, [2], undefined]);
    expect(ids({ eos_token_id: 2 }, { eos_token_id: [7, 2, 7], pad_token_id: 0 })).toEqual([undefined, [7, 2], 0]);
    expect(ids({ bos_token_id: 301, eos_token_id: [300, 301, -1], pad_token_id: -1 })).toEqual([
      undefined,
      [300],
      undefined,
    ]);
  });

  test('a sliding window cuts the context to where it changes nothing', () => {
    const context = (config: Record<string, unknown>): number => read(config).facts.context;
    expect(context({})).toBe(64);
    expect(context({ model_type: 'mistral', sliding_window: 16 })).toBe(16);
    expect(context({ model_type: 'mistral', sliding_window: 100 })).toBe(64);
    expect(context({ model_type: 'mistral', sliding_window: null, max_position_embeddings: 9999 })).toBe(9999);
    expect(context({ model_type: 'mistral', max_position_embeddings: 9999 })).toBe(4096);
    const qwen = { model_type: 'qwen2', sliding_window: 16 };
    expect(context(qwen)).toBe(64);
    expect(context({ ...qwen, use_sliding_window: true })).toBe(64); // from layer 28 of 2 on
    expect(context({ ...qwen, use_sliding_window: true, max_window_layers: 1 })).toBe(16);
    expect(context({ ...qwen, layer_types: ['full_attention', 'sliding_attention'] })).toBe(16);
    expect(context({ ...qwen, layer_types: ['full_attention', 'full_attention'] })).toBe(64);
  });

  test('what transformers wrote: a list of end tokens, biases, prefixes, halves', async () => {
    const llama = await openFiles(fixtureFiles('llama'));
    expect([llama.model.facts.bos, llama.model.facts.eos, llama.model.facts.pad]).toEqual([1, [2], undefined]);
    expect(llama.config.bias).toEqual({ qkv: true, output: true, ffn: true });
    const qwen2 = await openFiles(fixtureFiles('qwen2'));
    expect([qwen2.model.facts.bos, qwen2.model.facts.eos, qwen2.model.facts.tiedHead]).toEqual([4, [5, 6], true]);
  });

  test.each([
    [{ model_type: undefined }, 'BadFile model_type'],
    [{ model_type: 'gemma' }, 'UnsupportedArchitecture model_type'],
    [{ architectures: ['LlamaForSequenceClassification'] }, 'UnsupportedArchitecture architectures'],
    [{ hidden_act: 'swiglu' }, 'UnsupportedArchitecture hidden_act'],
    [{ hidden_act: 3 }, 'BadFile hidden_act'],
    [{ quantization_config: { bits: 4 } }, 'UnsupportedArchitecture quantization_config'],
    [{ partial_rotary_factor: 0.5 }, 'UnsupportedArchitecture partial_rotary_factor'],
    [{ rope_interleaved: true }, 'UnsupportedArchitecture rope_interleaved'],
    [{ logits_scaling: 8 }, 'UnsupportedArchitecture logits_scaling'],
    [{ attn_logit_softcapping: 50 }, 'UnsupportedArchitecture attn_logit_softcapping'],
    [{ num_local_experts: 8 }, 'UnsupportedArchitecture num_local_experts'],
    [{ layer_types: ['full_attention', 'chunked_attention'] }, 'UnsupportedArchitecture layer_types'],
    [{ pruned_heads: { 0: [1] } }, 'UnsupportedArchitecture pruned_heads'],
    [{ num_attention_heads: 7, head_dim: null }, 'BadFile num_attention_heads'],
    [{ num_key_value_heads: 4 }, 'BadFile num_key_value_heads'],
    [{ head_dim: 15 }, 'BadFile head_dim'],
    [{ vocab_size: 0 }, 'BadFile vocab_size'],
    [{ hidden_size: 2 ** 40 }, 'BadFile hidden_size'],
    [{ num_hidden_layers: '2' }, 'BadFile num_hidden_layers'],
    [{ intermediate_size: undefined }, 'BadFile intermediate_size'],
    [{ max_position_embeddings: 1.5 }, 'BadFile max_position_embeddings'],
    [{ rms_norm_eps: 0 }, 'BadFile rms_norm_eps'],
    [{ attention_bias: 'yes' }, 'BadFile attention_bias'],
    [{ tie_word_embeddings: 1 }, 'BadFile tie_word_embeddings'],
  ])('%j is refused', async (config, expected) => {
    const { code, field } = await refusal(() => read(config));
    expect(`${code} ${field}`).toBe(expected.replace(' ', ' config.json.'));
  });

  test('neutral values of those, and fields that mean nothing here, pass', () => {
    const neutral = { partial_rotary_factor: 1, rope_interleaved: false, quantization_config: null, logits_scaling: 1 };
    const other = { torch_dtype: 'bfloat16', use_cache: true, 'transformers.js_config': {}, is_llama_config: true };
    expect(read({ ...neutral, ...other, pretraining_tp: 2, pruned_heads: {} })).toEqual(read({}));
  });
});
