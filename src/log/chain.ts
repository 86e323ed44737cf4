import { hexOf } from '../checksum.js';
import { MgtError, show, type ErrorCode } from '../errors.js';
import { sha256 } from '../format/write.js';
import { viewOf } from '../format/header.js';
import { LITTLE_ENDIAN } from '../packets/fields.js';
import { fromBinary, fromJson, toBinary, toJson, type Entry, type StateEntry } from './entry.js';
import { concat } from './fields.js';

/** The two forms of a log file, one chain: hash = SHA-256(hash before ‖ the entry's bytes), all zero before the first. */
export type LogFormat = 'json' | 'binary';

/** An entry's bytes as they are hashed, and its hash. In JSON they end before `,"hash":`. */
export interface Link {
  readonly body: Uint8Array;
  readonly hash: Uint8Array;
}

export interface VerifiedLog {
  readonly format: LogFormat;
  /** Without the seal. */
  readonly links: readonly Link[];
  readonly entries: readonly Exclude<Entry, { type: 'seal' }>[];
}

const START = new Uint8Array(32);
const NEWLINE = 10;
const encoder = new TextEncoder();
const latin1 = new TextDecoder('latin1');
const utf8 = new TextDecoder();

/*
 * Binary file: magic, then frames; ~n is every bit of n turned
 *
 *   0         8      12      16         16+n        48+n
 *   ┌─────────┬──────┬───────┬──────────┬───────────┬───
 *   │ magic   │ n    │ ~n    │ body     │ hash      │ …
 *   │ 8       │ u32  │ u32   │ n        │ 32        │
 *   └─────────┴──────┴───────┴──────────┴───────────┴───
 *
 * JSON file: lines `{…,"hash":"<64 lower-case hex digits>"}`, each ended by a newline.
 */
const MAGIC = Uint8Array.of(0x89, 0x4d, 0x47, 0x54, 0x4c, 0x4f, 0x47, 0x01); // \x89 MGTLOG, form 1
const FRAME_HEADER = 8;
const HASH_BYTES = 32;

/** How every line that may stand in a log begins and ends. */
const OPENING = '{"type":"';
const CLOSING = /,"hash":"[0-9a-f]{64}"\}$/;
const CLOSING_CHARS = 75;

/** `line N` or `record N`, from 1: how errors name an entry. */
export const placeOf = (format: LogFormat, index: number): string =>
  `${format === 'json' ? 'line' : 'record'} ${index + 1}`;

export const decodeBody = (format: LogFormat, body: Uint8Array): Entry =>
  format === 'json' ? fromJson(`${utf8.decode(body)}}`) : fromBinary(body);

/** The next link of a chain. */
export async function link(format: LogFormat, entry: Entry, previous: Link | undefined): Promise<Link> {
  const body = format === 'json' ? encoder.encode(toJson(entry).slice(0, -1)) : toBinary(entry);
  return { body, hash: await hashOf(body, previous?.hash) };
}

const hashOf = (body: Uint8Array, previous: Uint8Array = START): Promise<Uint8Array> =>
  sha256(concat([previous, body]));

/** The whole file: the links and a seal. */
export async function writeLog(format: LogFormat, links: readonly Link[]): Promise<Uint8Array> {
  const last = links.at(-1);
  const seal: Entry = { type: 'seal', count: links.length, last: hexOf(last?.hash ?? START) };
  const parts: Uint8Array[] = format === 'json' ? [] : [MAGIC];
  for (const { body, hash } of [...links, await link(format, seal, last)]) {
    if (format === 'json') parts.push(body, encoder.encode(`,"hash":"${hexOf(hash)}"}\n`));
    else {
      const header = new Uint8Array(FRAME_HEADER);
      viewOf(header).setUint32(0, body.length, LITTLE_ENDIAN);
      viewOf(header).setUint32(4, ~body.length, LITTLE_ENDIAN);
      parts.push(header, body, hash);
    }
  }
  return concat(parts);
}

/**
 * Reads a log and verifies all of it: form, chain, fields, order, seal.
 * @throws MgtError whose field is `line N: NAME` or `record N: NAME`, N the first entry at fault: `Truncated` where the
 *   end is missing, `BadChecksum` (`hash`), `BadFile` (`syntax`, `magic`, `length`, `seal`, or a field of the entry)
 */
export async function readLog(bytes: Uint8Array): Promise<VerifiedLog> {
  const format = formatOf(bytes);
  const links: Link[] = [];
  const entries: VerifiedLog['entries'][number][] = [];
  const order = new Order();
  for (const { end, ...next } of format === 'json' ? lines(bytes) : frames(bytes)) {
    const place = placeOf(format, links.length);
    const last = links.at(-1);
    const hash = await hashOf(next.body, last?.hash);
    if (next.hash.some((byte, i) => byte !== hash[i]))
      fail('BadChecksum', `${place}: hash`, hexOf(hash), hexOf(next.hash));
    let entry: Entry;
    try {
      entry = decodeBody(format, next.body);
      order.check(entry);
    } catch (error) {
      throw relocated(place, error);
    }
    if (entry.type !== 'seal') {
      links.push(next);
      entries.push(entry);
      continue;
    }
    if (entry.count !== links.length) fail('BadFile', `${place}: count`, links.length, entry.count);
    const sealed = hexOf(last?.hash ?? START);
    if (entry.last !== sealed) fail('BadFile', `${place}: last`, sealed, entry.last);
    if (end !== bytes.length) {
      fail('BadFile', `${placeOf(format, links.length + 1)}: seal`, 'nothing after it', `${bytes.length - end} bytes`);
    }
    return { format, links, entries };
  }
  throw truncated(format, links.length);
}

