/**
 * The memory roof: how fast one core reads what no cache holds. A decoder reads all its weights for every token, so no
 * arithmetic makes it faster than this over their size. Several loops are tried, as for the SIMD roof; the fastest counts.
 */
import { compile } from './compile.mjs';

/** Far beyond any cache of these machines' cores. */
const BYTES = 192 * 2 ** 20;

/** Reads `bytes` in `streams` equal parts side by side, 64 bytes of each a step. */
function loop(streams) {
  const names = Array.from({ length: streams }, (_, i) => `a${i}`);
  const step = names.flatMap((name, i) =>
    [0, 16, 32, 48].map((at) => `${name} = v128.or(${name}, v128.load(p + ${i} * part, ${at}));`),
  );
  return `export function read${streams}(p: usize, bytes: usize): i32 {
const part = bytes / ${streams};
${names.map((name) => `let ${name} = i32x4.splat(0);`).join('\n')}
for (const end = p + part; p < end; p += 64) {
${step.join('\n')}
}
return i32x4.extract_lane(${names.reduce((sum, name) => `v128.or(${sum}, ${name})`)}, 0);
}`;
}

/** @returns {Promise<{ name: string; bytes: number; run: () => void }>} `run` reads `bytes`, in some 10 ms */
export async function measureBandwidth(rounds) {
  const memory = new WebAssembly.Memory({ initial: BYTES / 65536 + 1 });
  const exports = await compile([1, 2, 4].map(loop).join('\n'), memory);
  // Written once: pages never written would all be one page of zeros.
  new Uint8Array(memory.buffer).fill(1);
  const contenders = [1, 2, 4].map((streams) => ({
    name: `read${streams}`,
    run: () => exports[`read${streams}`](65536, BYTES),
    best: Infinity,
  }));
  for (let round = 0; round < rounds; round++) {
    for (const contender of contenders) {
      const start = performance.now();
      contender.run();
      contender.best = Math.min(contender.best, performance.now() - start);
    }
  }
  const { name, run } = contenders.reduce((a, b) => (b.best < a.best ? b : a));
  return { name, bytes: BYTES, run };
}
