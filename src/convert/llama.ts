import type { DecoderModel } from './decoder.js';
import type { DecoderConfig } from './decoder-config.js';
import { decoderOver, isTied, needTensor, type MatrixPlace, type VectorPlace } from './decoder-tensors.js';
import type { Shards } from './shards.js';

/**
 * A Llama-like decoder (llama, mistral, qwen2) over open files, under names with and without `model.`. Its rows are as
 * Hugging Face stores them: RoPE turns dimension i with i + headDim / 2. Other tensors (`rotary_emb.inv_freq`) are left alone.
 * @throws MgtError `BadFile` naming a tensor that is missing or has another shape
 */
export function llamaModel(config: DecoderConfig, files: Shards): DecoderModel {
  const { bias, ropeFactors } = config;
  const { hidden, heads, kvHeads, headDim, ffn, vocab, layers } = config.facts;
  const prefix = files.has('model.embed_tokens.weight') || !files.has('embed_tokens.weight') ? 'model.' : '';
  const matrices = new Map<string, MatrixPlace>();
  const vectors = new Map<string, VectorPlace>();
  const linear = (name: string, tensor: string, outputs: number, inputs: number, biased: boolean): void => {
    matrices.set(name, { tensor: `${prefix}${tensor}.weight`, outputs, inputs });
    if (biased) vector(`${name}.bias`, `${tensor}.bias`, outputs);
  };
  const vector = (name: string, tensor: string, length: number): void => {
    vectors.set(name, { tensor: prefix + tensor, length, width: length, first: 0 });
  };
  const table = `${prefix}embed_tokens.weight`;
  needTensor(files, table, [vocab, hidden]);
  const tiedHead = isTied(files, config.tied, 'lm_head.weight', table, vocab);
  matrices.set('embeddings.token', { tensor: table, outputs: vocab, inputs: hidden });
  for (let i = 0; i < layers; i++) {
    const p = `layers.${i}`; // here as there
    needTensor(files, `${prefix}${p}.input_layernorm.weight`, [hidden]); // a huge count ends at the first layer it lacks
    vector(`${p}.attention.norm.weight`, `${p}.input_layernorm.weight`, hidden);
    linear(`${p}.attention.query`, `${p}.self_attn.q_proj`, heads * headDim, hidden, bias.qkv);
    linear(`${p}.attention.key`, `${p}.self_attn.k_proj`, kvHeads * headDim, hidden, bias.qkv);
    linear(`${p}.attention.value`, `${p}.self_attn.v_proj`, kvHeads * headDim, hidden, bias.qkv);
    linear(`${p}.attention.output`, `${p}.self_attn.o_proj`, hidden, heads * headDim, bias.output);
    vector(`${p}.ffn.norm.weight`, `${p}.post_attention_layernorm.weight`, hidden);
    linear(`${p}.ffn.gate`, `${p}.mlp.gate_proj`, ffn, hidden, bias.ffn);
    linear(`${p}.ffn.up`, `${p}.mlp.up_proj`, ffn, hidden, bias.ffn);
    linear(`${p}.ffn.down`, `${p}.mlp.down_proj`, hidden, ffn, bias.ffn);
  }
  vector('final.norm.weight', 'norm.weight', hidden);
  if (!tiedHead) matrices.set('head', { tensor: 'lm_head.weight', outputs: vocab, inputs: hidden });
  const computed = new Map(ropeFactors ? [['rope.factors', ropeFactors]] : []);
  return decoderOver({ ...config.facts, tiedHead }, { matrices, vectors, computed }, files);
}
