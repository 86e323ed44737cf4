import type { ModelConfig } from '../config.js';
import { MgtError } from '../errors.js';
import { upstreamStats } from '../gate/upstream.js';
import { witnessOf } from '../gate/witness.js';
import { encodeGatePacket } from '../packets/gate.js';
import { encodeSpikePacket, NEUTRAL_SPIKES } from '../packets/spike.js';
import { encodeWitness, type Witness } from '../packets/witness.js';
import type { Call, CallRules } from './call.js';
import { forward, logits, type Pass } from './forward.js';
import type { KvFill } from './options.js';
import { copyFinite } from './output.js';
import { pieces } from './pieces.js';
import type { Keys, Runtime } from './runtime.js';
import type { Stats } from './stats.js';

/** The answer to one `infer`. Exactly one of `embedding` (encoders) and `logits` (decoders) is there. */
export interface InferResult {
  readonly kind: 'embedding' | 'logits';
  /** f32[hidden] */
  readonly embedding?: Float32Array;
  /** f32[vocab] of the last position; with `all` f32[n][vocab] of every token that was computed */
  readonly logits?: Float32Array;
  readonly witness: Witness;
  readonly stats: Stats;
}

/** Values of one output: of an encoder's embedding, of a decoder's row of logits. */
export const outputSize = (config: ModelConfig): number => (config.kind === 'encoder' ? config.hidden : config.vocab);

/** Values of the output a call asks for. */
export const callSize = (config: ModelConfig, { all, tokens }: Call): number =>
  (all ? tokens.length : 1) * outputSize(config);

/** @throws MgtError `BadInput`, `OutputTooSmall` */
export function outputFor(out: unknown, size: number): Float32Array {
  if (out === undefined) return new Float32Array(size);
  if (!(out instanceof Float32Array)) throw new MgtError('BadInput', 'out', 'a Float32Array', out);
  if (out.length < size) throw new MgtError('OutputTooSmall', 'out', `at least ${size} values`, out.length);
  return out;
}

/** Keys of a pass that sees no session: its own rows, in scratch. */
export const ownKeys = (window: number, extras: readonly number[] = []): Keys => ({
  base: 0,
  stored: [],
  kept: [],
  scratch: true,
  window,
  extras,
});

/** The pass of a prepared call, its rows put in place. */
export function passOf(rt: Runtime, call: Call, keys: Keys, fill: KvFill): Pass {
  const rows = call.tokens.length;
  rt.begin();
  rt.place(call.tokens, call.positions);
  const { firstLayer, layers, partitions, extras } = call;
  const segments = partitions ? { [Symbol.iterator]: () => pieces(partitions, extras) } : [{ first: 0, count: rows }];
  return { rows, segments, firstLayer, layers, keys, fill };
}

/**
 * The output of a pass that has run, into `values`.
 * @throws MgtError `BadWeights` where it is not finite; `values` is untouched then but for rows of `all` before the first such one
 */
export function readOutput(rt: Runtime, { tokens, all }: Call, values: Float32Array): void {
  const { config, plan, arena } = rt;
  const { f32 } = arena;
  const rows = tokens.length;
  if (config.pooling !== 'none') {
    rt.pool({ first: 0, count: rows }, config.pooling, config.normalize);
    return copyFinite(f32, plan.at.out / 4, values, config.hidden);
  }
  for (let first = all ? 0 : rows - 1; first < rows; first += plan.headRows) {
    const count = Math.min(plan.headRows, rows - first);
    logits(rt, first, count);
    const at = all ? first * config.vocab : 0;
    copyFinite(f32, plan.at.out / 4, values.subarray(at), count * config.vocab);
  }
}

/**
 * Runs a prepared call; its output is in `values` afterwards. Yields where a caller may look up.
 * @throws MgtError `BadWeights` where the output is not finite
 */
export function* callSteps(rt: Runtime, call: Call, keys: Keys, fill: KvFill, values: Float32Array): Generator<void> {
  yield* forward(rt, passOf(rt, call, keys, fill));
  readOutput(rt, call, values);
}

/** The records of a call in the arena, and what the caller is told. `cached`: nothing ran since `begin`. */
export function resultOf(
  rt: Runtime,
  { config, gate: rules }: CallRules,
  call: Call,
  values: Float32Array,
  cached: 0 | 1,
): InferResult {
  const { arena, plan } = rt;
  const counts = rt.counts();
  const witness = witnessOf(call.gate, call.verdict, counts.layersExecuted, rules.policyId);
  encodeGatePacket(call.gate, arena.view, plan.at.gatePacket);
  encodeSpikePacket(call.spikes ?? NEUTRAL_SPIKES, arena.view, plan.at.spikePacket);
  encodeWitness(witness, arena.view, plan.at.witness);
  const upstream = upstreamStats({ hidden: config.hidden, ffn: config.ffn }, call.verdict, counts.layersExecuted);
  const stats = { ...counts, cached, upstream };
  return config.kind === 'encoder'
    ? { kind: 'embedding', embedding: values, witness, stats }
    : { kind: 'logits', logits: values, witness, stats };
}
