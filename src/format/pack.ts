import type { ModelConfig } from '../config.js';
import { MgtError } from '../errors.js';
import { INT7_LIMIT, INT8_LIMIT, quantize, scaleOf } from '../round.js';
import { checkBlocks4, checkCodes4, gridOf, packRow4, type Grid4 } from './int4.js';
import {
  BLOCK4,
  PANEL_HEAD,
  PANEL_OUTPUTS,
  paddedInputs,
  panelBytes,
  panelBytes4,
  planWeights,
  spanBytes,
  type TensorSpec,
} from './tensors.js';

// Bound once: the loops below run per weight, and a global costs a look-up in some hosts.
const { abs, floor, max: largest, min: smallest } = Math;
const { isFinite } = Number;

/** Float values of one tensor, row-major in its shape; panels may carry a bias of one value per output. */
export interface TensorValues {
  readonly values: Float32Array;
  readonly bias?: Float32Array;
  /** int4 tensors: the source's own grid of a row, kept exactly; `values` are what errors are measured against. */
  readonly grid?: (row: number) => Grid4 | undefined;
}

/** The same read as it is wanted: rows from..to−1 of it. */
export interface TensorRows extends Omit<TensorValues, 'values'> {
  rows(from: number, to: number): Float32Array;
}

/** What quantisation cost one tensor: root of Σ(float − dequantised)² / Σ float². */
export interface TensorError {
  readonly name: string;
  readonly error: number;
}

/** Values read at a time from a source of rows: 1 MB. */
const READ_VALUES = 2 ** 18;

/** Bytes of the payload, finished. */
export interface PackedPart {
  /** Offset in the payload, a multiple of 64; the parts of a payload follow each other. */
  readonly at: number;
  readonly bytes: Uint8Array;
  /** On the last part of a linear layer or table. */
  readonly error: TensorError | undefined;
}

/**
 * Quantises every tensor of a configuration into one payload (the weight region, byte for byte).
 * `weights` is asked once per tensor, in file order, so a source need hold only one at a time, or only some rows of it.
 * @throws MgtError `BadWeights` naming a tensor whose values are not finite, `BadConfig` on a wrong element count.
 */
export function packPayload(
  config: ModelConfig,
  weights: (tensor: TensorSpec) => TensorValues,
): { payload: Uint8Array; errors: TensorError[] } {
  const payload = new Uint8Array(planWeights(config).bytes);
  const errors: TensorError[] = [];
  for (const { at, bytes, error } of packParts(config, weights)) {
    payload.set(bytes, at);
    if (error) errors.push(error);
  }
  return { payload, errors };
}

/** The same part by part: of tensors read in rows 1 MB of values at a time. */
export function* packParts(
  config: ModelConfig,
  weights: (tensor: TensorSpec) => TensorValues | TensorRows,
): Generator<PackedPart, void> {
  for (const tensor of planWeights(config).tensors) {
    const { name, kind, offset } = tensor;
    const given = weights(tensor);
    const [rows = 1, cols = 1] = tensor.shape;
    const read = (from: number, to: number): Float32Array => {
      const values = 'rows' in given ? given.rows(from, to) : given.values;
      expectCount(name, values, (to - from) * cols);
      return values;
    };
    if (kind === 'f32') {
      const bytes = new Uint8Array(tensor.bytes);
      const view = new DataView(bytes.buffer);
      read(0, rows).forEach((value, i) => view.setFloat32(4 * i, value, true));
      yield { at: offset, bytes, error: undefined };
      continue;
    }
    if (given.bias) expectCount(`${name}.bias`, given.bias, rows);
    const sums = { lost: 0, total: 0 };
    const pack = kind === 'panel-i4' ? packRows4 : packRows;
    const panels = 'rows' in given ? largest(1, floor(READ_VALUES / cols / PANEL_OUTPUTS)) : rows;
    for (let from = 0, at = offset; from < rows; from += panels * PANEL_OUTPUTS) {
      const to = smallest(rows, from + panels * PANEL_OUTPUTS);
      const span = new Uint8Array(spanBytes(kind, [to - from, cols]));
      pack(given, { span, tensor, from }, read(from, to), sums);
      const { lost, total } = sums;
      const error = to < rows ? undefined : { name, error: total === 0 ? 0 : Math.sqrt(lost / total) };
      yield { at, bytes: span, error };
      at += span.length;
    }
  }
}

