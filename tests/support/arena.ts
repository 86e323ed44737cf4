import type { KernelExports } from '../../src/kernels/catalogue.js';

const START = 65536; // the arena begins above the build's static data
const GUARD = 64;
/**
 * Fills what no kernel may use. As f32 a signalling NaN: read beside an input it spoils the output, and arithmetic on it,
 * written back, sets its quiet bit, so that even a row too many in place shows. As codes −1 and −65.
 */
export const POISON = 0xffbfffff;

/** `bytes` poisoned bytes. */
export function poisoned(bytes: number): Uint8Array {
  return new Uint8Array(new Uint32Array(Math.ceil(bytes / 4)).fill(POISON).buffer, 0, bytes);
}

interface Region {
  readonly at: number;
  readonly bytes: number;
}
type Data = Float32Array | Int8Array | Int16Array | Int32Array | Uint32Array | Uint8Array;

/**
 * One memory in which every region starts on 64 bytes and lies between at least 64 poisoned bytes.
 * `run` calls a kernel and compares every byte outside the regions it may write, its inputs included.
 */
export class GuardArena {
  private top = START;
  private written: Region[] = [];

  constructor(
    readonly kernels: KernelExports,
    readonly memory: WebAssembly.Memory,
  ) {}

  /** Forgets all regions. */
  reset(): void {
    this.top = START;
    this.written = [];
  }

  /** A region the kernel only reads. */
  input(data: Data): number {
    return this.place(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  }

  /** A region the kernel changes in place. */
  inOut(data: Data): number {
    const at = this.input(data);
    this.written.push({ at, bytes: data.byteLength });
    return at;
  }

  /** A region the kernel fills: poisoned before, so a byte left out shows. */
  output(bytes: number): number {
    const at = this.place(poisoned(bytes));
    this.written.push({ at, bytes });
    return at;
  }

  /** Calls a kernel; returns what it changed outside its written regions, or `undefined`. */
  run(call: (kernels: KernelExports) => void): string | undefined {
    const before = this.bytes().slice();
    call(this.kernels);
    const after = this.bytes();
    for (const { at, bytes } of this.written) before.set(after.subarray(at, at + bytes), at);
    if (Buffer.compare(before, after) === 0) return undefined;
    const at = before.findIndex((b, i) => b !== after[i]);
    const near = this.written.map((r) => `${r.at}..${r.at + r.bytes - 1}`).join(', ');
    return `wrote byte ${at}, outside ${near}`;
  }

  f32(at: number, n: number): Float32Array {
    return new Float32Array(this.memory.buffer.slice(at, at + 4 * n));
  }
  i32(at: number, n: number): Int32Array {
    return new Int32Array(this.memory.buffer.slice(at, at + 4 * n));
  }
  i16(at: number, n: number): Int16Array {
    return new Int16Array(this.memory.buffer.slice(at, at + 2 * n));
  }
  i8(at: number, n: number): Int8Array {
    return new Int8Array(this.memory.buffer.slice(at, at + n));
  }

  /** Everything in use, static data and the guard after the last region included. */
  private bytes(): Uint8Array {
    return new Uint8Array(this.memory.buffer, 0, this.top);
  }

  private place(data: Uint8Array): number {
    const at = this.top + GUARD; // top is a multiple of 64
    const end = Math.ceil((at + data.length) / GUARD) * GUARD + GUARD;
    const missing = end - this.memory.buffer.byteLength;
    if (missing > 0) this.memory.grow(Math.ceil(missing / 65536));
    const memory = new Uint8Array(this.memory.buffer);
    memory.set(poisoned(end - this.top), this.top);
    memory.set(data, at);
    this.top = end;
    return at;
  }
}
