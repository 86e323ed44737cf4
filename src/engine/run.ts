import type { ModelConfig } from '../config.js';
import { MgtError } from '../errors.js';
import { upstreamStats } from '../gate/upstream.js';
import { witnessOf } from '../gate/witness.js';
import { encodeGatePacket } from '../packets/gate.js';
import { encodeSpikePacket, NEUTRAL_SPIKES } from '../packets/spike.js';
import { encodeWitness, type Witness } from '../packets/witness.js';
import type { Call, CallRules } from './call.js';
import { forward, type Pass } from './forward.js';
import type { KvFill } from './options.js';
import { copyFinite } from './output.js';
import { pieces } from './pieces.js';
import { Readout } from './readout.js';
import type { Keys, Segment } from './rows.js';
import type { Runtime } from './runtime.js';
import type { Counts, Stats } from './stats.js';

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

/** Runs of rows that attend together in a call. */
export const segmentsOf = ({ tokens, partitions, extras }: Call): Iterable<Segment> =>
  partitions ? { [Symbol.iterator]: () => pieces(partitions, extras) } : [{ first: 0, count: tokens.length }];

/**
 * Runs a prepared call; its output is in `values` afterwards. Yields where a caller may look up.
 * @returns layers run by each row that is read
 * @throws MgtError `BadWeights` where the output is not finite; `values` is untouched then but for rows of `all`
 */
export function* callSteps(
  rt: Runtime,
  call: Call,
  keys: Keys,
  fill: KvFill,
  values: Float32Array,
): Generator<void, readonly number[]> {
  const { config, plan, arena } = rt;
  const { tokens, all, firstLayer, layers, exit } = call;
  const rows = { first: 0, count: tokens.length };
  const readout =
    config.kind === 'decoder' ? new Readout(rt, { rows: rows.count, all, layers, exit }, values) : undefined;
  rt.begin();
  rt.place(tokens, call.positions);
  const pass: Pass = { ...rows, segments: segmentsOf(call), firstLayer, layers, keys, fill, readout };
  yield* forward(rt, pass);
  if (readout) {
    readout.rest();
    return readout.layers;
  }
  rt.pool(rows, config.pooling as 'mean' | 'cls', config.normalize);
  copyFinite(arena.f32, plan.at.out / 4, values, config.hidden);
  return [];
}

/**
 * The records of a call in the arena, and what the caller is told.
 * @param layers run by each row that is read
 * @param cached 1: nothing ran
 */
export function resultOf(
  rt: Runtime,
  { config, gate: rules }: CallRules,
  call: Call,
  values: Float32Array,
  layers: readonly number[],
  cached: 0 | 1 = 0,
  counts: Counts = rt.counts(),
): InferResult {
  const { arena, plan } = rt;
  const witness = witnessOf(call.gate, call.verdict, counts.layersExecuted, rules.policyId);
  encodeGatePacket(call.gate, arena.view, plan.at.gatePacket);
  encodeSpikePacket(call.spikes ?? NEUTRAL_SPIKES, arena.view, plan.at.spikePacket);
  encodeWitness(witness, arena.view, plan.at.witness);
  const upstream = upstreamStats({ hidden: config.hidden, ffn: config.ffn }, call.verdict, counts.layersExecuted);
  const stats = { ...counts, cached, layers, upstream };
  return config.kind === 'encoder'
    ? { kind: 'embedding', embedding: values, witness, stats }
    : { kind: 'logits', logits: values, witness, stats };
}
