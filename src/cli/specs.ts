import type { CommandSpec, OptionSpec, Parsed } from './args.js';
import { CALL_OPTIONS } from './setup.js';

/** Every command as data, and where its code lies: loaded only when the command runs. */

/** What a command is given besides its words. */
export interface Context {
  readonly json: boolean;
  /** Fires on Ctrl-C. */
  readonly signal: AbortSignal;
}

export type Run = (parsed: Parsed, context: Context) => Promise<void>;

export interface Command extends CommandSpec {
  readonly load: () => Promise<{ run: Run }>;
}

const JSON_FLAG: OptionSpec = { name: 'json', help: 'print one line of JSON per result' };
const FILE = { name: 'FILE', required: true, help: 'a model file (.mgt)' };
const OUTPUT: OptionSpec = {
  name: 'output',
  short: 'o',
  value: 'FILE.mgt',
  required: true,
  help: 'the file to write; it appears only when it is whole',
};
const QUANT: OptionSpec = {
  name: 'quant',
  value: 'int8|int7',
  choices: ['int8', 'int7'],
  help: 'weight codes: int8 (default, more accurate) or int7 (fits relaxed SIMD)',
};

const SIMD: OptionSpec = {
  name: 'simd',
  value: 'auto|plain|relaxed',
  choices: ['auto', 'plain', 'relaxed'],
  help: 'build of the wasm engine; auto (default) takes relaxed where a probe allows it',
};

export const COMMANDS: readonly Command[] = [
  {
    name: 'convert',
    summary: 'make a model file from a Hugging Face directory',
    operands: [
      { name: 'SRC', required: true, help: 'a directory with config.json and model.safetensors, or an https:// one' },
    ],
    options: [
      OUTPUT,
      QUANT,
      { name: 'allow-noise', help: 'write the file even where quantisation loses too much, and record that' },
      JSON_FLAG,
    ],
    examples: [
      'mgt convert ./all-MiniLM-L6-v2 -o minilm.mgt',
      'mgt convert https://example.org/model -o model.mgt --json',
    ],
    load: () => import('./commands/convert.js'),
  },
  {
    name: 'inspect',
    summary: 'check a model file and show what is in it',
    operands: [FILE],
    options: [JSON_FLAG],
    examples: ['mgt inspect minilm.mgt'],
    load: () => import('./commands/inspect.js'),
  },
  {
    name: 'embed',
    summary: 'turn texts into vectors',
    operands: [
      FILE,
      { name: 'TEXT', many: true, help: 'texts to embed; without any, and without --file, stdin is read' },
    ],
    options: [
      { name: 'file', value: 'lines.txt', help: 'a UTF-8 file with one text per line; a blank line is an empty text' },
      JSON_FLAG,
    ],
    examples: ['mgt embed minilm.mgt "a text" "another one"', 'mgt embed minilm.mgt --file lines.txt --json'],
    notes: ['A text that starts with a dash comes after --: mgt embed minilm.mgt -- "-40 degrees"'],
    load: () => import('./commands/embed.js'),
  },
  {
    name: 'infer',
    summary: 'run a model on token ids as given, nothing added',
    operands: [FILE],
    options: [
      { name: 'tokens', value: '1,2,3', required: true, help: 'token ids, separated by commas' },
      ...CALL_OPTIONS,
      { name: 'session', value: 'FILE', help: 'a session to go on with and to write back; made if missing' },
      { name: 'log', value: 'FILE', help: 'append the call to a hash-chained log (.bin: binary, else JSON lines)' },
      {
        name: 'engine',
        value: 'wasm|reference',
        choices: ['wasm', 'reference'],
        help: 'wasm (default), or plain TypeScript with the same bits (slow; runs under node --jitless)',
      },
      SIMD,
      { name: 'out', value: 'RAW', help: 'write the output here as raw little-endian f32 instead of printing it' },
      JSON_FLAG,
    ],
    examples: [
      'mgt infer micro.mgt --tokens 1,2,3 --json',
      `mgt infer micro.mgt --tokens 1,2,3 --gate '{"lambda":20}'`,
      'mgt infer micro.mgt --tokens 4,5 --session talk.mgts --log calls.jsonl',
    ],
    load: () => import('./commands/infer.js'),
  },
  {
    name: 'replay',
    summary: "run a log's calls again and verify every output and witness",
    operands: [{ name: 'LOG', required: true, help: 'a log written by --log' }],
    options: [
      { name: 'model', value: 'FILE', required: true, help: 'the model file the calls were made with' },
      SIMD,
      JSON_FLAG,
    ],
    examples: ['mgt replay calls.jsonl --model micro.mgt'],
    load: () => import('./commands/replay.js'),
  },
  {
    name: 'init',
    summary: 'write a seeded random decoder, for tests and benchmarks',
    operands: [
      { name: 'PRESET', required: true, choices: ['micro', 'baseline'], help: 'which shape: micro or baseline' },
    ],
    options: [
      {
        name: 'seed',
        value: 'N',
        required: true,
        help: 'an integer in 0..4294967295; the same seed gives the same file',
      },
      OUTPUT,
      QUANT,
      JSON_FLAG,
    ],
    examples: ['mgt init micro --seed 1 -o micro.mgt'],
    load: () => import('./commands/init.js'),
  },
];
