import { describe, expect, test } from '@jest/globals';
import type { ModelConfig, Quant } from '../../src/config.js';
import { MgtError } from '../../src/errors.js';
import { fromHalf, gridOf, packRow4, toHalf, type Grid4 } from '../../src/format/int4.js';
import { checkPayload, packPayload } from '../../src/format/pack.js';
import { planWeights, spanBytes, type TensorSpec } from '../../src/format/tensors.js';
import { unpackPanel4 } from '../../src/reference/weights.js';
import { oddDecoder } from '../support/models.js';
import { Rng } from '../support/rng.js';

const config: ModelConfig = { ...oddDecoder, quant: 'int4' as string as Quant, smoothed: false };
const plan = planWeights(config);

const spec = (outputs: number, inputs: number): TensorSpec => {
  const shape = [outputs, inputs];
  return { name: 'w', kind: 'panel-i4', shape, offset: 0, bytes: spanBytes('panel-i4', shape) };
};

/** The error of f as "code field", or `accepted`. */
function refusal(f: () => unknown): string {
  try {
    f();
  } catch (error) {
    if (error instanceof MgtError) return `${error.code} ${error.field}`;
    throw error;
  }
  return 'accepted';
}

/** The weights of one packed row as f64, read back by the reference. */
function weightsOf(tensor: TensorSpec, span: Uint8Array, output: number): number[] {
  const [outputs, inputs] = tensor.shape as [number, number];
  const panel = unpackPanel4({ bytes: span, kind: 'panel-i4', outputs, inputs }, output >> 3);
  const lane = output & 7;
  return Array.from({ length: inputs }, (_, k) => {
    const at = (k >> 5) * 8 + lane;
    return panel.factors[lane]! * (panel.scales[at]! * panel.codes[k * 8 + lane]! + panel.mins[at]!);
  });
}

const weightsOfGrid = ({ q, scales, mins }: Grid4): number[] =>
  Array.from(q, (code, k) => scales[k >> 5]! * code + mins[k >> 5]!);

const randomGrid = (rng: Rng, inputs: number, scale: () => number, min: (scale: number) => number): Grid4 => {
  const scales = Float32Array.from({ length: Math.ceil(inputs / 32) }, scale);
  return { q: Uint8Array.from(rng.ints(inputs, 0, 15)), scales, mins: scales.map(min) };
};

describe('f16', () => {
  test('every finite value comes back to its bits; values between go to the nearest, ties to the even one', () => {
    const wrong: number[] = [];
    for (let bits = 0; bits < 0x7c00; bits++) {
      const here = fromHalf(bits);
      const next = fromHalf(bits + 1);
      const middle = (here + next) / 2;
      const even = bits % 2 === 0 ? bits : bits + 1;
      const near = (next - here) / 1024;
      const fine =
        toHalf(here) === bits &&
        toHalf(-here) === (bits | 0x8000) &&
        (bits === 0x7bff || toHalf(middle) === even) &&
        toHalf(middle - near) === bits &&
        (bits === 0x7bff || toHalf(middle + near) === bits + 1);
      if (!fine) wrong.push(bits);
    }
    expect(wrong).toEqual([]);
    expect([0x3c00, 0xc000, 0x7bff, 0x0001, 0x03ff, 0x0400].map(fromHalf)).toEqual([
      ...[1, -2, 65504, 2 ** -24, 1023 * 2 ** -24, 2 ** -14],
    ]);
  });
});

