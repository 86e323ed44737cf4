import { INT7_LIMIT, INT8_LIMIT } from '../../src/round.js';
import type { Panels } from '../../src/reference/weights.js';
import type { Rng } from './rng.js';

/** A linear layer of random codes written as panels of 8 outputs; an independent reading of the layout. */
export function randomPanels(
  rng: Rng,
  kind: 'panel-i8' | 'panel-i7',
  outputs: number,
  inputs: number,
  codes: 'random' | 'saturated' | 'zeros' = 'random',
): Panels {
  const limit = kind === 'panel-i7' ? INT7_LIMIT : INT8_LIMIT;
  const draw = {
    random: () => rng.int(-limit, limit),
    saturated: () => (rng.u32() & 1 ? limit : -limit),
    zeros: () => 0,
  }[codes];
  const padded = Math.ceil(inputs / 8) * 8;
  const panel = 64 + 8 * padded;
  const bytes = new Uint8Array(Math.ceil(outputs / 8) * panel);
  const view = new DataView(bytes.buffer);
  for (let n = 0; n < outputs; n++) {
    const at = Math.floor(n / 8) * panel;
    const lane = n % 8;
    view.setFloat32(at + 4 * lane, codes === 'zeros' ? 1 : rng.uniform(0.001, 0.02), true);
    view.setFloat32(at + 32 + 4 * lane, rng.normal(), true);
    for (let k = 0; k < inputs; k++) {
      const block = Math.floor(k / 4);
      bytes[at + 64 + (block * 8 + lane) * 4 + (k % 4)] = draw() + (kind === 'panel-i7' ? 64 : 0);
    }
  }
  return { bytes, kind, outputs, inputs };
}
