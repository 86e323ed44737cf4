import { hexOf } from '../checksum.js';
import { checkInteger, checkOneOf } from '../check.js';
import type { RecordedCall, Recorder } from '../engine/record.js';
import { MgtError } from '../errors.js';
import { sha256 } from '../format/write.js';
import { decodeBody, link, readLog, writeLog, type Link, type LogFormat } from './chain.js';
import type { Entry } from './entry.js';

/**
 * An append-only, hash-chained log of calls (docs/log.md). Give it to sessions as their recorder; `bytes()` is the file.
 * Hashing runs behind `record`; what a call hands over is held only until it is hashed.
 */
export class CallLog implements Recorder {
  readonly #links: Link[] = [];
  /** Numbers of this log's sessions, by their ids in this process. */
  readonly #numbers = new Map<number, number>();
  /** Of each session: the hash of the state after its last call, null where none was taken or it is not hashed yet. */
  readonly #states: { state: string | null }[] = [];
  /** Whose calls it holds: a log is replayed on one model. */
  #model: string | undefined;
  #length = 0;
  #work: Promise<void> = Promise.resolve();

  constructor(readonly format: LogFormat = 'json') {
    checkOneOf('format', format, ['json', 'binary']);
  }

  /**
   * A log to append to, read from a file and verified whole; its seal makes room for what follows.
   * @throws MgtError `Truncated`, `BadChecksum`, `BadFile`, the field naming the first entry at fault
   */
  static async open(bytes: Uint8Array): Promise<CallLog> {
    if (!((bytes as unknown) instanceof Uint8Array)) throw new MgtError('BadInput', 'log', 'a Uint8Array', bytes);
    const { format, links, entries } = await readLog(bytes);
    const log = new CallLog(format);
    for (const { body, hash } of links) log.#links.push({ body, hash });
    log.#length = links.length;
    for (const entry of entries) {
      if (entry.type !== 'call') continue;
      log.#model = entry.modelHash;
      if (entry.session !== null) log.#states[entry.session] = { state: entry.state };
    }
    return log;
  }

  /** Entries recorded so far, states included, the seal not. */
  get length(): number {
    return this.#length;
  }

  /** @throws MgtError `BadChecksum` at `modelHash` for another model's call than before, `BadInput` where it goes on from one this log does not hold, or lacks its state */
  record(call: RecordedCall): void {
    if (this.#model !== undefined && call.modelHash !== this.#model)
      throw new MgtError('BadChecksum', 'modelHash', this.#model, call.modelHash);
    this.#model = call.modelHash;
    const session = this.#sessionOf(call);
    const mark: { state: string | null } = { state: null };
    if (session !== null) this.#states[session] = mark;
    this.#length += call.from === 'state' ? 2 : 1;
    this.#work = this.#work.then(async () => {
      mark.state = call.state && session !== null ? hexOf(await sha256(call.state)) : null;
      const snapshot = call.from === 'state' ? call.snapshot : undefined;
      if (snapshot && session !== null) await this.#append({ type: 'state', session, snapshot });
      await this.#append({
        type: 'call',
        modelHash: call.modelHash,
        settings: call.settings,
        session,
        from: call.from,
        tokens: call.tokens,
        gate: call.gate,
        spikes: call.spikes,
        signature: call.signature === null ? null : String(call.signature),
        output: hexOf(await sha256(floatBytes(call.output))),
        witness: call.witness,
        state: mark.state,
      });
    });
    // A failure is the next reader's: `bytes` rejects with it.
    this.#work.catch(() => {});
  }

  /**
   * The whole file with its seal, calls recorded so far included; in another form than the log's own it is a new chain over
   * the same entries.
   */
  async bytes(format: LogFormat = this.format): Promise<Uint8Array> {
    await this.#work;
    if (format === this.format) return writeLog(format, this.#links);
    const chain: Link[] = [];
    for (const { body } of this.#links) chain.push(await link(format, decodeBody(this.format, body), chain.at(-1)));
    return writeLog(format, chain);
  }

  /** The session of this log whose last call left a state of this SHA-256 (hex), for `adopt`. Calls not hashed yet have none. */
  sessionWithState(sha256Hex: string): number | undefined {
    const session = this.#states.map(({ state }) => state).lastIndexOf(sha256Hex);
    return session < 0 ? undefined : session;
  }

  /** From now on calls of the process's session `id` go on in the log's `session`. @throws MgtError `BadInput` */
  adopt(id: number, session: number): void {
    this.#numbers.set(id, checkInteger('session', session, 0, this.#states.length - 1));
  }

  /** The log's number of a call's session: a new one for a fresh session, or for one that comes with its state. */
  #sessionOf({ session: id, from, snapshot }: RecordedCall): number | null {
    if ((id === null) !== (from === 'none'))
      throw new MgtError('BadInput', 'from', 'none without a session only', from);
    if (id === null) return null;
    const known = from === 'start' ? undefined : this.#numbers.get(id);
    if (from === 'last' && known === undefined) throw new MgtError('BadInput', 'session', 'one in this log', id);
    if (from === 'state' && !snapshot)
      throw new MgtError('BadInput', 'snapshot', 'the state before the call', snapshot);
    const session = known ?? this.#states.length;
    this.#numbers.set(id, session);
    return session;
  }

  async #append(entry: Entry): Promise<void> {
    this.#links.push(await link(this.format, entry, this.#links.at(-1)));
  }
}

/** Values as they lie in memory: little-endian on every machine that runs the kernels. */
export const floatBytes = (values: Float32Array): Uint8Array =>
  new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
