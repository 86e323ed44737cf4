import { loadUpTo4 } from './lanes';
import { absMax, codes4, scaleOf } from './quantize';

/**
 * The KV cache of one layer. Keys lie as weights do, eight slots side by side, so that four query rows meet four keys per
 * load; values lie row by row. Both int8 with one scale per token and head.
 */

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

export function kvAppend(
  k: usize,
  v: usize,
  n: i32,
  kvHeads: i32,
  d: i32,
  slots: i32,
  slot0: i32,
  kCache: usize,
  kScales: usize,
  vCache: usize,
  vScales: usize,
): void {
  const dk = <usize>((d + 3) & ~3);
  const dv = <usize>((d + 7) & ~7);
  const headBytes = (<usize>d) << 2;
  for (let t = 0; t < n; t++) {
    const slot = <usize>(slot0 + t);
    for (let h = 0; h < kvHeads; h++, k += headBytes, v += headBytes) {
      const first = <usize>h * <usize>slots;
      const at = (first + slot) << 2;
      appendKey(k, d, kCache + first * dk + (((slot >> 3) * dk) << 3) + ((slot & 7) << 2), kScales + at);
      appendValue(v, d, vCache + (first + slot) * dv, vScales + at);
    }
  }
}

export function kvFlush(ptr: usize, bytes: usize): void {
  memory.fill(ptr, 0, bytes);
}
