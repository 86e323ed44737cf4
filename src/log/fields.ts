import { hexOf } from '../checksum.js';
import { checkInteger, checkKeys, checkOneOf } from '../check.js';
import type { Settings } from '../engine/record.js';
import { MgtError } from '../errors.js';
import { viewOf } from '../format/header.js';
import { validateEnergy } from '../gate/energy.js';
import { choosePolicy } from '../gate/policy.js';
import { LITTLE_ENDIAN, nameOf, U32_MAX } from '../packets/fields.js';

/**
 * The kinds of value an entry holds. Each has one binary form, little-endian; the JSON form is checked by way of it: a
 * value that its binary form does not give back is none of the kind.
 */
export interface Field<T> {
  write(value: T): Uint8Array;
  read(from: Cursor): T;
  /** Where JSON holds it in another shape than memory. */
  readonly json?: { to(value: T): unknown; from(raw: unknown): T };
}

/** Reads an entry's bytes in order; never beyond them, whatever a length in them says. */
export class Cursor {
  readonly view: DataView;
  #at = 0;

  constructor(readonly bytes: Uint8Array) {
    this.view = viewOf(bytes);
  }

  get left(): number {
    return this.bytes.length - this.#at;
  }

  /** Offset of the next `count` bytes, which are then behind. @throws MgtError `BadFile` "length" */
  take(count: number): number {
    if (count > this.left) throw new MgtError('BadFile', 'length', `${count} bytes more`, this.left);
    this.#at += count;
    return this.#at - count;
  }

  slice(count: number): Uint8Array {
    const at = this.take(count);
    return this.bytes.subarray(at, at + count);
  }
}

export function concat(parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** A record of fixed size, as src/packets writes and reads them. */
export const fixed = <T>(
  bytes: number,
  encode: (value: T, view: DataView, at: number) => void,
  decode: (view: DataView, at: number) => T,
): Field<T> => ({
  write(value) {
    const out = new Uint8Array(bytes);
    encode(value, viewOf(out), 0);
    return out;
  },
  read: (from) => decode(from.view, from.take(bytes)),
});

export const U32 = fixed<number>(
  4,
  (value, view, at) => view.setUint32(at, value, LITTLE_ENDIAN),
  (view, at) => view.getUint32(at, LITTLE_ENDIAN),
);

/** As decimal digits: JSON numbers end at 2^53. */
export const U64 = fixed<string>(
  8,
  (value, view, at) => view.setBigUint64(at, BigInt(value), LITTLE_ENDIAN),
  (view, at) => String(view.getBigUint64(at, LITTLE_ENDIAN)),
);

/** SHA-256: 32 bytes, 64 lower-case hex digits in memory and JSON. */
export const HASH: Field<string> = {
  write: (hex) => Uint8Array.from({ length: 32 }, (_, i) => parseInt(hex.slice(2 * i, 2 * i + 2), 16)),
  read: (from) => hexOf(from.slice(32)),
};

/** One byte: the place in the list. */
export const oneOf = <T extends string>(field: string, names: readonly T[]): Field<T> =>
  fixed<T>(
    1,
    (value, view, at) => view.setUint8(at, names.indexOf(value)),
    (view, at) => nameOf(field, names, view.getUint8(at)),
  );

/** One byte, 0 for null, 1 before a value. */
export const nullable = <T>({ write, read }: Field<T>): Field<T | null> => ({
  write: (value) => (value === null ? Uint8Array.of(0) : concat([Uint8Array.of(1), write(value)])),
  read: (from) => (checkInteger('null', from.slice(1)[0], 0, 1, 'BadFile') === 0 ? null : read(from)),
});

/** Count, then that many u32. */
export const U32S: Field<readonly number[]> = {
  write(values) {
    if (!Array.isArray(values)) throw new MgtError('BadFile', 'list', 'an array', values);
    const out = new Uint8Array(4 + 4 * values.length);
    const view = viewOf(out);
    [values.length, ...(values as readonly number[])].forEach((v, i) => view.setUint32(4 * i, v, LITTLE_ENDIAN));
    return out;
  },
  read(from) {
    const count = U32.read(from);
    const at = from.take(4 * count);
    return Array.from({ length: count }, (_, i) => from.view.getUint32(at + 4 * i, LITTLE_ENDIAN));
  },
};

/** Characters of one call of String.fromCharCode: far below every engine's limit of arguments. */
const CHUNK = 8192;

/** Length, then the bytes; base64 in JSON. */
export const BYTES: Field<Uint8Array> = {
  write: (bytes) => concat([U32.write(bytes.length), bytes]),
  read: (from) => from.slice(U32.read(from)),
  json: {
    to(bytes) {
      const text: string[] = [];
      for (let at = 0; at < bytes.length; at += CHUNK) {
        text.push(String.fromCharCode(...bytes.subarray(at, at + CHUNK)));
      }
      return btoa(text.join(''));
    },
    from: (raw) => Uint8Array.from(atob(raw as string), (character) => character.charCodeAt(0)),
  },
};

const utf8 = new TextDecoder('utf-8', { fatal: true });

/** Length, then JSON as JSON.stringify writes it: the one place where a log holds numbers that are no integers. */
export const SETTINGS: Field<Settings> = {
  write: (settings) => BYTES.write(new TextEncoder().encode(JSON.stringify(settings))),
  read(from) {
    const text = utf8.decode(BYTES.read(from));
    const settings: unknown = JSON.parse(text);
    if (JSON.stringify(settings) !== text) throw new MgtError('BadFile', 'settings', 'JSON without spaces', text);
    return checkSettings(settings);
  },
};

/** Everything but `tiers`, `exit` and `layers`, whose ranges depend on the model: its loader or the call refuses them. */
function checkSettings(value: unknown): Settings {
  // prettier-ignore
  const keys = ['context', 'policy', 'energy', 'scheduler', 'partitions', 'tiers', 'layerOrder', 'kvFill', 'sinks', 'seed'];
  const raw = checkKeys('settings', value, [...keys, 'exit', 'layers'], 'BadFile');
  for (const key of keys)
    if (raw[key] === undefined) throw new MgtError('BadFile', `settings.${key}`, 'a value', 'none');
  checkInteger('settings.context', raw.context, 1, U32_MAX, 'BadFile');
  checkInteger('settings.sinks', raw.sinks, 0, U32_MAX, 'BadFile');
  checkInteger('settings.seed', raw.seed, 0, U32_MAX, 'BadFile');
  checkOneOf('settings.layerOrder', raw.layerOrder, ['first', 'last'], 'BadFile');
  checkOneOf('settings.kvFill', raw.kvFill, ['propagate', 'hole'], 'BadFile');
  for (const key of ['scheduler', 'partitions']) {
    if (typeof raw[key] !== 'boolean') throw new MgtError('BadFile', `settings.${key}`, 'true or false', raw[key]);
  }
  for (const key of ['energy', 'tiers']) {
    if (typeof raw[key] !== 'object') throw new MgtError('BadFile', `settings.${key}`, 'an object or null', raw[key]);
  }
  choosePolicy(raw.policy);
  if (raw.energy !== null) validateEnergy(raw.energy);
  return raw as unknown as Settings;
}
