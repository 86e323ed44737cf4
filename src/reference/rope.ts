import { f } from './math.js';

/** Rotary positions. Logarithm, exponential, sine and cosine are built of f64 + − × ÷: the same bits on every engine. */

/** What departs from position · base^(−2i/d): factors of the inverse frequencies [d/2], of cos and sin, and of the base (dynamic NTK). */
export interface RopeTurns {
  readonly factors?: ArrayLike<number> | undefined;
  readonly scale?: number;
  readonly ntk?: number;
}

/**
 * f32[rows][d]: row r holds cos then sin of p · base^(−2i/d), i < d/2, of position p = first + r. base ≥ 1, d even.
 * Positions below 2²⁰.
 */
export function ropeTable(
  rows: number,
  d: number,
  base: number,
  first: number,
  { factors, scale = 1, ntk = 1 }: RopeTurns = {},
): Float32Array {
  const half = d / 2;
  const lnBase = ln64(base) + (ntk === 1 ? 0 : ln64(ntk) * (d / (d - 2)));
  const out = new Float32Array(rows * d);
  for (let i = 0; i < half; i++) {
    const inverse = exp64(-(((2 * i) / d) * lnBase)) * (factors?.[i] ?? 1);
    for (let r = 0; r < rows; r++) {
      const [sin, cos] = sinCos64((first + r) * inverse);
      out[r * d + i] = cos * scale;
      out[r * d + half + i] = sin * scale;
    }
  }
  return out;
}

/** Rotates the pairs (i, i + d/2) of every head of x f32[n][heads · d] by table row positions[row], in place. */
export function rope(
  x: Float32Array,
  heads: number,
  d: number,
  table: Float32Array,
  positions: ArrayLike<number>,
): void {
  const half = d / 2;
  for (let at = 0; at < x.length; at += d) {
    const angle = positions[Math.floor(at / (heads * d))]! * d;
    for (let i = 0; i < half; i++) {
      const cos = table[angle + i]!;
      const sin = table[angle + half + i]!;
      const a = x[at + i]!;
      const b = x[at + half + i]!;
      x[at + i] = f(a * cos) - f(b * sin);
      x[at + half + i] = f(b * cos) + f(a * sin);
    }
  }
}

/** ln x, x > 0: x = m · 2^e with m near 1, then 2·artanh((m − 1) / (m + 1)). */
export function ln64(x: number): number {
  let e = 0;
  let m = x;
  for (; m >= 1.4142135623730951; m *= 0.5) e++;
  for (; m < 0.7071067811865476; m *= 2) e--;
  const s = (m - 1) / (m + 1);
  const z = s * s;
  let h = 1 / 21;
  for (let k = 19; k >= 1; k -= 2) h = h * z + 1 / k;
  return e * 0.6931471805599453 + 2 * s * h;
}

/** e^x, x ≤ 0: Taylor on |r| ≤ ln2 / 2, then halved −n times (exact). */
export function exp64(x: number): number {
  const n = Math.floor(x * 1.4426950408889634 + 0.5);
  const r = x - n * 0.6931471803691238 - n * 1.9082149292705877e-10;
  let p = 1;
  for (let k = 13; k >= 1; k--) p = (p * r) / k + 1;
  for (let i = n; i < 0; i++) p *= 0.5;
  return p;
}

/** sin x and cos x, 0 ≤ x < 2²⁰: Taylor on |r| ≤ π/4, then turned by quarter n. */
export function sinCos64(x: number): readonly [sin: number, cos: number] {
  const n = Math.floor(x * 0.6366197723675814 + 0.5);
  const r = x - n * 1.5707963267341256 - n * 6.077100506506192e-11;
  const z = r * r;
  let s = 1;
  let c = 1;
  for (let k = 8; k >= 1; k--) {
    s = 1 - (s * z) / (2 * k * (2 * k + 1));
    c = 1 - (c * z) / ((2 * k - 1) * 2 * k);
  }
  s = r * s;
  const quarter = n % 4;
  return quarter === 0 ? [s, c] : quarter === 1 ? [c, -s] : quarter === 2 ? [-s, -c] : [-c, s];
}
