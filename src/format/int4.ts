import { MgtError } from '../errors.js';
import {
  BLOCK4,
  BLOCK4_HEAD,
  PANEL_OUTPUTS,
  blockOffset4,
  paddedInputs,
  panelBytes4,
  type TensorSpec,
} from './tensors.js';

/**
 * One row of an int4 matrix: w[k] = scale[b] · q[k] + min[b], b = floor(k / 32). Scales and minimums are f16 values times one
 * power of two for the whole row.
 */
export interface Grid4 {
  /** 0..15, one per input. */
  readonly q: Uint8Array;
  /** One per block of 32 inputs; any sign. */
  readonly scales: Float32Array;
  readonly mins: Float32Array;
}

const { abs, floor, max: largest, min: least } = Math;
const { isFinite } = Number;

/** Largest finite f16, and the distance of its denormals. */
const HALF_MAX = 65504;
const HALF_STEP = 2 ** -24;
const HALF_LEAST_NORMAL = 2 ** -14;
/** Rows below this magnitude count as zero, as groups of activations do. */
const ZERO_MAX = 2 ** -100;

const float = new Float32Array(1);
const word = new Uint32Array(float.buffer);

/** Bits of the f16 nearest to x, ties to even; |x| < 65520. */
export function toHalf(x: number): number {
  float[0] = x;
  const sign = (word[0]! >>> 16) & 0x8000;
  const size = abs(float[0]);
  if (size < HALF_LEAST_NORMAL) return sign | evenInteger(size / HALF_STEP);
  const bits = word[0]! & 0x7fffffff;
  // 13 mantissa bits go; the exponent's bias falls from 127 to 15. A carry runs into the exponent, as it should.
  return sign | ((bits - (112 << 23) + 0xfff + ((bits >>> 13) & 1)) >>> 13);
}

/** Value of f16 bits; exact. Infinities and NaN come out as numbers of 65536 and more: `checkPayload` refuses them. */
export function fromHalf(bits: number): number {
  const exponent = (bits >> 10) & 31;
  const mantissa = bits & 1023;
  let size = (exponent === 0 ? mantissa : mantissa + 1024) * HALF_STEP;
  for (let i = 1; i < exponent; i++) size *= 2;
  return bits & 0x8000 ? -size : size;
}

const isHalf = (x: number): boolean => abs(x) <= HALF_MAX && fromHalf(toHalf(x)) === x;

/** x ≥ 0, below 2⁵¹. */
function evenInteger(x: number): number {
  const down = floor(x);
  const rest = x - down;
  return rest > 0.5 || (rest === 0.5 && down % 2 === 1) ? down + 1 : down;
}

/** Greatest power of two that is not above x; x > 0, normal in f32. */
function powerOfTwo(x: number): number {
  float[0] = x;
  word[0]! &= 0x7f800000;
  return float[0];
}

/**
 * A row's factor: 1 where every value is an f16, else the smallest power of two that brings the largest into f16's range.
 * @throws MgtError `BadWeights` where some value is then no f16.
 */
function factorOf(name: string, { scales, mins }: Grid4): number {
  let top = 0;
  let half = true;
  for (const values of [scales, mins]) {
    for (const value of values) {
      if (!isFinite(value)) throw new MgtError('BadWeights', name, 'finite scales and minimums', value);
      top = largest(top, abs(value));
      half &&= isHalf(value);
    }
  }
  if (half) return 1;
  const factor = powerOfTwo(top) / 32768;
  for (const value of [...scales, ...mins]) {
    if (!isHalf(value / factor)) {
      throw new MgtError('BadWeights', name, 'scales and minimums that are f16 times one power of two', value);
    }
  }
  return factor;
}

/**
 * Writes one row of an int4 tensor into its zeroed panels, exactly; `span` begins with the panel of row `first`.
 * @throws MgtError `BadWeights` naming the tensor: scales or minimums not finite, or beyond f16 under one factor.
 */
export function packRow4(span: Uint8Array, tensor: TensorSpec, output: number, grid: Grid4, bias = 0, first = 0): void {
  const inputs = tensor.shape[1]!;
  const view = new DataView(span.buffer, span.byteOffset, span.byteLength);
  const panel = floor((output - first) / PANEL_OUTPUTS) * panelBytes4(inputs);
  const lane = output % PANEL_OUTPUTS;
  const factor = factorOf(`${tensor.name}[${output}]`, grid);
  view.setFloat32(panel + 4 * lane, factor, true);
  view.setFloat32(panel + 32 + 4 * lane, bias, true);
  grid.scales.forEach((scale, block) => {
    const head = panel + blockOffset4(block) + 2 * lane;
    view.setUint16(head, toHalf(scale / factor), true);
    view.setUint16(head + 16, toHalf(grid.mins[block]! / factor), true);
  });
  for (let k = 0; k < inputs; k++) span[panel + codeOffset4(k, lane)]! |= grid.q[k]! << (k & 4);
}

/** Offset in a panel of the byte of input k of output lane 0..7; input k has its low bits where k & 4 is 0. */
const codeOffset4 = (k: number, lane: number): number =>
  blockOffset4(k >> 5) + BLOCK4_HEAD + ((k & 31) >> 3) * 32 + lane * 4 + (k & 3);

/**
 * Steps that a block's range is tried with: fewer than 15 let its ends clip. Measured on normal weights: root mean square error 7.2 %
 * of theirs, where the plain range loses 7.7 % and 25 tries 7.1 %.
 */
const TRIED = [15, 15.6, 14.4, 16.2, 13.8];

