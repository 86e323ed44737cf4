import { MgtError } from '../errors.js';
import type { SessionState } from '../format/snapshot.js';
import { Random } from '../random.js';
import { NO_PAST, type Call, type Past } from './call.js';
import { appendRuns, overwrittenBy, storedRuns } from './ring.js';
import type { Keys } from './rows.js';
import { callSize, outputSize, ownKeys } from './run.js';
import type { Runtime } from './runtime.js';
import { SessionBlock } from './session-block.js';

/** What a session remembers between its calls: its block of the arena, position, generator, and under which signature an output is kept. */
export class Memory {
  readonly block: SessionBlock;
  readonly #rt: Runtime;
  #position = 0;
  /** Tokens the ring has overwritten since it was last empty. */
  #overwritten = 0;
  random: Random;
  signature: bigint | undefined;

  /** @param at address of a zeroed block */
  constructor(rt: Runtime, at: number, sinks: number, seed: number) {
    this.#rt = rt;
    this.block = new SessionBlock(rt, at, sinks);
    this.random = new Random(seed);
  }

  /** An encoder's calls stand alone. */
  get #stores(): boolean {
    return this.#rt.plan.session.layers > 0;
  }

  /** Position of the next token. */
  get position(): number {
    return this.#position;
  }

  /** What stands before a call's tokens. */
  past(): Past {
    if (!this.#stores) return NO_PAST;
    const { validLength } = this.block.ring;
    return { stored: validLength, position: this.#position, indexOf: (p) => this.block.positions().indexOf(p) };
  }

  /** Which keys a call sees and which slots keep it. */
  keys({ tokens, flush, write, window, extras, verdict }: Call): Keys {
    if (!this.#stores || verdict.skip === 1) return ownKeys(window, extras);
    const { ring, kv } = this.block;
    const n = tokens.length;
    return {
      base: kv,
      // A flushed cache is not seen; it goes once the call has succeeded.
      stored: flush ? [] : storedRuns(ring),
      kept: write ? appendRuns(ring, n) : [],
      scratch: !write || overwrittenBy(ring, n) > 0,
      window,
      extras,
    };
  }

  /** How many stored tokens a call overwrites. */
  overwrites({ tokens, write }: Call): number {
    return write && this.#stores ? overwrittenBy(this.block.ring, tokens.length) : 0;
  }

  /** Makes what a call computed the session's own; `over`: what it overwrote. */
  keep(call: Call, values: Float32Array, over: number): void {
    const { tokens, positions, given, signature } = call;
    if (this.#stores) {
      this.block.append(tokens, positions);
      this.#position += given.length;
      this.#overwritten += over;
    }
    if (signature !== undefined) {
      this.signature = signature;
      const size = outputSize(this.#rt.config);
      const last = callSize(this.#rt.config, call) - size;
      this.block.output.set(values.subarray(last, last + size));
    }
  }

  /** Ids of the stored tokens, where these are all it has consumed. */
  held(): Uint32Array {
    const whole = this.block.ring.validLength === this.#position;
    return whole ? this.block.tokens() : new Uint32Array(0);
  }

  /**
   * Forgets the tokens from position n on.
   * @param window keys that a full-tier token sees
   * @throws MgtError `BadInput` where a token that a next one at n would see is overwritten
   */
  truncate(n: number, window: number): void {
    if (n === 0) return this.flush();
    const { capacity, sinks, validLength } = this.block.ring;
    const positions = this.block.positions();
    const drop = positions.filter((p) => p >= n).length;
    // What a full-tier token at n sees of the ring, itself not counted.
    const seen = Math.min(window, capacity - sinks) - 1;
    if (this.#overwritten > 0 && validLength - drop < sinks + seen) {
      const first = sinks + seen < validLength ? positions[sinks + seen]! : this.#position;
      throw new MgtError('BadInput', 'n', `0 or ${first}..${this.#position}: what came before is overwritten`, n);
    }
    this.block.drop(drop);
    this.#position = n;
  }

  /** The position up to n that it can go back to: none where tokens are overwritten. */
  within(n: number): number {
    return this.#overwritten > 0 ? 0 : n;
  }

  /** No tokens. */
  flush(): void {
    this.block.flush();
    this.#position = 0;
    this.#overwritten = 0;
  }

  /** No tokens, no kept output, the generator at its seed. */
  reset(seed: number): void {
    this.flush();
    this.block.output.fill(0);
    this.random = new Random(seed);
    this.signature = undefined;
  }

  /** What a snapshot holds of it. */
  save(): Omit<SessionState, 'layerOrder' | 'kvFill' | 'sinks' | 'seed'> {
    return {
      generator: this.random.state,
      position: this.#position,
      overwritten: this.#overwritten,
      positions: this.block.positions(),
      tokens: this.block.tokens(),
      layers: this.block.save(),
      cached: this.signature === undefined ? undefined : { signature: this.signature, output: this.block.output },
    };
  }

  load({ tokens, positions, layers, position, overwritten, generator, cached }: SessionState): void {
    this.block.load(tokens, positions, layers);
    this.#position = position;
    this.#overwritten = overwritten;
    this.random = new Random(generator);
    this.signature = cached?.signature;
    if (cached) this.block.output.set(cached.output);
  }

  copyFrom(other: Memory): void {
    this.block.copyFrom(other.block);
    this.#position = other.#position;
    this.#overwritten = other.#overwritten;
    this.random = new Random(other.random.state);
    this.signature = other.signature;
  }
}
