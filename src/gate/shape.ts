import { tierShapes, type ModelConfig, type TierShapes } from '../config.js';

/** What a tier means for one loaded model. Units: layers, tokens. Plain numbers: the gate knows no model. */
export interface GateShape extends TierShapes {
  readonly layers: number;
  readonly seqLen: number;
}

/** Shape of a model loaded with `context` tokens, which may be fewer than its config allows: no tier exceeds it. */
export function gateShape(
  config: ModelConfig,
  context: number,
  tiers: TierShapes = tierShapes(config, context),
): GateShape {
  return { layers: config.layers, seqLen: context, ...tiers };
}
