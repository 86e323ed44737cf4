import { checkInteger, checkKeys, checkOneOf, checkSignal } from '../check.js';
import { MgtError } from '../errors.js';
import { TokenBytes } from '../generate/bytes.js';
import type { ChatMessage } from '../generate/chat.js';
import { Detokenizer } from '../generate/detokenize.js';
import { commonPrefix } from '../generate/prefix.js';
import { Sampler, SAMPLE_KEYS, type SampleOptions } from '../generate/sample.js';
import { StopStrings, type FinishReason } from '../generate/stop.js';
import { parseGatePacket, type GatePacket } from '../packets/gate.js';
import { parseSpikePacket, type SpikePacketInput } from '../packets/spike.js';
import type { Witness } from '../packets/witness.js';
import { RunAhead, type VerifyStats } from './ahead.js';
import { checkTokens, type InferInput } from './call.js';
import { checkExit, draftRule, type ExitOptions, type ExitRule } from './exit.js';
import type { GenerationHost } from './generation-host.js';
import type { Loaded } from './loaded.js';
import { inSteps, Patience } from './patience.js';
import type { InferResult } from './run.js';
import type { Macs } from './stats.js';

/** Packets of one step. */
export interface StepPackets {
  readonly gate?: Partial<GatePacket> | undefined;
  readonly spikes?: Partial<SpikePacketInput> | undefined;
}

/** Exactly one of `prompt`, `messages` and `tokens` says what the text begins with, all of it: what the session holds of it already is kept. */
export interface GenerateOptions extends SampleOptions {
  readonly prompt?: string | undefined;
  /** A conversation for the model's own chat template. */
  readonly messages?: readonly ChatMessage[] | undefined;
  readonly tokens?: ArrayLike<number> | undefined;
  /** At most so many tokens (default: until the end token, a stop string or the context). */
  readonly maxTokens?: number | undefined;
  /** Texts that end it; they are not part of it. */
  readonly stop?: string | readonly string[] | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Gate packet of every step, or of each: step 0 is the prompt, step n the n-th token after it. */
  readonly gate?: StepPackets['gate'] | ((step: number) => StepPackets);
  readonly spikes?: StepPackets['spikes'];
  /** Go on past the context: the ring forgets the oldest tokens but the sinks (default false). */
  readonly ring?: boolean | undefined;
  /** When tokens may leave before the last layer: asked for each that a choice hangs on, the prompt's last one and those after it. */
  readonly exit?: ExitOptions | undefined;
  /**
   * `verify`: what early layers say is taken for a guess only, drafted while `exit` says yes (default: `draftRule`), and verified by full
   * depth, several tokens in one pass. Tokens, witnesses and the session afterwards are those of full depth, to the bit.
   */
  readonly mode?: 'verify' | undefined;
}

export interface GeneratedToken {
  readonly token: number;
  /** Text that became certain with it: whole characters, nothing of a stop string. Empty without a tokenizer. */
  readonly text: string;
  /** Of the step whose logits it was chosen from. */
  readonly witness: Witness;
  /** Layers that the token it was chosen from ran. */
  readonly layers: number;
}

const KEYS = [
  'prompt',
  'messages',
  'tokens',
  'maxTokens',
  'stop',
  'signal',
  'gate',
  'spikes',
  'ring',
  'exit',
  'mode',
  ...SAMPLE_KEYS,
];

/** What a generation took. */
export interface GenerationStats {
  /** Tokens that were computed before the first choice: what the session held is none. */
  prefillTokens: number;
  /** And after it. */
  decodeTokens: number;
  macs: { -readonly [Kind in keyof Macs]: number };
  /** Drafts and their verification; only with `mode: 'verify'`. */
  verify?: VerifyStats;
}

/**
 * Tokens as they are chosen: `for await (const { token, text } of session.generate(…))`. What is known at the end stands in the
 * properties. Leaving the loop early is fine; the session then holds what has been computed. What is wrong with options, tokens or the
 * first packets is found before the session changes; an abort in the prompt leaves what it shared with the session.
 */
