import type { ModelConfig, Quant } from '../config.js';
import type { ModelMeta } from '../format/file.js';
import { packPayload, type TensorValues } from '../format/pack.js';
import type { TensorSpec } from '../format/tensors.js';
import { writeModel } from '../format/write.js';
import { presetModel } from '../presets.js';
import { Random } from '../random.js';

/**
 * A seeded random model of a preset: real layers with meaningless weights, for tests and benches.
 * The same seed gives the same bytes everywhere.
 * @param seed u32
 */
export function initModel(preset: 'micro' | 'baseline', seed: number, quant: Quant = 'int8'): Promise<Uint8Array> {
  return randomModel({ ...presetModel(preset), quant }, seed, `random ${preset}, seed ${seed}`);
}

/** The same for any configuration. */
export async function randomModel(
  config: ModelConfig,
  seed: number,
  name = `random, seed ${seed}`,
): Promise<Uint8Array> {
  const { payload, errors } = packPayload(config, randomWeights(seed));
  const worst = errors.reduce((a, b) => (b.error > a.error ? b : a));
  const meta: ModelMeta = {
    source: { name, license: 'CC0-1.0' },
    report: { scheme: config.quant, worstTensor: worst },
  };
  return writeModel(config, payload, meta);
}

/**
 * Weights that keep activations near unit size at any width: linear layers of variance 1 / inputs, norms
 * near one, biases small but never zero, so that every tensor matters to the output.
 */
export function randomWeights(seed: number): (tensor: TensorSpec) => TensorValues {
  const random = new Random(seed);
  const fill = (n: number, mean: number, deviation: number): Float32Array => {
    const values = new Float32Array(n);
    for (let i = 0; i < n; i++) values[i] = mean + deviation * random.normal();
    return values;
  };
  return ({ name, kind, shape }) => {
    const [rows = 1, cols = 1] = shape;
    if (name.endsWith('.smooth')) return { values: Float32Array.from({ length: rows }, () => 0.5 + random.uniform()) };
    if (name === 'rope.factors')
      return { values: Float32Array.from({ length: rows }, () => 1 - 0.9 * random.uniform()) };
    if (kind === 'f32') return { values: fill(rows * cols, name.endsWith('norm.weight') ? 1 : 0, 0.1) };
    if (name === 'embeddings.token') return { values: fill(rows * cols, 0, 1) };
    return { values: fill(rows * cols, 0, 1.5 / Math.sqrt(cols)), bias: fill(rows, 0, 0.05) };
  };
}