type Extras = Omit<TensorValues, 'values'>;

/** Where rows go: the zeroed panels of a tensor from row `from` on, the first of a panel. */
interface Target {
  readonly span: Uint8Array;
  readonly tensor: TensorSpec;
  readonly from: number;
}

/** Squares of what was lost, and of all. */
interface Sums {
  lost: number;
  total: number;
}

/** Rows of a linear layer into its panels. */
function packRows({ bias }: Extras, { span, tensor, from }: Target, values: Float32Array, sums: Sums): void {
  const cols = tensor.shape[1]!;
  const limit = tensor.kind === 'panel-i7' ? INT7_LIMIT : INT8_LIMIT;
  const stored = tensor.kind === 'panel-i7' ? INT7_LIMIT + 1 : 0;
  const stride = panelBytes(cols);
  const view = new DataView(span.buffer, span.byteOffset, span.byteLength);
  let { lost, total } = sums;
  for (let at = 0, n = from; at < values.length; at += cols, n++) {
    const panel = floor((n - from) / PANEL_OUTPUTS) * stride;
    const lane = n % PANEL_OUTPUTS;
    let max = 0;
    for (let k = 0; k < cols; k++) max = largest(max, abs(values[at + k]!));
    const scale = scaleOf(max, limit);
    view.setFloat32(panel + 4 * lane, scale, true);
    view.setFloat32(panel + 32 + 4 * lane, bias?.[n] ?? 0, true);
    for (let k = 0; k < cols; k++) {
      const value = values[at + k]!;
      const code = quantize(value, scale, limit);
      span[panel + PANEL_HEAD + codeOffset(k, lane)] = code + stored;
      lost += (value - code * scale) ** 2;
      total += value * value;
    }
  }
  sums.lost = lost;
  sums.total = total;
}

/** The same for 4-bit weights: rows by their own grid where they have one. */
function packRows4({ bias, grid }: Extras, { span, tensor, from }: Target, values: Float32Array, sums: Sums): void {
  const cols = tensor.shape[1]!;
  for (let at = 0, n = from; at < values.length; at += cols, n++) {
    const row = values.subarray(at, at + cols);
    const own = grid?.(n) ?? gridOf(row);
    packRow4(span, tensor, n, own, bias?.[n], from);
    for (let k = 0; k < cols; k++) {
      const block = floor(k / BLOCK4);
      sums.lost += (row[k]! - (own.scales[block]! * own.q[k]! + own.mins[block]!)) ** 2;
      sums.total += row[k]! * row[k]!;
    }
  }
}

/** Offset of input k of output lane 0..7 among a panel's codes: order [K/4][8 outputs][4 inputs]. */
export const codeOffset = (k: number, lane: number): number => (k >> 2) * 32 + lane * 4 + (k & 3);

function expectCount(name: string, values: Float32Array, count: number): void {
  if (values.length !== count) throw new MgtError('BadConfig', name, `${count} values`, values.length);
  for (let i = 0; i < count; i++) {
    if (!isFinite(values[i]!)) throw new MgtError('BadWeights', name, 'finite values', values[i]);
  }
}

/**
 * Checks a payload against its plan: finite values, scales > 0, zero padding, int7 codes in range.
 * Cost: the panels' heads and padding, not their codes (int7 excepted).
 * @throws MgtError `BadWeights` (values) or `BadFile` (padding) naming the tensor.
 */
export function checkPayload(config: ModelConfig, payload: Uint8Array): void {
  for (const tensor of planWeights(config).tensors) {
    const span = payload.subarray(tensor.offset, tensor.offset + tensor.bytes);
    if (tensor.kind === 'f32') checkFloats(tensor, span);
    else if (tensor.kind === 'panel-i4') checkPanels4(tensor, span);
    else checkPanels(tensor, span);
  }
}

/** A span as f32 values: in place where it is aligned, as an arena's spans are. */
const floatsOf = (span: Uint8Array): Float32Array =>
  span.byteOffset % 4 === 0
    ? new Float32Array(span.buffer, span.byteOffset, span.length >> 2)
    : new Float32Array(span.slice().buffer);

