import type { ModelConfig, Quant } from '../config.js';

/** Address of a linear layer's panels, their code and its shape. */
export interface Linear {
  readonly panels: number;
  readonly quant: Quant;
  readonly outputs: number;
  readonly inputs: number;
}

export interface NormWeights {
  readonly weight: number;
  /** 0 for RMSNorm. */
  readonly bias: number;
}

export interface LayerWeights {
  readonly attentionNorm: NormWeights;
  /** Smoothing vectors; 0 where the model has none. */
  readonly attentionSmooth: number;
  readonly query: Linear;
  readonly key: Linear;
  readonly value: Linear;
  readonly output: Linear;
  readonly ffnNorm: NormWeights;
  readonly upSmooth: number;
  readonly gate: Linear | undefined;
  readonly up: Linear;
  readonly downSmooth: number;
  readonly down: Linear;
}

/** Where every weight lies: addresses looked up once, so that the forward pass never searches by name. */
export interface Weights {
  readonly token: Linear;
  /** f32[context][hidden]; 0 without learned positions. */
  readonly position: number;
  readonly embeddingNorm: NormWeights | undefined;
  /** f32[headDim / 2]; 0 where RoPE has no factors. */
  readonly ropeFactors: number;
  readonly layers: readonly LayerWeights[];
  readonly finalNorm: NormWeights | undefined;
  /** The output head of a decoder: its own panels or the token table. */
  readonly head: Linear | undefined;
}

/** Resolves the plan's tensor addresses by name. */
export function locateWeights(c: ModelConfig, addresses: ReadonlyMap<string, number>): Weights {
  const at = (name: string): number => addresses.get(name) ?? 0;
  const wide = new Set(['embeddings.token', ...(c.int8Tensors ?? [])]);
  const linear = (name: string, outputs: number, inputs: number): Linear => ({
    ...{ panels: at(name), outputs, inputs },
    quant: wide.has(name) ? 'int8' : c.quant,
  });
  const norm = (name: string): NormWeights => ({ weight: at(`${name}.weight`), bias: at(`${name}.bias`) });
  const qDim = c.heads * c.headDim;
  const kvDim = c.kvHeads * c.headDim;
  const token = linear('embeddings.token', c.vocab, c.hidden);
  return {
    token,
    position: at('embeddings.position'),
    embeddingNorm: c.normPlace === 'post' ? norm('embeddings.norm') : undefined,
    ropeFactors: at('rope.factors'),
    layers: Array.from({ length: c.layers }, (_, i) => {
      const p = `layers.${i}`;
      return {
        attentionNorm: norm(`${p}.attention.norm`),
        attentionSmooth: at(`${p}.attention.smooth`),
        query: linear(`${p}.attention.query`, qDim, c.hidden),
        key: linear(`${p}.attention.key`, kvDim, c.hidden),
        value: linear(`${p}.attention.value`, kvDim, c.hidden),
        output: linear(`${p}.attention.output`, c.hidden, qDim),
        ffnNorm: norm(`${p}.ffn.norm`),
        upSmooth: at(`${p}.ffn.up.smooth`),
        gate: c.gatedFfn ? linear(`${p}.ffn.gate`, c.ffn, c.hidden) : undefined,
        up: linear(`${p}.ffn.up`, c.ffn, c.hidden),
        downSmooth: at(`${p}.ffn.down.smooth`),
        down: linear(`${p}.ffn.down`, c.hidden, c.ffn),
      };
    }),
    finalNorm: c.normPlace === 'pre' ? norm('final.norm') : undefined,
    head: c.kind === 'encoder' ? undefined : c.tiedHead ? token : linear('head', c.vocab, c.hidden),
  };
}
