/**
 * Cold: from process start to the first embedding of one sentence. Fresh processes in alternation; the clock runs in the
 * parent, from before the spawn to the arrival of the result. One round beforehand fills the operating system's file cache.
 * Then warming: how long each of the first calls takes in a fresh process, while the engine's compiler is at work.
 */
import { spawn } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cosine } from './lib/embedding.mjs';
import { MINILM_MGT, ROOT, onnxPath } from './lib/paths.mjs';
import { peersReady } from './lib/peers.mjs';
import { section } from './lib/section.mjs';
import { median, medianRatio } from './lib/timing.mjs';

/** Calls from (inclusive) to (exclusive), counted from 0. */
const STAGES = [[0, 1], [1, 10], [10, 50], [50, 100], [100, 200]]; // prettier-ignore

const TEXT = 'A small model that starts at once answers sooner than a large one still loading.';

await section('cold', async ({ quick, say }) => {
  const names = ['bare'];
  if (existsSync(MINILM_MGT)) names.push('ours');
  else say('ours left out: no minilm.mgt (node bench/prepare.mjs)');
  if (peersReady()) names.push('web', 'native');
  else say('peers left out: no models (node bench/prepare.mjs)');

  const rounds = quick ? 1 : 11;
  const runs = Object.fromEntries(names.map((name) => [name, []]));
  for (let round = quick ? 0 : -1; round < rounds; round++) {
    say(`round ${round + 1} of ${rounds}`);
    for (const name of names) {
      const run = await once(`run-${name}.mjs`, TEXT);
      if (round >= 0) runs[name].push(run);
    }
  }
  const vectors = names.filter((name) => name !== 'bare').map((name) => runs[name][0].embedding);
  const agreement = vectors.length > 1 ? Math.min(...vectors.map((vector) => cosine(vector, vectors[0]))) : undefined;
  const totals = (name) => runs[name]?.map(({ total }) => total);
  return {
    rounds,
    agreement,
    text: TEXT,
    rows: names.map((name) => ({
      name,
      ms: median(totals(name)),
      // Inside the process, ms since its start.
      imported: median(runs[name].map(({ imported }) => imported)),
      loaded: median(runs[name].map(({ loaded }) => loaded)),
      embedded: median(runs[name].map(({ embedded }) => embedded)),
      rssMiB: median(runs[name].map(({ rss }) => rss)) / 2 ** 20,
    })),
    speedup: {
      web: runs.ours && runs.web && medianRatio(totals('web'), totals('ours')),
      native: runs.ours && runs.native && medianRatio(totals('native'), totals('ours')),
    },
    bytes: sizes(),
    warming: quick
      ? []
      : await warming(
          names.filter((name) => name === 'ours' || name === 'web'),
          say,
        ),
  };
});

/** Medians of the calls of each stage, in ms, and their ratios; processes in alternation. */
async function warming(names, say) {
  const rows = [];
  const processes = 3;
  for (const tokens of [8, 32]) {
    const medians = Object.fromEntries(names.map((name) => [name, []]));
    for (let process = 0; process < processes; process++) {
      for (const name of names) {
        say(`first calls, ${tokens} tokens, ${name}, process ${process + 1} of ${processes}`);
        const { times } = await once('series.mjs', name, tokens, STAGES.at(-1)[1]);
        medians[name].push(STAGES.map(([from, to]) => median(times.slice(from, to))));
      }
    }
    STAGES.forEach(([from, to], stage) => {
      const of = (name) => medians[name]?.map((list) => list[stage]);
      rows.push({
        tokens,
        calls: [from + 1, to],
        ms: Object.fromEntries(names.map((name) => [name, median(of(name))])),
        speedup: of('ours') && of('web') && medianRatio(of('web'), of('ours')),
      });
    });
  }
  return rows;
}

/** @returns {Promise<object>} the child's line, and `total` ms from before its spawn to that line */
function once(script, ...args) {
  const path = fileURLToPath(new URL(`./cold/${script}`, import.meta.url));
  return new Promise((resolve, reject) => {
    const start = performance.now();
    const child = spawn(process.execPath, [path, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
    let [out, err, total] = ['', '', 0];
    child.stdout.on('data', (chunk) => {
      total = performance.now() - start;
      out += chunk;
    });
    child.stderr.on('data', (chunk) => (err += chunk));
    child.on('error', reject);
    child.on('close', (code) => {
      if (code === 0) resolve({ ...JSON.parse(out), total });
      else reject(new Error(`${script} ended with ${code}: ${err.match(/^.*Error.*$/m)?.[0] ?? err.trim()}`));
    });
  });
}

/** What has to be there before the first embedding: bytes of wasm, and of the model. */
function sizes() {
  const size = (path) => (existsSync(path) ? statSync(path).size : undefined);
  const web = dirname(createRequire(import.meta.url).resolve('onnxruntime-web'));
  return {
    ours: { wasm: size(join(ROOT, 'build', 'mgt.wasm')), model: size(MINILM_MGT) },
    web: { wasm: size(join(web, 'ort-wasm-simd-threaded.wasm')), model: size(onnxPath('minilm-int8')) },
  };
}