describe('grids of a GGUF', () => {
  test.each([1, 31, 32, 33, 64, 77, 200])('Q4_1 and Q4_0 of %i inputs are kept exactly', (inputs) => {
    const rng = new Rng(`exact ${inputs}`);
    const tensor = spec(11, inputs);
    const span = new Uint8Array(tensor.bytes);
    const half = (): number => fromHalf(rng.int(0, 0x6fff) | ((rng.u32() & 1) << 15));
    const grids = Array.from({ length: 11 }, (_, n) =>
      randomGrid(rng, inputs, half, n % 2 === 0 ? half : (scale) => -8 * scale),
    );
    grids.forEach((grid, n) => packRow4(span, tensor, n, grid, n));
    grids.forEach((grid, n) => expect(weightsOf(tensor, span, n)).toEqual(weightsOfGrid(grid)));
    const { bias } = unpackPanel4({ bytes: span, kind: 'panel-i4', outputs: 11, inputs }, 1);
    expect([...bias]).toEqual([8, 9, 10, 0, 0, 0, 0, 0]);
  });

  test('the least f16 scale keeps its −8·d; one whose −8·d is no f16 is kept by a factor, or refused', () => {
    const rng = new Rng('ends');
    const tensor = spec(1, 64);
    const pack = (scales: number[]): Uint8Array => {
      const grid = {
        q: Uint8Array.from(rng.ints(64, 0, 15)),
        scales: Float32Array.from(scales),
        mins: new Float32Array(2),
      };
      grid.mins.set(scales.map((d) => -8 * d));
      const span = new Uint8Array(tensor.bytes);
      packRow4(span, tensor, 0, grid);
      expect(weightsOf(tensor, span, 0)).toEqual(weightsOfGrid(grid));
      return span;
    };
    const factor = (span: Uint8Array): number => new DataView(span.buffer).getFloat32(0, true);
    expect(factor(pack([2 ** -24, -65504 / 8]))).toBe(1);
    expect(factor(pack([65504, 8192]))).toBe(8);
    expect(refusal(() => pack([65504, 2 ** -24]))).toBe('BadWeights w[0]');
    expect(refusal(() => pack([NaN, 1]))).toBe('BadWeights w[0]');
    expect(refusal(() => pack([1 / 3, 1]))).toBe('BadWeights w[0]');
  });
});

describe('grids of floats', () => {
  /** Root of Σ error² / Σ w². */
  const lost = (row: Float32Array, back: readonly number[]): number => {
    let error = 0;
    let total = 0;
    row.forEach((w, k) => {
      error += (w - back[k]!) ** 2;
      total += w * w;
    });
    return Math.sqrt(error / total);
  };
  const minMax = (row: Float32Array): number[] => {
    const back: number[] = [];
    for (let from = 0; from < row.length; from += 32) {
      const block = [...row.subarray(from, from + 32)];
      const min = Math.min(...block);
      const scale = (Math.max(...block) - min) / 15;
      back.push(...block.map((w) => min + scale * Math.round((w - min) / scale)));
    }
    return back;
  };

  test('lose less than plain minimum to maximum does, whatever the size of the weights', () => {
    for (const size of [1e-25, 1e-9, 1e-4, 0.02, 1, 1e4, 1e20]) {
      const row = new Rng(`size ${size}`).normals(4096, size);
      const ours = lost(row, weightsOfGrid(gridOf(row)));
      expect(ours).toBeLessThan(0.96 * lost(row, minMax(row)));
      expect(ours).toBeLessThan(0.08);
    }
  });

  test('sixteen evenly spaced values a block, powers of two apart, are kept exactly; zeros and constants too', () => {
    const rng = new Rng('even');
    const grid = randomGrid(
      rng,
      320,
      () => 2 ** -rng.int(3, 9),
      (scale) => scale * rng.int(-20, 4),
    );
    for (let b = 0; b < 10; b++) grid.q.set([0, 15], b * 32);
    const row = Float32Array.from(weightsOfGrid(grid));
    expect(weightsOfGrid(gridOf(row))).toEqual([...row]);
    expect(weightsOfGrid(gridOf(new Float32Array(40)))).toEqual(Array.from({ length: 40 }, () => 0));
    const constant = new Float32Array(33).fill(-0.75);
    expect(weightsOfGrid(gridOf(constant))).toEqual([...constant]);
  });
});

