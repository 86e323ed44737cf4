/**
 * The one rounding rule (docs/numbers.md): scale = f(max|x| / limit), q = nearest-even(f(x / scale)),
 * clamped to ±limit; a group whose max is below 2^-100 counts as zero and gets scale 1.
 * The only arithmetic the writer and the reference share. Leaf module.
 */

/** Largest magnitude of an int8 code: symmetric, so -128 never appears. */
export const INT8_LIMIT = 127;
/** Largest magnitude of an int7 code; stored with +64 it is in 1..127, the range relaxed dot is exact in. */
export const INT7_LIMIT = 63;
/** Inputs that share one activation scale. */
export const GROUP = 64;
/** Below this magnitude a group counts as all zero. */
export const ZERO_MAX = 2 ** -100;

const TWO_23 = 8388608;
const f = Math.fround;
const abs = Math.abs;

/** Round an f32 to the nearest integer, ties to even. Exact for |x| < 2^22. */
export function nearestEven(x: number): number {
  const a = abs(x);
  if (a >= TWO_23) return x;
  const r = f(f(a + TWO_23) - TWO_23);
  return x < 0 ? -r : r;
}

/** Scale of a group whose largest magnitude is `max` (an f32). */
export function scaleOf(max: number, limit: number): number {
  return max < ZERO_MAX ? 1 : f(max / limit);
}

/** Code of `x` under `scale`; an integer in [-limit, limit]. */
export function quantize(x: number, scale: number, limit: number): number {
  const q = nearestEven(f(x / scale));
  return q > limit ? limit : q < -limit ? -limit : q === 0 ? 0 : q;
}
