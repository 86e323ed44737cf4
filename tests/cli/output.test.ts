import { describe, expect, test } from '@jest/globals';
import { bytesText, countText, jsonFloats, oneLine } from '../../src/cli/output.js';

describe('what is printed', () => {
  test('f32 values in JSON read back to the same bits', () => {
    const values = Float32Array.of(0, -0, 0.1, -1.5, 2 ** -149, 3.4028234663852886e38, 1e21, 1 / 3);
    const text = jsonFloats(values);
    const bits = (v: Float32Array): number[] => [...new Uint32Array(v.buffer)];
    expect(bits(new Float32Array(JSON.parse(text) as number[]))).toEqual(bits(values));
    // Readers that tell integers from reals drop the sign of -0.
    expect(text).toContain(',-0.0,');
  });

  test('text from elsewhere stays on one line and moves no cursor', () => {
    expect(oneLine('a\r\n\tb\x1b[31mc\u2028d\x7f\x9b')).toBe('a b [31mc d ');
    expect(oneLine('é — 漢 🙂')).toBe('é — 漢 🙂');
  });

  test('counts and bytes for people', () => {
    expect([0, 999, 1000, 31_850_496, 5e9].map(countText)).toEqual(['0', '999', '1.00 K', '31.9 M', '5.00 G']);
    expect([12, 23_711_232].map(bytesText)).toEqual(['12 B', '23.7 MB']);
  });
});