/** Binary if most of what there is of the magic is right: a damaged one is told from JSON, which shares no byte with it. */
function formatOf(bytes: Uint8Array): LogFormat {
  const head = bytes.subarray(0, MAGIC.length);
  const right = head.filter((byte, i) => byte === MAGIC[i]).length;
  if (2 * right <= head.length) return 'json';
  if (right < head.length) fail('BadFile', 'record 1: magic', hexOf(MAGIC), hexOf(head));
  return 'binary';
}

interface Framed extends Link {
  /** Offset behind it. */
  readonly end: number;
}

function* frames(bytes: Uint8Array): Generator<Framed> {
  const view = viewOf(bytes);
  for (let at = MAGIC.length, n = 0; at < bytes.length; n++) {
    if (bytes.length - at < FRAME_HEADER) throw truncated('binary', n);
    const length = view.getUint32(at, LITTLE_ENDIAN);
    const turned = view.getUint32(at + 4, LITTLE_ENDIAN);
    if (~length >>> 0 !== turned) fail('BadFile', `${placeOf('binary', n)}: length`, ~length >>> 0, turned);
    const body = at + FRAME_HEADER;
    const end = body + length + HASH_BYTES;
    if (end > bytes.length) throw truncated('binary', n);
    yield { body: bytes.subarray(body, end - HASH_BYTES), hash: bytes.subarray(end - HASH_BYTES, end), end };
    at = end;
  }
}

function* lines(bytes: Uint8Array): Generator<Framed> {
  for (let at = 0, n = 0; at < bytes.length; n++) {
    const newline = bytes.indexOf(NEWLINE, at);
    const line = bytes.subarray(at, newline < 0 ? undefined : newline);
    const text = ascii(line);
    if (newline < 0 && isCut(text)) throw truncated('json', n);
    if (newline < 0 || !CLOSING.test(text.slice(-CLOSING_CHARS)) || !parses(text)) {
      fail('BadFile', `${placeOf('json', n)}: syntax`, 'a line of a log', show(text));
    }
    const hex = text.slice(-66, -2);
    const hash = Uint8Array.from({ length: HASH_BYTES }, (_, i) => parseInt(hex.slice(2 * i, 2 * i + 2), 16));
    yield { body: line.subarray(0, -CLOSING_CHARS), hash, end: newline + 1 };
    at = newline + 1;
  }
}

/** A line without its newline that is the beginning of a good one, rather than a whole one with something else behind. */
function isCut(text: string): boolean {
  const begins = text.slice(0, OPENING.length) === OPENING.slice(0, text.length);
  return begins && !CLOSING.test(text.slice(-CLOSING_CHARS - 1, -1));
}

/** Every byte as one character; what is above 127 stands in no log and fails as JSON or by its hash. */
const ascii = (bytes: Uint8Array): string => latin1.decode(bytes);

function parses(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

const truncated = (format: LogFormat, index: number): MgtError =>
  new MgtError('Truncated', `${placeOf(format, index)}: seal`, 'a log that ends with its seal', 'the end of the file');

function fail(code: ErrorCode, field: string, expected: string | number, got: unknown): never {
  throw new MgtError(code, field, expected, got);
}

/** Codes that say that the value is at fault, not the machine that read it. */
const VALUE_CODES: readonly ErrorCode[] = ['BadInput', 'BadConfig', 'BadFile', 'Truncated', 'UnknownVersion'];

/** An error of what an entry holds, as one of its line. */
export function relocated(place: string, error: unknown): unknown {
  if (!(error instanceof MgtError)) return error;
  const code = VALUE_CODES.includes(error.code) ? 'BadFile' : error.code;
  return new MgtError(code, `${place}: ${error.field}`, error.expected, error.got, { cause: error });
}

/** What may follow what: sessions begin before they go on, a state stands directly before the call that begins with it. */
class Order {
  #sessions = 0;
  #state: StateEntry | undefined;

  /** @throws MgtError `BadFile` naming the field */
  check(entry: Entry): void {
    const state = this.#state;
    this.#state = entry.type === 'state' ? entry : undefined;
    if (entry.type !== 'call') {
      if (state) fail('BadFile', 'type', 'the call that begins with the state before it', entry.type);
      return;
    }
    const { session, from } = entry;
    if ((session === null) !== (from === 'none') || (state !== undefined) !== (from === 'state')) {
      fail('BadFile', 'from', state ? 'state' : session === null ? 'none' : 'start or last', from);
    }
    if (session === null) {
      if (entry.state !== null) fail('BadFile', 'state', 'null without a session', entry.state);
      return;
    }
    const known = session < this.#sessions;
    const next = session === this.#sessions;
    const possible = from === 'start' ? next : from === 'last' ? known : session === state?.session && (known || next);
    if (!possible) fail('BadFile', 'session', `one of the ${this.#sessions} before, or the next to start`, session);
    if (next) this.#sessions++;
  }
}
