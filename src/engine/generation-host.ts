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
  random(): number;
  /** Until it is released no other call may use the session. */
  claim(): () => void;
}
