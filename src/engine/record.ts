import type { TierShapes } from '../config.js';
import { MgtError } from '../errors.js';
import type { EnergyConfig } from '../gate/energy.js';
import type { GatePolicy, PolicyName } from '../gate/policy.js';
import type { GatePacket } from '../packets/gate.js';
import type { SpikePacket } from '../packets/spike.js';
import type { Witness } from '../packets/witness.js';
import type { Call } from './call.js';
import type { ExitRule } from './exit.js';
import type { KvFill, LayerOrder } from './options.js';
import type { InferResult } from './run.js';

/** What a call ran under, besides its input: enough to run it again elsewhere. */
export interface Settings {
  readonly context: number;
  readonly policy: PolicyName | GatePolicy;
  /** null: no energy gate. */
  readonly energy: EnergyConfig | null;
  readonly scheduler: boolean;
  readonly partitions: boolean;
  /** Tier shapes given at load; null: the model's own. */
  readonly tiers: TierShapes | null;
  readonly layerOrder: LayerOrder;
  readonly kvFill: KvFill;
  readonly sinks: number;
  readonly seed: number;
  /** Of the call itself, where it was given. */
  readonly exit?: ExitRule;
  readonly layers?: number;
}

/** One call as a session hands it to a log: everything is a copy. */
export interface RecordedCall {
  /** SHA-256 of the model's payload, lower-case hex. */
  readonly modelHash: string;
  readonly settings: Settings;
  /** Unique in the process; null for a stateless call. */
  readonly session: number | null;
  /** What state the call began with: none (stateless), a fresh session, what the session's last recorded call left, `snapshot`. */
  readonly from: 'none' | 'start' | 'last' | 'state';
  /** With `state`: the session before the call. */
  readonly snapshot?: Uint8Array | undefined;
  readonly tokens: readonly number[];
  readonly gate: GatePacket;
  readonly spikes: SpikePacket | null;
  readonly signature: bigint | null;
  /** The embedding or logits. */
  readonly output: Float32Array;
  readonly witness: Witness;
  /** The session after the call, where a snapshot was taken. */
  readonly state?: Uint8Array | undefined;
}

/** A log holds one output of a call. @throws MgtError `UnsupportedMode` */
export function checkRecordable({ all }: Call): void {
  if (all) throw new MgtError('UnsupportedMode', 'all', 'a call that no log records', 'a recorded one');
}

/** A call as a log takes it, but for the session it belongs to. `size`: values of its output, which a caller's array may exceed. */
export function recordOf(
  modelHash: string,
  settings: Settings,
  call: Call,
  { embedding, logits, witness }: InferResult,
  size: number,
): Omit<RecordedCall, 'session' | 'from'> {
  const values = (embedding ?? logits)!;
  const { exit, maxLayers: layers } = call;
  return {
    modelHash,
    settings: { ...settings, ...(exit && { exit }), ...(layers !== undefined && { layers }) },
    tokens: Array.from(call.given),
    gate: call.gate,
    spikes: call.spikes ?? null,
    signature: call.signature ?? null,
    output: values.slice(0, size),
    witness,
  };
}

/** Takes calls as they happen. Where it throws, the session has not kept the call. */
export interface Recorder {
  record(call: RecordedCall): void;
}
