import { loadTail, storeTail } from './lanes';

export function add(x: usize, y: usize, n: i32): void {
  for (; n >= 4; n -= 4, x += 16, y += 16) v128.store(x, f32x4.add(v128.load(x), v128.load(y)));
  if (n > 0) storeTail(x, f32x4.add(loadTail(x, n), loadTail(y, n)), n);
}

export function mul(x: usize, y: usize, n: i32): void {
  for (; n >= 4; n -= 4, x += 16, y += 16) v128.store(x, f32x4.mul(v128.load(x), v128.load(y)));
  if (n > 0) storeTail(x, f32x4.mul(loadTail(x, n), loadTail(y, n)), n);
}