function checkFloats(tensor: TensorSpec, span: Uint8Array): void {
  const count = tensor.shape.reduce((a, b) => a * b, 1);
  const values = floatsOf(span);
  for (let i = 0; i < count; i++) {
    if (!isFinite(values[i]!)) throw new MgtError('BadWeights', tensor.name, 'finite values', values[i]);
    // Above one an angle could leave the range in which its sine is exact (docs/numbers.md).
    if (tensor.name === 'rope.factors' && !(values[i]! > 0 && values[i]! <= 1))
      throw new MgtError('BadWeights', tensor.name, 'factors above 0 and up to 1', values[i]);
  }
  for (let i = 4 * count; i < span.length; i++) expectZero(tensor, span[i]!);
}

/** Heads of all panels, padding, and (int7) the range relaxed dot is exact in; int8 codes are sound whatever they are. */
function checkPanels(tensor: TensorSpec, span: Uint8Array): void {
  const [rows = 1, cols = 1] = tensor.shape;
  const stride = panelBytes(cols);
  const floats = floatsOf(span);
  for (let panel = 0, first = 0; panel < span.length; panel += stride, first += PANEL_OUTPUTS) {
    const lanes = Math.min(PANEL_OUTPUTS, rows - first);
    for (let lane = 0; lane < lanes; lane++) checkHead(tensor, floats, (panel >> 2) + lane, first + lane);
    for (let lane = lanes; lane < PANEL_OUTPUTS; lane++) {
      for (let i = 0; i < 4; i++) expectZero(tensor, span[panel + 4 * lane + i]! | span[panel + 32 + 4 * lane + i]!);
      for (let k = 0; k < cols; k++) expectZero(tensor, span[panel + PANEL_HEAD + codeOffset(k, lane)]!);
    }
    for (let k = cols; k < paddedInputs(cols); k++) {
      for (let lane = 0; lane < PANEL_OUTPUTS; lane++) {
        expectZero(tensor, span[panel + PANEL_HEAD + codeOffset(k, lane)]!);
      }
    }
    if (tensor.kind === 'panel-i7') checkInt7Codes(tensor, span, panel + PANEL_HEAD, lanes, cols);
  }
}

/** The same of int4 panels; any nibble is sound. */
function checkPanels4(tensor: TensorSpec, span: Uint8Array): void {
  const [rows = 1, cols = 1] = tensor.shape;
  const stride = panelBytes4(cols);
  const floats = floatsOf(span);
  for (let panel = 0, first = 0; panel < span.length; panel += stride, first += PANEL_OUTPUTS) {
    const lanes = Math.min(PANEL_OUTPUTS, rows - first);
    for (let lane = 0; lane < lanes; lane++) checkHead(tensor, floats, (panel >> 2) + lane, first + lane);
    for (let at = panel; at < panel + PANEL_HEAD; at++) {
      if ((at - panel) % 32 >= 4 * lanes) expectZero(tensor, span[at]!);
    }
    checkBlocks4(tensor, span, panel, first, lanes);
    checkCodes4(tensor, span, panel, lanes);
  }
}

/** Scale and bias of one output; `at` is the scale's index among the panel's f32 values. */
function checkHead(tensor: TensorSpec, floats: Float32Array, at: number, output: number): void {
  const scale = floats[at]!;
  const bias = floats[at + PANEL_OUTPUTS]!;
  if (!(scale > 0 && isFinite(scale))) {
    throw new MgtError('BadWeights', `${tensor.name}.scale[${output}]`, 'a finite number > 0', scale);
  }
  if (!isFinite(bias)) throw new MgtError('BadWeights', `${tensor.name}.bias[${output}]`, 'a finite number', bias);
}

function checkInt7Codes(tensor: TensorSpec, span: Uint8Array, codes: number, lanes: number, cols: number): void {
  for (let lane = 0; lane < lanes; lane++) {
    for (let k = 0; k < cols; k++) {
      const byte = span[codes + codeOffset(k, lane)]!;
      if (byte < 1 || byte > 127) throw new MgtError('BadWeights', tensor.name, 'int7 codes in 1..127', byte);
    }
  }
}

function expectZero(tensor: TensorSpec, byte: number): void {
  if (byte !== 0) throw new MgtError('BadFile', tensor.name, 'zero padding', byte);
}
