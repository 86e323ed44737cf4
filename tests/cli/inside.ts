import { readFileSync, readdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { expect, jest } from '@jest/globals';
import { parse } from '../../src/cli/args.js';
import { EXIT_CODES } from '../../src/cli/output.js';
import { COMMANDS } from '../../src/cli/specs.js';
import { MgtError } from '../../src/errors.js';
import type { Inferred } from './models.js';

/** Commands run in this process, for sweeps of hundreds of runs; what main.ts adds is seen where whole processes run. */

/** What a command printed. @throws as the command does */
export async function inside(...argv: readonly string[]): Promise<string> {
  const [name, ...words] = argv;
  const command = COMMANDS.find((c) => c.name === name)!;
  const { run } = await command.load();
  let printed = '';
  const stdout = jest.spyOn(process.stdout, 'write').mockImplementation(((text: string, done?: () => void) => {
    printed += text;
    done?.();
    return true;
  }) as typeof process.stdout.write);
  try {
    await run(parse(command, words), { json: words.includes('--json'), signal: new AbortController().signal });
  } finally {
    stdout.mockRestore();
  }
  return printed;
}

export const inferInside = async (...words: string[]): Promise<Inferred> =>
  JSON.parse(await inside('infer', ...words, '--json')) as Inferred;

/** How a command failed: its exit code, error code and field. */
export async function failureInside(...argv: readonly string[]): Promise<string> {
  const error = await inside(...argv).then(
    (printed) => printed,
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof MgtError)) return `no MgtError: ${String(error)}`;
  return `${EXIT_CODES[error.code]} ${error.code} ${error.field}`;
}

/** Asserts that what runs leaves the folders of these files as they are: the same names, the files byte for byte. */
export async function untouched<T>(paths: readonly string[], run: () => T | Promise<T>): Promise<T> {
  const look = (): unknown => [
    paths.map((path) => readFileSync(path).toString('base64')),
    [...new Set(paths.map((path) => dirname(path)))].map((folder) => readdirSync(folder)),
  ];
  const before = look();
  const result = await run();
  expect(look()).toEqual(before);
  return result;
}
