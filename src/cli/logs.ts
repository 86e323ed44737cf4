import { CallLog } from '../log/log.js';
import type { CallAnswer } from './calls.js';
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
  { recorded: call, session: state }: CallAnswer,
  before: Uint8Array | 'new' | undefined,
): Promise<Uint8Array> {
  const recorded = call!;
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
