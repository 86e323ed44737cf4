import type { MincutGatedTransformer } from '../engine/model.js';
import type { Settings } from '../engine/record.js';
import type { Session } from '../engine/session.js';
import type { SpikePacket, SpikePacketInput } from '../packets/spike.js';
import { CallLog } from '../log/log.js';
import type { ReplayCall, ReplayEngine, ReplayRunner } from '../log/replay.js';
import type { CallAnswer } from './calls.js';
import { catchUp } from './interrupt.js';
import { sha256Hex } from './model.js';

/** Logs of the command line: files that one call after another is added to. */

/** Names that are written in binary; any other is JSON lines. */
const BINARY = /\.(bin|mgtlog)$/i;

/**
 * The log to add a call to.
 * @param bytes the file so far; a new one where there is none
 * @throws MgtError `Truncated`, `BadFile`, `BadChecksum` where the file so far is not whole
 */
export async function openLog(bytes: Uint8Array | undefined, path: string): Promise<CallLog> {
  return bytes ? CallLog.open(bytes) : new CallLog(BINARY.test(path) ? 'binary' : 'json');
}

/**
 * The whole log with one more call and a new seal.
 * @param before the session's bytes before the call: the call goes on in the log where they are what it left, else they go in first
 */
export function appendCall(
  calls: CallLog,
  { recorded, session: state }: CallAnswer,
  before: Uint8Array | 'new' | undefined,
): Promise<Uint8Array> {
  if (!(before instanceof Uint8Array)) {
    calls.record({ ...recorded, state });
  } else {
    const session = calls.sessionWithState(sha256Hex(before));
    if (session !== undefined) calls.adopt(recorded.session!, session);
    const from = session === undefined ? 'state' : 'last';
    calls.record({ ...recorded, from, snapshot: before, state });
  }
  return calls.bytes();
}

/** A model at hand to run a log's calls on, until `signal` fires. */
export function replayEngine(model: MincutGatedTransformer, signal: AbortSignal): ReplayEngine {
  return {
    ...runner(model, signal),
    start: ({ seed }: Settings) => sessionRunner(model.createSession({ seed }), signal),
    restore: (snapshot) => sessionRunner(model.restore(snapshot), signal),
  };
}

/** A packet as a caller gives it: `topLen` follows from the lists. */
const given = ({ rateQ15, noveltyQ15, flags, fired, topIdx, topWQ15 }: SpikePacket): SpikePacketInput => ({
  rateQ15,
  noveltyQ15,
  flags,
  fired,
  topIdx,
  topWQ15,
});

const runner = (of: MincutGatedTransformer | Session, signal: AbortSignal): ReplayRunner => ({
  async infer({ tokens, gate, spikes, signature }: ReplayCall) {
    await catchUp('replay', signal);
    const result = of.infer({
      tokens,
      gate,
      spikes: spikes ? given(spikes) : undefined,
      signature: signature ?? undefined,
    });
    return { output: (result.embedding ?? result.logits)!, witness: result.witness };
  },
  dispose: () => of.dispose(),
});

const sessionRunner = (session: Session, signal: AbortSignal): ReplayRunner & { snapshot(): Uint8Array } => ({
  ...runner(session, signal),
  snapshot: () => session.snapshot(),
});
