import type { BertLayer, BertModel, Linear } from './bert.js';
import { SITES, type Observe, type Site } from './float.js';

/** Bound once, as in erf.ts. */
const { abs } = Math;

/**
 * Per-channel factors that move quantisation error from where activations vary to weights that vary less
 * (SmoothQuant, Xiao et al. 2023, eq. 4): x·W = (x / s)·(s·W), s_c = max|x_c|^α / max|W_c|^(1−α).
 * 1/s is the `.smooth` vector the quantise kernel multiplies by; for the attention context it is folded into the value
 * rows, where it costs nothing. docs/decisions/0003-quantisation.md says why these exponents.
 */
export const ALPHA: Readonly<Record<Site, number>> = { attention: 0.5, context: 0.4, up: 0.4, down: 0.4 };

/** Largest |x| of every channel at every site of every layer: what calibration saw. */
export type Maxima = readonly Readonly<Record<Site, Float32Array>>[];

/** Multipliers 1/s of every channel; the same shape. */
export type Smoothing = readonly Readonly<Record<Site, Float32Array>>[];

/** Empty maxima, and the observer of a float forward that fills them. */
export function startCalibration(model: BertModel): { maxima: Maxima; observe: Observe } {
  const { hidden, ffn } = model;
  const maxima = model.layers.map(() => ({
    attention: new Float32Array(hidden),
    context: new Float32Array(hidden),
    up: new Float32Array(hidden),
    down: new Float32Array(ffn),
  }));
  const observe: Observe = (layer, site, x, rows, width) => {
    const into = maxima[layer]![site];
    for (let r = 0; r < rows; r++) {
      for (let c = 0; c < width; c++) {
        const a = abs(x[r * width + c]!);
        if (a > into[c]!) into[c] = a;
      }
    }
  };
  return { maxima, observe };
}

/** Multipliers for one model. */
export function smoothing(model: BertModel, maxima: Maxima): Smoothing {
  return model.layers.map((layer, i) => {
    const seen = maxima[i]!;
    const vector = (site: Site): Float32Array =>
      multipliers(seen[site], columnMaxima(readers(layer, site)), ALPHA[site]);
    return Object.fromEntries(SITES.map((site) => [site, vector(site)])) as Record<Site, Float32Array>;
  });
}

/** The linear layers that read a site. */
function readers(layer: BertLayer, site: Site): Linear[] {
  if (site === 'attention') return [layer.query, layer.key, layer.value];
  return [site === 'context' ? layer.output : site === 'up' ? layer.up : layer.down];
}

/** max|W| of every input channel over all outputs of all layers that read it. */
function columnMaxima(linears: readonly Linear[]): Float32Array {
  const { inputs } = linears[0]!;
  const max = new Float32Array(inputs);
  for (const { weight } of linears) {
    for (let at = 0; at < weight.length; at += inputs) {
      for (let c = 0; c < inputs; c++) {
        const a = abs(weight[at + c]!);
        if (a > max[c]!) max[c] = a;
      }
    }
  }
  return max;
}

/** A channel that calibration hardly woke, or weights hardly read, counts as this share of the largest. */
const FLOOR = 1e-3;

/** 1/s per channel, around 1 (their geometric mean is taken out), in steps of 2^¼. */
function multipliers(activations: Float32Array, weights: Float32Array, alpha: number): Float32Array {
  const a = floored(activations);
  const w = floored(weights);
  const logs = Float64Array.from(a, (x, c) => alpha * Math.log2(x) - (1 - alpha) * Math.log2(w[c]!));
  const mean = logs.reduce((sum, log) => sum + log, 0) / logs.length;
  return Float32Array.from(logs, (log) => quarterPower(Math.round(4 * (mean - log))));
}

function floored(values: Float32Array): Float32Array {
  const max = values.reduce((a, b) => Math.max(a, b), 0);
  return values.map((value) => (max > 0 ? Math.max(value, max * FLOOR) : 1));
}

/**
 * 2^(q/4) as f32. Rounded to these steps, a factor does not follow the last bits of the float forward, so that
 * every engine's `Math.exp` gives the same file; the step costs no accuracy.
 */
export function quarterPower(q: number): number {
  const whole = Math.floor(q / 4);
  return 2 ** whole * [1, 1.189207115002721, 1.4142135623730951, 1.681792830507429][q - 4 * whole]!;
}
