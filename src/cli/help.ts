import { COMMON, type CommandSpec, type OptionSpec } from './args.js';

/** Help texts, laid out from the same table the parser reads. */

/** A terminal's usual columns. */
const COLUMNS = 80;

export function commandHelp(spec: CommandSpec): string {
  const lines = [`mgt ${spec.name} — ${spec.summary}`, '', ...wrapped(usage(spec), 'Usage: ')];
  if (spec.operands.length > 0) {
    lines.push('', ...table(spec.operands.map((o) => [o.many ? `${o.name}…` : o.name, o.help])));
  }
  lines.push('', 'Options:', ...table([...spec.options, ...COMMON].map((o) => [optionName(o), o.help])));
  lines.push('', spec.examples.length > 1 ? 'Examples:' : 'Example:', ...spec.examples.map((e) => `  ${e}`));
  if (spec.notes) lines.push('', ...spec.notes);
  return `${lines.join('\n')}\n`;
}

const EXITS = '0 ok, 2 usage, 3 a file, 4 an input, 5 an unsupported kind, 130 interrupted, 1 a defect of mgt itself.';

export function topHelp(commands: readonly CommandSpec[]): string {
  const lines = [
    'mgt — small INT8 and INT4 transformers in one WebAssembly arena, under a gate that leaves a witness',
    '',
    'Usage: mgt COMMAND [OPTIONS]   (mgt COMMAND --help tells more)',
    '',
    'Commands:',
    ...table(commands.map((c) => [c.name, c.summary])),
    '',
    'Options:',
    ...table(COMMON.map((o) => [optionName(o), o.help])),
    '',
    'Example:',
    '  mgt init micro --seed 1 -o micro.mgt && mgt infer micro.mgt --tokens 1,2,3 --json',
    '',
    ...wrapped(EXITS.split(' '), 'Exit codes: '),
  ];
  return `${lines.join('\n')}\n`;
}

/** `mgt infer FILE --tokens LIST [--gate JSON] …`, operands first, what may be left out in brackets. */
function usage(spec: CommandSpec): string[] {
  const operands = spec.operands.map((o) => {
    const name = `${o.choices ? o.choices.join('|') : o.name}${o.many ? '…' : ''}`;
    return o.required ? name : `[${name}]`;
  });
  const options = spec.options.map((o) => {
    const name = `${o.short ? `-${o.short}` : `--${o.name}`}${o.value ? ` ${o.value}${o.many ? '…' : ''}` : ''}`;
    return o.required ? name : `[${name}]`;
  });
  return [`mgt ${spec.name}`, ...operands, ...options];
}

function optionName(option: OptionSpec): string {
  return `${option.short ? `-${option.short}, ` : ''}--${option.name}${option.value ? ` ${option.value}` : ''}`;
}

/** Two columns, indented by two, the first as wide as its widest entry. */
function table(rows: readonly (readonly string[])[]): string[] {
  const width = Math.max(...rows.map((r) => r[0]!.length));
  return rows.flatMap(([left, right]) => wrapped(right!.split(' '), `  ${left!.padEnd(width)}  `));
}

/** Words on lines of at most `COLUMNS`, the first led in, the others indented as deep; a word is never cut. */
function wrapped(words: readonly string[], lead: string): string[] {
  const lines: string[] = [];
  let line = lead;
  for (const word of words) {
    const empty = line.length === lead.length;
    if (!empty && line.length + 1 + word.length > COLUMNS) {
      lines.push(line);
      line = `${' '.repeat(lead.length)}${word}`;
    } else line += empty ? word : ` ${word}`;
  }
  return [...lines, line];
}
