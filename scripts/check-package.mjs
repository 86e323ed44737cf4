// Packs the package as npm would publish it and judges the tarball: sizes, contents, publint, attw, and a consumer outside
// this repository that imports every entry, type-checks against them and runs the command. Needs dist/ built.
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';

// Bytes; why the package is larger than the 100 kB it had before decoders: docs/decisions/0010-package.md.
const MAX_TARBALL = 150_000; // the package as downloaded, without the model
const MAX_PAGE = { './core': 52_000, '.': 75_000, './stories': 15_000 }; // what a page carries of an entry: its bundle and both builds, gzipped
const MAX_WASM = 40_000; // bytes: each build
const MODEL = 'build/stories.mgt'; // beside the engine, for who imports it: counted apart
const MAX_MODEL = 4_000_000;
const FORBIDDEN = /\.map$|\.mgt$|\.safetensors$|\.onnx$|\.gguf$|\.built$|debug|(^|\/)(tests?|bench|src|assembly)\//;

const root = fileURLToPath(new URL('..', import.meta.url));
const work = mkdtempSync(join(tmpdir(), 'mgt-package-'));
const problems = [];

/** npm as the caller ran it, else the one on the PATH. */
const npm = (args, cwd) =>
  process.env.npm_execpath?.endsWith('.js')
    ? execFileSync(process.execPath, [process.env.npm_execpath, ...args], { cwd, encoding: 'utf8', stdio: 'pipe' })
    : execFileSync('npm', args, { cwd, encoding: 'utf8', stdio: 'pipe' });

/** Runs a tool under this Node; what it printed becomes the problem when it fails. */
function tool(name, script, args, cwd = root) {
  try {
    return execFileSync(process.execPath, [script, ...args], { cwd, encoding: 'utf8', stdio: 'pipe' });
  } catch (error) {
    problems.push(`${name}:\n${error.stdout ?? ''}${error.stderr ?? error.message}`);
    return '';
  }
}

function bin(name, command = name) {
  const folder = join(root, 'node_modules', name);
  const entry = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')).bin;
  return join(folder, typeof entry === 'string' ? entry : entry[command]);
}