/**
 * The grid of a row of floats. Per block: q by several ranges, then scale and minimum by least squares on those q, rounded to
 * f16; the one with the least squared error. + − × ÷ alone, so the same on every engine.
 */
export function gridOf(row: Float32Array): Grid4 {
  const blocks = Math.ceil(row.length / BLOCK4);
  const grid = { q: new Uint8Array(row.length), scales: new Float32Array(blocks), mins: new Float32Array(blocks) };
  let top = 0;
  for (let k = 0; k < row.length; k++) top = largest(top, abs(row[k]!));
  if (top < ZERO_MAX) return grid;
  // Scales then lie well inside f16's normal range, whatever the size of the weights. Blocks far below the row's largest do not.
  const factor = powerOfTwo(top) / 16384;
  for (let b = 0; b < blocks; b++) fitBlock(row, b, factor, grid);
  return grid;
}

const trial = new Uint8Array(BLOCK4);

function fitBlock(row: Float32Array, b: number, factor: number, { q, scales, mins }: Grid4): void {
  const from = b * BLOCK4;
  const to = least(from + BLOCK4, row.length);
  let low = row[from]!;
  let high = low;
  for (let k = from + 1; k < to; k++) {
    low = least(low, row[k]!);
    high = largest(high, row[k]!);
  }
  let best = Infinity;
  const keep = (scale: number, min: number): void => {
    const d = fromHalf(toHalf(scale / factor)) * factor;
    const m = fromHalf(toHalf(min / factor)) * factor;
    const lost = codes(row, from, to, d, m);
    if (!(lost < best)) return;
    best = lost;
    scales[b] = d;
    mins[b] = m;
    q.set(trial.subarray(0, to - from), from);
  };
  keep(0, (low + high) / 2);
  if (high === low) return;
  for (const steps of TRIED) {
    const scale = (high - low) / steps;
    const fit = leastSquares(row, from, to, scale, (low + high) / 2 - 7.5 * scale);
    if (fit) keep(fit.scale, fit.min);
  }
}

/** q 0..15 of the weight that lies t scales above the minimum. */
const nearest = (t: number): number => (t < 0 ? 0 : t > 15 ? 15 : floor(t + 0.5));

/** Nearest q of each weight into `trial`; returns the squared error. */
function codes(row: Float32Array, from: number, to: number, scale: number, min: number): number {
  const inverse = scale === 0 ? 0 : 1 / scale;
  let lost = 0;
  for (let k = from; k < to; k++) {
    const w = row[k]!;
    const q = nearest((w - min) * inverse);
    trial[k - from] = q;
    const error = w - (scale * q + min);
    lost += error * error;
  }
  return lost;
}

/** The scale and minimum that suit best the q which those given lead to, where these are not all one. */
function leastSquares(
  row: Float32Array,
  from: number,
  to: number,
  scale: number,
  min: number,
): { scale: number; min: number } | undefined {
  const n = to - from;
  const inverse = 1 / scale;
  let sumQ = 0;
  let sumQQ = 0;
  let sumW = 0;
  let sumQW = 0;
  for (let k = from; k < to; k++) {
    const w = row[k]!;
    const q = nearest((w - min) * inverse);
    sumQ += q;
    sumQQ += q * q;
    sumW += w;
    sumQW += q * w;
  }
  const spread = n * sumQQ - sumQ * sumQ;
  if (spread === 0) return undefined;
  const fitted = (n * sumQW - sumQ * sumW) / spread;
  return { scale: fitted, min: (sumW - fitted * sumQ) / n };
}

/** Scales and minimums of one panel: finite in the first `lanes` outputs, zero in the others. */
export function checkBlocks4(tensor: TensorSpec, span: Uint8Array, panel: number, first: number, lanes: number): void {
  const blocks = Math.ceil(tensor.shape[1]! / BLOCK4);
  for (let b = 0; b < blocks; b++) {
    const head = panel + blockOffset4(b);
    for (let i = 0; i < 2 * PANEL_OUTPUTS; i++) {
      const high = span[head + 2 * i + 1]!;
      const lane = i % PANEL_OUTPUTS;
      if (lane >= lanes) {
        expectZero(tensor, span[head + 2 * i]! | high);
      } else if ((high & 0x7c) === 0x7c) {
        const what = i < PANEL_OUTPUTS ? 'scale' : 'min';
        throw new MgtError(
          'BadWeights',
          `${tensor.name}.${what}[${first + lane}][${b}]`,
          'a finite f16',
          `high byte ${high}`,
        );
      }
    }
  }
}

/** Padding among one panel's codes, and after them, is zero. A whole panel costs its last inputs alone. */
export function checkCodes4(tensor: TensorSpec, span: Uint8Array, panel: number, lanes: number): void {
  const inputs = tensor.shape[1]!;
  const padded = paddedInputs(inputs);
  for (let k = lanes < PANEL_OUTPUTS ? 0 : padded - 8; k < padded; k++) {
    for (let lane = k < inputs ? lanes : 0; lane < PANEL_OUTPUTS; lane++) {
      expectZero(tensor, (span[panel + codeOffset4(k, lane)]! >> (k & 4)) & 15);
    }
  }
  const end = panel + codeOffset4(padded - 1, PANEL_OUTPUTS - 1) + 1;
  for (let at = end; at < panel + panelBytes4(inputs); at++) expectZero(tensor, span[at]!);
}

function expectZero(tensor: TensorSpec, byte: number): void {
  if (byte !== 0) throw new MgtError('BadFile', tensor.name, 'zero padding', byte);
}
