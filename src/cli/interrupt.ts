import { setImmediate } from 'node:timers/promises';
import { checkSignal } from '../check.js';

/**
 * Lets the event loop turn once after a long synchronous step, so that a Ctrl-C pressed during it is seen.
 * @throws MgtError `Aborted`
 */
export async function catchUp(field: string, signal: AbortSignal): Promise<void> {
  await setImmediate();
  checkSignal(signal, field);
}
