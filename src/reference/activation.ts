import { exp, f, horner } from './math.js';

/** Activations in place; polynomials and their measured errors: docs/numbers.md "Activations" and "Constants". */

/** Beyond this magnitude g(t) = t·Φ(−t) counts as g(TAIL), below 1e-6. */
const TAIL = 5.25;
const TWO_OVER_TAIL = f(0.3809524);
const GELU = Float32Array.of(
  ...[0.017841248, -0.034394626, -0.06815495, 0.18812798, 0.026220048, -0.39735365, 0.29834643, 0.252223],
  ...[-0.5829801, 0.35885897, 0.08302023, -0.29115918, 0.21433401, -0.07630237, 0.011373289],
);
const GELU_TANH = Float32Array.of(
  ...[0.018274853, -0.02216243, -0.075297356, 0.13940817, 0.053729128, -0.31963435, 0.24969195, 0.19035581],
  ...[-0.536823, 0.3828798, 0.059270427, -0.29421395, 0.22025011, -0.0766328, 0.010904089],
);

const { abs } = Math;
const positive = (x: number): number => (x > 0 ? x : 0);

/** x·Φ(x) = relu(x) − g(|x|): the polynomial is needed on one side only, and large x stays exact. */
function geluWith(x: Float32Array, coefficients: Float32Array): void {
  for (let i = 0; i < x.length; i++) {
    const a = abs(x[i]!);
    const t = a < TAIL ? a : TAIL;
    const u = f(f(t * TWO_OVER_TAIL) - 1);
    x[i] = positive(x[i]!) - horner(coefficients, u);
  }
}

/** GELU, the erf form. */
export function gelu(x: Float32Array): void {
  geluWith(x, GELU);
}

/** GELU, the tanh form. */
export function geluTanh(x: Float32Array): void {
  geluWith(x, GELU_TANH);
}

export function relu(x: Float32Array): void {
  for (let i = 0; i < x.length; i++) x[i] = positive(x[i]!);
}

/** x / (1 + e^−x) */
export function silu(x: Float32Array): void {
  for (let i = 0; i < x.length; i++) x[i] = x[i]! / f(1 + exp(-x[i]!));
}
