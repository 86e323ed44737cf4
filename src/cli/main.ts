#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { MgtError } from '../errors.js';
import { parse, type CommandSpec } from './args.js';
import { commandHelp, topHelp } from './help.js';
import { print, reportError } from './output.js';
import { COMMANDS } from './specs.js';

// V8 doubles its young generation while a tokenizer is read, and keeps it: some 8 MB that nothing uses again.
setFlagsFromString('--semi-space-growth-factor=1');

/** The bin `mgt`: finds the command, hands it its words, turns whatever is thrown into one line and an exit code. */

const TOP: CommandSpec = { name: 'COMMAND', summary: '', operands: [], options: [], examples: [] };

async function main(argv: readonly string[], json: boolean): Promise<void> {
  const [name, ...rest] = argv;
  const command = COMMANDS.find((c) => c.name === name);
  const names = `one of ${COMMANDS.map((c) => c.name).join(', ')}`;
  if (name === 'help') {
    // `mgt help COMMAND` is `mgt COMMAND --help`.
    const [of, ...more] = rest.filter((word) => word !== '--json');
    return of === undefined || of.startsWith('-')
      ? main(['--help', ...rest], json)
      : main([of, '--help', ...more], json);
  }
  if (!command) {
    if (name === undefined || !name.startsWith('-')) {
      throw new MgtError('Usage', 'command', names, name === undefined ? name : `"${name}"`);
    }
    const { flags } = parse(TOP, argv);
    if (flags.has('help')) return print(topHelp(COMMANDS));
    if (flags.has('version')) return print(`${version()}\n`);
    throw new MgtError('Usage', 'command', names, undefined);
  }
  const parsed = parse(command, rest);
  if (parsed.flags.has('help')) return print(commandHelp(command));
  if (parsed.flags.has('version')) return print(`${version()}\n`);

  const interrupt = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      // A second Ctrl-C does not wait for a step that cannot be interrupted.
      if (interrupt.signal.aborted) process.exit(130);
      interrupt.abort();
    });
  }
  const { run } = await command.load();
  await run(parsed, { json, signal: interrupt.signal });
}

function version(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}

const argv = process.argv.slice(2);
const end = argv.indexOf('--');
const json = argv.slice(0, end < 0 ? undefined : end).includes('--json');

const fail = (error: unknown): void => process.exit(reportError(error, json));
process.on('uncaughtException', fail);
process.on('unhandledRejection', fail);
// A reader that has seen enough (`| head`) is no error; a disk that is full is.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
  process.exit(reportError(new MgtError('FileNotFound', 'stdout', 'to take the output', error), json));
});
process.stderr.on('error', () => {});

try {
  await main(argv, json);
} catch (error) {
  process.exitCode = reportError(error, json);
}
