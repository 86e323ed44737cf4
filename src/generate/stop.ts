import { MgtError } from '../errors.js';

/** Why a generation ended: the end token or a stop string, the most tokens asked for, or a full context. */
export type FinishReason = 'stop' | 'length' | 'context';

/**
 * Finds stop strings in text that comes in pieces. The first to be complete wins, of several that end together the
 * longest; however the text is cut, the outcome is the same. Held back is only what may yet become a stop string.
 */
export class StopStrings {
  readonly #stops: readonly string[];
  #held = '';
  #hit: string | undefined;

  /** @throws MgtError `BadInput`: not a string or strings, an empty one, or one with half a surrogate pair */
  constructor(stop: string | readonly string[] = []) {
    const stops: unknown = typeof stop === 'string' ? [stop] : stop;
    if (!Array.isArray(stops)) throw new MgtError('BadInput', 'stop', 'a string or a list of strings', stops);
    stops.forEach((text: unknown, i) => {
      if (typeof text === 'string' && text !== '' && !/\p{Surrogate}/u.test(text)) return;
      throw new MgtError('BadInput', `stop[${i}]`, 'a well-formed string that is not empty', text);
    });
    this.#stops = stops as string[];
  }

  /** There is nothing to look for. */
  get none(): boolean {
    return this.#stops.length === 0;
  }

  /** The stop string that was found. */
  get hit(): string | undefined {
    return this.#hit;
  }

  /** Text is held back. */
  get holds(): boolean {
    return this.#hit === undefined && this.#held !== '';
  }

  /** The text that is certain to come before any stop string; after a hit, none. */
  push(piece: string): string {
    if (this.#hit !== undefined) return '';
    const text = this.#held + piece;
    let [start, end] = [0, Infinity];
    for (const stop of this.#stops) {
      const at = text.indexOf(stop);
      const after = at + stop.length;
      if (at < 0 || after > end || (after === end && at > start)) continue;
      [start, end, this.#hit] = [at, after, stop];
    }
    if (this.#hit === undefined) {
      const longest = this.#stops.reduce((most, stop) => Math.max(most, stop.length), 1);
      start = Math.max(0, text.length - longest + 1);
      while (start < text.length && !this.#stops.some((stop) => stop.startsWith(text.slice(start)))) start++;
      this.#held = text.slice(start);
    }
    return text.slice(0, start);
  }

  /** What is still held back, which is text after all once nothing follows; after a hit, none. */
  flush(): string {
    const rest = this.#hit === undefined ? this.#held : '';
    this.#held = '';
    return rest;
  }
}
