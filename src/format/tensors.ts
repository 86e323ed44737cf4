import type { ModelConfig } from '../config.js';
import { MgtError } from '../errors.js';

/**
 * The weight plan: which tensors a configuration has, in which order, and where each lies in the payload.
 * A pure function of the config; the file's tensor table must equal it entry by entry.
 *
 * A linear layer of N outputs × K inputs is stored as ceil(N/8) panels, one sequential stream:
 *
 *   ┌ panel: 8 outputs ────────────────────────────────────────────────┐
 *   │ 0  scale f32[8] │ 32  bias f32[8] │ 64  codes [Kp/4][8 out][4 in]  │   Kp = K rounded up to 8
 *   └──────────────────────────────────────────────────────────────────┘   64 + 8·Kp bytes, a multiple of 64
 *
 * Codes: i8 in ±127, or (int7) u8 = code + 64 in 1..127. Padding outputs and inputs are zero bytes.
 *
 * int4 layers have a scale and a minimum for every block of 32 inputs of an output, w = factor · (scale · q + min), q in 0..15:
 *
 *   ┌ panel: 8 outputs ───────────────────────────────────────────────────────────────────────────────────────────────────┐
 *   │ 0  factor f32[8] │ 32  bias f32[8] │ 64  blocks [ceil(K/32)] of { scale f16[8], min f16[8], codes [4][8 out][4] } │
 *   └─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────┘
 *   a code byte b = 0..3 of eight inputs: │ 7..4  q of input b + 4 │ 3..0  q of input b │
 *
 * The last block ends with its last eight inputs: 64 + 32·ceil(K/32) + 4·Kp bytes, rounded up to 64; five bits a weight. One stream:
 * heads in a place of their own, or two panels at once, halve the speed of weights that come from memory (docs/decisions/0007-int4.md). f16 is what a GGUF's Q4_0 and Q4_1 hold; `factor`, a power
 * of two, is 1 for those and takes other rows into the range of f16.
 */
export type TensorKind = 'panel-i8' | 'panel-i7' | 'panel-i4' | 'f32';

export interface TensorSpec {
  readonly name: string;
  readonly kind: TensorKind;
  /** Panels: [outputs, inputs]. f32: [n] or [rows, cols]. */
  readonly shape: readonly number[];
  /** Bytes from the start of the payload; a multiple of 64. */
  readonly offset: number;
  /** Span in the payload, padding included; a multiple of 64. */
  readonly bytes: number;
}

export interface WeightPlan {
  readonly tensors: readonly TensorSpec[];
  /** Payload length: the sum of all spans. */
  readonly bytes: number;
}

export const ALIGN = 64;
export const PANEL_OUTPUTS = 8;
/** Bytes of scales and biases before a panel's codes. */
export const PANEL_HEAD = 64;

export const roundUp = (n: number, multiple: number): number => Math.ceil(n / multiple) * multiple;
/** Inputs of a linear layer rounded up to what the kernels step by. */
export const paddedInputs = (k: number): number => roundUp(k, 8);
/** Bytes of one panel of 8 outputs over k inputs. */
export const panelBytes = (k: number): number => PANEL_HEAD + PANEL_OUTPUTS * paddedInputs(k);
/** Inputs of an int4 block. */
export const BLOCK4 = 32;
/** Bytes of a block's scales and minimums. */
export const BLOCK4_HEAD = 32;
/** Offset of a block in its int4 panel. */
export const blockOffset4 = (block: number): number => PANEL_HEAD + block * (BLOCK4_HEAD + 4 * BLOCK4);
/** Bytes of one int4 panel of 8 outputs over k inputs. */
export const panelBytes4 = (k: number): number =>
  roundUp(PANEL_HEAD + BLOCK4_HEAD * Math.ceil(k / BLOCK4) + 4 * paddedInputs(k), ALIGN);
/** Activation groups (scales) of a row of k inputs. */
export const groupCount = (k: number): number => Math.ceil(k / 64);

/** Bytes a tensor takes in the payload. */
export function spanBytes(kind: TensorKind, shape: readonly number[]): number {
  const [rows = 1, cols = 1] = shape;
  if (kind === 'f32') return roundUp(rows * cols * 4, ALIGN);
  return Math.ceil(rows / PANEL_OUTPUTS) * (kind === 'panel-i4' ? panelBytes4 : panelBytes)(cols);
}

/** Kind of the linear layers by `quant`; of `int8Tensors`, and of the token table always, it is int8. */
const LINEAR: Readonly<Record<string, TensorKind>> = { int7: 'panel-i7', int4: 'panel-i4' };

/** @throws MgtError `BadConfig` where `int8Tensors` names what is no linear layer of the model */
export function planWeights(config: ModelConfig): WeightPlan {
  const { hidden, ffn, vocab, layers } = config;
  const wide = new Set(config.int8Tensors);
  const qDim = config.heads * config.headDim;
  const kvDim = config.kvHeads * config.headDim;
  const tensors: TensorSpec[] = [];
  let offset = 0;
  const add = (name: string, kind: TensorKind, ...shape: number[]): void => {
    const bytes = spanBytes(kind, shape);
    tensors.push({ name, kind, shape, offset, bytes });
    offset += bytes;
  };
  const linear = (name: string, outputs: number, inputs: number): void => {
    add(name, wide.delete(name) ? 'panel-i8' : (LINEAR[config.quant] ?? 'panel-i8'), outputs, inputs);
  };
  const norm = (name: string): void => {
    add(`${name}.weight`, 'f32', hidden);
    if (config.norm === 'layernorm') add(`${name}.bias`, 'f32', hidden);
  };
  const smooth = (name: string, inputs: number): void => {
    if (config.smoothed) add(`${name}.smooth`, 'f32', inputs);
  };

  add('embeddings.token', 'panel-i8', vocab, hidden);
  if (config.positions === 'learned') add('embeddings.position', 'f32', config.context, hidden);
  if (config.rope?.factors) add('rope.factors', 'f32', config.headDim / 2);
  if (config.normPlace === 'post') norm('embeddings.norm');
  for (let i = 0; i < layers; i++) {
    const p = `layers.${i}`;
    if (config.normPlace === 'pre') norm(`${p}.attention.norm`);
    smooth(`${p}.attention`, hidden);
    linear(`${p}.attention.query`, qDim, hidden);
    linear(`${p}.attention.key`, kvDim, hidden);
    linear(`${p}.attention.value`, kvDim, hidden);
    linear(`${p}.attention.output`, hidden, qDim);
    if (config.normPlace === 'post') norm(`${p}.attention.norm`);
    if (config.normPlace === 'pre') norm(`${p}.ffn.norm`);
    smooth(`${p}.ffn.up`, hidden);
    if (config.gatedFfn) linear(`${p}.ffn.gate`, ffn, hidden);
    linear(`${p}.ffn.up`, ffn, hidden);
    smooth(`${p}.ffn.down`, ffn);
    linear(`${p}.ffn.down`, hidden, ffn);
    if (config.normPlace === 'post') norm(`${p}.ffn.norm`);
  }
  if (config.normPlace === 'pre') norm('final.norm');
  if (config.kind === 'decoder' && !config.tiedHead) linear('head', vocab, hidden);
  for (const name of wide)
    throw new MgtError('BadConfig', 'config.int8Tensors', 'names of linear layers, each once', name);
  return { tensors, bytes: offset };
}
