import { MgtError } from '../errors.js';
import { PAGE, type Plan } from '../plan/plan.js';

/** Largest memory wasm32 can address. */
const MAX_BYTES = 2 ** 32;

/**
 * The one WebAssembly.Memory of a model and the views on it. Growing detaches every view, so views are made here and
 * nowhere else; users read them through the arena each time.
 */
export class Arena {
  readonly memory: WebAssembly.Memory;
  /** Bytes it may grow to. */
  readonly #limit: number;
  u8!: Uint8Array;
  u32!: Uint32Array;
  f32!: Float32Array;
  view!: DataView;

  /**
   * Allocates what the plan says.
   * @throws MgtError `OutOfMemory` naming requested bytes and limit.
   */
  constructor(plan: Plan, maxMemory: number = MAX_BYTES) {
    const { total } = plan.memory;
    this.#limit = Math.min(maxMemory, MAX_BYTES);
    if (total > this.#limit) throw outOfMemory(total, this.#limit);
    this.memory = allocate(total, Math.floor(this.#limit / PAGE));
    this.#look();
  }

  /**
   * Makes the first `bytes` bytes exist. Only the making of sessions asks for it, never a call.
   * @throws MgtError `OutOfMemory` naming requested bytes and limit; nothing has changed then.
   */
  reserve(bytes: number): void {
    const pages = Math.ceil(bytes / PAGE);
    const missing = pages - this.memory.buffer.byteLength / PAGE;
    if (missing <= 0) return;
    if (pages * PAGE > this.#limit) throw outOfMemory(pages * PAGE, this.#limit);
    try {
      this.memory.grow(missing);
    } catch (cause) {
      throw new MgtError('OutOfMemory', 'memory', 'what the engine grants', `${pages * PAGE} bytes`, { cause });
    }
    this.#look();
  }

  #look(): void {
    const { buffer } = this.memory;
    this.u8 = new Uint8Array(buffer);
    this.u32 = new Uint32Array(buffer);
    this.f32 = new Float32Array(buffer);
    this.view = new DataView(buffer);
  }
}

/** Engines reserve address space for the maximum: one that refuses a large one may still grant what is needed now. */
function allocate(total: number, maximum: number): WebAssembly.Memory {
  const initial = total / PAGE;
  try {
    return new WebAssembly.Memory({ initial, maximum });
  } catch {
    try {
      return new WebAssembly.Memory({ initial, maximum: initial });
    } catch (cause) {
      throw new MgtError('OutOfMemory', 'memory', 'what the engine grants', `${total} bytes`, { cause });
    }
  }
}

function outOfMemory(requested: number, limit: number): MgtError {
  return new MgtError('OutOfMemory', 'memory', `at most ${limit} bytes`, requested);
}
