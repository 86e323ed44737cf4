import { checkKeys } from '../check.js';
import { MgtError } from '../errors.js';

export interface ChatMessage {
  /** `system`, `user`, `assistant`, or what else the template knows. */
  readonly role: string;
  readonly content: string;
}

export interface ChatOptions {
  /** Text of the token that begins a sequence: the template's `bos_token` (default: empty). */
  readonly bosToken?: string | undefined;
  /** `eos_token` (default: empty). */
  readonly eosToken?: string | undefined;
  /** End with the opening of the assistant's answer (default: true). */
  readonly addGenerationPrompt?: boolean | undefined;
  /** What `strftime_now` tells a template that asks (default: now, in local time). */
  readonly date?: Date | undefined;
}

/** The parts of @huggingface/jinja 0.5 that are used here. */
interface Jinja {
  readonly Template: new (text: string) => { readonly parsed: unknown };
  readonly Environment: new () => { set(name: string, value: unknown): unknown };
  readonly Interpreter: new (environment: unknown) => {
    evaluate(statement: unknown, environment: unknown): { readonly value: unknown };
    run(program: unknown): { readonly value: unknown };
  };
}

/** Templates come with models from anywhere: bounds on what one may do. SmolLM2's takes some 20 steps a message, of 5 µs each. */
const MAX_STEPS = 100_000;
const MAX_STEPS_PER_MESSAGE = 1000; // beside MAX_STEPS
const MAX_TEXT = 10_000_000; // characters of a string
const MAX_LIST = 100_000; // elements of a list

/** Inside `try`, so that bundlers warn where the package is not installed instead of failing. */
async function loadJinja(): Promise<Jinja> {
  try {
    return await import('@huggingface/jinja');
  } catch (cause) {
    throw new MgtError('MissingDependency', '@huggingface/jinja', 'npm i @huggingface/jinja', cause, { cause });
  }
}

/**
 * The prompt of a conversation, as `apply_chat_template` of Python's transformers makes it. Its special tokens stand in
 * the text, so it is to be encoded without the tokenizer's own.
 * @param template Jinja source from the model's files
 * @throws MgtError `BadInput` (messages that are none, or that the template refuses: its words in `got`), `BadFile` (no
 * Jinja), `UnsupportedMode` (it fails or does not end), `MissingDependency` (@huggingface/jinja)
 */
export async function chatPrompt(
  template: string,
  messages: readonly ChatMessage[],
  options: ChatOptions = {},
): Promise<string> {
  checkMessages(messages);
  const { Template, Environment, Interpreter } = await loadJinja();
  let program: unknown;
  try {
    program = new Template(template).parsed;
  } catch (cause) {
    throw new MgtError('BadFile', 'chat_template', 'a Jinja template', cause, { cause });
  }
  const environment = new Environment();
  for (const [name, value] of Object.entries(variables(messages, options))) environment.set(name, value);
  const interpreter = new Interpreter(environment);
  const evaluate = interpreter.evaluate.bind(interpreter);
  const most = MAX_STEPS + MAX_STEPS_PER_MESSAGE * messages.length;
  let steps = 0;
  interpreter.evaluate = (statement, scope) => {
    if (++steps > most) throw tooMuch(`${most} steps`);
    const result = evaluate(statement, scope);
    checkLength(result.value);
    return result;
  };
  try {
    return String(interpreter.run(program).value);
  } catch (cause) {
    if (cause instanceof MgtError) throw cause;
    throw new MgtError('UnsupportedMode', 'chat_template', 'a template that can be rendered', cause, { cause });
  }
}

function checkMessages(messages: unknown): void {
  if (!Array.isArray(messages) || messages.length === 0) {
    throw new MgtError('BadInput', 'messages', 'a list of { role, content }', messages);
  }
  messages.forEach((message: unknown, i) => {
    const { role, content } = checkKeys(`messages[${i}]`, message, ['role', 'content']);
    if (typeof role !== 'string' || role === '') throw new MgtError('BadInput', `messages[${i}].role`, 'a role', role);
    if (typeof content !== 'string') throw new MgtError('BadInput', `messages[${i}].content`, 'a string', content);
  });
}

const tooMuch = (most: string): MgtError => new MgtError('UnsupportedMode', 'chat_template', `at most ${most}`, 'more');

function checkLength(value: unknown): void {
  if (typeof value === 'string' && value.length > MAX_TEXT) throw tooMuch(`${MAX_TEXT} characters`);
  if (Array.isArray(value) && value.length > MAX_LIST) throw tooMuch(`lists of ${MAX_LIST}`);
}

/** What a template can name: transformers' globals and arguments, `tools` and `documents` being none. */
function variables(messages: readonly ChatMessage[], o: ChatOptions): Record<string, unknown> {
  return {
    ...{ true: true, True: true, false: false, False: false, none: null, None: null },
    ...{ messages, tools: null, documents: null, bos_token: o.bosToken ?? '', eos_token: o.eosToken ?? '' },
    add_generation_prompt: o.addGenerationPrompt ?? true,
    range: (...bounds: number[]) => range(bounds),
    raise_exception: (message: unknown) => {
      throw new MgtError('BadInput', 'messages', 'what the chat template takes', message, { cause: message });
    },
    strftime_now: (format: string) => strftime(o.date ?? new Date(), format),
  };
}

/** Python's range(stop) or range(start, stop, step). */
function range(bounds: readonly number[]): number[] {
  const [start = 0, stop = 0, step = 1] = bounds.length === 1 ? [0, bounds[0]] : bounds;
  const length = Math.max(0, Math.ceil((stop - start) / step));
  if (!(length <= MAX_LIST)) throw tooMuch(`lists of ${MAX_LIST}`);
  return Array.from({ length }, (_, i) => start + i * step);
}

/** The commonest fields of Python's strftime, English as in the C locale; others stay as they are. */
function strftime(date: Date, format: string): string {
  const named = (options: Intl.DateTimeFormatOptions): string => date.toLocaleDateString('en-US', options);
  const two = (n: number): string => String(n).padStart(2, '0');
  const fields: Record<string, () => string> = {
    ...{ '%%': () => '%', '%Y': () => String(date.getFullYear()), '%m': () => two(date.getMonth() + 1) },
    ...{ '%d': () => two(date.getDate()), '%H': () => two(date.getHours()), '%M': () => two(date.getMinutes()) },
    ...{
      '%S': () => two(date.getSeconds()),
      '%b': () => named({ month: 'short' }),
      '%B': () => named({ month: 'long' }),
    },
    ...{ '%a': () => named({ weekday: 'short' }), '%A': () => named({ weekday: 'long' }) },
  };
  return format.replace(/%./g, (field) => fields[field]?.() ?? field);
}
