import { setTimeout } from 'node:timers/promises';
import type { GeneratedToken, GenerateOptions, Generation, Session } from '../../index.node.js';
import type { Signal } from './events.js';
import { Trace } from './trace.js';

/** One story told. */
export interface Told {
  readonly generation: Generation;
  readonly trace: Trace;
  readonly text: string;
  /** Of the prompt and the first choice, in ms; waiting for who watches is not in it. */
  readonly prefillMs: number;
  /** Of all steps after that. */
  readonly decodeMs: number;
  /** From the start of the process to the first token. */
  readonly firstTokenMs: number;
}

/** Who watches a story come about. */
export interface Watcher {
  token(token: GeneratedToken, trace: Trace): void | Promise<void>;
  /** Milliseconds from one token to the next, at least; 0: as fast as they come. */
  readonly pace?: () => number;
  /** It has seen enough. */
  readonly done?: () => boolean;
}

/** Longest sleep between two looks at the pace, in ms: a key is answered so soon. */
const NAP_MS = 20;

/** Lets a session go on with a text under the signal's packets. @throws MgtError as `session.generate` */
export async function tell(
  session: Session,
  options: Omit<GenerateOptions, 'gate' | 'spikes'>,
  packets: Signal,
  { token: see, pace = () => 0, done = () => false }: Watcher,
): Promise<Told> {
  const trace = new Trace();
  let text = '';
  let firstTokenMs = 0;
  // Time spent inside the generator, the only one that is the engine's.
  let spent = 0;
  let since = 0;
  let prefillMs: number | undefined;
  const gate = (step: number): ReturnType<Signal['packets']> => {
    if (step === 1) prefillMs = spent + performance.now() - since;
    return packets.packets(step);
  };
  const generation = session.generate({ ...options, gate });
  const tokens = generation[Symbol.asyncIterator]();
  try {
    for (;;) {
      since = performance.now();
      const next = await tokens.next();
      const now = performance.now();
      spent += now - since;
      if (next.done) break;
      if (trace.tokens.length === 0) firstTokenMs = now;
      text += next.value.text;
      trace.add(next.value);
      await see(next.value, trace);
      while (!done() && performance.now() - now < pace()) await setTimeout(Math.min(NAP_MS, pace()));
      if (done()) break;
    }
  } finally {
    await tokens.return();
  }
  prefillMs ??= spent;
  return { generation, trace, text, prefillMs, decodeMs: spent - prefillMs, firstTokenMs };
}
