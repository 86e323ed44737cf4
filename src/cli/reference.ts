import type { ModelConfig } from '../config.js';
import { prepareCall, type Call, type InferInput } from '../engine/call.js';
import type { InferResult } from '../engine/model.js';
import { attendedPairs, type Macs } from '../engine/stats.js';
import { judge } from '../gate/controller.js';
import { choosePolicy } from '../gate/policy.js';
import { gateShape } from '../gate/shape.js';
import { witnessOf } from '../gate/witness.js';
import { referenceForward } from '../reference/forward.js';
import type { CheckedModel } from './model.js';

/**
 * The same call as `MincutGatedTransformer.infer`, computed by the plain TypeScript reference: same validation,
 * same gate, same witness, same bits. Needs no WebAssembly and is slow.
 */
export function inferReference({ file, payload }: CheckedModel, input: InferInput): InferResult {
  const { config } = file;
  const shape = gateShape(config, config.context);
  const chosen = choosePolicy(undefined);
  const call = prepareCall(config, shape, chosen.policy, input);
  const { layers, window, tokens, positions } = call;
  const { values, kernelCalls } = referenceForward(file, payload, { tokens, positions, layers, window });
  const stats = {
    // One attention call a layer, counted where it ran.
    layersExecuted: kernelCalls.attention ?? 0,
    macs: macsOf(config, call),
    kernelCalls,
    build: 'reference' as const,
    relaxedDot: 0,
  };
  const verdict = judge(call.gate, call.spikes, { ...chosen, scheduler: false }, shape);
  const witness = witnessOf(call.gate, verdict, stats.layersExecuted, chosen.policyId);
  return config.kind === 'encoder'
    ? { kind: 'embedding', embedding: values, witness, stats }
    : { kind: 'logits', logits: values, witness, stats };
}

/** Multiply-accumulates of a call in closed form, unpadded; the wasm engine counts its own as it runs. */
export function macsOf(
  config: ModelConfig,
  { layers, window, tokens }: Pick<Call, 'layers' | 'window' | 'tokens'>,
): Macs {
  const { hidden, heads, kvHeads, headDim, ffn, gatedFfn, causal, vocab } = config;
  const rows = tokens.length;
  const attentionMaps = hidden * headDim * (2 * heads + 2 * kvHeads);
  const ffnMaps = hidden * ffn * (gatedFfn ? 3 : 2);
  return {
    linear: layers * rows * (attentionMaps + ffnMaps),
    attention: layers * 2 * attendedPairs(rows, 0, rows, causal, window) * heads * headDim,
    head: config.kind === 'decoder' ? vocab * hidden : 0,
    gate: 0,
  };
}
