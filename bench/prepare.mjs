/**
 * Everything a benchmark needs that is not in the repository, made once and kept in the cache:
 * the peers' packages, the peers' ONNX models and our own .mgt of MiniLM.
 *
 *   node bench/prepare.mjs      idempotent; the first run takes a few minutes, most of it pip fetching torch
 *
 * Each step returns undefined, or one readable line saying what is missing: the benchmarks then run without it.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { BENCH, CACHE, MINILM_MGT, MODELS, ROOT, SOURCE, VENV, onnxPath } from './lib/paths.mjs';

const say = (line) => process.stderr.write(`prepare: ${line}\n`);

/** Runs a command with its output on stderr. Returns undefined, or why it failed. */
function run(command, args, options = {}) {
  const result = spawnSync(command, args, { stdio: ['ignore', 'pipe', 'pipe'], encoding: 'utf8', ...options });
  if (result.status === 0) return undefined;
  const lines = `${result.stderr ?? ''}${result.stdout ?? ''}`.trim().split('\n');
  return `${command} ${args.slice(0, 3).join(' ')}: ${result.error?.message ?? lines.at(-1)}`;
}

/** The peers and mitata, from bench/package-lock.json. onnxruntime-node's postinstall would download; its CPU library is in the package. */
export function preparePackages() {
  const wanted = ['mitata', 'onnxruntime-web', 'onnxruntime-node'];
  if (wanted.every((name) => existsSync(join(BENCH, 'node_modules', name, 'package.json')))) return undefined;
  say('installing mitata, onnxruntime-web, onnxruntime-node');
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

/** A virtual environment in the cache with exactly requirements.txt; a stamp of that file tells whether it is current. */
function preparePython() {
  const requirements = readFileSync(join(BENCH, 'requirements.txt'), 'utf8');
  const stamp = join(VENV, 'requirements.stamp');
  const python = join(VENV, process.platform === 'win32' ? 'Scripts/python.exe' : 'bin/python');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === requirements) return { python };
  const host = ['python3', 'python'].find((name) => spawnSync(name, ['--version']).status === 0);
  if (!host) return { failed: 'Python 3 not found: the ONNX models of the peers cannot be made' };
  say(`making a Python environment with torch and onnxruntime in ${VENV} (1.3 GB, a few minutes)`);
  mkdirSync(CACHE, { recursive: true });
  const failed =
    run(host, ['-m', 'venv', VENV]) ??
    run(python, ['-m', 'pip', 'install', '-q', '-r', join(BENCH, 'requirements.txt')]);
  if (failed) return { failed };
  writeFileSync(stamp, requirements);
  return { python };
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
export async function prepareOurs() {
  const stamp = `${MINILM_MGT}.stamp`;
  const version = hashTree(join(ROOT, 'dist'));
  if (existsSync(MINILM_MGT) && existsSync(stamp) && readFileSync(stamp, 'utf8') === version) return undefined;
  say('converting MiniLM to .mgt');
  mkdirSync(MODELS, { recursive: true });
  rmSync(stamp, { force: true });
  const failed = run(process.execPath, [
    join(ROOT, 'dist', 'cli', 'main.js'),
    'convert',
    SOURCE,
    '-o',
    MINILM_MGT,
    '--json',
  ]);
  if (failed) return failed;
  writeFileSync(stamp, version);
  return undefined;
}

/** SHA-256 over the converter's own files below a directory: names and contents, in order. */
function hashTree(directory) {
  const hash = createHash('sha256');
  const names = readdirSync(directory, { recursive: true }).filter((name) => name.endsWith('.js'));
  for (const name of names.sort()) hash.update(name).update(readFileSync(join(directory, name)));
  return hash.digest('hex');
}

/** All steps. Returns the lines of what is missing, keyed by what needs it. */
export async function prepare() {
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
  note('ours', missing.source ?? missing.library ?? (await prepareOurs()));
  return missing;
}

if (process.argv[1] && pathToFileURL(process.argv[1]).href === import.meta.url) {
  const missing = await prepare();
  process.exitCode = Object.keys(missing).length ? 1 : 0;
}
