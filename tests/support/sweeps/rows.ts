import type { KernelExports } from '../../../src/kernels/catalogue.js';
import * as reference from '../../../src/reference/ops.js';
import { EDGES, difference, values, type ValueKind } from '../values.js';
import { allKinds, cross, first, sweep, type Case } from './sweep.js';

interface RowsShape {
  readonly n: number;
  readonly dim: number;
  readonly kind?: ValueKind;
}

const rowShapes: RowsShape[] = [
  ...cross({ n: [1, 2, 3, 5], dim: EDGES }),
  ...allKinds({ n: 3, dim: 100 }),
  { n: 30, dim: 6, kind: 'overflow' },
  { n: 2, dim: 384 },
  { n: 2, dim: 1536 },
];

/** Both norms, into another region and in place. */
function norm(kernel: 'layerNorm' | 'rmsNorm'): readonly Case[] {
  const shapes = rowShapes.flatMap((s) => [
    { ...s, inPlace: false },
    { ...s, inPlace: true },
  ]);
  return sweep(shapes, (arena, { n, dim, kind, inPlace }, rng) => {
    const eps = 1e-5;
    const x = values(rng, n * dim, kind);
    const weight = values(rng, dim);
    const bias = values(rng, dim);
    const at = { weight: arena.input(weight), bias: arena.input(bias) };
    const from = inPlace ? arena.inOut(x) : arena.input(x);
    const out = inPlace ? from : arena.output(n * dim * 4);
    return {
      call: (kernels) =>
        kernel === 'layerNorm'
          ? kernels.layerNorm(from, n, dim, at.weight, at.bias, eps, out)
          : kernels.rmsNorm(from, n, dim, at.weight, eps, out),
      check: () =>
        difference(
          'out',
          arena.f32(out, n * dim),
          kernel === 'layerNorm' ? reference.layerNorm(x, weight, bias, eps) : reference.rmsNorm(x, weight, eps),
        ),
    };
  });
}

const vectorShapes: { n: number; kind?: ValueKind }[] = [
  ...cross({ n: EDGES }),
  ...allKinds({ n: 257 }),
  { n: 4097, kind: 'mixed' },
  { n: 67, kind: 'overflow' },
];

function binary(kernel: 'add' | 'mul'): readonly Case[] {
  return sweep(vectorShapes, (arena, { n, kind }, rng) => {
    const x = values(rng, n, kind);
    const y = values(rng, n, kind);
    const at = { x: arena.inOut(x), y: arena.input(y) };
    return {
      call: (kernels) => kernels[kernel](at.x, at.y, n),
      check: () => {
        const expected = x.slice();
        reference[kernel](expected, y);
        return difference('x', arena.f32(at.x, n), expected);
      },
    };
  });
}

/** `spread`: every sign and exponent up to 2⁶⁴, subnormals too; `dense`: −12..12. */
function activation(kernel: 'gelu' | 'geluTanh' | 'relu' | 'silu'): readonly Case[] {
  const shapes = [...vectorShapes, { n: 20000, kind: 'spread' as const }, { n: 20000, kind: 'dense' as const }];
  return sweep(shapes, (arena, { n, kind }, rng) => {
    let x: Float32Array;
    if (kind === 'dense') x = Float32Array.from({ length: n }, () => rng.uniform(-12, 12));
    else if (kind === 'spread') {
      const word = (): number => (rng.u32() & 0x80000000) | (rng.int(0, 127 + 64) << 23) | (rng.u32() & 0x7fffff);
      x = new Float32Array(Uint32Array.from({ length: n }, word).buffer);
    } else x = values(rng, n, kind);
    const at = arena.inOut(x);
    return {
      call: (kernels) => kernels[kernel](at, n),
      check: () => {
        const expected = x.slice();
        reference[kernel](expected);
        return difference('x', arena.f32(at, n), expected);
      },
    };
  });
}

