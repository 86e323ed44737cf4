import { loadUpTo4 } from './lanes';
import { absMax, codes4, scaleOf } from './quantize';

/**
 * The KV block of one layer: keys, values, key scales, value scales, each part starting on a multiple of 64. Keys lie as
 * weights do, eight slots side by side, so that four query rows meet four keys per load; values lie row by row. Both int8
 * with one scale per token and head. A key scale of 0 marks a hole, which attention leaves out.
 */

/** Inputs of one head's key and value in the block. */
// @ts-ignore: decorator
@inline
export function keyWidth(d: i32): usize {
  return <usize>((d + 3) & ~3);
}

// @ts-ignore: decorator
@inline
export function valueWidth(d: i32): usize {
  return <usize>((d + 7) & ~7);
}

/** Byte offset of the values in a block; the keys lie at 0. cells = kvHeads · slots. */
// @ts-ignore: decorator
@inline
export function valuesOffset(cells: usize, d: i32): usize {
  return (cells * keyWidth(d) + 63) & ~63;
}

/** Of the key scales. */
// @ts-ignore: decorator
@inline
export function keyScalesOffset(cells: usize, d: i32): usize {
  return valuesOffset(cells, d) + ((cells * valueWidth(d) + 63) & ~63);
}

/** Of the value scales. */
// @ts-ignore: decorator
@inline
export function valueScalesOffset(cells: usize, d: i32): usize {
  return keyScalesOffset(cells, d) + (((cells << 2) + 63) & ~63);
}

/** A key's first four codes, the next four 32 bytes on. first: cell of the head's slot 0. */
// @ts-ignore: decorator
@inline
export function keyAt(block: usize, dk: usize, first: usize, slot: usize): usize {
  return block + first * dk + (((slot >> 3) * dk) << 3) + ((slot & 7) << 2);
}

/** Four codes as bytes, in lane 0 as u32. */
// @ts-ignore: decorator
@inline
function bytes4(codes: v128): v128 {
  const half = i16x8.narrow_i32x4_s(codes, codes);
  return i8x16.narrow_i16x8_s(half, half);
}

function appendKey(k: usize, d: i32, codes: usize, scaleOut: usize): void {
  const scale = scaleOf(absMax(k, d));
  for (let i = 0; i < d; i += 4, k += 16, codes += 32) {
    v128.store32_lane(codes, bytes4(codes4(loadUpTo4(k, d - i), f32x4.splat(scale))), 0);
  }
  store<f32>(scaleOut, scale);
}

function appendValue(v: usize, d: i32, codes: usize, scaleOut: usize): void {
  const scale = scaleOf(absMax(v, d));
  for (let i = 0; i < d; i += 8, v += 32, codes += 8) {
    const low = codes4(loadUpTo4(v, d - i), f32x4.splat(scale));
    const high = codes4(loadUpTo4(v + 16, d - i - 4), f32x4.splat(scale));
    const half = i16x8.narrow_i32x4_s(low, high);
    v128.store64_lane(codes, i8x16.narrow_i16x8_s(half, half), 0);
  }
  store<f32>(scaleOut, scale);
}

export function kvAppend(k: usize, v: usize, n: i32, kvHeads: i32, d: i32, slots: i32, slot0: i32, block: usize): void {
  const dk = keyWidth(d);
  const dv = valueWidth(d);
  const cells = <usize>kvHeads * <usize>slots;
  const values = block + valuesOffset(cells, d);
  const keyScales = block + keyScalesOffset(cells, d);
  const valueScales = block + valueScalesOffset(cells, d);
  const headBytes = (<usize>d) << 2;
  for (let t = 0; t < n; t++) {
    const slot = <usize>(slot0 + t);
    for (let h = 0; h < kvHeads; h++, k += headBytes, v += headBytes) {
      const first = <usize>h * <usize>slots;
      const cell = first + slot;
      appendKey(k, d, keyAt(block, dk, first, slot), keyScales + (cell << 2));
      appendValue(v, d, values + cell * dv, valueScales + (cell << 2));
    }
  }
}

export function kvErase(n: i32, kvHeads: i32, d: i32, slots: i32, slot0: i32, block: usize): void {
  const dk = keyWidth(d);
  const dv = valueWidth(d);
  const cells = <usize>kvHeads * <usize>slots;
  const count = <usize>n;
  for (let h = 0; h < kvHeads; h++) {
    const first = <usize>h * <usize>slots;
    const cell = first + <usize>slot0;
    for (let t: usize = 0; t < count; t++) {
      const key = keyAt(block, dk, first, <usize>slot0 + t);
      for (let i: usize = 0; i < dk << 3; i += 32) store<u32>(key + i, 0);
    }
    memory.fill(block + valuesOffset(cells, d) + cell * dv, 0, count * dv);
    memory.fill(block + keyScalesOffset(cells, d) + (cell << 2), 0, count << 2);
    memory.fill(block + valueScalesOffset(cells, d) + (cell << 2), 0, count << 2);
  }
}

/** Slots from..from+n−1 of one block to slots to.. of another of the same shape. */
export function kvCopy(
  n: i32,
  kvHeads: i32,
  d: i32,
  slots: i32,
  source: usize,
  from: i32,
  target: usize,
  to: i32,
): void {
  const dk = keyWidth(d);
  const dv = valueWidth(d);
  const cells = <usize>kvHeads * <usize>slots;
  const values = valuesOffset(cells, d);
  const keyScales = keyScalesOffset(cells, d);
  const valueScales = valueScalesOffset(cells, d);
  const count = <usize>n;
  for (let h = 0; h < kvHeads; h++) {
    const first = <usize>h * <usize>slots;
    const a = first + <usize>from;
    const b = first + <usize>to;
    for (let t: usize = 0; t < count; t++) {
      const key = keyAt(source, dk, first, <usize>from + t);
      const copy = keyAt(target, dk, first, <usize>to + t);
      for (let i: usize = 0; i < dk << 3; i += 32) store<u32>(copy + i, load<u32>(key + i));
    }
    memory.copy(target + values + b * dv, source + values + a * dv, count * dv);
    memory.copy(target + keyScales + (b << 2), source + keyScales + (a << 2), count << 2);
    memory.copy(target + valueScales + (b << 2), source + valueScales + (a << 2), count << 2);
  }
}

export function kvFlush(ptr: usize, bytes: usize): void {
  memory.fill(ptr, 0, bytes);
}