describe('payload', () => {
  const values = ({ name, shape }: TensorSpec): Float32Array =>
    new Rng(name).normals(
      shape.reduce((a, b) => a * b, 1),
      0.05,
    );
  const { payload, errors } = packPayload(config, (tensor) => ({ values: values(tensor) }));
  const up = plan.tensors.find((t) => t.name === 'layers.0.ffn.up')!; // [77 outputs, 60 inputs]

  test('linear layers are int4, the token table stays int8; spans are 64 + 32 a block + 4 an input, rounded up', () => {
    expect(up.kind).toBe('panel-i4');
    expect(up.bytes).toBe(10 * (64 + 2 * 32 + 4 * 64));
    expect(plan.tensors[0]!.kind).toBe('panel-i8');
    expect(spanBytes('panel-i4', [8, 1])).toBe(128);
    checkPayload(config, payload);
  });

  test('reported errors are what the packed weights lose', () => {
    const row = values(up);
    const span = payload.subarray(up.offset, up.offset + up.bytes);
    let error = 0;
    let total = 0;
    for (let n = 0; n < 77; n++) {
      weightsOf(up, span, n).forEach((w, k) => {
        error += (row[n * 60 + k]! - w) ** 2;
        total += row[n * 60 + k]! ** 2;
      });
    }
    const reported = errors.find((e) => e.name === up.name)!.error;
    expect(reported).toBeCloseTo(Math.sqrt(error / total), 10);
    expect(reported).toBeGreaterThan(0.05);
    expect(reported).toBeLessThan(0.09);
  });

  test('a grid of the source is taken as it is', () => {
    const grid = randomGrid(
      new Rng('own'),
      60,
      () => 0.5,
      () => -4,
    );
    const own = packPayload(config, (tensor) => ({
      values: values(tensor),
      grid: (row) => (tensor.name === up.name && row === 5 ? grid : undefined),
    })).payload;
    expect(weightsOf(up, own.subarray(up.offset, up.offset + up.bytes), 5)).toEqual(weightsOfGrid(grid));
  });

  const panel = 384;
  const last = up.offset + 9 * panel; // outputs 72..76, then three padding lanes
  test.each([
    ['an infinite scale', up.offset + 64 + 2 * 3, 0x7c00, 'BadWeights layers.0.ffn.up.scale[3][0]'],
    [
      'a NaN minimum in the second block',
      up.offset + 64 + 160 + 16 + 2 * 7,
      0xfe00,
      'BadWeights layers.0.ffn.up.min[7][1]',
    ],
    ['a scale in a padding lane', last + 64 + 2 * 5, 0x3c00, 'BadFile layers.0.ffn.up'],
    ['a factor in a padding lane', last + 4 * 6 + 2, 0x3f80, 'BadFile layers.0.ffn.up'],
    ['codes in a padding lane', last + 64 + 32 + 4 * 7, 0x0001, 'BadFile layers.0.ffn.up'],
    ['a code past the last input', up.offset + 64 + 160 + 32 + 3 * 32, 0x0010, 'BadFile layers.0.ffn.up'],
    ['a factor of zero', up.offset + 2, 0x0000, 'BadWeights layers.0.ffn.up.scale[0]'],
    ['an infinite bias', up.offset + 32 + 2, 0x7f80, 'BadWeights layers.0.ffn.up.bias[0]'],
  ])('%s is refused', (_what, at, bits, expected) => {
    const broken = payload.slice();
    const view = new DataView(broken.buffer);
    const before = view.getUint16(at, true);
    view.setUint16(at, bits < 0x100 && bits > 0 ? before | bits : bits, true);
    if (bits === 0) view.setUint32(at - 2, 0, true);
    if (bits === 0x7f80) view.setUint16(at - 2, 0, true);
    expect(refusal(() => checkPayload(config, broken))).toBe(expected);
  });
});
