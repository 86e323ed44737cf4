/**
 * Four f32 lanes at a time. Buffers are not padded, so the last 1..3 elements of a row are loaded and
 * stored lane by lane: no kernel touches a byte outside its regions.
 */

/** n ∈ 1..3 elements at p, the other lanes +0. */
// @ts-ignore: decorator
@inline
export function loadTail(p: usize, n: i32): v128 {
  if (n === 1) return v128.load32_zero(p);
  const two = v128.load64_zero(p);
  return n === 2 ? two : v128.load32_lane(p, two, 2, 8);
}

/** The first n ∈ 1..3 lanes of v to p. */
// @ts-ignore: decorator
@inline
export function storeTail(p: usize, v: v128, n: i32): void {
  if (n === 1) {
    v128.store32_lane(p, v, 0);
    return;
  }
  v128.store64_lane(p, v, 0);
  if (n === 3) v128.store32_lane(p, v, 2, 8);
}

/**
 * A constant in four lanes, to be made before a loop over n ≥ 0 elements. Or-ing n's sign bit changes nothing, but hides
 * the value: engines keep the vector, where V8 rebuilds a constant it can see at each use, three instructions in the loop.
 */
// @ts-ignore: decorator
@inline
export function kept(c: f32, n: i32): v128 {
  return v128.or(f32x4.splat(c), i32x4.splat(n >>> 31));
}

/** min(n, 4) elements at p, the other lanes +0; n may be ≤ 0. */
// @ts-ignore: decorator
@inline
export function loadUpTo4(p: usize, n: i32): v128 {
  if (n >= 4) return v128.load(p);
  return n > 0 ? loadTail(p, n) : f32x4.splat(0);
}

/** The first min(n, 4) lanes of v to p; n ≥ 1. */
// @ts-ignore: decorator
@inline
export function storeUpTo4(p: usize, v: v128, n: i32): void {
  if (n >= 4) v128.store(p, v);
  else storeTail(p, v, n);
}

/** All bits set in the first n lanes. */
// @ts-ignore: decorator
@inline
export function laneMask(n: i32): v128 {
  return i32x4.lt_s(i32x4(0, 1, 2, 3), i32x4.splat(n));
}

/** The written reduction order: (s0 + s1) + (s2 + s3). */
// @ts-ignore: decorator
@inline
export function hsum(s: v128): f32 {
  const pair01 = f32x4.extract_lane(s, 0) + f32x4.extract_lane(s, 1);
  const pair23 = f32x4.extract_lane(s, 2) + f32x4.extract_lane(s, 3);
  return pair01 + pair23;
}

/** Largest lane; like every maximum here by pmax, one instruction, where max's rules for NaN and −0 cost seven. */
// @ts-ignore: decorator
@inline
export function hmax(v: v128): f32 {
  const pair = f32x4.pmax(v, v128.shuffle<f32>(v, v, 2, 3, 0, 1));
  return f32x4.extract_lane(f32x4.pmax(pair, v128.shuffle<f32>(pair, pair, 1, 0, 3, 2)), 0);
}

/**
 * max(peak, |v|) of non-negative peaks by their bits, whose order is that of the magnitudes; a NaN is above all, stays,
 * and so reaches the scale and everything made with it.
 */
// @ts-ignore: decorator
@inline
export function maxAbs(peak: v128, v: v128): v128 {
  return i32x4.max_u(peak, f32x4.abs(v));
}

/** Largest lane of a maxAbs result. */
// @ts-ignore: decorator
@inline
export function hmaxAbs(v: v128): f32 {
  const pair = i32x4.max_u(v, v128.shuffle<i32>(v, v, 2, 3, 0, 1));
  return f32x4.extract_lane(i32x4.max_u(pair, v128.shuffle<i32>(pair, pair, 1, 0, 3, 2)), 0);
}

/** [a0 + a1, a2 + a3, b0 + b1, b2 + b3], i32. */
// @ts-ignore: decorator
@inline
export function pairSums(a: v128, b: v128): v128 {
  return i32x4.add(v128.shuffle<i32>(a, b, 0, 2, 4, 6), v128.shuffle<i32>(a, b, 1, 3, 5, 7));
}
