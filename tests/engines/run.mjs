// Compiled dist/ and build/*.wasm under other releases of Node than the caller's: plain, relaxed and the reference must
// give the same bits everywhere, and the relaxed build must really run relaxed_dot. Exit code 77: skipped, reason on the last line.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { MODELS } from './cases.mjs';
import { writeModels } from './models.mjs';

const here = fileURLToPath(new URL('.', import.meta.url));
const engines = ['node22', 'node24'].map((name) => ({ name, path: join(here, 'node_modules', name, 'bin/node') }));
const missing = engines.filter(({ path }) => !existsSync(path)).map(({ name }) => name);
if (missing.length > 0) {
  console.log(`no ${missing.join(', ')} here: npm ci --prefix tests/engines (Linux on x64 only)`);
  process.exit(77);
}

const folder = mkdtempSync(join(tmpdir(), 'mgt-engines-'));
const problems = [];

function ask(path, args) {
  const environment = { ...process.env, NODE_OPTIONS: '' };
  const options = { encoding: 'utf8', maxBuffer: 2 ** 26, env: environment, stdio: ['ignore', 'pipe', 'pipe'] };
  return JSON.parse(execFileSync(path, [...args], options));
}

try {
  await writeModels(folder);
  const script = join(here, 'digest.mjs');
  const reports = [
    { name: 'reference', ...ask(process.execPath, [script, folder, '--reference']) },
    { name: 'caller', ...ask(process.execPath, [script, folder]) },
    ...engines.map(({ name, path }) => ({ name, ...ask(path, [script, folder]) })),
  ];

  const [reference] = reports;
  const expected = new Map(reference.rows.map((row) => [`${row.model} · ${row.input}`, row]));
  if (new Set(reference.rows.map((row) => row.sha256)).size !== expected.size)
    problems.push('two cases gave one digest');

  for (const { name, node, relaxed, rows } of reports.slice(1)) {
    for (const build of relaxed ? ['plain', 'relaxed'] : ['plain']) {
      const answered = rows.filter((row) => row.build === build).length;
      if (answered !== expected.size) problems.push(`${name}: ${answered} of ${expected.size} cases ran on ${build}`);
    }
    for (const row of rows) {
      const want = expected.get(`${row.model} · ${row.input}`);
      const what = `${name} (${node}) ${row.build}, ${row.model}, ${row.input}`;
      if (row.sha256 !== want?.sha256) problems.push(`${what}: ${row.sha256}, the reference ${want?.sha256}`);
      if (row.layers !== want?.layers) problems.push(`${what}: ${row.layers} layers, the reference ${want?.layers}`);
      const dots = row.build === 'relaxed' && /int[74]$/.test(row.model);
      if (row.layers > 0 && dots !== row.relaxedDot > 0)
        problems.push(`${what}: ${row.relaxedDot} calls ran relaxed_dot`);
    }
  }
  // Without a JIT there is no WebAssembly and everything is slow: the short inputs only.
  const jitless = ask(process.execPath, ['--jitless', '--no-warnings', script, folder, '--reference', '7']);
  if (jitless.wasm !== 'undefined') problems.push('--jitless had WebAssembly: the reference proved nothing');
  if (jitless.rows.length !== 2 * MODELS.length) problems.push(`--jitless: ${jitless.rows.length} rows`);
  for (const row of jitless.rows) {
    const want = expected.get(`${row.model} · ${row.input}`);
    if (row.sha256 !== want?.sha256)
      problems.push(`--jitless ${row.model}, ${row.input}: ${row.sha256}, ${want?.sha256}`);
  }
  for (const { name, path } of engines) {
    const report = reports.find((r) => r.name === name);
    if (!report.relaxed) problems.push(`${name}: the known-answer probe refused relaxed dot`);
    if (!report.node.startsWith(`v${name.slice(4)}.`)) problems.push(`${path} is Node ${report.node}`);
  }
  const versions = reports.slice(1).map(({ node, relaxed }) => `${node}${relaxed ? ' with relaxed' : ''}`);
  const what = `${expected.size} outputs of ${MODELS.length} models`;
  if (problems.length === 0) console.log(`${what}, the same bits: reference, ${versions.join(', ')}`);
} catch (error) {
  problems.push(error.stderr || error.stack);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
for (const problem of problems) console.error(problem);
process.exitCode = problems.length > 0 ? 1 : 0;
