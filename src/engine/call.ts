import { checkInteger, checkKeys } from '../check.js';
import type { ModelConfig } from '../config.js';
import { MgtError } from '../errors.js';
import { judge, type GateRules, type Verdict } from '../gate/controller.js';
import { partitionMask, type PartitionMask } from '../gate/partitions.js';
import type { GateShape } from '../gate/shape.js';
import { parseGatePacket, type GatePacket } from '../packets/gate.js';
import { parseSpikePacket, SPIKE_FLAGS, type SpikePacket, type SpikePacketInput } from '../packets/spike.js';
import { checkExit, checkLayers, type ExitOptions, type ExitRule } from './exit.js';
import type { RunOptions } from './options.js';

/** What one `infer` is asked: untrusted, straight from the caller. */
export interface InferInput {
  /** Token ids, specials included: 1..context integers below the vocabulary. */
  readonly tokens: ArrayLike<number>;
  /** Gate packet; missing fields are neutral. */
  readonly gate?: Partial<GatePacket> | undefined;
  /** Spike packet; none means no spike scheduling. */
  readonly spikes?: Partial<SpikePacketInput> | undefined;
  /**
   * The caller's name for this input, u64: a session keeps the output under it and answers a later skip of the same name with it.
   * `signatureOf(tokens)` makes one. A stateless call keeps nothing.
   */
  readonly signature?: bigint | number | undefined;
  /** Logits of every token instead of the last one's (decoders). */
  readonly all?: boolean | undefined;
  /** When tokens whose logits are asked for may leave before the last layer (decoders); the others run through all. */
  readonly exit?: ExitOptions | undefined;
  /** Of the layers that the gate lets run at most the first so many, 1..layers (decoders). */
  readonly layers?: number | undefined;
  /** Receives the result; at least as long as it. Without it a new array is made. */
  readonly out?: Float32Array | undefined;
}

/** What every call of a model is judged by. */
export interface CallRules {
  readonly config: ModelConfig;
  readonly shape: GateShape;
  readonly gate: GateRules;
  /** Attention keeps to the gate packet's partitions (default false). */
  readonly partitions?: boolean | undefined;
}

/** What stands before a call's own tokens. */
export interface Past {
  /** Tokens in the KV cache. */
  readonly stored: number;
  /** Position of the call's first token. */
  readonly position: number;
  /** Place of the stored token of this position in logical order, or -1. */
  indexOf(position: number): number;
}

export const NO_PAST: Past = { stored: 0, position: 0, indexOf: () => -1 };

/** Positions end where the RoPE table's sine stops being exact (docs/numbers.md). */
export const MAX_POSITION = 2 ** 20;

/** Longest context a model can be loaded for: its own, or beyond it with dynamic NTK, which is made for that. */
export const largestContext = ({ context, rope }: ModelConfig): number => (rope?.dynamic ? MAX_POSITION : context);

/** A checked call and what the gate made of it. */
export interface Call {
  readonly gate: GatePacket;
  readonly spikes: SpikePacket | undefined;
  readonly signature: bigint | undefined;
  readonly all: boolean;
  readonly verdict: Verdict;
  /** What the caller gave, and what of it will be computed, each with its position. */
  readonly given: Uint32Array;
  readonly tokens: Uint32Array;
  readonly positions: Uint32Array;
  /** Layers that run: `layers` of them from `firstLayer` on, of a row that exits fewer. */
  readonly firstLayer: number;
  readonly layers: number;
  /** `layers` as the caller gave it. */
  readonly maxLayers: number | undefined;
  readonly exit: ExitRule | undefined;
  /** Attention window in tokens, at least 1. */
  readonly window: number;
  /** Key indices seen beside the window, ascending: sinks, and the spike packet's sparse set. Stored keys come first, then the call's own. */
  readonly extras: readonly number[];
  /** How many of the extras are the first keys, sinks. */
  readonly sinks: number;
  /** What a row sees of the call's rows, where that is not all before it: two blocks or more. */
  readonly partitions: PartitionMask | undefined;
  /** The KV cache is emptied before the call. */
  readonly flush: boolean;
  /** The session keeps the call: K/V, position, signature cache. */
  readonly write: boolean;
}

/**
 * Validates one call completely and lets the gate decide it. Pure: throws before anything has changed.
 * @throws MgtError `BadInput` naming the token, packet field or option.
 */
export function prepareCall(rules: CallRules, run: RunOptions, past: Past, input: InferInput): Call {
  const { config, shape } = rules;
  const known = checkKeys('input', input, ['tokens', 'gate', 'spikes', 'signature', 'all', 'exit', 'layers', 'out']);
  const given = checkTokens(known.tokens, config.vocab, shape.seqLen);
  const gate = parseGatePacket(known.gate);
  const spikes = known.spikes === undefined ? undefined : parseSpikePacket(known.spikes);
  const signature = checkSignature(known.signature);
  const all = checkAll(known.all, config);
  const exit = checkExit(known.exit, config);
  const maxLayers = checkLayers(known.layers, config);
  const verdict = judge(gate, spikes, rules.gate, shape);

  const flush = verdict.decision === 'FlushKv' && verdict.skip === 0;
  const before = flush ? NO_PAST : past;
  checkPositions(config, shape.seqLen, before.position, given.length);
  const decoder = config.kind === 'decoder';
  const kept = keptIndices(config, given.length, verdict, Math.max(0, run.sinks - before.stored), all);
  const decided = Math.min(verdict.layersToRun, config.layers);
  // A skipped call runs no layer; its window is never read.
  const tierWindow = Math.max(1, verdict.effectiveWindow);
  const window = decoder ? Math.min(tierWindow, shape.seqLen - run.sinks) : tierWindow;
  const sinks = window < shape.windowNormal ? Math.min(run.sinks, before.stored + kept.length) : 0;
  return {
    gate,
    spikes,
    signature,
    all,
    verdict,
    given,
    tokens: Uint32Array.from(kept, (i) => given[i]!),
    positions: Uint32Array.from(kept, (i) => before.position + i),
    firstLayer: run.layerOrder === 'last' ? config.layers - decided : 0,
    layers: Math.min(decided, maxLayers ?? decided),
    maxLayers,
    exit,
    window,
    extras: verdict.skip === 1 ? [] : extraKeys(sinks, sparseKeys(spikes, before, kept)),
    sinks,
    partitions: partitionsOf(rules, verdict, gate, before.stored, kept.length),
    flush,
    write: verdict.kvWrites === 1,
  };
}

