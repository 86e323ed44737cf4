/**
 * Where our time goes in one step of SmolLM2 and in its prompt: every kernel call timed, by kernel and shape.
 *
 *   node bench/decoder/profile.mjs [int8 | int4]
 *
 * Each kernel by its least time over several runs; a timed call costs some 0.1 µs more. What is left is the host: planning, checks,
 * witness, and copying the logits out.
 */
import { readFile } from 'node:fs/promises';
import { relaxedWorks } from '../lib/kernels.mjs';
import { table } from '../lib/markdown.mjs';
import { SMOLLM2 } from '../lib/paths.mjs';

/** What a call is called in the table, and its multiply-accumulates. */
const SHAPES = {
  gemv: (a) => ({ label: `${a[5]} × ${a[6]}`, macs: a[5] * a[6] }),
  gemm: (a) => ({ label: `${a[5]} × ${a[6]} × ${a[7]}`, macs: a[5] * a[6] * a[7] }),
  quantize: (a) => ({ label: `${a[1]} × ${a[2]}`, macs: 0 }),
};

let entries = new Map();

function timed(name, kernel) {
  const shape = SHAPES[name.replace(/I\d$/, '')] ?? (() => ({ label: '', macs: 0 }));
  const wrapped = (...args) => {
    const start = performance.now();
    const result = kernel(...args);
    const ms = performance.now() - start;
    const { label, macs } = shape(args);
    const key = `${name} ${label}`.trim();
    const entry = entries.get(key) ?? { calls: 0, ms: 0, macs: 0 };
    entries.set(key, { calls: entry.calls + 1, ms: entry.ms + ms, macs: entry.macs + macs });
    return result;
  };
  // The engine checks how many parameters each export has.
  return Object.defineProperty(wrapped, 'length', { value: kernel.length });
}

const { Instance } = WebAssembly;
WebAssembly.Instance = function (module, imports) {
  const { exports } = new Instance(module, imports);
  return { exports: Object.fromEntries(Object.entries(exports).map(([name, value]) => [name, typeof value === 'function' ? timed(name, value) : value])) }; // prettier-ignore
};

const { MincutGatedTransformer } = await import('../../dist/index.node.js');
const quant = process.argv[2] ?? 'int8';
const ids = JSON.parse(await readFile(new URL('./ids.json', import.meta.url), 'utf8'));
const [prompt, fed] = [ids.slice(0, 200), ids.slice(200)];
const simd = relaxedWorks() ? 'relaxed' : 'plain';
const model = await MincutGatedTransformer.load(SMOLLM2[quant].mgt, { simd, context: 512 });
const session = model.createSession();

/** What each kernel takes at the least over some runs of the same calls, in ms, and the host. Their sum is what a run undisturbed takes. */
function least(runs) {
  const rows = new Map();
  const keep = (name, found) => {
    if (!(rows.get(name)?.ms <= found.ms)) rows.set(name, { name, ...found });
  };
  for (const { ms, found } of runs) {
    let kernels = 0;
    for (const [name, entry] of found) {
      kernels += entry.ms;
      keep(name, entry);
    }
    keep('host', { calls: 1, ms: ms - kernels, macs: 0 });
  }
  const sorted = [...rows.values()].sort((x, y) => y.ms - x.ms);
  return { ms: sorted.reduce((sum, { ms }) => sum + ms, 0), rows: sorted };
}

function print(title, { ms, rows }) {
  const body = rows.map(({ name, calls, ms: each, macs }) => [
    name,
    calls,
    each.toFixed(3),
    `${((each / ms) * 100).toFixed(1)} %`,
    macs ? (macs / each / 1e6).toFixed(1) : '–',
  ]);
  console.log(`\n${title}: ${ms.toFixed(2)} ms\n\n${table(['kernel', 'calls', 'ms', 'share', 'GMAC/s'], body)}`);
}

const out = new Float32Array(model.info.config.vocab);
const measure = (tokens) => {
  entries = new Map();
  const start = performance.now();
  session.infer({ tokens, out });
  const ms = performance.now() - start;
  const found = entries;
  entries = new Map();
  return { ms, found };
};
const [prompts, steps] = [[], []];
for (let run = -1; run < 8; run++) {
  session.reset();
  const read = measure(prompt);
  const taken = fed.map((id) => measure([id]));
  // The first run warms.
  if (run < 0) continue;
  prompts.push(read);
  // Attention grows with what stands before it: steps of equal place are compared.
  steps.push(taken.at(-1));
}
console.log(`${quant}, ${model.info.build} build`);
print(`prompt of ${prompt.length} tokens`, least(prompts));
print(`the step after ${prompt.length + fed.length - 1} tokens`, least(steps));
