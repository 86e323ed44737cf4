import { add } from './elementwise';
import { storeUpTo4 } from './lanes';

/**
 * Token rows out of an int8 panel table: token t is output t & 7 of panel t >> 3, four of its codes every 32 bytes.
 * A token's row touches one 4-byte piece of dim / 4 half cache lines: the price of sharing the table with a tied head.
 */
export function embed(tokens: usize, n: i32, table: usize, dim: i32, out: usize): void {
  const panelBytes: usize = 64 + ((<usize>((dim + 7) & ~7)) << 3);
  for (let r = 0; r < n; r++, out += (<usize>dim) << 2) {
    const token = load<u32>(tokens + ((<usize>r) << 2));
    const panel = table + <usize>(token >> 3) * panelBytes + ((<usize>(token & 7)) << 2);
    const scale = v128.load32_splat(panel);
    let codes = panel + 64;
    for (let i = 0; i < dim; i += 4, codes += 32) {
      const wide = i32x4.extend_low_i16x8_s(i16x8.extend_low_i8x16_s(v128.load32_zero(codes)));
      storeUpTo4(out + ((<usize>i) << 2), f32x4.mul(f32x4.convert_i32x4_s(wide), scale), dim - i);
    }
  }
}

export function addRows(x: usize, n: i32, dim: i32, table: usize, index: usize): void {
  const stride = (<usize>dim) << 2;
  for (let r = 0; r < n; r++, x += stride) {
    add(x, table + <usize>load<u32>(index + ((<usize>r) << 2)) * stride, dim);
  }
}
