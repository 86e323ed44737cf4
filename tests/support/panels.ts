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

/** A linear layer of random 4-bit codes, every block with random f16 scales and minimums of either sign. */
export function randomPanels4(
  rng: Rng,
  outputs: number,
  inputs: number,
  codes: 'random' | 'saturated' | 'zeros' = 'random',
  halves: 'normal' | 'any' | 'denormal' | 'zeros' = 'normal',
): Panels {
  const draw = {
    random: () => rng.int(0, 15),
    saturated: () => (rng.u32() & 1 ? 15 : 0),
    zeros: () => 0,
  }[codes];
  const sign = (): number => (rng.u32() & 1) << 15;
  const half = {
    /** 2⁻¹⁰ and its neighbours, as weights have. */
    normal: () => sign() | rng.int(4 << 10, 8 << 10),
    /** Every finite f16, ±0, ±65504 and denormals among them. */
    any: () => sign() | [0, 0x7bff, rng.int(0, 1023), rng.int(0, 0x7bff)][rng.int(0, 3)]!,
    denormal: () => sign() | rng.int(0, 1023),
    zeros: sign,
  }[halves];
  const blocks = Math.ceil(inputs / 32);
  const panel = Math.ceil((64 + 32 * blocks + 32 * Math.ceil(inputs / 8)) / 64) * 64;
  const bytes = new Uint8Array(Math.ceil(outputs / 8) * panel);
  const view = new DataView(bytes.buffer);
  for (let n = 0; n < outputs; n++) {
    const at = Math.floor(n / 8) * panel;
    const lane = n % 8;
    view.setFloat32(at + 4 * lane, n % 3 === 0 ? 1 : 0.125, true);
    view.setFloat32(at + 32 + 4 * lane, rng.normal(), true);
    for (let b = 0; b < blocks; b++) {
      view.setUint16(at + 64 + 160 * b + 2 * lane, half(), true);
      view.setUint16(at + 64 + 160 * b + 16 + 2 * lane, half(), true);
    }
    for (let k = 0; k < inputs; k++) {
      const block = at + 64 + 160 * Math.floor(k / 32);
      const byte = block + 32 + 32 * Math.floor((k % 32) / 8) + 4 * lane + (k % 4);
      bytes[byte]! |= draw() << (k % 8 < 4 ? 0 : 4);
    }
  }
  return { bytes, kind: 'panel-i4', outputs, inputs };
}
