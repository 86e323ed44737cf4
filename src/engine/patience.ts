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

/** Milliseconds that work goes on for without letting the host in: longer than letting it in takes, shorter than anyone feels. */
const SLICE = 2;

/** When the host was last let in, by work that goes on for long. What is computed does not depend on it. */
export class Patience {
  #last = -Infinity;

  get isOver(): boolean {
    return performance.now() - this.#last >= SLICE;
  }

  /** Lets the host in. */
  async rest(): Promise<void> {
    await yieldToHost();
    this.#last = performance.now();
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
      let step = steps.next();
      taken = 1;
      for (const pass = runtime.pass; !step.done && runtime.pass === pass; step = steps.next(), taken++) {
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
