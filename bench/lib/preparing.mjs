/** What the steps of bench/prepare.mjs share. Each step returns undefined, or one readable line saying what is missing. */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { BENCH, CACHE, ROOT, VENV } from './paths.mjs';

export const say = (line) => process.stderr.write(`prepare: ${line}\n`);

/** Runs a command with its output on stderr. Returns undefined, or why it failed. */
export function run(command, args, options = {}) {
  const settings = { stdio: ['ignore', 'pipe', 'pipe'], encoding: 'utf8', maxBuffer: 2 ** 28, ...options };
  const result = spawnSync(command, args, settings);
  if (result.status === 0) return undefined;
  const lines = `${result.stderr ?? ''}${result.stdout ?? ''}`.trim().split('\n');
  return `${command} ${args.slice(0, 3).join(' ')}: ${result.error?.message ?? lines.at(-1)}`;
}

/** Whether a command can be run at all. */
export const exists = (command) => spawnSync(command, ['--version']).status === 0;

/** A virtual environment in the cache with exactly requirements.txt; a stamp of that file tells whether it is current. */
export function preparePython() {
  const requirements = readFileSync(join(BENCH, 'requirements.txt'), 'utf8');
  const stamp = join(VENV, 'requirements.stamp');
  const python = join(VENV, process.platform === 'win32' ? 'Scripts/python.exe' : 'bin/python');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === requirements) return { python };
  const host = ['python3', 'python'].find(exists);
  if (!host) return { failed: 'Python 3 not found: the models of the peers cannot be made' };
  say(`making a Python environment with torch, onnxruntime and gguf in ${VENV} (1.3 GB, a few minutes)`);
  mkdirSync(CACHE, { recursive: true });
  const failed =
    (existsSync(python) ? undefined : run(host, ['-m', 'venv', VENV])) ??
    run(python, ['-m', 'pip', 'install', '-q', '-r', join(BENCH, 'requirements.txt')]);
  if (failed) return { failed };
  writeFileSync(stamp, requirements);
  return { python };
}

/**
 * Fetches the source of one package from PyPI into a directory of its own, which is gone when `use` has returned.
 * @param {string} requirement NAME==VERSION
 * @param {(archive: string) => string | undefined} use
 */
export function withSource(requirement, use) {
  const host = ['python3', 'python'].find(exists);
  if (!host) return `Python 3 not found: ${requirement} cannot be fetched`;
  mkdirSync(CACHE, { recursive: true });
  const directory = mkdtempSync(join(CACHE, '.scratch-'));
  try {
    const options = ['--no-deps', '-q', '--disable-pip-version-check', '--no-binary', ':all:', '-d', directory];
    const failed = run(host, ['-m', 'pip', 'download', ...options, requirement]);
    if (failed) return failed;
    const [file] = readdirSync(directory);
    return file ? use(join(directory, file)) : `pip download ${requirement} left nothing`;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** SHA-256 over files: names and contents, in order. */
export function hashFiles(files) {
  const hash = createHash('sha256');
  for (const file of files) hash.update(file).update(readFileSync(file));
  return hash.digest('hex');
}

/** What the built library is: every file of it that runs. */
export function libraryHash() {
  const root = join(ROOT, 'dist');
  const names = readdirSync(root, { recursive: true }).filter((name) => name.endsWith('.js'));
  return hashFiles(names.sort().map((name) => join(root, name)));
}

/** Makes `target` again whenever `version` is not what it was made with. What cannot be made is not there: an old one is never measured. */
export function stamped(target, version, make) {
  const stamp = `${target}.stamp`;
  if (existsSync(target) && existsSync(stamp) && readFileSync(stamp, 'utf8') === version) return undefined;
  mkdirSync(dirname(target), { recursive: true });
  for (const old of [stamp, target]) rmSync(old, { force: true });
  const failed = make();
  if (!failed) writeFileSync(stamp, version);
  return failed;
}

/** `mgt convert` of the built library. */
export function convert(source, target, ...options) {
  const cli = join(ROOT, 'dist', 'cli', 'main.js');
  return run(process.execPath, [cli, 'convert', source, '-o', target, '--json', ...options]);
}
