/**
 * The SIMD roof: how many int8-as-i16 multiply-accumulates one core does in `i32x4.dot_i16x8_s` + `i32x4.add` when
 * nothing is loaded or stored. No kernel built on these two instructions can be faster. Which unrolling gets there
 * depends on the engine's register allocation, so a family of loops is tried and the fastest counts.
 *
 * The operands change in every step, or an engine could hoist the products out of the loop:
 *   chain n     acc[i] += dot(acc[i], w)                                n independent chains
 *   tile m × n  acc[i][j] += dot(x[i], w[j]); x[i] ^= acc[i][0]          a GEMM's inner step without its loads
 */
import { compile } from './compile.mjs';

/** Multiply-accumulates of one dot_i16x8_s: 8 products, added in pairs and to the accumulator. */
const MACS_PER_DOT = 8;

const range = (n) => Array.from({ length: n }, (_, i) => i);

function loop(name, declarations, step, repeats, results) {
  return `export function ${name}(steps: i32): i32 {
${declarations.join('\n')}
for (let i = 0; i < steps; i++) {
${Array(repeats).fill(step.join('\n')).join('\n')}
}
return i32x4.extract_lane(${results.reduce((sum, value) => `i32x4.add(${sum}, ${value})`)}, 0);
}`;
}

function chain(n, repeats) {
  const declarations = range(n).map((i) => `let a${i} = i32x4.splat(steps + ${i});`);
  declarations.push('const w = i16x8.splat(<i16>steps);');
  const step = range(n).map((i) => `a${i} = i32x4.add(a${i}, i32x4.dot_i16x8_s(a${i}, w));`);
  return loop(
    `chain${n}x${repeats}`,
    declarations,
    step,
    repeats,
    range(n).map((i) => `a${i}`),
  );
}

function tile(m, n, repeats) {
  const cells = range(m).flatMap((i) => range(n).map((j) => `a${i}${j}`));
  const declarations = [
    ...cells.map((cell, i) => `let ${cell} = i32x4.splat(steps + ${i});`),
    ...range(m).map((i) => `let x${i} = i16x8.splat(<i16>steps + ${i});`),
    ...range(n).map((j) => `const w${j} = i16x8.splat(<i16>steps - ${j});`),
  ];
  const step = range(m).flatMap((i) => [
    ...range(n).map((j) => `a${i}${j} = i32x4.add(a${i}${j}, i32x4.dot_i16x8_s(x${i}, w${j}));`),
    `x${i} = v128.xor(x${i}, a${i}0);`,
  ]);
  return loop(`tile${m}x${n}x${repeats}`, declarations, step, repeats, cells);
}

/** Every loop tried: name, AssemblyScript source, dots per step. */
export function roofLoops() {
  const loops = [];
  for (const n of [4, 6, 8, 10, 12, 13, 14]) {
    for (const repeats of [1, 4])
      loops.push({ name: `chain${n}x${repeats}`, source: chain(n, repeats), dots: n * repeats });
  }
  for (const [m, n] of [
    [1, 8],
    [2, 4],
    [3, 3],
    [2, 5],
  ]) {
    // prettier-ignore
    for (const repeats of [1, 4]) {
      loops.push({ name: `tile${m}x${n}x${repeats}`, source: tile(m, n, repeats), dots: m * n * repeats });
    }
  }
  return loops;
}

/**
 * Compiles and warms every loop, times each a few times and returns the fastest.
 * @param {number} rounds passes over all loops
 * @param {RegExp} [pattern] names of the loops to try
 * @returns {Promise<{ name: string; macs: number; run: () => void; tried: { name: string; gmacs: number }[] }>}
 *   `run` does `macs` multiply-accumulates, about 1 ms of them.
 */
export async function measureRoof(rounds, pattern = /./) {
  const loops = roofLoops().filter(({ name }) => pattern.test(name));
  const exports = await compile(loops.map(({ source }) => source).join('\n'), new WebAssembly.Memory({ initial: 1 }));
  // About 1 ms at 40 GMAC/s.
  const contenders = loops.map(({ name, dots }) => {
    const steps = Math.round(5e6 / dots);
    return { name, macs: steps * dots * MACS_PER_DOT, run: () => exports[name](steps), best: Infinity };
  });
  for (const { run } of contenders) for (let i = 0; i < 5; i++) run();
  for (let round = 0; round < rounds; round++) {
    for (const contender of contenders) {
      const start = performance.now();
      contender.run();
      contender.best = Math.min(contender.best, performance.now() - start);
    }
  }
  const tried = contenders.map(({ name, macs, best }) => ({ name, gmacs: macs / best / 1e6 }));
  const fastest = contenders.reduce((a, b) => (b.macs / b.best > a.macs / a.best ? b : a));
  return { name: fastest.name, macs: fastest.macs, run: fastest.run, tried };
}
