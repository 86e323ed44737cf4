import { createHash } from 'node:crypto';
import { MgtError } from '../../src/errors.js';
import type { RecordedCall, Recorder, Settings } from '../../src/engine/record.js';
import type { ReplayCall, ReplayModel, ReplayResult, ReplaySession } from '../../src/log/replay.js';
import { NEUTRAL_GATE, type GatePacket } from '../../src/packets/gate.js';
import type { SpikePacket } from '../../src/packets/spike.js';
import type { Witness } from '../../src/packets/witness.js';

export const sha = (...parts: (Uint8Array | string)[]): string => {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest('hex');
};

export const SETTINGS: Settings = {
  context: 32,
  policy: 'default',
  energy: null,
  scheduler: false,
  partitions: false,
  tiers: null,
  layerOrder: 'first',
  kvFill: 'propagate',
  sinks: 0,
  seed: 7,
};

/** The witness a full run of the packet would leave; its keys stand in another order than the record's. */
export function witnessFor(gate: GatePacket, position: number): Witness {
  return {
    tier: 0,
    policyId: 0,
    flags: 0,
    layersExecuted: 2,
    externalWritesEnabled: 1,
    kvWritesEnabled: 1,
    reason: 'None',
    decision: 'Allow',
    lambda: gate.lambda,
    lambdaPrev: gate.lambdaPrev,
    lambdaDelta:
      gate.lambda - gate.lambdaPrev > 2 ** 31 - 1 ? 2 ** 31 - 1 : Math.max(gate.lambda - gate.lambdaPrev, -(2 ** 31)),
    topBoundaryEdgeIds: [0, 0, 0, 0, 0, 0, 0, 0],
    effectiveSeqLen: 32,
    effectiveWindow: position % 65536,
    boundaryEdges: gate.boundaryEdges,
    boundaryConcentrationQ15: gate.boundaryConcentrationQ15,
    partitionCount: gate.partitionCount,
  };
}

/** Something that has state and bits: an LCG over tokens and a weight. It counts what is open. */
export class FakeEngine {
  open = 0;
  runs = 0;
  constructor(readonly weight: number) {}

  session(state: number): ReplaySession {
    let now = state >>> 0;
    this.open++;
    return {
      infer: ({ tokens, gate, signature }) => {
        this.runs++;
        for (const token of tokens)
          now = (Math.imul(now, 1664525) + token + this.weight + Number(signature ?? 0n)) >>> 0;
        const output = Float32Array.of((now & 0xffff) / 3, -(now >>> 16), this.weight);
        return { output, witness: witnessFor(gate, now % 16) };
      },
      snapshot: () => Uint8Array.from({ length: 4 }, (_, i) => (now >>> (8 * i)) & 255),
      dispose: () => void this.open--,
    };
  }

  restore(snapshot: Uint8Array): ReplaySession {
    if (snapshot.length !== 4) throw new MgtError('Truncated', 'snapshot', '4 bytes', snapshot.length);
    return this.session(new DataView(snapshot.buffer, snapshot.byteOffset).getUint32(0, true));
  }

  once(call: ReplayCall): ReplayResult | Promise<ReplayResult> {
    const session = this.session(1);
    session.dispose();
    return session.infer(call);
  }
}

export const modelHash = (weight: number): string => sha(`weights ${weight}`);

export interface FakeModel extends ReplayModel {
  readonly engines: FakeEngine[];
  readonly disposed: number[];
}

export function fakeModel(weight: number, hashedAs = weight): FakeModel {
  const engines: FakeEngine[] = [];
  const disposed: number[] = [];
  return {
    modelHash: modelHash(hashedAs),
    engines,
    disposed,
    open(settings) {
      if (settings.context > 64) throw new MgtError('BadConfig', 'context', 'at most 64', settings.context);
      const engine = new FakeEngine(weight);
      const index = engines.push(engine) - 1;
      return {
        infer: (call) => engine.once(call),
        start: ({ seed }) => engine.session(seed),
        restore: (snapshot) => Promise.resolve(engine.restore(snapshot)),
        dispose: () => void disposed.push(index),
      };
    },
  };
}

