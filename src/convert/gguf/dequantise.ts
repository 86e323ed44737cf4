import type { GgmlType } from './types.js';

/** A row's 4-bit grid: w = scales[g] · q + mins[g] with g = ⌊i / 32⌋. */
export interface Grid {
  /** u8[n], each 0..15. */
  readonly q: Uint8Array;
  /** f32[n / 32], exact values of the file's f16. */
  readonly scales: Float32Array;
  /** f32[n / 32]; Q4_0, which has none, gives −8 · scale. */
  readonly mins: Float32Array;
}

const BLOCK = 32;

let halfTable: Float32Array | undefined;

/** Every IEEE 754 binary16 value as f32, by its 16 bits (256 KB, made on first use): all are exact. */
export function halves(): Float32Array {
  if (halfTable) return halfTable;
  const table = new Float32Array(0x10000);
  const bits = new Uint32Array(table.buffer);
  for (let h = 0; h < 0x10000; h++) {
    const sign = (h & 0x8000) << 16;
    const exponent = (h >> 10) & 31;
    const mantissa = h & 1023;
    if (exponent === 0) table[h] = (sign ? -mantissa : mantissa) * 2 ** -24;
    else bits[h] = (sign | ((exponent === 31 ? 255 : exponent + 112) << 23) | (mantissa << 13)) >>> 0;
  }
  halfTable = table;
  return table;
}

/**
 * Weights of whole blocks as f32, bit for bit those of ggml's `dequantize_row_*`: each is one rounding of an exact value.
 * @param out f32[n]; `bytes` holds n weights of the type
 */
export function dequantise(type: GgmlType, bytes: Uint8Array, out: Float32Array): void {
  const half = halves();
  switch (type) {
    case 'F32': {
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
      for (let i = 0; i < out.length; i++) out[i] = view.getFloat32(4 * i, true);
      return;
    }
    case 'F16':
      for (let i = 0; i < out.length; i++) out[i] = half[bytes[2 * i]! | (bytes[2 * i + 1]! << 8)]!;
      return;
    case 'BF16': {
      const bits = new Uint32Array(out.buffer, out.byteOffset, out.length);
      for (let i = 0; i < bits.length; i++) bits[i] = ((bytes[2 * i]! | (bytes[2 * i + 1]! << 8)) << 16) >>> 0;
      return;
    }
    case 'Q8_0':
      for (let at = 0, i = 0; i < out.length; i += BLOCK, at += 34) {
        const scale = half[bytes[at]! | (bytes[at + 1]! << 8)]!;
        for (let j = 0; j < BLOCK; j++) out[i + j] = ((bytes[at + 2 + j]! << 24) >> 24) * scale;
      }
      return;
    case 'Q4_0':
      for (let at = 0, i = 0; i < out.length; i += BLOCK, at += 18) {
        const scale = half[bytes[at]! | (bytes[at + 1]! << 8)]!;
        for (let j = 0; j < 16; j++) {
          const pair = bytes[at + 2 + j]!;
          out[i + j] = ((pair & 15) - 8) * scale;
          out[i + 16 + j] = ((pair >> 4) - 8) * scale;
        }
      }
      return;
    case 'Q4_1':
      for (let at = 0, i = 0; i < out.length; i += BLOCK, at += 20) {
        const scale = half[bytes[at]! | (bytes[at + 1]! << 8)]!;
        const min = half[bytes[at + 2]! | (bytes[at + 3]! << 8)]!;
        for (let j = 0; j < 16; j++) {
          const pair = bytes[at + 4 + j]!;
          out[i + j] = (pair & 15) * scale + min;
          out[i + 16 + j] = (pair >> 4) * scale + min;
        }
      }
  }
}

/** The grid of one row of `n` weights; undefined where the type has no 4-bit grid. */
export function gridOf(type: GgmlType, bytes: Uint8Array, n: number): Grid | undefined {
  if (type !== 'Q4_0' && type !== 'Q4_1') return undefined;
  const half = halves();
  const head = type === 'Q4_1' ? 4 : 2;
  const groups = n / BLOCK;
  const q = new Uint8Array(n);
  const scales = new Float32Array(groups);
  const mins = new Float32Array(groups);
  for (let g = 0, at = 0; g < groups; g++, at += head + 16) {
    const scale = half[bytes[at]! | (bytes[at + 1]! << 8)]!;
    scales[g] = scale;
    mins[g] = type === 'Q4_1' ? half[bytes[at + 2]! | (bytes[at + 3]! << 8)]! : -8 * scale;
    for (let j = 0; j < 16; j++) {
      const pair = bytes[at + head + j]!;
      q[BLOCK * g + j] = pair & 15;
      q[BLOCK * g + 16 + j] = pair >> 4;
    }
  }
  return { q, scales, mins };
}
