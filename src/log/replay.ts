import { hexOf } from '../checksum.js';
import type { ExitOptions } from '../engine/exit.js';
import type { Settings } from '../engine/record.js';
import { MgtError } from '../errors.js';
import { sha256 } from '../format/write.js';
import type { GatePacket } from '../packets/gate.js';
import type { SpikePacket } from '../packets/spike.js';
import { witnessBytes, type Witness } from '../packets/witness.js';
import { placeOf, readLog, relocated } from './chain.js';
import type { CallEntry, StateEntry } from './entry.js';
import { floatBytes } from './log.js';

/** What a log needs of an engine to run its calls again. */
export interface ReplayModel {
  /** SHA-256 of the payload of the model at hand, lower-case hex. */
  readonly modelHash: string;
  /** Once for each set of settings that differ in more than the seed. */
  open(settings: Settings): ReplayEngine | Promise<ReplayEngine>;
}

export interface ReplayEngine extends ReplayRunner {
  /** A fresh session; only the seed may differ from the settings opened with. */
  start(settings: Settings): ReplaySession | Promise<ReplaySession>;
  restore(snapshot: Uint8Array): ReplaySession | Promise<ReplaySession>;
}

export interface ReplayRunner {
  infer(call: ReplayCall): ReplayResult | Promise<ReplayResult>;
  dispose(): void;
}

export interface ReplaySession extends ReplayRunner {
  snapshot(): Uint8Array | Promise<Uint8Array>;
}

export interface ReplayCall {
  readonly tokens: readonly number[];
  readonly gate: GatePacket;
  readonly spikes: SpikePacket | null;
  readonly signature: bigint | null;
  readonly exit?: ExitOptions | undefined;
  readonly layers?: number | undefined;
}

export interface ReplayResult {
  readonly output: Float32Array;
  readonly witness: Witness;
}

/**
 * Runs every call of a log again and compares output, witness and, where recorded, the state after it. The whole chain
 * is verified first, and that every call is this model's.
 * @throws MgtError `BadChecksum` at `line N: modelHash`, `output`, `witness` or `state`; else as `readLog`, or as the engine
 */
export async function replayLog(bytes: Uint8Array, model: ReplayModel): Promise<{ calls: number; verified: number }> {
  const { format, entries } = await readLog(bytes);
  const at = (index: number): string => placeOf(format, index);
  const lastCall = new Map<number, number>();
  const lastUse = new Map<string, number>();
  let calls = 0;
  entries.forEach((entry, i) => {
    if (entry.type !== 'call') return;
    calls++;
    same(`${at(i)}: modelHash`, entry.modelHash, model.modelHash);
    lastUse.set(engineKey(entry.settings), i);
    if (entry.session !== null) lastCall.set(entry.session, i);
  });
  const engines = new Engines(model);
  let verified = 0;
  try {
    for (const [i, entry] of entries.entries()) {
      if (entry.type !== 'call') continue;
      const before = entries[i - 1];
      try {
        const runner = await engines.runner(entry, before?.type === 'state' ? before : undefined);
        const { exit, layers } = entry.settings;
        const call = { ...entry, exit, layers, signature: bigintOf(entry.signature) };
        const { output, witness } = await runner.infer(call);
        same('output', entry.output, hexOf(await sha256(floatBytes(output))));
        same('witness', hexOf(witnessBytes(entry.witness)), hexOf(witnessBytes(witness)));
        if (entry.state !== null)
          same('state', entry.state, hexOf(await sha256(await engines.snapshot(entry.session))));
      } catch (error) {
        throw relocated(at(i), error);
      }
      if (entry.session !== null && lastCall.get(entry.session) === i) engines.end(entry.session);
      engines.release((key) => lastUse.get(key)! > i);
      verified++;
    }
  } finally {
    engines.dispose();
  }
  return { calls, verified };
}

const bigintOf = (decimal: string | null): bigint | null => (decimal === null ? null : BigInt(decimal));

function same(field: string, recorded: string, found: string): void {
  if (recorded !== found) throw new MgtError('BadChecksum', field, recorded, found);
}

/** Settings that one engine serves: it makes sessions of any seed and calls with any exits. */
const engineKey = ({ exit: _ofCall, layers: _too, ...settings }: Settings): string =>
  JSON.stringify({ ...settings, seed: 0 });

/** The engines and sessions a replay holds open, by settings and by the log's numbers. */
class Engines {
  readonly #engines = new Map<string, ReplayEngine>();
  readonly #sessions = new Map<number, { session: ReplaySession; key: string }>();

  constructor(readonly model: ReplayModel) {}

  /** Where the call runs: the engine itself, or its session in the state the call began with. */
  async runner(call: CallEntry, state: StateEntry | undefined): Promise<ReplayRunner> {
    const key = engineKey(call.settings);
    const engine = this.#engines.get(key) ?? (await this.model.open(call.settings));
    this.#engines.set(key, engine);
    if (call.session === null) return engine;
    const held = this.#sessions.get(call.session);
    if (call.from === 'last' && held?.key === key) return held.session;
    // Other settings than at the last call: the session goes on where those are in force.
    const snapshot = state?.snapshot ?? (call.from === 'last' ? await held?.session.snapshot() : undefined);
    const session = await (snapshot ? engine.restore(snapshot) : engine.start(call.settings));
    this.end(call.session);
    this.#sessions.set(call.session, { session, key });
    return session;
  }

  async snapshot(number: number | null): Promise<Uint8Array> {
    const held = number === null ? undefined : this.#sessions.get(number);
    if (!held) throw new MgtError('BadFile', 'session', 'one that runs', number);
    return held.session.snapshot();
  }

  end(number: number): void {
    this.#sessions.get(number)?.session.dispose();
    this.#sessions.delete(number);
  }

  /** Disposes the engines that no later call needs, and no session that goes on elsewhere still lies in. */
  release(needed: (key: string) => boolean): void {
    const held = new Set([...this.#sessions.values()].map(({ key }) => key));
    for (const [key, engine] of this.#engines) {
      if (needed(key) || held.has(key)) continue;
      engine.dispose();
      this.#engines.delete(key);
    }
  }

  dispose(): void {
    for (const number of [...this.#sessions.keys()]) this.end(number);
    for (const engine of this.#engines.values()) engine.dispose();
  }
}
