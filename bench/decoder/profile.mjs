/**
 * Where our time goes in one step of SmolLM2 and in its prompt: every kernel call timed, by kernel and shape.
 *
 *   node bench/decoder/profile.mjs [int8 | int4]
 *
 * Calls are counted inside the run they belong to, in the fastest of several; a timed call costs some 0.1 µs more. What is left is the
 * host: planning, checks, witness, and copying the logits out.
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

/** The fastest of some runs: its entries, and how long it took. */
function fastest(runs, count, part) {
  let best = { ms: Infinity };
  for (let i = 0; i < runs; i++) {
    const { ms, found } = part();
    if (ms < best.ms) best = { ms, found };
  }
  const rows = [...best.found].map(([name, { calls, ms, macs }]) => ({ name, calls, ms: ms / count, macs }));
  const kernels = rows.reduce((sum, { ms }) => sum + ms, 0);
  rows.push({ name: 'host', calls: count, ms: best.ms / count - kernels, macs: 0 });
  return { ms: best.ms / count, rows: rows.sort((a, b) => b.ms - a.ms), count };
}

function print(title, { ms, rows, count }) {
  const body = rows.map(({ name, calls, ms: each, macs }) => [
    name,
    (calls / count).toFixed(0),
    each.toFixed(3),
    `${((each / ms) * 100).toFixed(1)} %`,
    macs ? (macs / count / each / 1e6).toFixed(1) : '–',
  ]);
  console.log(`\n${title}: ${ms.toFixed(2)} ms\n\n${table(['kernel', 'calls', 'ms', 'share', 'GMAC/s'], body)}`);
}

const out = new Float32Array(model.info.config.vocab);
const measure = (calls) => {
  entries = new Map();
  const start = performance.now();
  for (const tokens of calls) session.infer({ tokens, out });
  return { ms: performance.now() - start, found: entries };
};
const readPrompt = () => {
  session.reset();
  return measure([prompt]);
};
const takeSteps = () => {
  readPrompt();
  return measure(fed.map((id) => [id]));
};
takeSteps();
console.log(`${quant}, ${model.info.build} build`);
print(`prompt of ${prompt.length} tokens`, fastest(6, 1, readPrompt));
print(`one step, mean of ${fed.length}`, fastest(6, fed.length, takeSteps));