export class Generation implements AsyncIterable<GeneratedToken> {
  /** Ids the text begins with; known from the first token on. */
  promptTokens: readonly number[] = [];
  /** Chosen ids, the end token not among them. */
  readonly tokens: number[] = [];
  /** `stop`: end token or stop string; `length`: maxTokens; `context`: no room. */
  finishReason: FinishReason | undefined;
  readonly stats: GenerationStats = {
    ...{ prefillTokens: 0, decodeTokens: 0, macs: { linear: 0, attention: 0, head: 0, gate: 0 } },
  };
  readonly #iterator: AsyncGenerator<GeneratedToken, void>;

  /** Not for callers: use `session.generate`. @throws MgtError `BadInput` naming the option; the session is unchanged */
  constructor(host: GenerationHost, options: GenerateOptions) {
    this.#iterator = this.#run(host, new Request(host.loaded, options));
  }

  [Symbol.asyncIterator](): AsyncGenerator<GeneratedToken, void> {
    return this.#iterator;
  }

  async *#run(host: GenerationHost, request: Request): AsyncGenerator<GeneratedToken, void> {
    const { loaded } = host;
    const { signal } = request.options;
    checkSignal(signal, 'generate');
    const { context } = loaded.runtime.plan;
    const release = host.claim();
    try {
      const ids = await promptIds(host, request.options, context);
      this.promptTokens = ids.slice();
      const first = request.packets(0);
      // The last token is always computed: its logits choose the first one.
      host.rewind(Math.min(commonPrefix(host.held(), ids), ids.length - 1));
      const rest = ids.slice(host.position());
      const history = ids;
      const patience = new Patience();
      const ahead = request.verify && this.#aheadOf(host, request, history);
      const step = async (input: InferInput): Promise<InferResult> => {
        const one = ahead && input.tokens.length === 1;
        const done = await inSteps(loaded, signal, 'generate', patience, () =>
          one ? host.stepsAhead(input, ahead) : host.steps(input),
        );
        const { macs } = this.stats;
        for (const kind of Object.keys(macs) as (keyof Macs)[]) macs[kind] += done.stats.macs[kind];
        return done;
      };
      const { exit, logits } = request;
      let result = await step({ tokens: rest, ...first, exit, out: logits });
      this.stats.prefillTokens = rest.length;

      // An answer in a conversation begins a text, what follows a prompt goes on with one.
      const atStart = request.options.messages !== undefined;
      const text = loaded.hasText ? new Detokenizer(new TokenBytes(loaded.tokenizer().parts), { atStart }) : undefined;
      const writer = new Writer(text, request.stops);
      let waiting: GeneratedToken | undefined;
      for (;;) {
        const token = request.sampler.pick(logits, history, () => host.random());
        if (loaded.endTokens.includes(token)) this.finishReason = 'stop';
        else {
          this.tokens.push(token);
          history.push(token);
          if (waiting) yield waiting;
          const { witness, stats } = result;
          waiting = { token, text: writer.push(token), witness, layers: stats.layers[0]! };
          if (writer.stopped) this.finishReason = 'stop';
          else if (this.tokens.length >= request.maxTokens) this.finishReason = 'length';
          else if (!request.ring && history.length > context) this.finishReason = 'context';
        }
        if (this.finishReason) break;
        // Only a token whose text is not certain waits for the next one, in case that is the end.
        if (waiting && !writer.holds) {
          yield waiting;
          waiting = undefined;
        }
        if (patience.isOver) await patience.rest();
        checkSignal(signal, 'generate');
        result = await step({ tokens: [token], ...request.packets(this.tokens.length), exit, out: logits });
        this.stats.decodeTokens++;
      }
      if (waiting) yield { ...waiting, text: waiting.text + writer.flush() };
    } finally {
      release();
    }
  }

  /** @param history ids before the token that is run, that token included */
  #aheadOf(host: GenerationHost, { sampler, verify, maxTokens }: Request, history: readonly number[]): RunAhead {
    const { runtime, endTokens } = host.loaded;
    let random = host.foresee();
    const ahead = new RunAhead(runtime, {
      rule: verify!,
      room: () => maxTokens - this.tokens.length,
      begin: () => (random = host.foresee()),
      next: (logits, guessed) => {
        const token = sampler.pick(logits, [...history, ...guessed], () => random.double());
        return endTokens.includes(token) ? undefined : token;
      },
    });
    this.stats.verify = ahead.stats;
    return ahead;
  }
}

/** Options, checked. */
class Request {
  readonly options: GenerateOptions;
  readonly sampler: Sampler;
  readonly stops: StopStrings;
  readonly maxTokens: number;
  readonly ring: boolean;
  /** Of emitted tokens, or of drafts. */
  readonly exit: ExitRule | undefined;
  readonly verify: ExitRule | undefined;
  readonly logits: Float32Array;

