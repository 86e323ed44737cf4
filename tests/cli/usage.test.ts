import { readFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import { expectFailure, expectJsonFailure, mgt } from './support.js';

const COMMANDS = [
  'demo',
  'convert',
  'inspect',
  'embed',
  'infer',
  'generate',
  'perplexity',
  'tokenize',
  'replay',
  'init',
];
const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  version: string;
};

describe('help and version', () => {
  test('mgt --help names every command', () => {
    const { code, stdout, stderr } = mgt(['--help']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    for (const command of COMMANDS) expect(stdout).toMatch(new RegExp(`^  ${command} `, 'm'));
    expect(stdout).toContain('Usage: mgt COMMAND');
  });

  test.each(COMMANDS)('mgt %s --help shows usage, options and an example', (command) => {
    const { code, stdout, stderr } = mgt([command, '--help']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toContain(`Usage: mgt ${command} `);
    expect(stdout).toMatch(/^Options:$/m);
    expect(stdout).toMatch(/^ {2}--json {2,}\S/m);
    expect(stdout).toMatch(new RegExp(`^Examples?:\\n {2}mgt ${command} `, 'm'));
  });

  test('mgt help is mgt --help, mgt help COMMAND is mgt COMMAND --help; in 80 columns', () => {
    for (const words of [[], ...COMMANDS.map((command) => [command])]) {
      const help = mgt(['help', ...words]);
      expect(help).toEqual(mgt([...words, '--help']));
      const [title, ...lines] = help.stdout.split('\n');
      expect(title).toMatch(/^mgt/);
      const examples = lines.findIndex((line) => line.startsWith('Example'));
      expect(lines.slice(0, examples).filter((line) => line.length > 80)).toEqual([]);
    }
    expectFailure(mgt(['help', 'frobnicate']), { exit: 2, code: 'Usage', field: 'command' });
  });

  test('mgt infer --help tells each option, and what it does', () => {
    const { stdout } = mgt(['infer', '--help']);
    for (const name of ['gate', 'spikes', 'signature', 'policy', 'energy', 'scheduler', 'session', 'log', 'seed']) {
      expect(stdout).toMatch(new RegExp(`^  --${name}\\b.*  \\S`, 'm'));
    }
  });

  test('--version is the package version, alone and on a command', () => {
    for (const words of [[], ['init'], ['convert', 'dir']]) {
      expect(mgt([...words, '--version'])).toEqual({ code: 0, stdout: `${version}\n`, stderr: '' });
    }
  });

  test('help wins over mistakes beside it', () => {
    expect(mgt(['infer', '--frob', '--tokens', '--help'])).toMatchObject({ code: 0, stderr: '' });
  });
});

describe('usage errors exit 2 with one line', () => {
  test.each([
    [[], 'command'],
    [['frobnicate'], 'command'],
    [['inspect\nx'], 'command'],
    [['--frob'], '--frob'],
    [['inspect', 'a.mgt', 'b.mgt'], 'operands'],
    [['inspect', 'a.mgt', '--frob'], '--frob'],
    [['inspect', 'a.mgt', '--evil\n\x1b[31m'], /^--evil  ?\[31m$/],
    [['infer', 'a.mgt'], '--tokens'],
    [['infer', 'a.mgt', '--tokens'], '--tokens'],
    [['infer', 'a.mgt', '--tokens', '1,a'], '--tokens'],
    [['infer', 'a.mgt', '--tokens', '1,,2'], '--tokens'],
    [['infer', 'a.mgt', '--tokens', '0x10'], '--tokens'],
    [['infer', 'a.mgt', '--tokens', '1', '--gate', '{'], '--gate'],
    [['infer', 'a.mgt', '--tokens', '1', '--gate', ''], '--gate'],
    [['infer', 'a.mgt', '--tokens', '1', '--spikes', 'fired'], '--spikes'],
    [['infer', 'a.mgt', '--tokens', '1', '--engine', 'gpu'], '--engine'],
    [['infer', 'a.mgt', '--tokens', '1', '--simd', 'avx'], '--simd'],
    [['infer', 'a.mgt', '--tokens', '1', '--simd'], '--simd'],
    [['init', 'huge', '--seed', '1', '-o', 'x.mgt'], 'PRESET'],
    [['init', '--seed', '1', '-o', 'x.mgt'], 'PRESET'],
    [['init', 'micro', '-o', 'x.mgt'], '--seed'],
    [['init', 'micro', '--seed', 'one', '-o', 'x.mgt'], '--seed'],
    [['init', 'micro', '--seed', '-o', 'x.mgt'], '--seed'],
    [['init', 'micro', '--seed', '1'], '-o'],
    [['init', 'micro', '--seed', '1', '-o'], '-o'],
    [['init', 'micro', '--seed', '1', '-o', 'x.mgt', '--quant', 'int4'], '--quant'],
    [['convert', 'dir'], '-o'],
    [['convert', '-o', 'x.mgt'], 'SRC'],
    [['embed'], 'FILE'],
    [['embed', 'a.mgt', '--file'], '--file'],
    [['embed', 'a.mgt', '-5'], '-5'],
  ] as [string[], string | RegExp][])('mgt %j', (argv, field) => {
    expectFailure(mgt(argv), { exit: 2, code: 'Usage', field });
  });

  test.each([
    [['--json'], '--json'],
    [['frobnicate', '--json'], 'command'],
    [['embed', '--json'], 'FILE'],
    [['infer', 'a.mgt', '--json', '--tokens'], '--tokens'],
    [['infer', 'a.mgt', '--tokens', '1', '--gate', '{', '--json'], '--gate'],
  ])('mgt %j says so in JSON', (argv, field) => {
    expectJsonFailure(mgt(argv), { exit: 2, code: 'Usage', field });
  });

  test('after -- the word --json is a text', () => {
    expectFailure(mgt(['embed', '--', 'missing.mgt', '--json']), { exit: 3, code: 'FileNotFound' });
  });
});