export interface Step {
  /** undefined: stateless. */
  session?: number | undefined;
  from?: RecordedCall['from'];
  tokens: number[];
  gate?: GatePacket;
  spikes?: SpikePacket | null;
  signature?: bigint | null;
  settings?: Partial<Settings>;
  /** Record the state after. */
  keep?: boolean;
}

/** A process with its own session ids: runs steps on a fake engine, recording each as the real one does. */
export class Process {
  readonly sessions = new Map<number, ReplaySession>();
  readonly engine: FakeEngine;

  constructor(readonly weight: number) {
    this.engine = new FakeEngine(weight);
  }

  async run(log: Recorder, step: Step): Promise<RecordedCall> {
    const { session: id, tokens, gate = NEUTRAL_GATE, spikes = null, signature = null } = step;
    const settings = { ...SETTINGS, ...step.settings };
    const call = { tokens, gate, spikes, signature };
    const from = step.from ?? (id === undefined ? 'none' : this.sessions.has(id) ? 'last' : 'start');
    const common = { modelHash: modelHash(this.weight), settings, from, ...call };
    let recorded: RecordedCall;
    if (id === undefined) recorded = { ...common, ...(await this.engine.once(call)), session: null };
    else {
      const held = from === 'start' ? undefined : this.sessions.get(id);
      const session = held ?? this.engine.session(settings.seed);
      this.sessions.set(id, session);
      const snapshot = from === 'state' ? await session.snapshot() : undefined;
      const ran = await session.infer(call);
      recorded = { ...common, ...ran, session: id, snapshot, state: step.keep ? await session.snapshot() : undefined };
    }
    log.record(recorded);
    return recorded;
  }
}

/** The MgtError a promise rejects with; anything else, or nothing, fails the test. */
export async function rejection(promise: Promise<unknown>): Promise<MgtError> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof MgtError) return error;
    throw error;
  }
  throw new Error('accepted');
}

export const told = async (promise: Promise<unknown>): Promise<string> => {
  const { code, field } = await rejection(promise);
  return `${code} ${field}`;
};

export const SPIKES: SpikePacket = {
  rateQ15: 100,
  noveltyQ15: 3000,
  flags: 1,
  fired: 1,
  topLen: 2,
  topIdx: [3, 9],
  topWQ15: [32767, 5],
};

/** A short log of everything: stateless, fresh session, its state, a going on, a session that came with its state. */
export const STEPS: Step[] = [
  { tokens: [101, 7, 102] },
  { session: 40, tokens: [5, 6], signature: 2n ** 64n - 1n, keep: true },
  { session: 40, tokens: [8], spikes: SPIKES },
  { session: 40, from: 'state', tokens: [], keep: true },
];

const encoder = new TextEncoder();

/** A JSON log's lines, chained and sealed anew around edited entries: a forger who holds the file can do no more. */
export function forge(entries: object[], seal?: object): Uint8Array {
  let last = '00'.repeat(32);
  let file = '';
  const add = (entry: object): void => {
    const body = JSON.stringify(entry).slice(0, -1);
    last = sha(Buffer.from(last, 'hex'), body);
    file += `${body},"hash":"${last}"}\n`;
  };
  for (const entry of entries) add(entry);
  add(seal ?? { type: 'seal', count: entries.length, last });
  return encoder.encode(file);
}

/** The entries of a JSON log, without hashes and seal. */
export const entriesOf = (file: Uint8Array): Record<string, unknown>[] =>
  new TextDecoder()
    .decode(file)
    .trimEnd()
    .split('\n')
    .slice(0, -1)
    .map((line) => ({ ...(JSON.parse(line) as Record<string, unknown>), hash: undefined }));
