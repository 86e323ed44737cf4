// Builds dist/ as it is published: the entries and what they share in a few bundled files, and their declarations in one.
// The modules as compiled, unbundled, stay in dist.modules/ for the suites and benches that look inside the library.
// `--if-stale`: only when a source is newer than the last build.
// Everything is written into sibling folders that then take their place: no stale files, never a half-built dist/.
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { newest } from './lib/newest.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const dist = join(root, 'dist');
// One folder below the root like dist/: build/*.wasm is found from both by the same relative URL.
const modules = join(root, 'dist.modules');
const stamp = join(dist, '.built');
const require = createRequire(import.meta.url);

function isStale() {
  if (!existsSync(stamp) || !existsSync(modules)) return true;
  const inputs = [
    'src',
    'tsconfig.json',
    'tsconfig.build.json',
    'package.json',
    'scripts/build-dist.mjs',
    'scripts/roll-types.mjs',
    'scripts/lib/newest.mjs',
  ];
  return newest(root, inputs) > statSync(stamp).mtimeMs;
}

const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const published = (kind) =>
  Object.values(manifest.exports).flatMap((entry) => (entry[kind] ? [entry[kind].slice('./dist/'.length)] : []));

/** Files that keep their paths: what package.json names, and the worker. */
const ENTRIES = [
  ...new Set([...published('node'), ...published('default')]),
  ...Object.values(manifest.bin).map((file) => file.slice('dist/'.length)),
  'cli/reference-thread.js',
];

/** The compiled modules whose values an entry exports, and the entries themselves. */
function publicModules(from) {
  const fronts = [...ENTRIES, 'exports.js'].map((file) => join(from, file));
  const targets = fronts.flatMap((file) =>
    [...readFileSync(file, 'utf8').matchAll(/^export .* from '([^']+)'/gm)].map(([, path]) =>
      join(dirname(file), path),
    ),
  );
  return new Set([...fronts, ...targets]);
}

/** Names are short but for those of public modules and of methods, which a stack trace gives as the source does. */
const shorten = (from) => ({
  name: 'shorten',
  setup(build) {
    const known = publicModules(from);
    build.onLoad({ filter: /\.js$/ }, async ({ path }) => {
      const source = readFileSync(path, 'utf8');
      const isEntry = ENTRIES.some((file) => join(from, file) === path);
      const moved = (url) => relative(join(from, 'chunks'), join(dirname(path), url)).replaceAll('\\', '/');
      const code = isEntry
        ? source
        : source.replace(
            /new URL\('([^']+)', import\.meta\.url\)/g,
            (_, url) => `new URL('${moved(url)}', import.meta.url)`,
          );
      const { code: contents } = await build.esbuild.transform(code, {
        charset: 'utf8',
        minifyIdentifiers: true,
        minifySyntax: true,
        keepNames: known.has(path),
      });
      return { contents };
    });
  },
});

/** All but the entries goes to chunks/; `shorten` moves the relative URLs with it. */
async function bundle(from, to) {
  const esbuild = await import('esbuild');
  await esbuild.build({
    entryPoints: ENTRIES.map((file) => join(from, file)),
    outbase: from,
    outdir: to,
    bundle: true,
    splitting: true,
    chunkNames: 'chunks/[name]-[hash]',
    format: 'esm',
    platform: 'neutral',
    target: 'es2022',
    // What is no dependency either is installed by who needs it: a missing one is an error with the command.
    external: ['node:*', '@huggingface/*', ...Object.keys(manifest.dependencies)],
    charset: 'utf8',
    minifyWhitespace: true,
    minifyIdentifiers: true,
    minifySyntax: true,
    plugins: [shorten(from)],
    logLevel: 'error',
  });
}

/**
 * Chunks by short names instead of hashes, which do not compress and stand in every import: over 1 kB of the tarball. A
 * version of the package is one set of files, so nothing needs to tell two chunks of a name apart.
 */
function nameChunks(folder) {
  const chunks = readdirSync(join(folder, 'chunks')).sort();
  const names = new Map(chunks.map((name, i) => [name, `${name.replace(/-\w+\.js$/, '')}${i.toString(36)}.js`]));
  const short = (text) =>
    text.replace(/[\w-]+-[A-Z0-9]{8}\.js/g, (name) => names.get(name)?.replace('chunk', '') ?? name);
  for (const file of readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) =>
    name.endsWith('.js'),
  )) {
    const text = short(readFileSync(join(folder, file), 'utf8'));
    rmSync(join(folder, file));
    writeFileSync(join(folder, short(file)), text);
  }
}

/** A last squeeze of each file, about 2 kB of the tarball; names that are kept are those of more than two letters. */
async function squeeze(folder) {
  const { minify } = await import('terser');
  const options = {
    module: true,
    ecma: 2022,
    compress: { passes: 3, keep_fnames: true, keep_classnames: true },
    mangle: { keep_fnames: /^.{3,}$/, keep_classnames: /./ },
    format: { shebang: true },
  };
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.js'));
  for (const file of files.map((name) => join(folder, name))) {
    writeFileSync(file, (await minify(readFileSync(file, 'utf8'), options)).code);
  }
}

async function build() {
  const started = Date.now();
  const fresh = join(root, `dist.${process.pid}`);
  const compiled = join(root, `dist.modules.${process.pid}`);
  const old = join(root, `dist.${process.pid}.old`);
  const replace = (folder, by) => {
    rmSync(old, { recursive: true, force: true });
    if (existsSync(folder)) renameSync(folder, old);
    renameSync(by, folder);
  };
  try {
    const args = [require.resolve('typescript/bin/tsc'), '-p', 'tsconfig.build.json', '--outDir', compiled];
    execFileSync(process.execPath, args, { cwd: root, stdio: 'inherit' });
    await bundle(compiled, fresh);
    nameChunks(fresh);
    await squeeze(fresh);
    const { rollTypes } = await import('./roll-types.mjs'); // brings the compiler along
    rollTypes(compiled, fresh, [...new Set(published('types')), 'exports.d.ts']);
    chmodSync(join(fresh, manifest.bin.mgt.slice('dist/'.length)), 0o755);
    // Stamped with the time the compiler started: an edit made while it ran still counts as newer.
    writeFileSync(join(fresh, '.built'), '');
    utimesSync(join(fresh, '.built'), started / 1000, started / 1000);
    replace(modules, compiled);
    replace(dist, fresh);
    console.error(`dist/ built in ${((Date.now() - started) / 1000).toFixed(1)} s`);
  } catch (error) {
    process.exitCode = error.status || 1;
    if (!error.status) console.error(error);
  } finally {
    for (const folder of [fresh, compiled, old]) rmSync(folder, { recursive: true, force: true });
  }
}

if (!process.argv.includes('--if-stale') || isStale()) await build();
