import { describe, expect, test } from '@jest/globals';
import { parse, parseJson, parseNumber, parseNumberList, type CommandSpec } from '../../src/cli/args.js';
import { MgtError } from '../../src/errors.js';

const SPEC: CommandSpec = {
  name: 'sample',
  summary: '',
  operands: [{ name: 'FILE', required: true, help: 'a file' }],
  options: [
    { name: 'tokens', value: 'LIST', help: '' },
    { name: 'output', short: 'o', value: 'FILE', help: '' },
    { name: 'simd', value: 'a|b', choices: ['a', 'b'], help: '' },
    { name: 'json', help: '' },
    { name: 'stop', value: 'TEXT', many: true, help: '' },
  ],
  examples: [],
};
const MANY: CommandSpec = { ...SPEC, operands: [...SPEC.operands, { name: 'TEXT', many: true, help: '' }] };

const values = (...argv: string[]): Record<string, string> => Object.fromEntries(parse(SPEC, argv).values);

function usage(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    expect(error).toBeInstanceOf(MgtError);
    expect((error as MgtError).code).toBe('Usage');
    return (error as MgtError).field;
  }
  throw new Error('accepted');
}

describe('parse', () => {
  test.each([
    [['f', '--tokens', '1,2'], { tokens: '1,2' }],
    [['f', '--tokens', '-1,2'], { tokens: '-1,2' }],
    [['--tokens', '-1', 'f'], { tokens: '-1' }],
    [['f', '--tokens=-1,2'], { tokens: '-1,2' }],
    [['f', '--tokens='], { tokens: '' }],
    [['f', '--tokens', ''], { tokens: '' }],
    [['f', '-o', 'out'], { output: 'out' }],
    [['f', '-oout'], { output: 'out' }],
    [['f', '-o', ''], { output: '' }],
    [['f', '--output', '-'], { output: '-' }],
    [['f', '--tokens', 'a=b'], { tokens: 'a=b' }],
    [['f', '--simd', 'b', '--json'], { simd: 'b' }],
  ])('%j carries its values', (argv, expected) => {
    expect(values(...argv)).toEqual(expected);
    expect(parse(SPEC, argv).operands).toEqual(['f']);
  });

  test('an option that may be given again has a list', () => {
    const { lists, values: one } = parse(SPEC, ['f', '--stop', 'a', '--stop=', '--stop', '-b', '--tokens', '1']);
    expect([...lists]).toEqual([['stop', ['a', '', '-b']]]);
    expect([...one]).toEqual([
      ['stop', '-b'],
      ['tokens', '1'],
    ]);
    expect(usage(() => parse(SPEC, ['f', '--stop', 'a', '--stop']))).toBe('--stop');
  });

  test('words after -- are operands, whatever they look like', () => {
    expect(parse(MANY, ['f', '--', '--json', '-5', '--']).operands).toEqual(['f', '--json', '-5', '--']);
    expect(parse(MANY, ['f', '--json', '', 'b']).operands).toEqual(['f', '', 'b']);
  });

  test.each([
    [['f', '--frob'], '--frob'],
    [['f', '-x'], '-x'],
    [['f', '--__proto__'], '--__proto__'],
    [['f', '--json=1'], '--json'],
    [['f', '--tokens'], '--tokens'],
    [['f', '--tokens', '--json'], '--tokens'],
    [['f', '-o', '--', 'x'], '-o'],
    [['f', '--tokens', '1', '--tokens', '2'], '--tokens'],
    [['f', '--simd', 'c'], '--simd'],
    [['f', '--simd', ''], '--simd'],
    [['f', 'g'], 'operands'],
    [[], 'FILE'],
  ])('%j is refused at %s', (argv, field) => {
    expect(usage(() => parse(SPEC, argv))).toBe(field);
  });

  test('help and version win over everything else', () => {
    expect(parse(SPEC, ['--frob', '--tokens', '--help']).flags.has('help')).toBe(true);
    expect(parse(SPEC, ['--version']).flags.has('version')).toBe(true);
    expect(parse(MANY, ['f', '--', '--help']).flags.has('help')).toBe(false);
  });
});

describe('texts of options', () => {
  test.each([
    ['1,2,3', [1, 2, 3]],
    [' 1, 2 ', [1, 2]],
    ['-1,1.5,1e3,+4,.5', [-1, 1.5, 1000, 4, 0.5]],
    ['', []],
    ['1e999', [Infinity]],
  ])('%j is a list', (text, list) => {
    expect(parseNumberList('--tokens', text)).toEqual(list);
  });

  test.each(['a', '1,a', '1,,2', ',', '1,', '0x10', 'NaN', 'Infinity', '1 2', '1;2', '[1,2]', '1n', '--json', '١'])(
    '%j is no list',
    (text) => {
      expect(usage(() => parseNumberList('--tokens', text))).toBe('--tokens');
    },
  );

  test('numbers and JSON', () => {
    expect(parseNumber('--seed', '-1')).toBe(-1);
    expect(parseNumber('--seed', '1.5')).toBe(1.5);
    for (const text of ['', ' ', 'one', '0b1', '1_000', '-o']) usage(() => parseNumber('--seed', text));
    expect(parseJson('--gate', '{"lambda":1}')).toEqual({ lambda: 1 });
    for (const text of ['', '{', "{'a':1}", 'undefined', '{"a":1}}']) usage(() => parseJson('--gate', text));
  });
});
