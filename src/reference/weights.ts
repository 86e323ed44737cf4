import type { ModelConfig } from '../config.js';
import {
  PANEL_HEAD,
  PANEL_OUTPUTS,
  panelBytes,
  panelBytes4,
  type TensorKind,
  type TensorSpec,
  type WeightPlan,
} from '../format/tensors.js';

/** What the reference needs of a model file: its configuration and where each tensor lies in the payload. */
export interface ReferenceModel {
  readonly config: ModelConfig;
  readonly weights: WeightPlan;
}

/** A linear layer (or the token table) as it lies in the payload: ceil(outputs / 8) panels, see format/tensors.ts. */
export interface Panels {
  readonly bytes: Uint8Array;
  readonly kind: TensorKind;
  readonly outputs: number;
  readonly inputs: number;
}

/** Eight outputs, plain. */
export interface Panel {
  /** [inputs][8] integers in ±127; int7 codes without their +64. */
  readonly codes: Float64Array;
  readonly scales: Float32Array; // [8]
  readonly bias: Float32Array; // [8]
}

/** Reads tensors by name. Nothing is kept between calls: a changed payload is a changed model. */
export class Weights {
  private readonly tensors: ReadonlyMap<string, TensorSpec>;

  constructor(
    plan: WeightPlan,
    private readonly payload: Uint8Array,
  ) {
    this.tensors = new Map(plan.tensors.map((t) => [t.name, t]));
  }

  /** f32 tensor in row-major order, or `undefined` where the configuration has none of that name. */
  find(name: string): Float32Array | undefined {
    const t = this.tensors.get(name);
    if (!t) return undefined;
    return floats(this.payload, t.offset, t.shape[0]! * (t.shape[1] ?? 1));
  }

  f32(name: string): Float32Array {
    return this.find(name)!;
  }

  panels(name: string): Panels {
    const { kind, shape, offset, bytes } = this.tensors.get(name)!;
    return { bytes: this.payload.subarray(offset, offset + bytes), kind, outputs: shape[0]!, inputs: shape[1]! };
  }
}

/** Panel `index` (outputs 8·index ..); outputs past the last are zero. */
export function unpackPanel(w: Panels, index: number): Panel {
  const at = index * panelBytes(w.inputs);
  const zero = w.kind === 'panel-i7' ? 64 : 0;
  const stored = new DataView(w.bytes.buffer, w.bytes.byteOffset + at + PANEL_HEAD);
  const codes = new Float64Array(w.inputs * PANEL_OUTPUTS);
  const lanes = Math.min(PANEL_OUTPUTS, w.outputs - index * PANEL_OUTPUTS);
  for (let k = 0; k < w.inputs; k++) {
    for (let lane = 0; lane < lanes; lane++) {
      // [K/4][8 outputs][4 inputs]; int7 codes are below 128, signed or not
      codes[k * PANEL_OUTPUTS + lane] = stored.getInt8((k >> 2) * 32 + lane * 4 + (k & 3)) - zero;
    }
  }
  return { codes, scales: floats(w.bytes, at, PANEL_OUTPUTS), bias: floats(w.bytes, at + 32, PANEL_OUTPUTS) };
}

/** Eight outputs of an int4 layer, plain: w = factor · (scale · q + min). */
export interface Panel4 {
  /** [inputs][8] integers in 0..15. */
  readonly codes: Float64Array;
  readonly scales: Float32Array; // [blocks of 32 inputs][8]
  readonly mins: Float32Array; // [blocks][8]
  readonly factors: Float32Array; // [8]
  readonly bias: Float32Array; // [8]
}

/** int4 panel `index`; outputs past the last are zero. */
export function unpackPanel4(w: Panels, index: number): Panel4 {
  const at = index * panelBytes4(w.inputs);
  const view = new DataView(w.bytes.buffer, w.bytes.byteOffset + at, panelBytes4(w.inputs));
  const blocks = Math.ceil(w.inputs / 32);
  const scales = new Float32Array(blocks * PANEL_OUTPUTS);
  const mins = new Float32Array(blocks * PANEL_OUTPUTS);
  for (let b = 0; b < blocks; b++) {
    for (let lane = 0; lane < PANEL_OUTPUTS; lane++) {
      const head = PANEL_HEAD + b * 160 + 2 * lane;
      scales[b * PANEL_OUTPUTS + lane] = half(view.getUint16(head, true));
      mins[b * PANEL_OUTPUTS + lane] = half(view.getUint16(head + 16, true));
    }
  }
  const codes = new Float64Array(w.inputs * PANEL_OUTPUTS);
  for (let k = 0; k < w.inputs; k++) {
    for (let lane = 0; lane < PANEL_OUTPUTS; lane++) {
      // after the block's head [4][8 outputs][4 bytes]; the second four of eight inputs stand in the high nibbles
      const block = PANEL_HEAD + Math.floor(k / 32) * 160 + 32;
      const byte = view.getUint8(block + Math.floor((k % 32) / 8) * 32 + lane * 4 + (k % 4));
      codes[k * PANEL_OUTPUTS + lane] = k % 8 < 4 ? byte % 16 : Math.floor(byte / 16);
    }
  }
  return { codes, scales, mins, factors: floats(w.bytes, at, 8), bias: floats(w.bytes, at + 32, 8) };
}

/** What one unit of an f16's mantissa is worth, by exponent: 2⁻²⁴ for denormals and the least normals, then twice as much each. */
const HALF_UNITS = Float64Array.from({ length: 31 }, (_, e) => (1 << Math.max(0, e - 1)) / (1 << 24));

/** Value of a finite f16. */
function half(bits: number): number {
  const exponent = (bits >> 10) & 31;
  const size = ((bits & 1023) + (exponent === 0 ? 0 : 1024)) * HALF_UNITS[exponent]!;
  return bits >> 15 ? -size : size;
}

/** `count` little-endian f32 at any byte offset. */
function floats(bytes: Uint8Array, offset: number, count: number): Float32Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset + offset, count * 4);
  return Float32Array.from({ length: count }, (_, i) => view.getFloat32(4 * i, true));
}
