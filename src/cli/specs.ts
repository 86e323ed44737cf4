import type { CommandSpec, OptionSpec, Parsed } from './args.js';
import { DEMO_EXIT, DEMO_INJECT, DEMO_TEMPERATURE, DEMO_TOKENS } from './demo/defaults.js';
import { EVENTS } from './demo/events.js';
import { EXIT_OPTIONS, LAYERS_OPTION } from './exits.js';
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
const OWN_FILE = { name: 'FILE', help: 'a model file (.mgt); default: the one that comes with the package' };
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

const TOKENS: OptionSpec = { name: 'tokens', value: '1,2,3', help: 'token ids, separated by commas' };
const SIMD: OptionSpec = {
  name: 'simd',
  value: 'auto|plain|relaxed',
  choices: ['auto', 'plain', 'relaxed'],
  help: 'build of the wasm engine; auto (default) takes relaxed where a probe allows it',
};

export const COMMANDS: readonly Command[] = [
  {
    name: 'demo',
    summary: 'tell a story, and show what the gate lets the model do for each token',
    operands: [OWN_FILE],
    options: [
      {
        name: 'prompt',
        value: 'TEXT',
        help: 'the start of the story; default: what is piped in (from its first two seconds on), or an opening of ours',
      },
      {
        name: 'seed',
        value: 'N',
        help: 'the same seed tells the same story; default 0, in a terminal another each time',
      },
      { name: 'tokens', value: 'N', help: `at most so many tokens; default ${DEMO_TOKENS}` },
      {
        name: 'temperature',
        value: 'T',
        help: `0 takes the likeliest token, above 0 draws one; default ${DEMO_TEMPERATURE}`,
      },
      {
        name: 'exit',
        value: 'SCORE:THRESHOLD',
        help: `when a token may leave early; default ${DEMO_EXIT} where the model was trained to stop, else off: never`,
      },
      {
        name: 'inject',
        value: 'NAME@STEP,…',
        help: `what happens, and before which token: ${EVENTS.map(({ name, title }) => `${name} (${title})`).join(', ')}; default: nothing where there are keys for it, else ${DEMO_INJECT}`,
      },
      { name: 'no-color', help: 'no colours in a terminal either' },
      JSON_FLAG,
    ],
    examples: [
      'mgt demo --seed 7',
      'echo "The little fox" | mgt demo --seed 3',
      'mgt demo --inject edges@20,storm@40,flush@60 --json < /dev/null',
    ],
    notes: [
      'In a terminal you type how a story starts, and keys make things happen while it',
      'is written. Below each word stands how many layers it took, higher is more; a',
      'letter marks the gate: R reduced, F flushed, W writes frozen, Q quarantined,',
      "S skipped. λ and spikes are the demo's; the decisions are the gate's.",
    ],
    load: () => import('./commands/demo.js'),
  },
  {
    name: 'convert',
    summary: 'make a model file from a Hugging Face directory or a GGUF file',
    operands: [
      {
        name: 'SRC',
        required: true,
        help: 'a directory with config.json and safetensors (BERT, Llama, Qwen2, Mistral, GPT-2) or a .gguf file; or an https:// one',
      },
    ],
    options: [
      OUTPUT,
      {
        name: 'quant',
        value: 'int8|int4|int7',
        choices: ['int8', 'int4', 'int7'],
        help: 'weight codes: int8 (default), int4 for decoders (default for a 4-bit GGUF, whose grid is kept), int7 (fits relaxed SIMD)',
      },
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
    operands: [OWN_FILE],
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
    summary: 'run a model once on token ids as given, or on a text',
    operands: [OWN_FILE],
    options: [
      TOKENS,
      { name: 'prompt', value: 'TEXT', help: 'a text instead; its tokens as mgt tokenize gives them' },
      { name: 'all', help: "every token's logits instead of the last one's (decoders)" },
      ...EXIT_OPTIONS,
      LAYERS_OPTION,
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
      'mgt infer smollm2.mgt --prompt "The sea is" --all --out logits.f32',
      'mgt infer --prompt "The sea is" --all --exit maxProb:0.9 --json',
    ],
    load: () => import('./commands/infer.js'),
  },
  {
    name: 'generate',
    summary: 'let a decoder go on with a text, or answer',
    operands: [OWN_FILE],
    options: [
      { name: 'prompt', value: 'TEXT', help: 'the text to go on with; its tokens as mgt tokenize gives them' },
      {
        name: 'chat',
        value: 'TEXT',
        many: true,
        help: "what the user says, through the model's own chat template; given again, the next turn after the answer",
      },
      { name: 'system', value: 'TEXT', help: 'the system message before the first --chat' },
      { ...TOKENS, help: 'token ids instead, separated by commas' },
      { name: 'max-tokens', value: 'N', help: 'at most so many tokens; default: until the model or its context ends' },
      { name: 'temperature', value: 'T', help: '0 (default) takes the likeliest token, above 0 draws one' },
      { name: 'top-k', value: 'K', help: 'draw from the K likeliest; 0 (default): all' },
      { name: 'top-p', value: 'P', help: 'draw from the likeliest that reach this share; 1 (default): all' },
      { name: 'min-p', value: 'P', help: 'draw from those at least P times as likely as the likeliest; default 0' },
      { name: 'repetition-penalty', value: 'R', help: 'make tokens that stand in the context less likely; 1: not' },
      { name: 'stop', value: 'TEXT', many: true, help: 'end before this text; may be given again' },
      { name: 'ring', help: 'go on past the context: the oldest tokens are forgotten' },
      ...EXIT_OPTIONS,
      { name: 'verify', help: 'early layers only guess, full depth verifies several guesses at once: the same tokens' },
      ...CALL_OPTIONS.filter(({ name }) => name !== 'signature'),
      SIMD,
      JSON_FLAG,
    ],
    examples: [
      'mgt generate --prompt "One day, a little fox" --max-tokens 40',
      'mgt generate --prompt "One day" --exit maxProb:0.9 --temperature 0.7 --json',
      'mgt generate smollm2.mgt --chat "What is a transformer?" --temperature 0.7 --seed 1',
      'mgt generate smollm2.mgt --system "Be brief." --chat "Hi!" --chat "And now?" --json',
    ],
    notes: [
      'With --json, one line at the end: text, promptTokens, tokens (without the end',
      'token), layers (that each token took), finishReason (stop, length or context)',
      'and stats in tokens, ms and multiply-adds; with --verify, stats.verify tells',
      'drafts and their verification apart. Of several turns it tells the last one:',
      'promptTokens is its whole prompt, stats.prefillTokens what of that was not in',
      'the session already.',
    ],
    load: () => import('./commands/generate.js'),
  },
  {
    name: 'perplexity',
    summary: "measure how well a decoder foretells a text's tokens",
    operands: [OWN_FILE],
    options: [
      { name: 'file', value: 'TEXT', required: true, help: 'a UTF-8 text file; -: stdin' },
      { name: 'context', value: 'N', help: "tokens of a window; default: the model's context" },
      {
        name: 'documents',
        help: 'the text is documents with blank lines between them, each scored by itself and its end with it',
      },
      ...EXIT_OPTIONS,
      LAYERS_OPTION,
      { name: 'exits', help: 'bits per byte after each layer as well: of all tokens leaving there' },
      ...CALL_OPTIONS.filter(({ name }) => name === 'kv-fill'),
      SIMD,
      JSON_FLAG,
    ],
    examples: [
      'mgt perplexity smollm2.mgt --file book.txt --json',
      'mgt perplexity --documents --file stories.txt --exit maxProb:0.9',
      'xz -dc dev.txt.xz | mgt perplexity --documents --file - --exits --json',
    ],
    notes: [
      'The whole text is made into tokens once, special ones as mgt tokenize adds',
      'them, and cut into windows that do not overlap. The first token of each is not',
      'scored. nll is the mean in nats; perplexity is e^nll; bitsPerByte is all bits',
      'of the scored tokens over the UTF-8 bytes they stand for. With --documents each',
      'stands between a start and an end token; the end is scored, its bytes are none.',
      'macs: what ran, questions and the K/V of layers left out included; the same',
      'calls at full depth unasked; the share of the one in the other.',
    ],
    load: () => import('./commands/perplexity.js'),
  },
  {
    name: 'tokenize',
    summary: "show the tokens of a text; the model's weights are not read",
    operands: [FILE, { name: 'TEXT', required: true, help: 'the text; special tokens written in it count as such' }],
    options: [{ name: 'no-special', help: 'without the special tokens that the model puts around a text' }, JSON_FLAG],
    examples: ['mgt tokenize smollm2.mgt "Hello, sea 🌊" --json'],
    notes: [
      'Each piece is the text that its token completes: joined they are the text. A',
      'token that ends inside a character has an empty piece; the one that ends it has',
      'it whole. Of a WordPiece model: the tokens as the vocabulary writes them.',
    ],
    load: () => import('./commands/tokenize.js'),
  },
  {
    name: 'replay',
    summary: "run a log's calls again and verify every output and witness",
    operands: [{ name: 'LOG', required: true, help: 'a log written by --log' }],
    options: [
      {
        name: 'model',
        value: 'FILE',
        help: 'the model file the calls were made with; default: the one that comes with the package',
      },
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