  constructor(loaded: Loaded, options: GenerateOptions) {
    const { config } = loaded.runtime;
    if (config.kind !== 'decoder') throw new MgtError('UnsupportedMode', 'generate', 'a decoder', 'an encoder');
    const o = checkKeys('options', options, KEYS) as GenerateOptions;
    const given = (['prompt', 'messages', 'tokens'] as const).filter((key) => o[key] !== undefined);
    if (given.length !== 1)
      throw new MgtError('BadInput', 'prompt', 'one of prompt, messages, tokens', given.join(', '));
    this.options = o;
    this.sampler = new Sampler(config.vocab, o);
    this.stops = new StopStrings(o.stop);
    if (!this.stops.none && !loaded.hasText)
      throw new MgtError('UnsupportedMode', 'stop', 'a model with a tokenizer', 'one without');
    this.maxTokens = checkInteger('maxTokens', o.maxTokens ?? Number.MAX_SAFE_INTEGER, 1, Number.MAX_SAFE_INTEGER);
    if (o.ring !== undefined && typeof o.ring !== 'boolean')
      throw new MgtError('BadInput', 'ring', 'true or false', o.ring);
    this.ring = o.ring ?? false;
    if (this.ring && config.positions === 'learned')
      throw new MgtError('UnsupportedMode', 'ring', 'positions that go on', 'learned ones');
    const rule = checkExit(o.exit, config);
    const verifies = o.mode !== undefined && checkOneOf('mode', o.mode, ['verify']) === 'verify';
    this.exit = verifies ? undefined : rule;
    this.verify = verifies ? (rule ?? draftRule(config)) : undefined;
    this.logits = new Float32Array(config.vocab);
  }

  /** @throws MgtError `BadInput` naming the packet's field */
  packets(step: number): StepPackets {
    const { gate: given, spikes: fixed } = this.options;
    const asked: StepPackets =
      typeof given === 'function' ? checkKeys('gate', given(step), ['gate', 'spikes']) : { gate: given, spikes: fixed };
    parseGatePacket(asked.gate);
    if (asked.spikes !== undefined) parseSpikePacket(asked.spikes);
    return asked;
  }
}

/** @throws MgtError `BadInput`: an empty prompt, or one longer than the context */
async function promptIds(host: GenerationHost, o: GenerateOptions, context: number): Promise<number[]> {
  const encoded = async (): Promise<number[]> => {
    const tokenizer = host.loaded.tokenizer();
    const most = Number.MAX_SAFE_INTEGER;
    if (o.prompt !== undefined) {
      if (typeof o.prompt !== 'string') throw new MgtError('BadInput', 'prompt', 'a string', o.prompt);
      return tokenizer.encode(o.prompt, most).tokens;
    }
    const { template, ...tokens } = tokenizer.chat;
    const { chatPrompt } = host.loaded.platform;
    if (template === undefined || !chatPrompt)
      throw new MgtError('UnsupportedMode', 'messages', 'a model with a chat template', 'one without');
    return tokenizer.encode(await chatPrompt(template, o.messages!, tokens), most, false).tokens;
  };
  if (o.tokens !== undefined) return Array.from(checkTokens(o.tokens, host.loaded.runtime.config.vocab, context));
  const ids = await encoded();
  if (ids.length === 0) throw new MgtError('BadInput', 'prompt', 'at least one token', 'none');
  if (ids.length > context) throw new MgtError('BadInput', 'prompt', `at most ${context} tokens`, ids.length);
  return ids;
}

/** Tokens to text that is certain. */
class Writer {
  readonly #text: Detokenizer | undefined;
  readonly #stops: StopStrings;

  constructor(text: Detokenizer | undefined, stops: StopStrings) {
    this.#text = text;
    this.#stops = stops;
  }

  get stopped(): boolean {
    return this.#stops.hit !== undefined;
  }

  get holds(): boolean {
    return this.#stops.holds || this.#text?.holds === true;
  }

  push(token: number): string {
    return this.#text ? this.#stops.push(this.#text.push(token)) : '';
  }

  flush(): string {
    return this.#text ? this.#stops.push(this.#text.flush()) + this.#stops.flush() : '';
  }
}
