// Compiles src/ to dist/ (JavaScript and declarations). `--if-stale`: only when a source is newer than the last build.
// The compiler writes into a sibling folder that then takes dist/'s place: no stale files, never a half-built dist/.
import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, readdirSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const dist = join(root, 'dist');
const stamp = join(dist, '.built');

/** Time of the newest file below `path`, in ms. */
function newest(path) {
  const info = statSync(path);
  if (!info.isDirectory()) return info.mtimeMs;
  // The folder's own time counts: it moves when a file is added or deleted.
  return readdirSync(path).reduce((t, name) => Math.max(t, newest(join(path, name))), info.mtimeMs);
}

function isStale() {
  if (!existsSync(stamp)) return true;
  const inputs = ['src', 'tsconfig.json', 'tsconfig.build.json', 'package.json'].map((p) => newest(join(root, p)));
  return Math.max(...inputs) > statSync(stamp).mtimeMs;
}

if (!process.argv.includes('--if-stale') || isStale()) {
  const started = Date.now();
  const tsc = createRequire(import.meta.url).resolve('typescript/bin/tsc');
  const fresh = join(root, `dist.${process.pid}`);
  const old = join(root, `dist.${process.pid}.old`);
  try {
    execFileSync(process.execPath, [tsc, '-p', 'tsconfig.build.json', '--outDir', fresh], {
      cwd: root,
      stdio: 'inherit',
    });
    const cli = join(fresh, 'cli/main.js');
    if (existsSync(cli)) chmodSync(cli, 0o755);
    // Stamped with the time the compiler started: an edit made while it ran still counts as newer.
    writeFileSync(join(fresh, '.built'), '');
    utimesSync(join(fresh, '.built'), started / 1000, started / 1000);
    if (existsSync(dist)) renameSync(dist, old);
    renameSync(fresh, dist);
    console.error(`dist/ built in ${((Date.now() - started) / 1000).toFixed(1)} s`);
  } catch (error) {
    process.exitCode = typeof error.status === 'number' ? error.status : 1;
    if (typeof error.status !== 'number') console.error(String(error));
  } finally {
    rmSync(fresh, { recursive: true, force: true });
    rmSync(old, { recursive: true, force: true });
  }
}
