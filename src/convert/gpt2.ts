import type { DecoderModel } from './decoder.js';
import type { DecoderConfig } from './decoder-config.js';
import { decoderOver, isTied, needTensor, type MatrixPlace, type VectorPlace } from './decoder-tensors.js';
import type { Shards } from './shards.js';

/**
 * A GPT-2-like decoder over open files, under names with and without `transformer.`. Its linear layers are Conv1D:
 * stored [inputs][outputs]; `c_attn` is q, k and v side by side. The causal masks beside them (`attn.bias`) are left alone.
 * @throws MgtError `BadFile` naming a tensor that is missing or has another shape
 */
export function gpt2Model(config: DecoderConfig, files: Shards): DecoderModel {
  const { hidden, ffn, vocab, layers, context } = config.facts;
  const prefix = files.has('transformer.wte.weight') ? 'transformer.' : '';
  const matrices = new Map<string, MatrixPlace>();
  const vectors = new Map<string, VectorPlace>();
  const conv = (name: string, tensor: string, outputs: number, inputs: number, width = outputs, first = 0): void => {
    matrices.set(name, { tensor: `${prefix}${tensor}.weight`, outputs, inputs, transposed: { width, first } });
    vectors.set(`${name}.bias`, { tensor: `${prefix}${tensor}.bias`, length: outputs, width, first });
  };
  const norm = (name: string, tensor: string): void => {
    for (const part of ['weight', 'bias']) {
      const place = { tensor: `${prefix}${tensor}.${part}`, length: hidden, width: hidden, first: 0 };
      vectors.set(`${name}.${part}`, place);
    }
  };
  const table = `${prefix}wte.weight`;
  needTensor(files, table, [vocab, hidden]);
  const tiedHead = isTied(files, config.tied, 'lm_head.weight', table, vocab);
  matrices.set('embeddings.token', { tensor: table, outputs: vocab, inputs: hidden });
  matrices.set('embeddings.position', { tensor: `${prefix}wpe.weight`, outputs: context, inputs: hidden });
  for (let i = 0; i < layers; i++) {
    const [ours, theirs] = [`layers.${i}`, `h.${i}`];
    needTensor(files, `${prefix}${theirs}.ln_1.weight`, [hidden]); // a huge count ends at the first layer it lacks
    norm(`${ours}.attention.norm`, `${theirs}.ln_1`);
    ['query', 'key', 'value'].forEach((part, n) => {
      conv(`${ours}.attention.${part}`, `${theirs}.attn.c_attn`, hidden, hidden, 3 * hidden, n * hidden);
    });
    conv(`${ours}.attention.output`, `${theirs}.attn.c_proj`, hidden, hidden);
    norm(`${ours}.ffn.norm`, `${theirs}.ln_2`);
    conv(`${ours}.ffn.up`, `${theirs}.mlp.c_fc`, ffn, hidden);
    conv(`${ours}.ffn.down`, `${theirs}.mlp.c_proj`, hidden, ffn);
  }
  norm('final.norm', 'ln_f');
  if (!tiedHead) matrices.set('head', { tensor: 'lm_head.weight', outputs: vocab, inputs: hidden });
  return decoderOver({ ...config.facts, tiedHead }, { matrices, vectors, computed: new Map() }, files);
}
