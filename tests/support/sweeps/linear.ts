import { gemmScratchBytes } from '../../../src/kernels/catalogue.js';
import { groupCount, paddedInputs } from '../../../src/format/tensors.js';
import * as reference from '../../../src/reference/ops.js';
import type { GuardArena } from '../arena.js';
import { randomPanels, randomPanels4 } from '../panels.js';
import { EDGES, difference, values, type ValueKind } from '../values.js';
import { allKinds, cross, first, sweep, type Case } from './sweep.js';

/** Codes of the reference as the kernels hold them: rows padded with zeros to a multiple of 8, and the same widened. */
function widen(x: reference.Codes): { q8: Int8Array; q16: Int16Array } {
  const stride = paddedInputs(x.inputs);
  const q8 = new Int8Array(x.rows * stride);
  for (let r = 0; r < x.rows; r++) q8.set(x.q.subarray(r * x.inputs, (r + 1) * x.inputs), r * stride);
  return { q8, q16: Int16Array.from(q8) };
}

interface QuantizeShape {
  readonly m: number;
  readonly k: number;
  readonly smooth: boolean;
  readonly halved?: boolean;
  readonly kind?: ValueKind;
}

const quantize = sweep<QuantizeShape>(
  [
    ...cross({ m: [1, 2, 3, 5], k: EDGES, smooth: [false, true] }),
    ...allKinds({ m: 3, k: 129, smooth: false }),
    ...allKinds({ m: 2, k: 176, smooth: true }),
    { m: 1, k: 1536, smooth: true },
    { m: 4, k: 384, smooth: false, kind: 'mixed' },
    ...cross({ m: [1, 3], k: EDGES, smooth: [false, true], halved: [true] }),
    ...cross({ m: [2], k: Array.from({ length: 131 }, (_, i) => i + 1), smooth: [false], halved: [true] }),
    ...allKinds({ m: 3, k: 95, smooth: true, halved: true }),
  ],
  (arena, { m, k, kind, halved = false, ...shape }, rng) => {
    const scales = m * groupCount(k) * (halved ? 2 : 1);
    const stride = paddedInputs(k);
    const x = values(rng, m * k, kind);
    const smooth = shape.smooth ? values(rng, k).map((v) => 2 ** v) : undefined;
    const at = {
      x: arena.input(x),
      smooth: smooth ? arena.input(smooth) : 0,
      q8: arena.output(m * stride),
      q16: arena.output(m * stride * 2),
      scales: arena.output(scales * 4),
      sums: arena.output(m * groupCount(k) * 4),
    };
    return {
      call: (kernels) => kernels.quantize(at.x, m, k, at.smooth, at.q8, at.q16, at.scales, at.sums, halved ? 1 : 0),
      check: () => {
        const expected = reference.quantize(x, m, k, smooth, halved);
        const { q8, q16 } = widen(expected);
        return first(
          difference('q8', arena.i8(at.q8, m * stride), q8),
          difference('q16', arena.i16(at.q16, m * stride), q16),
          difference('scales', arena.f32(at.scales, scales), expected.scales),
          difference('sums', arena.i16(at.sums, m * groupCount(k) * 2), expected.sums),
        );
      },
    };
  },
);

interface LinearShape {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  /** What the activations and the weight codes look like. */
  readonly kind?: 'normal' | 'zeros' | 'saturated' | 'ties' | 'huge';
  readonly codes?: 'random' | 'saturated' | 'zeros';
  /** int4: what scales and minimums look like. */
  readonly halves?: 'normal' | 'any' | 'denormal' | 'zeros';
}

/** Hard cases: no input, no weight, the largest integer sums there are, dequantised values near 1e17. */
const hard = (shape: LinearShape): LinearShape[] => [
  { ...shape, kind: 'zeros' },
  { ...shape, codes: 'zeros' },
  { ...shape, kind: 'saturated', codes: 'saturated' },
  { ...shape, kind: 'ties' },
  { ...shape, kind: 'huge', codes: 'saturated' },
];

const gemmShapes: LinearShape[] = [
  ...cross({ m: [1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 15, 16, 17, 33], n: [17], k: [65] }),
  ...cross({ m: [1, 5, 8], n: EDGES, k: [96] }),
  ...cross({ m: [1, 2, 3, 4, 7, 8], n: [9], k: EDGES }),
  ...hard({ m: 3, n: 12, k: 200 }),
  ...hard({ m: 8, n: 16, k: 128 }),
  { m: 8, n: 96, k: 176 },
  { m: 64, n: 64, k: 64 },
  { m: 16, n: 257, k: 100 },
  { m: 6, n: 100, k: 1536 },
  // more rows than one pass over the panels takes
  ...cross({ m: [85, 86, 87, 100], n: [9], k: [1536] }),
];

