import type { ModelConfig } from '../../src/config.js';
import { packPayload, type TensorValues } from '../../src/format/pack.js';
import { planWeights, type TensorSpec } from '../../src/format/tensors.js';
import type { ReferenceModel } from '../../src/reference/weights.js';
import { Rng } from './rng.js';

/** Seeded weights under which every branch weighs: attention picks keys, positions tell, norms are not all ones. */
export function randomWeights(config: ModelConfig, seed: number): Map<string, TensorValues> {
  const rng = new Rng(seed);
  return new Map(planWeights(config).tensors.map((tensor) => [tensor.name, tensorValues(rng, tensor)]));
}

function tensorValues(rng: Rng, { name, kind, shape }: TensorSpec): TensorValues {
  const [rows = 1, cols = 1] = shape;
  if (name.endsWith('.smooth')) return { values: rng.normals(rows).map((v) => 2 ** (v / 4)) };
  if (name.endsWith('norm.weight')) return { values: rng.normals(rows, 0.2).map((v) => 1 + v) };
  if (name.endsWith('norm.bias')) return { values: rng.normals(rows, 0.2) };
  if (name === 'rope.factors') return { values: Float32Array.from({ length: rows }, () => rng.int(1, 64) / 64) };
  if (name === 'embeddings.token') return { values: rng.normals(rows * cols) };
  if (kind === 'f32') return { values: rng.normals(rows * cols, 0.7) };
  const gain = /query|key|output$/.test(name) ? 1.6 : 1;
  return { values: rng.normals(rows * cols, gain / Math.sqrt(cols)), bias: rng.normals(rows, 0.2) };
}

/** The same weights as a payload. */
export function packed(
  config: ModelConfig,
  weights: ReadonlyMap<string, TensorValues>,
): { model: ReferenceModel; payload: Uint8Array } {
  const { payload } = packPayload(config, ({ name }) => weights.get(name)!);
  return { model: { config, weights: planWeights(config) }, payload };
}
