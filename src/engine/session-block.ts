import type { KvTokens } from '../format/snapshot.js';
import { decodeKvLayerState, encodeKvLayerState, kvLayerStateBytes } from '../packets/kv.js';
import { loadKv, saveKv } from './kv-block.js';
import { appended, appendRuns, emptyRing, shortened, storedRuns, type Ring, type Run } from './ring.js';
import { outputSize, ownKeys } from './run.js';
import type { Runtime } from './runtime.js';

/**
 * What of a session lies in the arena (`SessionLayout`): KV ring and its KvLayerStates, positions, cached output. An encoder's has no ring.
 */
export class SessionBlock {
  readonly at: number;
  readonly #rt: Runtime;
  readonly #sinks: number;

  /** @param at address of a zeroed block */
  constructor(rt: Runtime, at: number, sinks: number) {
    this.#rt = rt;
    this.at = at;
    this.#sinks = sinks;
  }

  /** Address of the first layer's KV block. */
  get kv(): number {
    return this.at + this.#rt.plan.session.kv;
  }

  /** Where its tokens lie: layer 0's KvLayerState speaks for all (D11). */
  get ring(): Ring {
    const { context, slots, session } = this.#rt.plan;
    const empty = emptyRing(context, this.#sinks);
    if (session.layers === 0) return empty;
    return { ...empty, ...decodeKvLayerState(this.#rt.arena.view, this.at + session.state, slots) };
  }

  #writeRing(ring: Ring): void {
    const { slots, session } = this.#rt.plan;
    for (let layer = 0; layer < session.layers; layer++) {
      const at = this.at + session.state + layer * kvLayerStateBytes(slots);
      encodeKvLayerState(ring, this.#rt.arena.view, at, slots);
    }
  }

  /** Positions of the stored tokens, in logical order. */
  positions(): Uint32Array {
    return this.#stored(this.#positionsAt);
  }

  /** Ids of the stored tokens, in logical order. */
  tokens(): Uint32Array {
    return this.#stored(this.#tokensAt);
  }

  #stored(first: number): Uint32Array {
    const ring = this.ring;
    const values = new Uint32Array(ring.validLength);
    let done = 0;
    for (const { slot, count } of storedRuns(ring)) {
      values.set(this.#rt.arena.u32.subarray(first + slot, first + slot + count), done);
      done += count;
    }
    return values;
  }

  get #positionsAt(): number {
    return (this.at + this.#rt.plan.session.positions) / 4;
  }

  get #tokensAt(): number {
    return (this.at + this.#rt.plan.session.tokens) / 4;
  }

  /** Tokens whose K and V lie in place become stored. */
  append(tokens: Uint32Array, positions: Uint32Array): void {
    const ring = this.ring;
    let row = 0;
    for (const { slot, count } of appendRuns(ring, positions.length)) {
      this.#rt.arena.u32.set(positions.subarray(row, row + count), this.#positionsAt + slot);
      this.#rt.arena.u32.set(tokens.subarray(row, row + count), this.#tokensAt + slot);
      row += count;
    }
    this.#writeRing(appended(ring, positions.length));
  }

  /** Forgets the newest `count` tokens, and their K and V. */
  drop(count: number): void {
    const left = shortened(this.ring, count);
    const runs: Run[] = appendRuns(left, count);
    const keys = { ...ownKeys(1), base: this.kv, kept: runs };
    for (let layer = 0; layer < this.#rt.plan.session.layers; layer++) this.#rt.kv.erase(layer, keys);
    for (const { slot, count: n } of runs) {
      for (const at of [this.#positionsAt, this.#tokensAt]) this.#rt.arena.u32.fill(0, at + slot, at + slot + n);
    }
    this.#writeRing(left);
  }

  /** No tokens, no byte of them: K, V, scales, positions and ring are zero. */
  flush(): void {
    const { kv, output } = this.#rt.plan.session;
    this.#rt.clear(this.at + kv, output - kv);
  }

  /** The cached output: f32[outputSize], a view that the next growth detaches. */
  get output(): Float32Array {
    const first = (this.at + this.#rt.plan.session.output) / 4;
    return this.#rt.arena.f32.subarray(first, first + outputSize(this.#rt.config));
  }

  copyFrom(other: SessionBlock): void {
    this.#rt.arena.u8.copyWithin(this.at, other.at, other.at + this.#rt.plan.session.bytes);
  }

  /** K and V of every layer, in logical order. */
  save(): KvTokens[] {
    return saveKv(this.#rt, this.kv, storedRuns(this.ring));
  }

  /** Fills a zeroed block: tokens lie from slot 0 on. */
  load(tokens: Uint32Array, positions: Uint32Array, layers: readonly KvTokens[]): void {
    loadKv(this.#rt, this.kv, layers);
    this.append(tokens, positions);
  }
}
