// Converts models/stories, the Hugging Face directory in this repository, to build/stories.mgt, which the package carries.
// Needs dist/ built. The same inputs give the same bytes.
// `--if-stale`: only when the directory, the converter or the format is newer than the file.
import { existsSync, renameSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { newest } from './lib/newest.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const source = join(root, 'models/stories');
const model = join(root, 'build/stories.mgt');
/** What the file's bytes come from, the figures in its header included. */
const INPUTS = [
  ...['models/stories', 'scripts/build-model.mjs', 'build/mgt.wasm'],
  // All of the library that converts, and that runs what was converted.
  ...['arena', 'convert', 'engine', 'format', 'gate', 'kernels', 'plan', 'text'].map((name) => `src/${name}`),
  ...['config', 'checksum', 'random', 'round'].map((name) => `src/${name}.ts`),
];

async function build() {
  const started = Date.now();
  const { convert } = await import(pathToFileURL(join(root, 'dist/convert/index.js')).href);
  const { bytes, report } = await convert(source, { quant: 'int8' });
  // A name of its own until it is whole.
  const fresh = `${model}.${process.pid}`;
  try {
    writeFileSync(fresh, bytes);
    // Stamped with the time the conversion started: an edit made while it ran still counts as newer.
    utimesSync(fresh, started / 1000, started / 1000);
    renameSync(fresh, model);
  } finally {
    rmSync(fresh, { force: true });
  }
  const { kl, top1 } = report.accuracy;
  const loss = `KL to float ${kl.toFixed(5)} nats, same top token ${(100 * top1).toFixed(1)} %`;
  const seconds = ((Date.now() - started) / 1000).toFixed(1);
  console.error(`build/stories.mgt: ${bytes.length} bytes, ${loss}, in ${seconds} s`);
}

const isStale = !existsSync(model) || newest(root, INPUTS) > newest(root, ['build/stories.mgt']);
if (!process.argv.includes('--if-stale') || isStale) await build();
