import { MgtError } from '../../errors.js';
import {
  MincutGatedTransformer,
  type ChatMessage,
  type GenerateOptions,
  type Generation,
  type Session,
} from '../../index.node.js';
import { parseNumber, parseNumberList, type Parsed } from '../args.js';
import { modelPath } from '../default-model.js';
import { readExit } from '../exits.js';
import { print } from '../output.js';
import { createProgress } from '../progress.js';
import { checkOneGiven, readPackets, readSetup } from '../setup.js';
import type { Run } from '../specs.js';

/** Options of `generate` that are numbers, by their words. */
const NUMBERS = [
  ['max-tokens', 'maxTokens'],
  ['temperature', 'temperature'],
  ['top-k', 'topK'],
  ['top-p', 'topP'],
  ['min-p', 'minP'],
  ['repetition-penalty', 'repetitionPenalty'],
] as const;

/** `mgt generate`: text as it is chosen, or one line about the last answer. */
export const run: Run = async (parsed, { json, signal }) => {
  const { operands, values, lists } = parsed;
  const options: GenerateOptions = { ...readOptions(parsed), signal };
  const packets = readPackets(values);
  const { seed, ...setup } = await readSetup(parsed);
  const progress = createProgress();
  const model = await MincutGatedTransformer.load(modelPath(operands[0]), {
    ...setup,
    signal,
    simd: (values.get('simd') ?? 'auto') as 'auto' | 'plain' | 'relaxed',
    onProgress: (p) => progress.update('loading', p.loaded, p.total),
  }).finally(() => progress.done());
  try {
    const session = model.createSession({ seed });
    const write = json ? undefined : writer(model.info.tokenizer);
    const system = values.get('system');
    const messages: ChatMessage[] = system === undefined ? [] : [{ role: 'system', content: system }];
    let last: Answer | undefined;
    for (const content of lists.get('chat') ?? [undefined]) {
      if (content !== undefined) messages.push({ role: 'user', content });
      const about = content === undefined ? options : { ...options, messages: [...messages] };
      last = await answer(session, about, packets, write);
      messages.push({ role: 'assistant', content: last.text });
    }
    const { generation, text, layers, prefillMs, decodeMs } = last!;
    const { promptTokens, tokens, finishReason } = generation;
    const { prefillTokens, decodeTokens, ...cost } = generation.stats;
    const stats = { prefillTokens, prefillMs, decodeTokens, decodeMs, ...cost };
    if (json) await print(`${JSON.stringify({ text, promptTokens, tokens, layers, finishReason, stats })}\n`);
    else if (process.stderr.isTTY && (options.exit || options.mode))
      process.stderr.write(`${depthOf(last!, model.info.config.layers)}\n`);
  } finally {
    model.dispose();
  }
};

/** What is asked, but for conversations; whether it makes sense is the engine's to say. @throws MgtError `Usage` */
function readOptions({ values, lists, flags }: Parsed): GenerateOptions {
  checkOneGiven(values, ['prompt', 'chat', 'tokens']);
  if (values.has('system') && !values.has('chat')) throw new MgtError('Usage', '--system', 'a --chat too', 'none');
  const numbers = NUMBERS.filter(([word]) => values.has(word));
  const tokens = values.get('tokens');
  return {
    prompt: values.get('prompt'),
    tokens: tokens === undefined ? undefined : parseNumberList('--tokens', tokens),
    stop: lists.get('stop'),
    ring: flags.has('ring'),
    exit: readExit(values),
    mode: flags.has('verify') ? 'verify' : undefined,
    ...Object.fromEntries(numbers.map(([word, key]) => [key, parseNumber(`--${word}`, values.get(word)!)])),
  };
}

/** How deep an answer's tokens went, for whoever sits at the terminal: stdout has the text alone. */
function depthOf({ layers, generation }: Answer, all: number): string {
  const { verify } = generation.stats;
  if (verify) return `${verify.accepted} of ${verify.drafted} guesses right · ${verify.blocks} blocks verified`;
  const mean = layers.reduce((sum, ran) => sum + ran, 0) / Math.max(1, layers.length);
  return `${mean.toFixed(2)} of ${all} layers a token`;
}

interface Answer {
  readonly generation: Generation;
  readonly text: string;
  /** Layers of each token. */
  readonly layers: readonly number[];
  /** Of the prompt and the first choice. */
  readonly prefillMs: number;
  /** Of all steps after that. */
  readonly decodeMs: number;
}

/** One answer, written as it comes. */
async function answer(
  session: Session,
  options: GenerateOptions,
  packets: Pick<GenerateOptions, 'spikes'> & { readonly gate?: object | undefined },
  write: ((token: number, text: string) => Promise<void>) | undefined,
): Promise<Answer> {
  // Each step asks for its packets as it begins: 0 the prompt, 1 the first token after it.
  const begun: number[] = [];
  const gate = (step: number): typeof packets => {
    if (step < 2) begun[step] = performance.now();
    return packets;
  };
  const generation = session.generate({ ...options, gate });
  let text = '';
  const layers: number[] = [];
  try {
    for await (const { token, text: piece, layers: ran } of generation) {
      text += piece;
      layers.push(ran);
      await write?.(token, piece);
    }
  } finally {
    // What is there of an answer that breaks off is a line too.
    if (write && (generation.finishReason !== undefined || generation.tokens.length > 0)) await print('\n');
  }
  const end = performance.now();
  const [prefill = end, decode = end] = begun;
  const ms = (from: number, to: number): number => Math.round(1000 * (to - from)) / 1000;
  return { generation, text, layers, prefillMs: ms(prefill, decode), decodeMs: ms(decode, end) };
}

/** Text to stdout; ids, separated by spaces, of a model without a tokenizer. A terminal gets no control characters but white space. */
function writer(tokenizer: boolean): (token: number, text: string) => Promise<void> {
  const shown = (text: string): string =>
    process.stdout.isTTY ? text.replace(/\p{Cc}/gu, (c) => (c === '\n' || c === '\t' ? c : '')) : text;
  let lead = '';
  return async (token, text) => {
    if (!tokenizer) await print(`${lead}${token}`);
    else if (text !== '') await print(shown(text));
    lead = ' ';
  };
}
