import { tierShapes, type ModelConfig } from '../config.js';

/** What a tier means for one loaded model. Units: layers, tokens. Plain numbers: the gate knows no model. */
export interface GateShape {
  readonly layers: number;
  readonly layersDegraded: number;
  readonly seqLen: number;
  readonly seqLenDegraded: number;
  readonly seqLenSafe: number;
  readonly windowNormal: number;
  readonly windowDegraded: number;
  /** False: no decision lets the KV cache be written. */
  readonly enableKvCache: boolean;
  /** False: no decision lets the host persist or act. */
  readonly enableExternalWrites: boolean;
}

/** Shape of a model loaded with `context` tokens, which may be fewer than its config allows: no tier exceeds it. */
export function gateShape(config: ModelConfig, context: number): GateShape {
  const tiers = tierShapes(config, context);
  const within = (tokens: number): number => Math.min(tokens, context);
  return {
    layers: config.layers,
    layersDegraded: tiers.layersDegraded,
    seqLen: context,
    seqLenDegraded: within(tiers.seqLenDegraded),
    seqLenSafe: within(tiers.seqLenSafe),
    windowNormal: within(tiers.windowNormal),
    windowDegraded: within(tiers.windowDegraded),
    enableKvCache: tiers.enableKvCache,
    enableExternalWrites: tiers.enableExternalWrites,
  };
}