/** Every file named in package.json's exports and bin. */
function namedFiles(manifest) {
  const files = [];
  const walk = (value) => (typeof value === 'string' ? files.push(value) : Object.values(value).forEach(walk));
  walk(manifest.exports);
  walk(manifest.bin);
  return [...new Set(files.map((file) => file.replace(/^\.\//, '')))];
}

/** Modules that a packed file loads, at once or later; packages by their names. */
function loads(file, seen = new Set()) {
  if (seen.has(file)) return seen;
  seen.add(file);
  const code = readFileSync(file, 'utf8');
  for (const [, name] of code.matchAll(/(?:\bfrom|\bimport)\s*\(?\s*["']([^"']+)["']/g)) {
    if (name.startsWith('.')) loads(join(dirname(file), name), seen);
    else seen.add(name);
  }
  return seen;
}

/** Bytes of a tarball without one of its files, packed as it is. */
function sizeWithout(tarball, path) {
  const folder = join(work, 'without');
  mkdirSync(folder);
  execFileSync('tar', ['-xzf', tarball, '-C', folder]);
  rmSync(join(folder, 'package', path));
  return gzipSync(execFileSync('tar', ['-cf', '-', '-C', folder, 'package'], { maxBuffer: 2 ** 28 }), { level: 9 })
    .length;
}

/** What bundlers and hosts ask of the code as packed. */
function checkCode(home, manifest) {
  const scripts = readdirSync(join(home, 'dist'), { recursive: true, encoding: 'utf8' }).filter((f) =>
    f.endsWith('.js'),
  );
  const wasm = new Map();
  const withModel = new Set();
  for (const script of scripts) {
    const file = join(home, 'dist', script);
    const code = readFileSync(file, 'utf8');
    const uses = code.split('import.meta.url').length - 1;
    const urls = [...code.matchAll(/new URL\("([^"]+)",import\.meta\.url\)/g)].map(([, url]) => url);
    if (urls.length !== uses) problems.push(`${script}: a URL that is no literal \`new URL("…",import.meta.url)\``);
    for (const url of urls) {
      if (!existsSync(join(dirname(file), url))) problems.push(`${script}: no ${url} there`);
    }
    wasm.set(file, urls.filter((url) => url.endsWith('.wasm')).length);
    if (urls.some((url) => url.endsWith(MODEL))) withModel.add(file);
  }
  // A bundler carries the model where a module that names it is loaded, however late.
  for (const [entry, conditions] of Object.entries(manifest.exports)) {
    if (typeof conditions === 'string') continue; // a file, no module
    for (const [condition, path] of Object.entries(conditions)) {
      if (!path.endsWith?.('.js')) continue;
      const named = [...loads(join(home, path))].some((file) => withModel.has(file));
      if (named !== (entry === './stories'))
        problems.push(`${entry} (${condition}) ${named ? 'carries' : 'does not name'} the model`);
    }
  }
  for (const [condition, allowed] of [
    ['default', ['@assemblyscript/loader']],
    ['node', ['@assemblyscript/loader', 'node:fs/promises']],
  ]) {
    const seen = [...loads(join(home, manifest.exports['./core'][condition]))];
    const others = seen.filter((name) => !name.startsWith(home) && !allowed.includes(name));
    if (others.length > 0) problems.push(`./core (${condition}) loads ${others.join(', ')}`);
    const builds = seen.reduce((sum, file) => sum + (wasm.get(file) ?? 0), 0);
    if (builds !== 2) problems.push(`./core (${condition}) names ${builds} wasm builds, not 2`);
  }
}

/** What a page carries of the entries, optional packages left out. */
async function checkPages(home, manifest) {
  const { build } = await import('esbuild');
  const gzipped = (bytes) => gzipSync(bytes, { level: 9 }).length;
  const wasm = ['build/mgt.wasm', 'build/mgt.relaxed.wasm'].reduce(
    (sum, file) => sum + gzipped(readFileSync(join(home, file))),
    0,
  );
  const sizes = [];
  for (const [entry, most] of Object.entries(MAX_PAGE)) {
    const { outputFiles } = await build({
      entryPoints: [join(home, manifest.exports[entry].default)],
      ...{ bundle: true, minify: true, write: false, format: 'esm', platform: 'browser', logLevel: 'error' },
      external: Object.keys(manifest.peerDependencies),
      nodePaths: [join(root, 'node_modules')],
    });
    const size = gzipped(outputFiles[0].contents) + wasm;
    if (outputFiles[0].text.includes(MODEL) !== (entry === './stories'))
      problems.push(`a page with ${entry}: the model`);
    sizes.push(`${entry} ${size}`);
    if (size > most) problems.push(`a page with ${entry}: ${size} bytes, at most ${most}`);
  }
  return sizes.join(', ');
}

/** A project that has only the tarball and its dependencies. */
async function consumer(tarball, manifest) {
  const modules = join(work, 'consumer/node_modules');
  const home = join(modules, manifest.name);
  mkdirSync(home, { recursive: true });
  execFileSync('tar', ['-xzf', tarball, '--strip-components=1', '-C', home]);
  for (const name of Object.keys(manifest.dependencies)) {
    mkdirSync(dirname(join(modules, name)), { recursive: true });
    symlinkSync(join(root, 'node_modules', name), join(modules, name));
  }
  const folder = dirname(modules);
  // Modules: what is a bare file is there, or the walk above would have said.
  const entries = Object.keys(manifest.exports).filter((key) => typeof manifest.exports[key] !== 'string');
  const names = entries.map((key) => manifest.name + key.slice(1));
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }');
  checkCode(home, manifest);
  // Entries share what they share, and a class or function goes by the name it is exported under.
  writeFileSync(
    join(folder, 'use.mjs'),
    `const entries = await Promise.all(${JSON.stringify(names)}.map((name) => import(name)));
const seen = new Map();
for (const [name, value] of entries.flatMap(Object.entries)) {
  if (typeof value === 'function' && value.name !== name) throw new Error(name + ' goes by ' + value.name);
  if (name === 'MincutGatedTransformer') continue; // one per entry: with text, without
  if (seen.has(name) && seen.get(name) !== value) throw new Error(name + ' is not the same in every entry');
  seen.set(name, value);
}`,
  );
  tool('import of the packed entries', join(folder, 'use.mjs'), [], folder);

  const imports = names.map((name, i) => `import * as e${i} from '${name}';`);
  const uses = names.map((_, i) => `console.log(Object.keys(e${i}).length);`);
  writeFileSync(join(folder, 'use.mts'), [...imports, ...uses].join('\n'));
  // A browser project: no Node types, and our declarations checked like its own code.
  const compilerOptions = {
    module: 'nodenext',
    target: 'es2022',
    lib: ['es2022', 'dom'],
    types: [],
    strict: true,
    noEmit: true,
  };
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['use.mts'] }));
  tool('types of the packed entries', bin('typescript', 'tsc'), ['-p', folder], folder);

  for (const [name, file] of Object.entries(manifest.bin)) {
    const version = tool(`${name} --version`, join(home, file), ['--version'], folder).trim();
    if (!version.includes(manifest.version)) problems.push(`${name} --version printed "${version}"`);
  }
  return checkPages(home, manifest);
}

try {
  const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  // The scripts of this package are left out: dist/ is what was just built.
  const [packed] = JSON.parse(npm(['pack', '--json', '--ignore-scripts', '--pack-destination', work], root));
  const tarball = join(work, packed.filename);
  const paths = packed.files.map((file) => file.path);

  const model = packed.files.find(({ path }) => path === MODEL);
  if (model && model.size > MAX_MODEL) problems.push(`${MODEL}: ${model.size} bytes, at most ${MAX_MODEL}`);
  const engine = model ? sizeWithout(tarball, MODEL) : packed.size;
  if (engine > MAX_TARBALL) problems.push(`tarball: ${engine} bytes without the model, at most ${MAX_TARBALL}`);
  const wasm = packed.files.filter((file) => file.path.endsWith('.wasm'));
  for (const { path, size } of wasm) if (size > MAX_WASM) problems.push(`${path}: ${size} bytes, at most ${MAX_WASM}`);
  for (const path of paths) if (FORBIDDEN.test(path) && path !== MODEL) problems.push(`${path} must not be published`);
  const wanted = [...namedFiles(manifest), 'README.md', 'LICENSE'];
  for (const path of [...wanted, 'build/mgt.wasm', 'build/mgt.relaxed.wasm', MODEL]) {
    if (!paths.includes(path)) problems.push(`${path} is missing from the tarball`);
  }
  if (!existsSync(tarball)) problems.push(`npm pack left no ${packed.filename}`);

  if (problems.length === 0) {
    tool('publint', bin('publint'), ['run', tarball, '--strict']);
    // What is a bare file has no types.
    const bare = Object.keys(manifest.exports).filter((key) => key.endsWith('.wasm'));
    tool('attw', bin('@arethetypeswrong/cli', 'attw'), [
      tarball,
      '--profile',
      'esm-only',
      '--exclude-entrypoints',
      ...bare.map((key) => key.slice(2)),
    ]);
    console.log(`gzipped for a page: ${await consumer(tarball, manifest)}`);
  }
  const sizes = [...wasm, ...(model ? [model] : [])].map(({ path, size }) => `${path} ${size}`).join(', ');
  console.log(
    `${packed.filename} ${engine} bytes without the model, ${packed.size} with it, ${paths.length} files; ${sizes}`,
  );
} catch (error) {
  problems.push(error.stderr || error.stack);
} finally {
  rmSync(work, { recursive: true, force: true });
}
for (const problem of problems) console.error(problem);
process.exitCode = problems.length > 0 ? 1 : 0;