const softmax = sweep([...rowShapes, { n: 2, dim: 300, kind: 'spread' as const }], (arena, { n, dim, kind }, rng) => {
  const spread = (): Float32Array => Float32Array.from({ length: n * dim }, () => rng.uniform(-120, 20));
  const x = kind === 'spread' ? spread() : values(rng, n * dim, kind);
  const at = arena.inOut(x);
  return {
    call: (kernels) => kernels.softmax(at, n, dim),
    check: () => {
      const expected = x.slice();
      reference.softmax(expected, dim);
      return difference('x', arena.f32(at, n * dim), expected);
    },
  };
});

const addRows = sweep([...cross({ n: [1, 3, 5], dim: EDGES })], (arena, { n, dim }, rng) => {
  const rows = 12;
  const x = values(rng, n * dim);
  const table = values(rng, rows * dim);
  const index = Uint32Array.from([rows - 1, 0, ...rng.ints(n, 0, rows - 1)].slice(0, n));
  const at = { x: arena.inOut(x), table: arena.input(table), index: arena.input(index) };
  return {
    call: (kernels) => kernels.addRows(at.x, n, dim, at.table, at.index),
    check: () => {
      const expected = x.slice();
      reference.addRows(expected, dim, table, index);
      return difference('x', arena.f32(at.x, n * dim), expected);
    },
  };
});

const poolMean = sweep([...rowShapes, { n: 33, dim: 384 }], (arena, { n, dim, kind }, rng) => {
  const x = values(rng, n * dim, kind);
  const at = { x: arena.input(x), out: arena.output(dim * 4) };
  return {
    call: (kernels) => kernels.poolMean(at.x, n, dim, at.out),
    check: () => difference('out', arena.f32(at.out, dim), reference.poolMean(x, dim)),
  };
});

const l2Normalize = sweep(vectorShapes, (arena, { n, kind }, rng) => {
  const x = values(rng, n, kind);
  const at = arena.inOut(x);
  return {
    call: (kernels) => kernels.l2Normalize(at, n),
    check: () => {
      const expected = x.slice();
      reference.l2Normalize(expected);
      return difference('x', arena.f32(at, n), expected);
    },
  };
});

const logitShapes = [...vectorShapes.filter(({ kind }) => kind !== 'overflow'), { n: 1024, kind: 'peaked' as const }];

const logitStats = sweep(logitShapes, (arena, { n, kind }, rng) => {
  // Logits as a head gives them; of equal largest ones the second is as large.
  const peaked = (): Float32Array => Float32Array.from({ length: n }, () => rng.int(-90, 9));
  const x = kind === 'peaked' ? peaked() : values(rng, n, kind);
  const at = { x: arena.input(x), out: arena.output(12) };
  return {
    call: (kernels) => kernels.logitStats(at.x, n, at.out),
    check: () => difference('out', arena.f32(at.out, 3), reference.logitStats(x)),
  };
});

const cosine = sweep(vectorShapes, (arena, { n, kind }, rng) => {
  const x = values(rng, n, kind);
  const y = values(rng, n, kind);
  const at = { x: arena.input(x), y: arena.input(y) };
  const got = new Float32Array(1);
  return {
    call: (kernels) => (got[0] = kernels.cosine(at.x, at.y, n)),
    check: () => difference('cosine', got, Float32Array.of(reference.cosine(x, y))),
  };
});

const checksum = sweep(
  cross({ bytes: [0, 1, 2, 3, 4, 63, 64, 65, 127, 128, 129, 1000, 4096, 70001] }),
  (arena, { bytes }, rng) => {
    const data = Uint8Array.from(rng.ints(bytes, 0, 255));
    const at = arena.input(data);
    let got = 0n;
    return {
      call: (kernels: KernelExports) => void (got = BigInt.asUintN(64, kernels.checksum(at, bytes))),
      check: () => {
        const expected = reference.checksum(data);
        return first(got === expected ? undefined : `${got}, expected ${expected}`);
      },
    };
  },
);

export const rowSweeps = {
  layerNorm: norm('layerNorm'),
  rmsNorm: norm('rmsNorm'),
  add: binary('add'),
  mul: binary('mul'),
  gelu: activation('gelu'),
  geluTanh: activation('geluTanh'),
  relu: activation('relu'),
  silu: activation('silu'),
  softmax,
  addRows,
  poolMean,
  l2Normalize,
  logitStats,
  cosine,
  checksum,
};
