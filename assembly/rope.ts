import { loadUpTo4, storeUpTo4 } from './lanes';

/**
 * Rotary positions. The table is made once per model in f64 with our own exp, ln, sin and cos (+ − × ÷ and floor only,
 * docs/numbers.md "Constants"), so that every engine holds the same bits; Math.* differs between engines.
 */

/** Natural logarithm, x > 0: 2·atanh((m − 1) / (m + 1)) with m in [√½, √2). Relative error below 5e-16. */
function ln64(x: f64): f64 {
  let e: f64 = 0;
  let m = x;
  while (m >= 1.4142135623730951) {
    m *= 0.5;
    e += 1;
  }
  while (m < 0.7071067811865476) {
    m *= 2;
    e -= 1;
  }
  const s = (m - 1) / (m + 1);
  const z = s * s;
  let h: f64 = 1.0 / 21.0;
  for (let k = 19; k >= 1; k -= 2) h = h * z + 1.0 / <f64>k;
  return e * 0.6931471805599453 + 2 * s * h;
}

/** e^x for |x| < 700: Taylor to r¹³ after taking out n·ln 2. Relative error below 5e-16. */
function exp64(x: f64): f64 {
  const n = floor<f64>(x * 1.4426950408889634 + 0.5);
  const r = x - n * 0.6931471803691238 - n * 1.9082149292705877e-10;
  let p: f64 = 1;
  for (let k = 13; k >= 1; k--) p = (p * r) / <f64>k + 1;
  return p * reinterpret<f64>((<i64>n + 1023) << 52);
}

/**
 * cos(angle)·scale to cos, sin(angle)·scale to sin, each rounded once to f32; 0 ≤ angle < 2²⁰, absolute error before that below 3e-16.
 * angle = n·π/2 + r with π/2 in two parts, the first of 33 bits, so that n times it is exact; then Taylor to r¹⁷.
 */
function storeCosSin(angle: f64, scale: f64, cos: usize, sin: usize): void {
  const n = floor<f64>(angle * 0.6366197723675814 + 0.5);
  const r = angle - n * 1.5707963267341256 - n * 6.077100506506192e-11;
  const z = r * r;
  let s: f64 = 1;
  let c: f64 = 1;
  for (let k = 8; k >= 1; k--) {
    s = 1 - (s * z) / <f64>(2 * k * (2 * k + 1));
    c = 1 - (c * z) / <f64>((2 * k - 1) * 2 * k);
  }
  s = r * s;
  const quarter = (<i32>n) & 3;
  const swap = quarter & 1;
  const cosValue = (swap ? s : c) * scale;
  const sinValue = (swap ? c : s) * scale;
  store<f32>(cos, <f32>(quarter === 1 || quarter === 2 ? -cosValue : cosValue));
  store<f32>(sin, <f32>(quarter >= 2 ? -sinValue : sinValue));
}

export function ropeTable(
  out: usize,
  rows: i32,
  d: i32,
  base: f64,
  first: i32,
  factors: usize,
  scale: f64,
  ntk: f64,
): void {
  const half = d >> 1;
  let logBase = ln64(base);
  if (ntk !== 1) logBase += ln64(ntk) * (<f64>d / <f64>(d - 2));
  const stride = (<usize>d) << 2;
  for (let i = 0; i < half; i++) {
    let frequency = exp64(-((<f64>(2 * i) / <f64>d) * logBase));
    if (factors !== 0) frequency *= <f64>load<f32>(factors + ((<usize>i) << 2));
    let p = out + ((<usize>i) << 2);
    for (let row = 0; row < rows; row++, p += stride) {
      storeCosSin(<f64>(first + row) * frequency, scale, p, p + ((<usize>half) << 2));
    }
  }
}

export function rope(x: usize, n: i32, heads: i32, d: i32, table: usize, positions: usize): void {
  const half = d >> 1;
  const halfBytes = (<usize>half) << 2;
  const headBytes = (<usize>d) << 2;
  for (let r = 0; r < n; r++) {
    const row = table + <usize>load<u32>(positions + ((<usize>r) << 2)) * headBytes;
    for (let h = 0; h < heads; h++, x += headBytes) {
      for (let i = 0; i < half; i += 4) {
        const left = half - i;
        const p = x + ((<usize>i) << 2);
        const t = row + ((<usize>i) << 2);
        const a = loadUpTo4(p, left);
        const b = loadUpTo4(p + halfBytes, left);
        const cos = loadUpTo4(t, left);
        const sin = loadUpTo4(t + halfBytes, left);
        storeUpTo4(p, f32x4.sub(f32x4.mul(a, cos), f32x4.mul(b, sin)), left);
        storeUpTo4(p + halfBytes, f32x4.add(f32x4.mul(b, cos), f32x4.mul(a, sin)), left);
      }
    }
  }
}
