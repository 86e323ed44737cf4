import type { Runtime } from './runtime.js';

/** The sessions' blocks: planned ones first, then those the memory grows for. A block given back is zeroed and taken again. */
export class SessionBlocks {
  readonly #rt: Runtime;
  readonly #free: number[] = [];
  #made = 0;

  constructor(rt: Runtime) {
    this.#rt = rt;
  }

  /**
   * Address of a zeroed block.
   * @throws MgtError `OutOfMemory` naming requested bytes and limit; nothing has changed then
   */
  take(): number {
    const free = this.#free.pop();
    if (free !== undefined) return free;
    const { plan, arena } = this.#rt;
    const at = plan.sessionsAt + this.#made * plan.session.bytes;
    arena.reserve(at + plan.session.bytes);
    this.#made++;
    return at;
  }

  /** Zeroes a block and keeps it for the next session. */
  give(at: number): void {
    this.#rt.clear(at, this.#rt.plan.session.bytes);
    this.#free.push(at);
  }
}
