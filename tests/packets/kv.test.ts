import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  advanceKvLayerState,
  decodeKvLayerState,
  flushKvLayerStates,
  kvLayerStateBytes,
} from '../../src/packets/kv.js';

const stateOf = (view: DataView, layer: number, capacity: number) =>
  decodeKvLayerState(view, layer * kvLayerStateBytes(capacity), capacity);
const advance = (view: DataView, layer: number, capacity: number, tokens: number) =>
  advanceKvLayerState(view, layer * kvLayerStateBytes(capacity), capacity, tokens);

describe('KvLayerState', () => {
  test('fields are u16 up to 65535 slots and u32 above', () => {
    expect([1, 64, 65535, 65536, 131072].map(kvLayerStateBytes)).toEqual([4, 4, 4, 8, 8]);
  });

  test('one token makes length 1 and position 1, in its own layer only; flush empties all', () => {
    const view = new DataView(new ArrayBuffer(4 * 4));
    for (let layer = 0; layer < 4; layer++) {
      advance(view, layer, 32, 1);
      expect(stateOf(view, layer, 32)).toEqual({ writeIndex: 1, validLength: 1 });
      if (layer < 3) expect(stateOf(view, layer + 1, 32)).toEqual({ writeIndex: 0, validLength: 0 });
    }
    flushKvLayerStates(view, 0, 32, 4);
    for (let layer = 0; layer < 4; layer++) {
      expect(stateOf(view, layer, 32)).toEqual({ writeIndex: 0, validLength: 0 });
    }
  });

  test.each([1, 5, 32, 65535, 65536, 70000])('a ring of %d slots wraps like counting tokens does', (capacity) => {
    const steps = fc.array(fc.nat({ max: capacity * 2 }), { maxLength: 12 });
    fc.assert(
      fc.property(steps, (tokens) => {
        const view = new DataView(new ArrayBuffer(8));
        let written = 0;
        for (const n of tokens) {
          advance(view, 0, capacity, n);
          written += n;
          const expected = { writeIndex: written % capacity, validLength: Math.min(written, capacity) };
          expect(stateOf(view, 0, capacity)).toEqual(expected);
        }
      }),
    );
  });

  test.each([32, 70000])('flush of a ring of %d slots clears its layers and nothing else', (capacity) => {
    const bytes = new Uint8Array(64).fill(0xa5);
    const size = 3 * kvLayerStateBytes(capacity);
    flushKvLayerStates(new DataView(bytes.buffer), 8, capacity, 3);
    expect([...bytes]).toEqual([...bytes.keys()].map((i) => (i >= 8 && i < 8 + size ? 0 : 0xa5)));
  });
});
