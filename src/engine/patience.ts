import { checkSignal } from '../check.js';
import { alive, type Loaded } from './loaded.js';

/** Lets timers, input and abort signals in. */
export function yieldToHost(): Promise<void> {
  return new Promise((resolve) => {
    if (typeof setImmediate === 'function') setImmediate(resolve);
    else {
      const { port1, port2 } = new MessageChannel();
      port1.onmessage = () => {
        port1.close();
        resolve();
      };
      port2.postMessage(0);
    }
  });
}

/** Work done between two looks, in multiply-accumulates: half a millisecond or so, many times what a look takes. */
const SLICE = 2 ** 24;
/** What a step counts for besides: small models spend their time between the products. */
const STEP = 2 ** 18;

/** How much work has gone on since the host was last let in. Counted, not timed: where a pass looks up does not hang on the machine. */
export class Patience {
  #work = Infinity;

  /** After a step of so many multiply-accumulates. */
  spend(work: number): void {
    this.#work += work + STEP;
  }

  get isOver(): boolean {
    return this.#work >= SLICE;
  }

  /** Lets the host in. */
  async rest(): Promise<void> {
    await yieldToHost();
    this.#work = 0;
  }
}

/**
 * Runs steps with a look up between some of them. The buffers of a pass are the model's: where another call has used them meanwhile, the
 * steps begin again, which gives the same bits. Only one such run is under way at a time, and one that was pushed aside looks up later
 * each time, so that none waits for ever.
 * @param begin makes the steps; nothing but buffers has changed before the last one
 * @throws MgtError `Aborted`, `Disposed`, or what the steps throw
 */
export async function inSteps<T>(
  loaded: Loaded,
  signal: AbortSignal | undefined,
  field: string,
  patience: Patience,
  begin: () => Generator<void, T>,
): Promise<T> {
  const release = await loaded.turn();
  try {
    for (let blind = 0, taken = 0; ; blind = 2 * taken) {
      checkSignal(signal, field);
      const { runtime } = alive(loaded);
      const steps = begin();
      const next = (): IteratorResult<void, T> => {
        const before = runtime.work;
        const step = steps.next();
        patience.spend(runtime.work - before);
        return step;
      };
      let step = next();
      taken = 1;
      for (const pass = runtime.pass; !step.done && runtime.pass === pass; step = next(), taken++) {
        if (taken <= blind || !patience.isOver) continue;
        await patience.rest();
        checkSignal(signal, field);
        alive(loaded);
        if (runtime.pass !== pass) break;
      }
      if (step.done) return step.value;
    }
  } finally {
    release();
  }
}
