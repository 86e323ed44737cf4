import { exp4, expSum, highest, ROUND } from './exp';
import { kept, loadTail, loadUpTo4, storeTail, storeUpTo4 } from './lanes';

/**
 * gelu and gelu_tanh as relu(x) − g(min(|x|, 5.25)), g(t) = t·Φ(−t) a polynomial of degree 14 in
 * u = t·(2/5.25) − 1. Minimax fits with g(0) = 0 and g ≥ 0 as constraints: max error 7.5e-7 over every f32
 * in [2⁻⁹, 8]. Coefficients and steps: docs/numbers.md "Constants".
 */

// @ts-ignore: decorator
@inline
function relu4(x: v128): v128 {
  return f32x4.pmax(f32x4.splat(0.0), x);
}

/** u of the polynomial. */
// @ts-ignore: decorator
@inline
function unit(x: v128, clamp: v128, scale: v128, one: v128): v128 {
  return f32x4.sub(f32x4.mul(f32x4.pmin(clamp, f32x4.abs(x)), scale), one);
}

// @ts-ignore: decorator
@inline
function horner(
  u: v128,
  k0: v128,
  k1: v128,
  k2: v128,
  k3: v128,
  k4: v128,
  k5: v128,
  k6: v128,
  k7: v128,
  k8: v128,
  k9: v128,
  k10: v128,
  k11: v128,
  k12: v128,
  k13: v128,
  k14: v128,
): v128 {
  let p = f32x4.add(f32x4.mul(k0, u), k1);
  p = f32x4.add(f32x4.mul(p, u), k2);
  p = f32x4.add(f32x4.mul(p, u), k3);
  p = f32x4.add(f32x4.mul(p, u), k4);
  p = f32x4.add(f32x4.mul(p, u), k5);
  p = f32x4.add(f32x4.mul(p, u), k6);
  p = f32x4.add(f32x4.mul(p, u), k7);
  p = f32x4.add(f32x4.mul(p, u), k8);
  p = f32x4.add(f32x4.mul(p, u), k9);
  p = f32x4.add(f32x4.mul(p, u), k10);
  p = f32x4.add(f32x4.mul(p, u), k11);
  p = f32x4.add(f32x4.mul(p, u), k12);
  p = f32x4.add(f32x4.mul(p, u), k13);
  p = f32x4.add(f32x4.mul(p, u), k14);
  return p;
}

/**
 * x_i = relu(x_i) − g(|x_i|) over n elements, g by its coefficients. Eight vectors per pass: one chain of 28 dependent
 * operations takes ~90 cycles, so only several at once fill the machine.
 */
function subtractPolynomial(
  x: usize,
  n: i32,
  c0: f32,
  c1: f32,
  c2: f32,
  c3: f32,
  c4: f32,
  c5: f32,
  c6: f32,
  c7: f32,
  c8: f32,
  c9: f32,
  c10: f32,
  c11: f32,
  c12: f32,
  c13: f32,
  c14: f32,
): void {
  const clamp = kept(5.25, n);
  const scale = kept(0.3809524, n);
  const one = kept(1.0, n);
  const k0 = kept(c0, n);
  const k1 = kept(c1, n);
  const k2 = kept(c2, n);
  const k3 = kept(c3, n);
  const k4 = kept(c4, n);
  const k5 = kept(c5, n);
  const k6 = kept(c6, n);
  const k7 = kept(c7, n);
  const k8 = kept(c8, n);
  const k9 = kept(c9, n);
  const k10 = kept(c10, n);
  const k11 = kept(c11, n);
  const k12 = kept(c12, n);
  const k13 = kept(c13, n);
  const k14 = kept(c14, n);
  for (; n >= 32; n -= 32, x += 128) {
    const ua = unit(v128.load(x), clamp, scale, one);
    const ub = unit(v128.load(x, 16), clamp, scale, one);
    const uc = unit(v128.load(x, 32), clamp, scale, one);
    const ud = unit(v128.load(x, 48), clamp, scale, one);
    const ue = unit(v128.load(x, 64), clamp, scale, one);
    const uf = unit(v128.load(x, 80), clamp, scale, one);
    const ug = unit(v128.load(x, 96), clamp, scale, one);
    const uh = unit(v128.load(x, 112), clamp, scale, one);
    const a = horner(ua, k0, k1, k2, k3, k4, k5, k6, k7, k8, k9, k10, k11, k12, k13, k14);
    const b = horner(ub, k0, k1, k2, k3, k4, k5, k6, k7, k8, k9, k10, k11, k12, k13, k14);
    const c = horner(uc, k0, k1, k2, k3, k4, k5, k6, k7, k8, k9, k10, k11, k12, k13, k14);
    const d = horner(ud, k0, k1, k2, k3, k4, k5, k6, k7, k8, k9, k10, k11, k12, k13, k14);
    const e = horner(ue, k0, k1, k2, k3, k4, k5, k6, k7, k8, k9, k10, k11, k12, k13, k14);
    const f = horner(uf, k0, k1, k2, k3, k4, k5, k6, k7, k8, k9, k10, k11, k12, k13, k14);
    const g = horner(ug, k0, k1, k2, k3, k4, k5, k6, k7, k8, k9, k10, k11, k12, k13, k14);
    const h = horner(uh, k0, k1, k2, k3, k4, k5, k6, k7, k8, k9, k10, k11, k12, k13, k14);
    v128.store(x, f32x4.sub(relu4(v128.load(x)), a));
    v128.store(x, f32x4.sub(relu4(v128.load(x, 16)), b), 16);
    v128.store(x, f32x4.sub(relu4(v128.load(x, 32)), c), 32);
    v128.store(x, f32x4.sub(relu4(v128.load(x, 48)), d), 48);
    v128.store(x, f32x4.sub(relu4(v128.load(x, 64)), e), 64);
    v128.store(x, f32x4.sub(relu4(v128.load(x, 80)), f), 80);
    v128.store(x, f32x4.sub(relu4(v128.load(x, 96)), g), 96);
    v128.store(x, f32x4.sub(relu4(v128.load(x, 112)), h), 112);
  }
  for (; n > 0; n -= 4, x += 16) {
    const v = loadUpTo4(x, n);
    const u = unit(v, clamp, scale, one);
    storeUpTo4(x, f32x4.sub(relu4(v), horner(u, k0, k1, k2, k3, k4, k5, k6, k7, k8, k9, k10, k11, k12, k13, k14)), n);
  }
}

