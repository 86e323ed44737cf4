import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { OUT } from './paths.mjs';

/**
 * Frame of one section's process: `node bench/NAME.mjs [--quick]`. Progress goes to stderr on one line, the result as
 * JSON to bench/out/NAME.json (quick runs: NAME.quick.json, which never reach the report).
 * @param {string} name
 * @param {(context: { quick: boolean; say: (line: string) => void }) => Promise<object>} body
 */
export async function section(name, body) {
  const quick = process.argv.includes('--quick');
  const live = process.stderr.isTTY;
  let last = '';
  const say = (line) => {
    // Rounds overwrite each other on a terminal and are left out elsewhere.
    if (live) process.stderr.write(`\r\x1b[K${name}: ${line}`);
    else if (!line.startsWith('round')) process.stderr.write(`${name}: ${line}\n`);
    last = line;
  };
  const start = performance.now();
  const result = await body({ quick, say });
  const seconds = (performance.now() - start) / 1000;
  await mkdir(OUT, { recursive: true });
  const file = join(OUT, quick ? `${name}.quick.json` : `${name}.json`);
  await writeFile(
    file,
    `${JSON.stringify({ section: name, quick, date: new Date().toISOString(), seconds, ...result }, null, 1)}\n`,
  );
  if (live && last) process.stderr.write('\r\x1b[K');
  process.stderr.write(`${name}: done in ${seconds.toFixed(1)} s\n`);
  // A peer's runtime may keep handles open.
  process.exit(0);
}
