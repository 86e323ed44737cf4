import { hsum, loadTail, loadUpTo4, storeTail, storeUpTo4 } from './lanes';

/** Four columns at a time, rows ascending. */
export function poolMean(x: usize, n: i32, dim: i32, out: usize): void {
  const stride = (<usize>dim) << 2;
  const count = f32x4.splat(<f32>n);
  for (let i = 0; i < dim; i += 4, x += 16, out += 16) {
    const left = dim - i;
    let sum = f32x4.splat(0.0);
    let p = x;
    for (let r = 0; r < n; r++, p += stride) sum = f32x4.add(sum, loadUpTo4(p, left));
    storeUpTo4(out, f32x4.div(sum, count), left);
  }
}

export function l2Normalize(x: usize, n: i32): void {
  const tail = n & 3;
  const whole = x + ((<usize>(n - tail)) << 2);
  let squares = f32x4.splat(0.0);
  for (let p = x; p < whole; p += 16) {
    const v = v128.load(p);
    squares = f32x4.add(squares, f32x4.mul(v, v));
  }
  if (tail) {
    const v = loadTail(whole, tail);
    squares = f32x4.add(squares, f32x4.mul(v, v));
  }
  const norm = f32x4.splat(max<f32>(sqrt<f32>(hsum(squares)), 1e-12));
  for (let p = x; p < whole; p += 16) v128.store(p, f32x4.div(v128.load(p), norm));
  if (tail) storeTail(whole, f32x4.div(loadTail(whole, tail), norm), tail);
}