export function gelu(x: usize, n: i32): void {
  subtractPolynomial(
    x,
    n,
    0.017841248,
    -0.034394626,
    -0.06815495,
    0.18812798,
    0.026220048,
    -0.39735365,
    0.29834643,
    0.252223,
    -0.5829801,
    0.35885897,
    0.08302023,
    -0.29115918,
    0.21433401,
    -0.07630237,
    0.011373289,
  );
}

export function geluTanh(x: usize, n: i32): void {
  subtractPolynomial(
    x,
    n,
    0.018274853,
    -0.02216243,
    -0.075297356,
    0.13940817,
    0.053729128,
    -0.31963435,
    0.24969195,
    0.19035581,
    -0.536823,
    0.3828798,
    0.059270427,
    -0.29421395,
    0.22025011,
    -0.0766328,
    0.010904089,
  );
}

export function relu(x: usize, n: i32): void {
  for (; n >= 4; n -= 4, x += 16) v128.store(x, relu4(v128.load(x)));
  if (n > 0) storeTail(x, relu4(loadTail(x, n)), n);
}

export function silu(x: usize, n: i32): void {
  const low = kept(-86.0, n);
  const high = kept(88.0, n);
  const log2e = kept(1.4426950408889634, n);
  const round = kept(ROUND, n);
  const hi = kept(0.693359375, n);
  const lo = kept(-2.1219444e-4, n);
  const c0 = kept(1.98756915e-4, n);
  const c1 = kept(1.3981999507e-3, n);
  const c2 = kept(8.3334519073e-3, n);
  const c3 = kept(4.1665795894e-2, n);
  const c4 = kept(1.6666665459e-1, n);
  const c5 = kept(5.0000001201e-1, n);
  const one = kept(1.0, n);
  for (; n >= 16; n -= 16, x += 64) {
    const xa = f32x4.neg(v128.load(x));
    const xb = f32x4.neg(v128.load(x, 16));
    const xc = f32x4.neg(v128.load(x, 32));
    const xd = f32x4.neg(v128.load(x, 48));
    const a = exp4(xa, low, high, log2e, round, hi, lo, c0, c1, c2, c3, c4, c5, one);
    const b = exp4(xb, low, high, log2e, round, hi, lo, c0, c1, c2, c3, c4, c5, one);
    const c = exp4(xc, low, high, log2e, round, hi, lo, c0, c1, c2, c3, c4, c5, one);
    const d = exp4(xd, low, high, log2e, round, hi, lo, c0, c1, c2, c3, c4, c5, one);
    v128.store(x, f32x4.div(v128.load(x), f32x4.add(one, a)));
    v128.store(x, f32x4.div(v128.load(x, 16), f32x4.add(one, b)), 16);
    v128.store(x, f32x4.div(v128.load(x, 32), f32x4.add(one, c)), 32);
    v128.store(x, f32x4.div(v128.load(x, 48), f32x4.add(one, d)), 48);
  }
  for (; n > 0; n -= 4, x += 16) {
    const v = loadUpTo4(x, n);
    const e = exp4(f32x4.neg(v), low, high, log2e, round, hi, lo, c0, c1, c2, c3, c4, c5, one);
    storeUpTo4(x, f32x4.div(v, f32x4.add(one, e)), n);
  }
}

/** Softmax of one row of n ≥ 1 elements. */
function softmaxRow(x: usize, n: i32): void {
  const total = f32x4.splat(expSum(x, n, highest(x, n), 0));
  for (; n >= 4; n -= 4, x += 16) v128.store(x, f32x4.div(v128.load(x), total));
  if (n > 0) storeTail(x, f32x4.div(loadTail(x, n), total), n);
}

export function softmax(x: usize, rows: i32, n: i32): void {
  const stride = (<usize>n) << 2;
  for (let r = 0; r < rows; r++, x += stride) softmaxRow(x, n);
}
