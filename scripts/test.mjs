// `npm test`: every check of this repository, one line of timing each, ending with the plain count.
//   node scripts/test.mjs [step …]      only the named steps
// A step is one command, counted as one test; jest's own tests are counted one by one. A suite that needs something this
// machine lacks exits with SKIPPED and says why on its last line: reported as skipped, and a failure where CI is set
// (but for the browser where MGT_NO_BROWSER gives the reason that none could be installed).
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const require = createRequire(import.meta.url);
const scratch = mkdtempSync(join(tmpdir(), 'mgt-test-'));
const onCI = Boolean(process.env.CI) && process.env.CI !== 'false';

/** Exit code of a suite that could not run here (automake's convention). */
const SKIPPED = 77;

/** The script behind a package's command: steps run under this very Node, whatever is first on the PATH. */
function bin(name, command = name) {
  const manifest = require.resolve(`${name}/package.json`);
  const entry = JSON.parse(readFileSync(manifest, 'utf8')).bin;
  return join(dirname(manifest), typeof entry === 'string' ? entry : entry[command]);
}

function jestArguments(report) {
  return ['--json', `--outputFile=${join(scratch, report)}`, ...(onCI ? ['--ci'] : [])];
}

const steps = [
  { name: 'types', args: [bin('typescript', 'tsc'), '-p', '.'] },
  // Kernels as an editor sees them; the compiler checks them again below.
  { name: 'types of assembly', args: [bin('typescript', 'tsc'), '--noEmit', '-p', 'assembly'] },
  { name: 'lint', args: [bin('eslint'), '.', '--max-warnings', '0'] },
  { name: 'format', args: [bin('prettier'), '--check', '--log-level', 'warn', '.'] },
  { name: 'wasm rebuilt, byte for byte', args: ['scripts/build-wasm.mjs', '--check'] },
  { name: 'dist', args: ['scripts/build-dist.mjs'] },
  { name: 'model', args: ['scripts/build-model.mjs'] },
  { name: 'package', args: ['scripts/check-package.mjs'] },
  {
    name: 'jest',
    args: ['--experimental-vm-modules', '--no-warnings', bin('jest'), ...jestArguments('jest.json')],
    live: true,
    report: 'jest.json',
  },
  { name: 'engines', args: ['tests/engines/run.mjs'] },
  { name: 'browser', args: ['tests/browser/run.mjs'], excuse: process.env.MGT_NO_BROWSER },
  {
    name: 'real model',
    args: ['scripts/real-model.mjs', ...jestArguments('models.json')],
    live: true,
    report: 'models.json',
  },
];

/** Runs one step; its output is shown as it comes (`live`) or only when it did not pass. */
function run({ args, live }) {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    let stdout = '';
    const keep = (chunk) => {
      output += chunk;
      if (live) process.stdout.write(chunk);
    };
    child.stdout.setEncoding('utf8').on('data', (chunk) => {
      stdout += chunk;
      if (!live) keep(chunk);
    });
    child.stderr.setEncoding('utf8').on('data', keep);
    child.on('error', (error) => resolve({ code: 1, output: `${output}${error.message}\n`, stdout }));
    child.on('close', (code, signal) => {
      if (signal) output += `ended by ${signal}\n`;
      resolve({ code: code ?? 1, output, stdout });
    });
  });
}

/** Jest's tests one by one; a test file that never ran counts as one failure. */
function countJest(code, file) {
  let report;
  try {
    report = JSON.parse(readFileSync(join(scratch, file), 'utf8'));
  } catch {
    return { passed: 0, failed: 1, skipped: 0 };
  }
  const passed = report.numPassedTests;
  const failed = report.numFailedTests + report.numRuntimeErrorTestSuites;
  const skipped = report.numPendingTests + report.numTodoTests;
  return { passed, failed: failed === 0 && (code !== 0 || passed === 0) ? 1 : failed, skipped };
}

const lastLine = (text) => text.trimEnd().split('\n').at(-1) ?? '';
const total = { passed: 0, failed: 0, skipped: 0 };
const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !steps.some((step) => step.name.startsWith(name)));
if (unknown.length > 0) {
  console.error(`unknown step ${unknown.join(', ')}; steps: ${steps.map((step) => step.name).join(', ')}`);
  process.exit(2);
}

try {
  for (const step of steps) {
    if (wanted.length > 0 && !wanted.some((name) => step.name.startsWith(name))) continue;
    const started = performance.now();
    const { code, output, stdout } = await run(step);
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    let verdict = 'ok';
    let note = '';
    let count = { passed: 1, failed: 0, skipped: 0 };
    if (code === SKIPPED) {
      const allowed = !onCI || Boolean(step.excuse);
      verdict = allowed ? 'skipped' : 'FAILED';
      note = allowed ? lastLine(stdout) : `may not be skipped where CI is set: ${lastLine(stdout)}`;
      count = { passed: 0, failed: allowed ? 0 : 1, skipped: allowed ? 1 : 0 };
    } else if (step.report) {
      count = countJest(code, step.report);
      if (count.failed > 0) verdict = 'FAILED';
      note = `${count.passed} passed, ${count.failed} failed, ${count.skipped} skipped`;
    } else if (code !== 0) {
      verdict = 'FAILED';
      note = `exit ${code}`;
      count = { passed: 0, failed: 1, skipped: 0 };
    } else {
      note = lastLine(stdout);
    }
    if (verdict === 'FAILED' && !step.live) console.log(output.trimEnd());
    console.log(`${verdict.padEnd(7)} ${step.name} (${seconds} s)${note ? `: ${note}` : ''}`);
    for (const key of Object.keys(total)) total[key] += count[key];
  }
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
process.exitCode = total.failed > 0 ? 1 : 0;
console.log(`\n${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
