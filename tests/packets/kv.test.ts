import { describe, expect, test } from '@jest/globals';
import { MgtError } from '../../src/errors.js';
import { decodeKvLayerState, encodeKvLayerState, kvLayerStateBytes } from '../../src/packets/kv.js';

describe('KvLayerState', () => {
  test('fields are u16 up to 65535 slots and u32 above', () => {
    expect([1, 64, 65535, 65536, 131072].map(kvLayerStateBytes)).toEqual([4, 4, 4, 8, 8]);
  });

  test.each([32, 65535, 70000])('records of a ring of %d slots read back, and touch nothing else', (capacity) => {
    const bytes = new Uint8Array(64).fill(0xa5);
    const view = new DataView(bytes.buffer);
    const size = kvLayerStateBytes(capacity);
    const state = { writeIndex: capacity - 1, validLength: capacity };
    encodeKvLayerState(state, view, 8, capacity);
    expect(decodeKvLayerState(view, 8, capacity)).toEqual(state);
    for (const [i, byte] of bytes.entries()) if (i < 8 || i >= 8 + size) expect(byte).toBe(0xa5);
  });

  test('a place no ring of this size has is refused by name', () => {
    const view = new DataView(new ArrayBuffer(4));
    for (const [writeIndex, validLength, field] of [
      [32, 0, 'kv.writeIndex'],
      [0, 33, 'kv.validLength'],
    ] as const) {
      encodeKvLayerState({ writeIndex, validLength }, view, 0, 1000);
      const read = (): unknown => decodeKvLayerState(view, 0, 32);
      expect(read).toThrow(MgtError);
      expect(read).toThrow(field);
    }
  });
});
