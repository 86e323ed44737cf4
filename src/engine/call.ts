import type { ModelConfig } from '../config.js';
import { MgtError } from '../errors.js';
import { decide } from '../gate/decide.js';
import type { GatePolicy } from '../gate/policy.js';
import type { GateShape } from '../gate/shape.js';
import { parseGatePacket, type GatePacket } from '../packets/gate.js';
import { parseSpikePacket, type SpikePacket, type SpikePacketInput } from '../packets/spike.js';
import type { TierDecision } from '../packets/tier.js';
import { checkKeys } from '../check.js';

/** What one `infer` is asked: untrusted, straight from the caller. */
export interface InferInput {
  /** Token ids, specials included: 1..context integers below the vocabulary. */
  readonly tokens: ArrayLike<number>;
  /** Gate packet; missing fields are neutral. */
  readonly gate?: Partial<GatePacket> | undefined;
  /** Spike packet; none means no spike scheduling. */
  readonly spikes?: Partial<SpikePacketInput> | undefined;
  /** Receives the result; at least `vocab` or `hidden` long. Without it a new array is made. */
  readonly out?: Float32Array | undefined;
}

/** A checked call and what the gate made of it: tokens already cut to the tier. */
export interface Call {
  readonly gate: GatePacket;
  readonly spikes: SpikePacket | undefined;
  readonly decision: TierDecision;
  /** The tokens that will be computed, and the position each had in the input. */
  readonly tokens: Uint32Array;
  readonly positions: Uint32Array;
  readonly layers: number;
  readonly window: number;
}

/**
 * Validates one call completely and lets the gate decide it. Pure: throws before anything has changed.
 * @throws MgtError `BadInput` naming the token, packet field or option.
 */
export function prepareCall(config: ModelConfig, shape: GateShape, policy: GatePolicy, input: InferInput): Call {
  const known = checkKeys('input', input, ['tokens', 'gate', 'spikes', 'out']);
  const ids = checkTokens(known.tokens, config.vocab, shape.seqLen);
  const gate = parseGatePacket(known.gate);
  const spikes = known.spikes === undefined ? undefined : parseSpikePacket(known.spikes);
  const decision = decide(gate, spikes, policy, shape);
  const kept = keptPositions(config, ids.length, decision);
  return {
    gate,
    spikes,
    decision,
    tokens: Uint32Array.from(kept, (p) => ids[p]!),
    positions: Uint32Array.from(kept),
    layers: Math.min(decision.layersToRun, config.layers),
    // A skipped call runs no layer; its window is never read.
    window: Math.max(1, decision.effectiveWindow),
  };
}

/** @throws MgtError `BadInput` for no tokens, too many, or an id that is no integer in 0..vocab-1. */
export function checkTokens(tokens: unknown, vocab: number, context: number): ArrayLike<number> {
  const list = tokens as ArrayLike<number> | null | undefined;
  if (
    typeof list !== 'object' ||
    list === null ||
    !(Array.isArray(list) || ArrayBuffer.isView(list)) ||
    !('length' in list)
  ) {
    throw new MgtError('BadInput', 'tokens', 'an array of token ids', tokens);
  }
  const n = list.length;
  if (n < 1 || n > context) throw new MgtError('BadInput', 'tokens', `1..${context} token ids`, n);
  for (let i = 0; i < n; i++) {
    const id: unknown = list[i];
    if (typeof id !== 'number' || !Number.isInteger(id) || id < 0 || id >= vocab) {
      throw new MgtError('BadInput', `tokens[${i}]`, `an integer in 0..${vocab - 1}`, id);
    }
  }
  return list;
}

/**
 * Which input positions a tier keeps. Tier 0 keeps all. A shorter sequence keeps the most recent tokens; an
 * encoder always keeps its first and last. A skipped decoder call needs only the token that predicts.
 */
function keptPositions(config: ModelConfig, n: number, { tier, effectiveSeqLen }: TierDecision): number[] {
  const range = (from: number): number[] => Array.from({ length: n - from }, (_, i) => from + i);
  if (tier === 3) return config.kind === 'decoder' ? [n - 1] : range(0);
  const keep = Math.min(n, Math.max(effectiveSeqLen, config.kind === 'encoder' ? 2 : 1));
  if (keep === n) return range(0);
  return config.kind === 'encoder' ? [0, ...range(n - keep + 1)] : range(n - keep);
}
