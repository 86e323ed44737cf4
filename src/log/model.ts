import type { LoadOptions, MincutGatedTransformer } from '../engine/model.js';
import type { Session } from '../engine/session.js';
import { MgtError } from '../errors.js';
import type { SpikePacket, SpikePacketInput } from '../packets/spike.js';
import { replayLog, type ReplayRunner, type ReplaySession } from './replay.js';

/** The model that a log's calls are run on. */
export interface ReplayTarget {
  /** SHA-256 of its payload, hex: `model.info.sha256`. */
  readonly sha256: string;
  /** Loads it with what calls ran under; the replay disposes of it. */
  load(options: LoadOptions): Promise<MincutGatedTransformer>;
  /** Awaited before each call: the place to look for an interrupt. */
  readonly before?: (() => Promise<void>) | undefined;
}

/**
 * Runs every call of a log again and compares output, witness and, where recorded, the state after it.
 * @throws MgtError `BadChecksum`, `BadFile`, `Truncated`, the field naming the entry at fault: `line N: NAME`, `record N: NAME`
 */
export async function replay(log: Uint8Array, target: ReplayTarget): Promise<{ calls: number; verified: number }> {
  if (!((log as unknown) instanceof Uint8Array)) throw new MgtError('BadInput', 'log', 'a Uint8Array', log);
  if (typeof (target as ReplayTarget | undefined)?.load !== 'function')
    throw new MgtError('BadInput', 'target', 'a sha256 and a load function', target);
  const runner = (of: MincutGatedTransformer | Session): ReplayRunner => ({
    async infer({ tokens, gate, spikes, signature, exit, layers }) {
      await target.before?.();
      const packets = { gate, spikes: spikes ? given(spikes) : undefined };
      const { embedding, logits, witness } = of.infer({
        ...{ tokens, ...packets, exit, layers },
        signature: signature ?? undefined,
      });
      return { output: (embedding ?? logits)!, witness };
    },
    dispose: () => of.dispose(),
  });
  const sessionRunner = (session: Session): ReplaySession => ({
    ...runner(session),
    snapshot: () => session.snapshot(),
  });
  return replayLog(log, {
    modelHash: target.sha256,
    open: async ({ energy, tiers, seed: _ofSessions, exit: _ofCalls, layers: _too, ...settings }) => {
      const model = await target.load({ ...settings, energy: energy ?? undefined, tiers: tiers ?? undefined });
      return {
        ...runner(model),
        start: ({ seed }) => sessionRunner(model.createSession({ seed })),
        restore: (snapshot) => sessionRunner(model.restore(snapshot)),
      };
    },
  });
}

/** A packet as a caller gives it: `topLen` follows from the lists. */
const given = ({ topLen: _derived, ...packet }: SpikePacket): SpikePacketInput => packet;
