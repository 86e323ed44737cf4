// Peak resident memory of `mgt convert` and `mgt generate` on SmolLM2-135M-Instruct beyond an idle Node's, beside what is promised.
// Linux only (/proc). Needs dist/ built. Arguments: --json. Exit code 1 where a bound is passed.
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { convertedSmolLM2, fetchSmolLM2 } from './fetch-smollm2.mjs';

const mgt = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
const work = mkdtempSync(join(tmpdir(), 'mgt-memory-'));

/** Peak resident bytes of a Node process, as the kernel counts them, read until it ends. */
async function peakOf(args) {
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'inherit'] });
  let peak = 0;
  const look = () => {
    try {
      const [, kilobytes] = /VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8')) ?? [];
      if (kilobytes) peak = Math.max(peak, 1024 * Number(kilobytes));
    } catch {
      // It has just ended.
    }
  };
  const clock = setInterval(look, 10);
  const code = await new Promise((resolve) => child.on('exit', resolve));
  clearInterval(clock);
  if (code !== 0) throw new Error(`${args.join(' ')}: exit code ${code}`);
  return peak;
}

try {
  const source = await fetchSmolLM2();
  const idle = await peakOf(['-e', 'setTimeout(() => {}, 300)']);
  const rows = [];
  const add = (what, peak, bound) => rows.push({ what, beyondIdle: peak - idle, bound, ok: peak - idle <= bound });
  for (const quant of ['int8', 'int4']) {
    const file = join(work, `${quant}.mgt`);
    const converting = await peakOf([mgt, 'convert', source, '-o', file, '--quant', quant]);
    add(`convert ${quant}`, converting, 64e6 + 2 * statSync(file).size);
    const bytes = statSync(await convertedSmolLM2(quant)).size;
    for (const context of [512, 2048, 8192]) {
      const question = ['--chat', 'Tell me a story about a fox.', '--max-tokens', '200', '--context', String(context)];
      // 30 layers, 3 heads, K and V: 64 codes and a scale each.
      const kv = context * 30 * 3 * 2 * (64 + 4);
      add(
        `generate ${quant}, context ${context}`,
        await peakOf([mgt, 'generate', file, ...question]),
        1.2 * (bytes + kv),
      );
    }
  }
  if (process.argv.includes('--json')) console.log(JSON.stringify({ idle, rows }));
  else {
    const mb = (n) => `${(n / 1e6).toFixed(0)} MB`;
    console.log(`idle Node ${mb(idle)}`);
    for (const { what, beyondIdle, bound, ok } of rows) {
      console.log(
        `${what.padEnd(28)} ${mb(beyondIdle).padStart(7)} beyond it, bound ${mb(bound)}${ok ? '' : '  PASSED IT'}`,
      );
    }
  }
  process.exitCode = rows.every(({ ok }) => ok) ? 0 : 1;
} finally {
  rmSync(work, { recursive: true, force: true });
}
