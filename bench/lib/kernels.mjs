/** The kernels themselves, without the engine: one memory, regions laid out one after the other, panels filled at random. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ROOT } from './paths.mjs';

const up = (n, multiple) => Math.ceil(n / multiple) * multiple;

/** Deterministic u32 generator (xorshift32). */
export function generator(seed) {
  let state = seed >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>>= 0);
  };
}

/** @param {'plain' | 'relaxed'} build */
export async function instantiate(build, memory) {
  const load = async (file) =>
    (await WebAssembly.instantiate(await readFile(join(ROOT, 'build', file)), { env: { memory } })).instance.exports;
  const plain = await load('mgt.wasm');
  return build === 'plain' ? plain : { ...plain, ...(await load('mgt.relaxed.wasm')) };
}

// A known answer: -3 · 100 in four pairs. Node 20 cannot compile it, and with its experimental flag answers wrongly.
const RELAXED_PROBE = [
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 127, 3, 2, 1, 0, 7, 5, 1, 1, 102, 0, 0, 10, 23, 1, 21, 0, 65, 125,
  253, 15, 65, 228, 0, 253, 15, 65, 0, 253, 17, 253, 147, 2, 253, 27, 0, 11,
];
export function relaxedWorks() {
  try {
    return new WebAssembly.Instance(new WebAssembly.Module(new Uint8Array(RELAXED_PROBE))).exports.f() === -1200;
  } catch {
    return false;
  }
}

/**
 * One linear layer with random weights and inputs, ready to run.
 * @param {'I8' | 'I7'} code weight code
 * @returns {{ quantize: () => void; multiply: () => void; check: () => void; macs: number }}
 *   `check` compares outputs with plain integer and f32 arithmetic and throws on the first that differs.
 */
export function linearLayer(exports, memory, region, { m, n, k, code }) {
  const kp = up(k, 8);
  const groups = Math.ceil(k / 64);
  const panel = 64 + 8 * kp;
  const at = {};
  let end = region;
  for (const [name, bytes] of Object.entries({
    x: m * k * 4,
    q8: m * kp,
    q16: m * kp * 2,
    scales: m * groups * 4,
    sums: m * groups * 4,
    panels: Math.ceil(n / 8) * panel,
    out: m * n * 4,
    scratch: 32 * kp,
  })) {
    at[name] = end;
    end += up(bytes, 64);
  }
  const missing = end - memory.buffer.byteLength;
  if (missing > 0) memory.grow(Math.ceil(missing / 65536));

  const next = generator(m * 7 + n * 3 + k);
  const real = () => next() / 2 ** 31 - 1;
  const f32 = new Float32Array(memory.buffer);
  const i8 = new Int8Array(memory.buffer);
  for (let i = 0; i < m * k; i++) f32[at.x / 4 + i] = real() * 3;
  const [limit, offset] = code === 'I8' ? [127, 0] : [63, 64];
  const weight = (row, col) => at.panels + (row >> 3) * panel + 64 + (col >> 2) * 32 + (row & 7) * 4 + (col & 3);
  for (let row = 0; row < n; row++) {
    const head = (at.panels + (row >> 3) * panel) / 4 + (row & 7);
    f32[head] = (1 + real() / 2) * 1e-3;
    f32[head + 8] = real();
    for (let col = 0; col < k; col++) i8[weight(row, col)] = offset + (next() % (2 * limit + 1)) - limit;
  }

  const quantize = () => exports.quantize(at.x, m, k, 0, at.q8, at.q16, at.scales, at.sums);
  const kernel = exports[(m === 1 ? 'gemv' : 'gemm') + code];
  const multiply =
    m === 1
      ? () => kernel(at.q8, at.q16, at.scales, at.sums, at.panels, n, k, at.out)
      : () => kernel(at.q8, at.q16, at.scales, at.sums, at.panels, m, n, k, at.out, at.scratch);

  function check() {
    quantize();
    multiply();
    const { fround } = Math;
    for (let trial = 0; trial < 200; trial++) {
      const row = next() % m;
      const output = next() % n;
      let acc = 0;
      for (let g = 0; g < groups; g++) {
        let sum = 0;
        for (let col = g * 64; col < Math.min(k, g * 64 + 64); col++) {
          sum += i8[at.q8 + row * kp + col] * (i8[weight(output, col)] - offset);
        }
        acc = fround(acc + fround(fround(sum) * f32[at.scales / 4 + row * groups + g]));
      }
      const head = (at.panels + (output >> 3) * panel) / 4 + (output & 7);
      const expected = fround(fround(acc * f32[head]) + f32[head + 8]);
      const got = f32[at.out / 4 + row * n + output];
      if (!Object.is(got, expected)) {
        throw new Error(`${code} ${m}×${n}×${k} [${row}][${output}]: kernel ${got}, expected ${expected}`);
      }
    }
  }
  return { quantize, multiply, check, macs: m * n * k, end };
}