/** One token at full depth that the session keeps, in sight of all that full depth sees and no more: what can be run ahead. */
export function isPlain(
  { verdict, write, flush, tokens, layers, extras, sinks, exit }: Call,
  config: ModelConfig,
): boolean {
  const whole = verdict.tier === 0 && layers === config.layers && extras.length === sinks;
  return whole && write && !flush && tokens.length === 1 && !exit;
}

/**
 * A copy of the tokens, each read once: what was checked is what runs, whatever the caller's list does meanwhile.
 * @throws MgtError `BadInput` for no tokens, too many, or an id that is no integer in 0..vocab-1.
 */
export function checkTokens(tokens: unknown, vocab: number, context: number): Uint32Array {
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
  const ids = new Uint32Array(n);
  for (let i = 0; i < n; i++) {
    const id: unknown = list[i];
    if (typeof id !== 'number' || !Number.isInteger(id) || id < 0 || id >= vocab) {
      throw new MgtError('BadInput', `tokens[${i}]`, `an integer in 0..${vocab - 1}`, id);
    }
    ids[i] = id;
  }
  return ids;
}

const U64_MAX = 2n ** 64n - 1n;

/** @throws MgtError `BadInput` for anything but a u64 as bigint or safe integer. */
function checkSignature(value: unknown): bigint | undefined {
  if (value === undefined) return undefined;
  if (typeof value === 'bigint') {
    if (value >= 0n && value <= U64_MAX) return value;
    throw new MgtError('BadInput', 'signature', `an integer in 0..${U64_MAX}`, value);
  }
  return BigInt(checkInteger('signature', value, 0, Number.MAX_SAFE_INTEGER));
}

function checkAll(value: unknown, { kind }: ModelConfig): boolean {
  if (value === undefined || value === false) return false;
  if (value !== true) throw new MgtError('BadInput', 'all', 'true or false', value);
  if (kind === 'encoder') throw new MgtError('UnsupportedMode', 'all', 'a decoder', 'an encoder');
  return true;
}

/** A table of learned positions ends; RoPE goes on as far as its arithmetic is exact. */
function checkPositions(config: ModelConfig, context: number, position: number, n: number): void {
  if (config.kind === 'encoder') return;
  const end = config.positions === 'learned' ? context : MAX_POSITION;
  if (position + n > end) {
    throw new MgtError('BadInput', 'tokens', `at most ${end - position} more tokens in this session`, n);
  }
}

/**
 * Which of n given tokens a tier keeps. A shorter sequence keeps the most recent ones; an encoder always keeps its first and last, a
 * decoder those that are to be sinks (at most half of what it keeps). A skipped decoder call needs only the tokens whose logits are asked for.
 */
function keptIndices(
  config: ModelConfig,
  n: number,
  { tier, effectiveSeqLen }: Verdict,
  sinks: number,
  all: boolean,
): number[] {
  const decoder = config.kind === 'decoder';
  const keep = tier === 3 ? (decoder && !all ? 1 : n) : Math.min(n, Math.max(effectiveSeqLen, decoder ? 1 : 2));
  const lead = keep === n ? 0 : decoder ? Math.min(sinks, keep >> 1) : 1;
  return Array.from({ length: keep }, (_, i) => (i < lead ? i : n - keep + i));
}

/** Key indices of a spike packet's list: places in the input, or positions of the session with CONTEXT. Unknown ones are ignored. */
function sparseKeys(spikes: SpikePacket | undefined, past: Past, kept: readonly number[]): number[] {
  if (!spikes || (spikes.flags & SPIKE_FLAGS.SPARSE_MASK) === 0) return [];
  const inContext = (spikes.flags & SPIKE_FLAGS.CONTEXT) !== 0;
  return spikes.topIdx
    .map((index) => {
      const stored = inContext ? past.indexOf(index) : -1;
      if (stored >= 0) return stored;
      const row = kept.indexOf(inContext ? index - past.position : index);
      return row < 0 ? -1 : past.stored + row;
    })
    .filter((key) => key >= 0);
}

/** The mask of a full-tier call of a causal model that starts from an empty cache; none where it is dense. */
function partitionsOf(
  { config, gate: { policy }, partitions }: CallRules,
  { tier }: Verdict,
  gate: GatePacket,
  stored: number,
  n: number,
): PartitionMask | undefined {
  if (!partitions || !config.causal || tier !== 0 || stored > 0) return undefined;
  const mask = partitionMask(gate, n, policy.lambdaMin);
  return mask.blocks.length > 1 ? mask : undefined;
}

export const extraKeys = (sinks: number, sparse: readonly number[]): number[] =>
  [...new Set([...Array.from({ length: sinks }, (_, i) => i), ...sparse])].sort((a, b) => a - b);
