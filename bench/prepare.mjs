/**
 * Everything a benchmark needs that is not in the repository, made once and kept in the cache:
 * the peers' packages, the peers' models, our own .mgt of them, and llama.cpp.
 *
 *   node bench/prepare.mjs      idempotent; the first run takes some minutes, most of it pip fetching torch
 *
 * Each step returns undefined, or one readable line saying what is missing: the benchmarks then run without it.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { prepareGguf, prepareNative, prepareOurDecoders } from './decoder/prepare.mjs';
import { findChromium } from './lib/chromium.mjs';
import { BENCH, MINILM_MGT, MODELS, ROOT, SOURCE, onnxPath } from './lib/paths.mjs';
import { convert, libraryHash, preparePython, run, say, stamped } from './lib/preparing.mjs';

/** The peers and mitata, from bench/package-lock.json. onnxruntime-node's postinstall would download; its CPU library is in the package. */
export function preparePackages() {
  const wanted = ['mitata', 'onnxruntime-web', 'onnxruntime-node', 'playwright-core', 'wllama-v2', 'wllama-v3'];
  if (wanted.every((name) => existsSync(join(BENCH, 'node_modules', name, 'package.json')))) return undefined;
  say(`installing ${wanted.join(', ')}`);
  const env = { ...process.env, ONNXRUNTIME_NODE_INSTALL: 'skip' };
  return run('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], { cwd: BENCH, env });
}

/** The built library (dist/), rebuilt when a source is newer than it. */
export function prepareLibrary() {
  const failed = run(process.execPath, [join(ROOT, 'scripts', 'build-dist.mjs'), '--if-stale'], { cwd: ROOT });
  return failed ?? (existsSync(join(ROOT, 'dist', 'index.node.js')) ? undefined : 'dist/index.node.js was not built');
}

/** The float source model, fetched by scripts/fetch-minilm.mjs. */
export async function prepareSource() {
  if (existsSync(join(SOURCE, 'model.safetensors'))) return undefined;
  say('fetching all-MiniLM-L6-v2');
  try {
    const { fetchMiniLM } = await import(pathToFileURL(join(ROOT, 'scripts', 'fetch-minilm.mjs')).href);
    await fetchMiniLM();
    return existsSync(join(SOURCE, 'model.safetensors')) ? undefined : `no model in ${SOURCE}`;
  } catch (error) {
    return error.message.split('\n')[0];
  }
}

/** The peers' ONNX models. Needs the source directory. */
export function preparePeers() {
  const made = ['minilm-int8', 'matmul-8x8', 'matmul-384x1536', 'matmul-576x1536', 'matmul-1536x576'];
  if (made.every((name) => existsSync(onnxPath(name)))) return undefined;
  const { python, failed } = preparePython();
  if (failed) return failed;
  say('exporting and quantising the ONNX models');
  return run(python, [join(BENCH, 'prepare.py'), SOURCE, MODELS]);
}

/** MiniLM as .mgt, made again whenever the library that converts it has changed. Needs the source and dist/. */
export function prepareOurs() {
  return stamped(MINILM_MGT, libraryHash(), () => {
    say('converting MiniLM to .mgt');
    return convert(SOURCE, MINILM_MGT);
  });
}

/**
 * The steps that these sections need. Returns the lines of what is missing, keyed by what needs it.
 * @param {{ decoder?: boolean }} [options] whether SmolLM2, its peers and llama.cpp too
 */
export async function prepare({ decoder = true } = {}) {
  const missing = {};
  const note = (key, line) => {
    if (!line) return;
    missing[key] = line;
    say(`${key}: ${line}`);
  };
  note('packages', preparePackages());
  note('library', prepareLibrary());
  note('source', await prepareSource());
  note('peers', missing.source ?? preparePeers());
  note('ours', missing.source ?? missing.library ?? prepareOurs());
  if (!decoder) return missing;
  note('gguf', await prepareGguf());
  note('decoders', missing.gguf ?? missing.library ?? prepareOurDecoders());
  note('llama.cpp', prepareNative());
  note('chromium', findChromium() ? undefined : 'none on the path: no wllama (the package chromium, or $CHROMIUM)');
  return missing;
}

if (process.argv[1] && pathToFileURL(process.argv[1]).href === import.meta.url) {
  const missing = await prepare();
  process.exitCode = Object.keys(missing).length ? 1 : 0;
}