const gemvShapes: LinearShape[] = [
  ...cross({ m: [1], n: EDGES, k: [96] }),
  ...cross({ m: [1], n: [9, 24], k: EDGES }),
  ...hard({ m: 1, n: 12, k: 200 }),
  { m: 1, n: 257, k: 176 },
  { m: 1, n: 576, k: 1536 },
];

/** Every GEMM with a panel's worth of scratch and without; a GEMV takes none. */
function linear(format: 'I8' | 'I7', shapes: readonly LinearShape[], oneRow: boolean): readonly Case[] {
  const calls = shapes.flatMap((s) => (oneRow ? [false] : [false, true]).map((scratch) => ({ ...s, scratch })));
  return sweep(calls, (arena: GuardArena, { m, n, k, kind, codes, scratch }, rng) => {
    const x = reference.quantize(values(rng, m * k, kind), m, k);
    const w = randomPanels(rng, format === 'I7' ? 'panel-i7' : 'panel-i8', n, k, codes);
    const { q8, q16 } = widen(x);
    const args = [
      arena.input(q8),
      arena.input(q16),
      arena.input(x.scales),
      arena.input(x.sums),
      arena.input(w.bytes),
    ] as const;
    const out = arena.output(m * n * 4);
    const panel = scratch ? arena.output(gemmScratchBytes(k)) : 0;
    return {
      call: (kernels) =>
        oneRow ? kernels[`gemv${format}`](...args, n, k, out) : kernels[`gemm${format}`](...args, m, n, k, out, panel),
      check: () => difference('out', arena.f32(out, m * n), reference[`gemm${format}`](x, w)),
    };
  });
}

const gemmShapes4: LinearShape[] = [
  ...gemmShapes,
  ...cross({ m: [1, 4, 9], n: [1, 3, 8, 40], k: [1, 31, 32, 33, 40, 95, 161, 200] }),
  ...cross({ m: [5], n: [12], k: [200], halves: ['any', 'denormal', 'zeros'] as const }),
];
const gemvShapes4: LinearShape[] = [
  ...gemvShapes,
  ...cross({ m: [1], n: [1, 8, 40], k: Array.from({ length: 100 }, (_, i) => 2 * i + 1) }),
  ...cross({ m: [1], n: [12], k: [200], halves: ['any', 'denormal', 'zeros'] as const }),
];

/** int4 layers; a GEMM's rows are also judged as GEMVs by sharing the one reference. */
function linear4(shapes: readonly LinearShape[], oneRow: boolean): readonly Case[] {
  return sweep(shapes, (arena: GuardArena, { m, n, k, kind, codes, halves }, rng) => {
    const x = reference.quantize(values(rng, m * k, kind), m, k, undefined, true);
    const w = randomPanels4(rng, n, k, codes, halves);
    const { q8, q16 } = widen(x);
    const args = [
      arena.input(q8),
      arena.input(q16),
      arena.input(x.scales),
      arena.input(x.sums),
      arena.input(w.bytes),
    ] as const;
    const out = arena.output(m * n * 4);
    const scratch = arena.output(gemmScratchBytes(k));
    return {
      call: (kernels) =>
        oneRow ? kernels.gemvI4(...args, n, k, out, scratch) : kernels.gemmI4(...args, m, n, k, out, scratch),
      check: () => difference('out', arena.f32(out, m * n), reference.gemmI4(x, w)),
    };
  });
}

const embed = sweep([...cross({ n: [1, 2, 3, 9], dim: EDGES }), { n: 40, dim: 384 }], (arena, { n, dim }, rng) => {
  const vocab = 257;
  const table = randomPanels(rng, 'panel-i8', vocab, dim);
  const tokens = Uint32Array.from([vocab - 1, 0, ...rng.ints(n, 0, vocab - 1)].slice(0, n));
  const at = { tokens: arena.input(tokens), table: arena.input(table.bytes), out: arena.output(n * dim * 4) };
  return {
    call: (kernels) => kernels.embed(at.tokens, n, at.table, dim, at.out),
    check: () => difference('out', arena.f32(at.out, n * dim), reference.embed(tokens, table)),
  };
});

export const linearSweeps = {
  quantize,
  gemmI8: linear('I8', gemmShapes, false),
  gemmI7: linear('I7', gemmShapes, false),
  gemvI8: linear('I8', gemvShapes, true),
  gemvI7: linear('I7', gemvShapes, true),
  gemmI4: linear4(gemmShapes4, false),
  gemvI4: linear4(gemvShapes4, true),
  embed,
};
