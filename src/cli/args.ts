import { parseArgs } from 'node:util';
import { MgtError } from '../errors.js';

/**
 * The command line as a table: a command names its operands and options, this file reads an argv against it.
 * `node:util` parseArgs splits the words; what it lets pass is refused here with a typed error.
 */
export interface OptionSpec {
  /** Long name without the dashes. */
  readonly name: string;
  readonly short?: string;
  /** Placeholder of the value in the help text; an option without one is a flag. */
  readonly value?: string;
  readonly choices?: readonly string[];
  readonly required?: boolean;
  /** May be given more than once. */
  readonly many?: boolean;
  readonly help: string;
}

export interface OperandSpec {
  readonly name: string;
  readonly required?: boolean;
  /** Takes every remaining word; only the last operand may. */
  readonly many?: boolean;
  readonly choices?: readonly string[];
  readonly help: string;
}

export interface CommandSpec {
  readonly name: string;
  readonly summary: string;
  readonly operands: readonly OperandSpec[];
  readonly options: readonly OptionSpec[];
  readonly examples: readonly string[];
  readonly notes?: readonly string[];
}

export interface Parsed {
  readonly operands: readonly string[];
  /** Text of each option that takes a value and was given; the last where there are several. */
  readonly values: ReadonlyMap<string, string>;
  /** All texts of each option that may be given more than once and was. */
  readonly lists: ReadonlyMap<string, readonly string[]>;
  readonly flags: ReadonlySet<string>;
}

/** Options that every command has. */
export const COMMON: readonly OptionSpec[] = [
  { name: 'help', short: 'h', help: 'print this help and exit' },
  { name: 'version', help: 'print the version and exit' },
];

/**
 * Reads the words after the command's name. With `--help` or `--version` among them nothing else is checked.
 * @throws MgtError `Usage` naming an unknown option, a missing or second value, an operand too few or too many.
 */
export function parse(spec: CommandSpec, argv: readonly string[]): Parsed {
  const options = [...spec.options, ...COMMON];
  const { words, bare } = joinValues(options, argv);
  const { tokens } = parseArgs({
    args: words,
    options: Object.fromEntries(
      options.map((o) => [
        o.name,
        {
          type: o.value === undefined ? ('boolean' as const) : ('string' as const),
          ...(o.short && { short: o.short }),
        },
      ]),
    ),
    strict: false,
    allowPositionals: true,
    tokens: true,
  });
  const given = tokens.filter((t) => t.kind === 'option');
  const operands = tokens.filter((t) => t.kind === 'positional').map((t) => t.value);
  const flags = new Set(given.filter((t) => t.value === undefined).map((t) => t.name));
  const values = new Map<string, string>();
  const lists = new Map<string, string[]>();
  if (flags.has('help') || flags.has('version')) return { operands, values, lists, flags };

  for (const { name, rawName, value } of given) {
    const option = options.find((o) => o.name === name);
    if (!option) {
      const hint = `one of ${options.map((o) => `--${o.name}`).join(', ')}`;
      throw new MgtError('Usage', rawName, hint, 'an unknown option');
    }
    if (option.value === undefined) {
      if (value !== undefined) throw new MgtError('Usage', rawName, 'no value', `"${value}"`);
      continue;
    }
    if (values.has(name) && !option.many)
      throw new MgtError('Usage', `--${name}`, 'to be given once', 'a second value');
    if (value !== undefined) values.set(name, value);
    if (value !== undefined && option.many) lists.set(name, [...(lists.get(name) ?? []), value]);
    if (option.choices) checkChoice(`--${name}`, value, option.choices);
  }
  if (bare !== undefined) throw new MgtError('Usage', bare, 'a value', undefined);
  checkOperands(spec, operands);
  for (const option of options) {
    if (option.required && !values.has(option.name)) {
      throw new MgtError('Usage', option.short ? `-${option.short}` : `--${option.name}`, option.help, undefined);
    }
  }
  return { operands, values, lists, flags };
}

/**
 * Glues an option that takes a value to the word after it, so that `--tokens -1,2` and `--seed -1` carry values.
 * An option of the command itself is never a value: `bare` names the option it leaves empty-handed.
 */
function joinValues(options: readonly OptionSpec[], argv: readonly string[]): { words: string[]; bare?: string } {
  const find = (word: string): OptionSpec | undefined =>
    options.find((o) => word === `--${o.name}` || (o.short !== undefined && word === `-${o.short}`));
  const words: string[] = [];
  let bare: string | undefined;
  for (let i = 0; i < argv.length; i++) {
    const word = argv[i]!;
    if (word === '--') {
      words.push(...argv.slice(i));
      break;
    }
    const option = find(word);
    if (option?.value === undefined) {
      words.push(word);
      continue;
    }
    const next = argv[i + 1];
    if (next === undefined || next === '--' || find(next)) {
      bare ??= word;
      continue;
    }
    words.push(`--${option.name}=${next}`);
    i++;
  }
  return bare === undefined ? { words } : { words, bare };
}

function checkChoice(field: string, value: string | undefined, choices: readonly string[]): void {
  if (value === undefined || !choices.includes(value)) {
    throw new MgtError('Usage', field, `one of ${choices.join(', ')}`, value === undefined ? value : `"${value}"`);
  }
}

function checkOperands(spec: CommandSpec, operands: readonly string[]): void {
  spec.operands.forEach((operand, i) => {
    const value = operands[i];
    if (value === undefined && operand.required) throw new MgtError('Usage', operand.name, operand.help, undefined);
    if (value !== undefined && operand.choices) checkChoice(operand.name, value, operand.choices);
  });
  const extra = operands[spec.operands.length];
  if (extra !== undefined && !spec.operands.at(-1)?.many) {
    throw new MgtError('Usage', 'operands', `at most ${spec.operands.length}`, `"${extra}" too`);
  }
}

/** A decimal number as a person writes one. */
const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

/** The number an option's text spells; any number, whether or not it makes sense. @throws MgtError `Usage` */
export function parseNumber(field: string, text: string): number {
  const trimmed = text.trim();
  if (!NUMBER.test(trimmed)) throw new MgtError('Usage', field, 'a number', `"${text}"`);
  return Number(trimmed);
}

/** `1,2,3` as numbers; an empty text is an empty list. @throws MgtError `Usage` */
export function parseNumberList(field: string, text: string): number[] {
  if (text.trim() === '') return [];
  return text.split(',').map((item) => {
    if (!NUMBER.test(item.trim())) throw new MgtError('Usage', field, 'numbers separated by commas', `"${item}"`);
    return Number(item);
  });
}

/** @throws MgtError `Usage` where the text is not JSON */
export function parseJson(field: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new MgtError('Usage', field, 'JSON', `"${text}"`, { cause });
  }
}
