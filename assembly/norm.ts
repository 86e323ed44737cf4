import { hsum, laneMask, loadTail, storeTail } from './lanes';

/** Norms of rows of dim elements; sums in the written order (docs/numbers.md "Norms"). out may be x. */
export function layerNorm(x: usize, n: i32, dim: i32, weight: usize, bias: usize, eps: f32, out: usize): void {
  const stride = (<usize>dim) << 2;
  const tail = dim & 3;
  const whole = stride - ((<usize>tail) << 2);
  const mask = laneMask(tail);
  for (let row = 0; row < n; row++, x += stride, out += stride) {
    let sum = f32x4.splat(0.0);
    for (let i: usize = 0; i < whole; i += 16) sum = f32x4.add(sum, v128.load(x + i));
    if (tail) sum = f32x4.add(sum, loadTail(x + whole, tail));
    const mean = f32x4.splat(hsum(sum) / <f32>dim);

    let squares = f32x4.splat(0.0);
    for (let i: usize = 0; i < whole; i += 16) {
      const d = f32x4.sub(v128.load(x + i), mean);
      squares = f32x4.add(squares, f32x4.mul(d, d));
    }
    if (tail) {
      const d = v128.and(f32x4.sub(loadTail(x + whole, tail), mean), mask);
      squares = f32x4.add(squares, f32x4.mul(d, d));
    }
    const r = f32x4.splat(<f32>1.0 / sqrt<f32>(hsum(squares) / <f32>dim + eps));

    for (let i: usize = 0; i < whole; i += 16) {
      const y = f32x4.mul(f32x4.sub(v128.load(x + i), mean), r);
      v128.store(out + i, f32x4.add(f32x4.mul(y, v128.load(weight + i)), v128.load(bias + i)));
    }
    if (tail) {
      const y = f32x4.mul(f32x4.sub(loadTail(x + whole, tail), mean), r);
      const scaled = f32x4.mul(y, loadTail(weight + whole, tail));
      storeTail(out + whole, f32x4.add(scaled, loadTail(bias + whole, tail)), tail);
    }
  }
}

export function rmsNorm(x: usize, n: i32, dim: i32, weight: usize, eps: f32, out: usize): void {
  const stride = (<usize>dim) << 2;
  const tail = dim & 3;
  const whole = stride - ((<usize>tail) << 2);
  for (let row = 0; row < n; row++, x += stride, out += stride) {
    let squares = f32x4.splat(0.0);
    for (let i: usize = 0; i < whole; i += 16) {
      const v = v128.load(x + i);
      squares = f32x4.add(squares, f32x4.mul(v, v));
    }
    if (tail) {
      const v = loadTail(x + whole, tail);
      squares = f32x4.add(squares, f32x4.mul(v, v));
    }
    const r = f32x4.splat(<f32>1.0 / sqrt<f32>(hsum(squares) / <f32>dim + eps));
    for (let i: usize = 0; i < whole; i += 16) {
      v128.store(out + i, f32x4.mul(f32x4.mul(v128.load(x + i), r), v128.load(weight + i)));
    }
    if (tail) {
      const y = f32x4.mul(loadTail(x + whole, tail), r);
      storeTail(out + whole, f32x4.mul(y, loadTail(weight + whole, tail)), tail);
    }
  }
}
