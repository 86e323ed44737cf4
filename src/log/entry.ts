import { checkOneOf } from '../check.js';
import type { RecordedCall, Settings } from '../engine/record.js';
import { MgtError, show } from '../errors.js';
import { nameOf } from '../packets/fields.js';
import { decodeGatePacket, encodeGatePacket, GATE_PACKET_BYTES, type GatePacket } from '../packets/gate.js';
import { decodeSpikePacket, encodeSpikePacket, SPIKE_PACKET_BYTES, type SpikePacket } from '../packets/spike.js';
import { decodeWitness, encodeWitness, WITNESS_BYTES, type Witness } from '../packets/witness.js';
import { BYTES, concat, Cursor, fixed, HASH, nullable, oneOf, SETTINGS, U32, U32S, U64, type Field } from './fields.js';

/** One call: what went in, a hash of what came out, and the witness. */
export interface CallEntry {
  readonly type: 'call';
  /** SHA-256 of the model's payload, hex like every hash here. */
  readonly modelHash: string;
  readonly settings: Settings;
  /** The log's own number, 0, 1, … in order of their first calls; null: a stateless call. */
  readonly session: number | null;
  readonly from: RecordedCall['from'];
  readonly tokens: readonly number[];
  readonly gate: GatePacket;
  readonly spikes: SpikePacket | null;
  /** u64, decimal. */
  readonly signature: string | null;
  /** SHA-256 of the f32 values as little-endian bytes. */
  readonly output: string;
  readonly witness: Witness;
  /** SHA-256 of the session's snapshot after the call. */
  readonly state: string | null;
}

/** The session before the next call, which is `from: 'state'`. */
export interface StateEntry {
  readonly type: 'state';
  readonly session: number;
  readonly snapshot: Uint8Array;
}

/** The last entry: how many stand before it, and the hash of the last of them. */
export interface SealEntry {
  readonly type: 'seal';
  readonly count: number;
  readonly last: string;
}

export type Entry = CallEntry | StateEntry | SealEntry;

type Table<E> = { readonly [K in Exclude<keyof E, 'type'>]: Field<E[K]> };

/*
 * Body of an entry: type, then its fields in this order, little-endian, no padding.
 * `?` is one byte, 0: null and nothing more, 1: the value follows.
 *
 *   call  ┌──────┬───────────┬───────────────┬────────────┬──────┬─────────────┬────────────┐
 *         │ 0    │ modelHash │ settings      │ session    │ from │ tokens      │ gate       │
 *         │ u8   │ 32        │ u32 n, JSON n │ ?, u32     │ u8   │ u32 n, 4·n  │ GatePacket │
 *         └──────┴───────────┴───────────────┴────────────┴──────┴─────────────┴────────────┘
 *         ┌────────────────┬───────────┬────────┬─────────┬───────┐
 *         │ spikes         │ signature │ output │ witness │ state │
 *         │ ?, SpikePacket │ ?, u64    │ 32     │ 64      │ ?, 32 │
 *         └────────────────┴───────────┴────────┴─────────┴───────┘
 *   state ┌──────┬─────────┬──────────┐      seal ┌──────┬───────┬──────┐
 *         │ 1    │ session │ snapshot │           │ 2    │ count │ last │
 *         │ u8   │ u32     │ u32 n, n │           │ u8   │ u32   │ 32   │
 *         └──────┴─────────┴──────────┘           └──────┴───────┴──────┘
 */
const CALL: Table<CallEntry> = {
  modelHash: HASH,
  settings: SETTINGS,
  session: nullable(U32),
  from: oneOf('from', ['none', 'start', 'last', 'state']),
  tokens: U32S,
  gate: fixed<GatePacket>(GATE_PACKET_BYTES, encodeGatePacket, decodeGatePacket),
  spikes: nullable(fixed<SpikePacket>(SPIKE_PACKET_BYTES, encodeSpikePacket, decodeSpikePacket)),
  signature: nullable(U64),
  output: HASH,
  witness: fixed<Witness>(WITNESS_BYTES, encodeWitness, decodeWitness),
  state: nullable(HASH),
};
const STATE: Table<StateEntry> = { session: U32, snapshot: BYTES };
const SEAL: Table<SealEntry> = { count: U32, last: HASH };

/** Index = code in the body. */
const TYPES = ['call', 'state', 'seal'] as const;
const TABLES: Readonly<Record<Entry['type'], Readonly<Record<string, Field<unknown>>>>> = {
  call: CALL,
  state: STATE,
  seal: SEAL,
};

type Values = Record<string, unknown>;

export function toBinary(entry: Entry): Uint8Array {
  const values = entry as unknown as Values;
  const fields = Object.entries(TABLES[entry.type]).map(([key, field]) => field.write(values[key]));
  return concat([Uint8Array.of(TYPES.indexOf(entry.type)), ...fields]);
}

/** @throws MgtError `BadFile` naming the field. */
export function fromBinary(body: Uint8Array): Entry {
  const from = new Cursor(body);
  const type = nameOf('type', TYPES, from.view.getUint8(from.take(1)));
  const entry: Values = { type };
  for (const [key, field] of Object.entries(TABLES[type])) entry[key] = named(key, () => field.read(from));
  if (from.left !== 0) throw new MgtError('BadFile', 'length', `${from.left} bytes fewer`, body.length);
  return entry as unknown as Entry;
}

/** A JSON object; every field in the order and form in which its binary record reads back. */
export function toJson(entry: Entry): string {
  const values = entry as unknown as Values;
  const out: Values = { type: entry.type };
  for (const [key, field] of Object.entries(TABLES[entry.type])) out[key] = plain(field, again(field, values[key]));
  return JSON.stringify(out);
}

/** @throws MgtError `BadFile` naming the field; "syntax" where the text is not exactly what `toJson` writes. */
export function fromJson(text: string): Entry {
  const raw = JSON.parse(text) as Values;
  const type = checkOneOf('type', raw.type, TYPES, 'BadFile');
  const entry: Values = { type };
  const out: Values = { type };
  for (const [key, field] of Object.entries(TABLES[type])) {
    const given = raw[key];
    entry[key] = named(key, () => again(field, field.json ? field.json.from(given) : given));
    out[key] = plain(field, entry[key]);
    if (JSON.stringify(out[key]) !== JSON.stringify(given)) throw new MgtError('BadFile', key, show(out[key]), given);
  }
  if (JSON.stringify(out) !== text) throw new MgtError('BadFile', 'syntax', Object.keys(out).join(', '), text);
  return entry as unknown as Entry;
}

const plain = (field: Field<unknown>, value: unknown): unknown => (field.json ? field.json.to(value) : value);
const again = (field: Field<unknown>, value: unknown): unknown => field.read(new Cursor(field.write(value)));

/** Whatever a malformed value makes a codec throw, as `BadFile` naming the field. */
function named<T>(key: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof MgtError))
      throw new MgtError('BadFile', key, 'a well-formed value', error, { cause: error });
    const { field, expected, got } = error;
    const name = field === key || field.startsWith(`${key}.`) || field.startsWith(`${key}[`) ? field : key;
    throw new MgtError('BadFile', name, expected, got, { cause: error });
  }
}
