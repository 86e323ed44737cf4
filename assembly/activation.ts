import { exp4 } from './exp';
import { hmax, hsum, laneMask, loadTail, storeTail } from './lanes';

/**
 * gelu and gelu_tanh as relu(x) − g(min(|x|, 5.25)), g(t) = t·Φ(−t) a polynomial of degree 14 in
 * u = t·(2/5.25) − 1. Minimax fits with g(0) = 0 and g ≥ 0 as constraints: max error 7.5e-7 over every f32
 * in [2⁻⁹, 8]. Coefficients and steps: docs/numbers.md "Constants".
 */

// @ts-ignore: decorator
@inline
function unit(x: v128): v128 {
  const t = f32x4.pmin(f32x4.splat(5.25), f32x4.abs(x));
  return f32x4.sub(f32x4.mul(t, f32x4.splat(0.3809524)), f32x4.splat(1.0));
}

// @ts-ignore: decorator
@inline
function horner(p: v128, u: v128, c: f32): v128 {
  return f32x4.add(f32x4.mul(p, u), f32x4.splat(c));
}

// @ts-ignore: decorator
@inline
function relu4(x: v128): v128 {
  return f32x4.pmax(f32x4.splat(0.0), x);
}

// @ts-ignore: decorator
@inline
function gelu4(x: v128): v128 {
  const u = unit(x);
  let p = f32x4.splat(0.017841248);
  p = horner(p, u, -0.034394626);
  p = horner(p, u, -0.06815495);
  p = horner(p, u, 0.18812798);
  p = horner(p, u, 0.026220048);
  p = horner(p, u, -0.39735365);
  p = horner(p, u, 0.29834643);
  p = horner(p, u, 0.252223);
  p = horner(p, u, -0.5829801);
  p = horner(p, u, 0.35885897);
  p = horner(p, u, 0.08302023);
  p = horner(p, u, -0.29115918);
  p = horner(p, u, 0.21433401);
  p = horner(p, u, -0.07630237);
  p = horner(p, u, 0.011373289);
  return f32x4.sub(relu4(x), p);
}

// @ts-ignore: decorator
@inline
function geluTanh4(x: v128): v128 {
  const u = unit(x);
  let p = f32x4.splat(0.018274853);
  p = horner(p, u, -0.02216243);
  p = horner(p, u, -0.075297356);
  p = horner(p, u, 0.13940817);
  p = horner(p, u, 0.053729128);
  p = horner(p, u, -0.31963435);
  p = horner(p, u, 0.24969195);
  p = horner(p, u, 0.19035581);
  p = horner(p, u, -0.536823);
  p = horner(p, u, 0.3828798);
  p = horner(p, u, 0.059270427);
  p = horner(p, u, -0.29421395);
  p = horner(p, u, 0.22025011);
  p = horner(p, u, -0.0766328);
  p = horner(p, u, 0.010904089);
  return f32x4.sub(relu4(x), p);
}

// @ts-ignore: decorator
@inline
function silu4(x: v128): v128 {
  return f32x4.div(x, f32x4.add(f32x4.splat(1.0), exp4(f32x4.neg(x))));
}

export function gelu(x: usize, n: i32): void {
  for (; n >= 4; n -= 4, x += 16) v128.store(x, gelu4(v128.load(x)));
  if (n > 0) storeTail(x, gelu4(loadTail(x, n)), n);
}

export function geluTanh(x: usize, n: i32): void {
  for (; n >= 4; n -= 4, x += 16) v128.store(x, geluTanh4(v128.load(x)));
  if (n > 0) storeTail(x, geluTanh4(loadTail(x, n)), n);
}

export function relu(x: usize, n: i32): void {
  for (; n >= 4; n -= 4, x += 16) v128.store(x, relu4(v128.load(x)));
  if (n > 0) storeTail(x, relu4(loadTail(x, n)), n);
}

export function silu(x: usize, n: i32): void {
  for (; n >= 4; n -= 4, x += 16) v128.store(x, silu4(v128.load(x)));
  if (n > 0) storeTail(x, silu4(loadTail(x, n)), n);
}

/** Softmax of one row of n ≥ 1 elements. Lanes past the row weigh nothing in the sum. */
function softmaxRow(x: usize, n: i32): void {
  const tail = n & 3;
  const whole = x + ((<usize>(n - tail)) << 2);
  let peak = load<f32>(x);
  let best = f32x4.splat(peak);
  for (let p = x; p < whole; p += 16) best = f32x4.max(best, v128.load(p));
  if (tail) best = f32x4.max(best, v128.bitselect(loadTail(whole, tail), best, laneMask(tail)));
  peak = hmax(best);
  let sum = f32x4.splat(0.0);
  for (let p = x; p < whole; p += 16) {
    const e = exp4(f32x4.sub(v128.load(p), f32x4.splat(peak)));
    v128.store(p, e);
    sum = f32x4.add(sum, e);
  }
  if (tail) {
    const e = v128.and(exp4(f32x4.sub(loadTail(whole, tail), f32x4.splat(peak))), laneMask(tail));
    storeTail(whole, e, tail);
    sum = f32x4.add(sum, e);
  }
  const total = f32x4.splat(hsum(sum));
  for (let p = x; p < whole; p += 16) v128.store(p, f32x4.div(v128.load(p), total));
  if (tail) storeTail(whole, f32x4.div(loadTail(whole, tail), total), tail);
}

export function softmax(x: usize, rows: i32, n: i32): void {
  const stride = (<usize>n) << 2;
  for (let r = 0; r < rows; r++, x += stride) softmaxRow(x, n);
}
