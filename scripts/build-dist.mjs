// Compiles src/ to dist/ as it is published: JavaScript without comments and blanks, and the declarations that an entry's
// types lead to. `--if-stale`: only when a source is newer than the last build.
// The compiler writes into a sibling folder that then takes dist/'s place: no stale files, never a half-built dist/.
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
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const dist = join(root, 'dist');
const stamp = join(dist, '.built');
const require = createRequire(import.meta.url);

/** Time of the newest file below `path`, in ms. */
function newest(path) {
  const info = statSync(path);
  if (!info.isDirectory()) return info.mtimeMs;
  // The folder's own time counts: it moves when a file is added or deleted.
  return readdirSync(path).reduce((t, name) => Math.max(t, newest(join(path, name))), info.mtimeMs);
}

function isStale() {
  if (!existsSync(stamp)) return true;
  const inputs = ['src', 'tsconfig.json', 'tsconfig.build.json', 'package.json', 'scripts/build-dist.mjs'];
  return Math.max(...inputs.map((path) => newest(join(root, path)))) > statSync(stamp).mtimeMs;
}

const filesOf = (folder, ending) =>
  readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith(ending))
    .map((file) => join(folder, file));

/** Names and structure stay, so that a stack trace reads like the source. */
async function squeezeCode(folder) {
  const { transform } = await import('esbuild');
  const squeeze = async (file) => {
    const { code } = await transform(readFileSync(file, 'utf8'), { format: 'esm', minifyWhitespace: true });
    writeFileSync(file, code);
  };
  await Promise.all(filesOf(folder, '.js').map(squeeze));
}

/**
 * Keeps the declarations that a public one refers to, however far, and the comments of those that an entry exports
 * from: what an editor shows about the package's own names.
 */
function pruneTypes(folder) {
  const ts = require('typescript');
  const { exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const entries = Object.values(exports).flatMap(({ types }) =>
    types ? [join(folder, types.slice('./dist/'.length))] : [],
  );
  const targetsOf = (file) =>
    ts
      .preProcessFile(readFileSync(file, 'utf8'))
      .importedFiles.filter(({ fileName }) => fileName.startsWith('.'))
      .map(({ fileName }) => join(dirname(file), fileName.replace(/\.js$/, '.d.ts')));

  const kept = new Set();
  const walk = (file) => {
    if (kept.has(file)) return;
    kept.add(file);
    targetsOf(file).forEach(walk);
  };
  entries.forEach(walk);
  const exporting = [...kept].filter((file) => entries.includes(file) || /[/\\]exports\.d\.ts$/.test(file));
  const documented = new Set([...exporting, ...exporting.flatMap(targetsOf)]);
  const printer = ts.createPrinter({ removeComments: true });
  for (const file of filesOf(folder, '.d.ts')) {
    if (!kept.has(file)) rmSync(file);
    else if (!documented.has(file)) {
      const source = ts.createSourceFile(file, readFileSync(file, 'utf8'), ts.ScriptTarget.ES2022);
      writeFileSync(file, printer.printFile(source));
    }
  }
}

async function build() {
  const started = Date.now();
  const fresh = join(root, `dist.${process.pid}`);
  const old = join(root, `dist.${process.pid}.old`);
  try {
    const args = [require.resolve('typescript/bin/tsc'), '-p', 'tsconfig.build.json', '--outDir', fresh];
    execFileSync(process.execPath, args, { cwd: root, stdio: 'inherit' });
    await squeezeCode(fresh);
    pruneTypes(fresh);
    chmodSync(join(fresh, 'cli/main.js'), 0o755);
    // Stamped with the time the compiler started: an edit made while it ran still counts as newer.
    writeFileSync(join(fresh, '.built'), '');
    utimesSync(join(fresh, '.built'), started / 1000, started / 1000);
    if (existsSync(dist)) renameSync(dist, old);
    renameSync(fresh, dist);
    console.error(`dist/ built in ${((Date.now() - started) / 1000).toFixed(1)} s`);
  } catch (error) {
    process.exitCode = error.status || 1;
    if (!error.status) console.error(error);
  } finally {
    rmSync(fresh, { recursive: true, force: true });
    rmSync(old, { recursive: true, force: true });
  }
}

if (!process.argv.includes('--if-stale') || isStale()) await build();
