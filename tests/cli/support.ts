import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, jest } from '@jest/globals';

/** The command line as a user runs it: the compiled bin in a process of its own. */

export const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
if (!existsSync(MAIN)) throw new Error(`${MAIN} is missing: npm run build:dist`);

// Every run is a process: on a busy machine many of them take their time.
jest.setTimeout(60_000);

export interface Ran {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly input?: string | Uint8Array;
  /** Flags of node itself. */
  readonly node?: readonly string[];
}

export function mgt(args: readonly string[], { input = '', node = [] }: RunOptions = {}): Ran {
  const { status, stdout, stderr } = spawnSync(process.execPath, [...node, MAIN, ...args], {
    input,
    encoding: 'utf8',
    maxBuffer: 2 ** 28,
    timeout: 60_000,
  });
  return { code: status, stdout, stderr };
}

/** The same without waiting, for many runs at a time. */
export function mgtAsync(args: readonly string[]): Promise<Ran> {
  const child = spawn(process.execPath, [MAIN, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (stdout += chunk));
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => (stderr += chunk));
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, stdout, stderr }));
  });
}

/** Runs `job` on every item, `width` at a time; results in order. */
export async function each<T, R>(items: readonly T[], width: number, job: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let i = next++; i < items.length; i = next++) results[i] = await job(items[i]!);
  };
  await Promise.all(Array.from({ length: width }, worker));
  return results;
}

/** The lines of a successful `--json` run, parsed. */
export function results(ran: Ran): Record<string, unknown>[] {
  expect(ran).toMatchObject({ code: 0, stderr: '' });
  return ran.stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

export interface Failure {
  readonly exit: number;
  readonly code: string;
  /** The field, exactly or by pattern; any where left out. */
  readonly field?: string | RegExp;
}

/** Asserts that a run failed as every failure must: nothing on stdout, one line on stderr of the agreed form, no trace. */
export function expectFailure(ran: Ran, { exit, code, field }: Failure): void {
  const line = /^mgt: (\w+) "([^\n]*?)" expected ([^\n]+), got ([^\n]+)\n$/.exec(ran.stderr);
  expect({ ...ran, form: line ? 'one line' : ran.stderr }).toMatchObject({ code: exit, stdout: '', form: 'one line' });
  expect(line?.[1]).toBe(code);
  if (typeof field === 'string') expect(line?.[2]).toBe(field);
  if (field instanceof RegExp) expect(line?.[2]).toMatch(field);
  expect(ran.stderr).not.toMatch(/\n\s+at |node:internal|RuntimeError|unreachable/);
}

/** The same failure with `--json`: one line of JSON on stderr with exactly the four fields, all text. */
export function expectJsonFailure(ran: Ran, { exit, code, field }: Failure): void {
  expect(ran).toMatchObject({ code: exit, stdout: '' });
  expect(ran.stderr).toMatch(/^[^\n]+\n$/);
  const parsed = JSON.parse(ran.stderr) as { error: Record<string, unknown> };
  expect(Object.keys(parsed)).toEqual(['error']);
  expect(Object.keys(parsed.error)).toEqual(['code', 'field', 'expected', 'got']);
  for (const value of Object.values(parsed.error)) expect(typeof value).toBe('string');
  expect(parsed.error.code).toBe(code);
  if (typeof field === 'string') expect(parsed.error.field).toBe(field);
  if (field instanceof RegExp) expect(parsed.error.field).toMatch(field);
}

/** A folder of its own, and how to remove it. */
export function scratch(): { path: (name: string) => string; remove: () => void } {
  const folder = mkdtempSync(join(tmpdir(), 'mgt-cli-'));
  return { path: (name) => join(folder, name), remove: () => rmSync(folder, { recursive: true, force: true }) };
}
