import { MgtError } from '../errors.js';
import { PAGE, type Plan } from '../plan/plan.js';

/** Largest memory wasm32 can address. */
const MAX_BYTES = 2 ** 32;

/**
 * The one WebAssembly.Memory of a model and the views on it. Views are made here and nowhere else, so that
 * growing (which detaches them) stays a local matter.
 */
export class Arena {
  readonly memory: WebAssembly.Memory;
  readonly u8: Uint8Array;
  readonly u32: Uint32Array;
  readonly f32: Float32Array;
  readonly view: DataView;

  /**
   * Allocates exactly what the plan says, and as much at most: engines reserve address space for a memory's maximum.
   * @throws MgtError `OutOfMemory` naming requested bytes and limit.
   */
  constructor(plan: Plan, maxMemory: number = MAX_BYTES) {
    const { total } = plan.memory;
    if (total > Math.min(maxMemory, MAX_BYTES)) {
      throw new MgtError('OutOfMemory', 'memory', `at most ${Math.min(maxMemory, MAX_BYTES)} bytes`, total);
    }
    try {
      this.memory = new WebAssembly.Memory({ initial: total / PAGE, maximum: total / PAGE });
    } catch (cause) {
      throw new MgtError('OutOfMemory', 'memory', 'what the engine grants', `a request for ${total} bytes`, { cause });
    }
    this.u8 = new Uint8Array(this.memory.buffer);
    this.u32 = new Uint32Array(this.memory.buffer);
    this.f32 = new Float32Array(this.memory.buffer);
    this.view = new DataView(this.memory.buffer);
  }
}
