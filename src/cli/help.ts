import { COMMON, type CommandSpec, type OptionSpec } from './args.js';

/** Help texts, laid out from the same table the parser reads. */

export function commandHelp(spec: CommandSpec): string {
  const lines = [`mgt ${spec.name} — ${spec.summary}`, '', `Usage: ${usage(spec)}`];
  if (spec.operands.length > 0) {
    lines.push('', ...table(spec.operands.map((o) => [o.many ? `${o.name}…` : o.name, o.help])));
  }
  lines.push('', 'Options:', ...table([...spec.options, ...COMMON].map((o) => [optionName(o), o.help])));
  lines.push('', spec.examples.length > 1 ? 'Examples:' : 'Example:', ...spec.examples.map((e) => `  ${e}`));
  if (spec.notes) lines.push('', ...spec.notes);
  return `${lines.join('\n')}\n`;
}

export function topHelp(commands: readonly CommandSpec[]): string {
  const lines = [
    'mgt — small INT8 transformers in one WebAssembly arena, under a gate that leaves a witness',
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
    'Exit codes: 0 ok, 2 usage, 3 a file, 4 an input, 5 an unsupported kind, 130 interrupted, 1 a defect of mgt itself.',
  ];
  return `${lines.join('\n')}\n`;
}

/** `mgt infer FILE --tokens LIST [--gate JSON] …`, operands first, what may be left out in brackets. */
function usage(spec: CommandSpec): string {
  const operands = spec.operands.map((o) => {
    const name = `${o.choices ? o.choices.join('|') : o.name}${o.many ? '…' : ''}`;
    return o.required ? name : `[${name}]`;
  });
  const options = spec.options.map((o) => {
    const name = `${o.short ? `-${o.short}` : `--${o.name}`}${o.value ? ` ${o.value}` : ''}`;
    return o.required ? name : `[${name}]`;
  });
  return ['mgt', spec.name, ...operands, ...options].join(' ');
}

function optionName(option: OptionSpec): string {
  return `${option.short ? `-${option.short}, ` : ''}--${option.name}${option.value ? ` ${option.value}` : ''}`;
}

/** Two columns, indented by two, the first as wide as its widest entry. */
function table(rows: readonly (readonly string[])[]): string[] {
  const width = Math.max(...rows.map((r) => r[0]!.length));
  return rows.map(([left, right]) => `  ${left!.padEnd(width)}  ${right}`);
}
