import { MgtError } from '../errors.js';
import { LITTLE_ENDIAN, U16_MAX } from './fields.js';

/** One layer's place in its KV ring. Units: slots (tokens). */
export interface KvLayerState {
  /** Slot the next token goes to, 0..capacity − 1. */
  readonly writeIndex: number;
  /** Slots that hold a token, 0..capacity. */
  readonly validLength: number;
}

/*
 * KvLayerState, one per layer, beside each other; fields u16 up to 65535 slots, u32 above
 *
 *   0            2            4              0            4            8
 *   ┌────────────┬────────────┐              ┌────────────┬────────────┐
 *   │ writeIndex │ validLength│              │ writeIndex │ validLength│
 *   │ u16        │ u16        │              │ u32        │ u32        │
 *   └────────────┴────────────┘              └────────────┴────────────┘
 */

/** Bytes of one field in a ring of `capacity` slots: validLength reaches the capacity itself. */
const fieldBytes = (capacity: number): 2 | 4 => (capacity > U16_MAX ? 4 : 2);
/** Bytes of one record in a ring of `capacity` slots: 4, or 8 above 65535. */
export const kvLayerStateBytes = (capacity: number): 4 | 8 => (capacity > U16_MAX ? 8 : 4);

function get(view: DataView, at: number, bytes: 2 | 4): number {
  return bytes === 2 ? view.getUint16(at, LITTLE_ENDIAN) : view.getUint32(at, LITTLE_ENDIAN);
}

function set(view: DataView, at: number, bytes: 2 | 4, value: number): void {
  if (bytes === 2) view.setUint16(at, value, LITTLE_ENDIAN);
  else view.setUint32(at, value, LITTLE_ENDIAN);
}

/** Writes one record at `byteOffset`. */
export function encodeKvLayerState(state: KvLayerState, view: DataView, byteOffset: number, capacity: number): void {
  const bytes = fieldBytes(capacity);
  set(view, byteOffset, bytes, state.writeIndex);
  set(view, byteOffset + bytes, bytes, state.validLength);
}

/**
 * Reads one record at `byteOffset`.
 * @throws MgtError `BadFile` naming `kv.<field>` where the ring of `capacity` slots has no such place.
 */
export function decodeKvLayerState(view: DataView, byteOffset: number, capacity: number): KvLayerState {
  const bytes = fieldBytes(capacity);
  const writeIndex = get(view, byteOffset, bytes);
  const validLength = get(view, byteOffset + bytes, bytes);
  if (writeIndex >= capacity) throw new MgtError('BadFile', 'kv.writeIndex', `below ${capacity}`, writeIndex);
  if (validLength > capacity) throw new MgtError('BadFile', 'kv.validLength', `at most ${capacity}`, validLength);
  return { writeIndex, validLength };
}
