import type { Random } from '../random.js';
import type { RunAhead } from './ahead.js';
import type { InferInput } from './call.js';
import type { Loaded } from './loaded.js';
import type { InferResult } from './run.js';

/** What of a session generation needs. */
export interface GenerationHost {
  readonly loaded: Loaded;
  /** Ids of the stored tokens where none is missing before, between or after them; else none. */
  held(): Uint32Array;
  position(): number;
  /** Keeps the first n positions; everything goes where that cannot be. */
  rewind(n: number): void;
  steps(input: InferInput): Generator<void, InferResult>;
  /** The same for one token, which may have been run ahead with others or run others ahead. */
  stepsAhead(input: InferInput, ahead: RunAhead): Generator<void, InferResult>;
  random(): number;
  /** A generator that gives the numbers to come; the session's own stays where it is. */
  foresee(): Random;
  /** Until it is released no other call may use the session. */
  claim(): () => void;
}
