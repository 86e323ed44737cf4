import { MgtError } from '../errors.js';

/**
 * Copies `size` values out of the arena. Weights are finite, but a chain of extreme ones can overflow f32.
 * @throws MgtError `BadWeights` where a value is not finite; `to` is untouched then.
 */
export function copyFinite(from: Float32Array, at: number, to: Float32Array, size: number): void {
  for (let i = 0; i < size; i++) {
    const v = from[at + i]!;
    if (!Number.isFinite(v)) throw new MgtError('BadWeights', `output[${i}]`, 'finite values', v);
  }
  to.set(from.subarray(at, at + size));
}
