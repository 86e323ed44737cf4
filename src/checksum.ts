/**
 * The fast 64-bit checksum of docs/numbers.md "Checksum": finds damage, resists no attacker.
 * The kernel of the same name gives the same value at memory speed; this one needs no WebAssembly. Leaf module.
 */
const imul = Math.imul;
const LANES = 16;
const BLOCK = LANES * 4;
const GOLDEN = 0x9e3779b9;
const MIX = 0x85ebca6b;
const FOLD = 0x9e3779b97f4a7c15n;

/** Checksum of bytes that come in parts. */
export class Checksum {
  readonly #h = Int32Array.from({ length: LANES }, (_, i) => imul(GOLDEN, i + 1));
  #length = 0;

  /** Any number of bytes (0 included) at any alignment; only the last part may be no multiple of 64 long. */
  add(bytes: Uint8Array): this {
    const whole = bytes.length - (bytes.length % BLOCK);
    absorb(this.#h, new DataView(bytes.buffer, bytes.byteOffset, whole));
    if (whole < bytes.length) {
      const last = new Uint8Array(BLOCK);
      last.set(bytes.subarray(whole));
      absorb(this.#h, new DataView(last.buffer));
    }
    this.#length += bytes.length;
    return this;
  }

  /** In 0..2⁶⁴−1. */
  get value(): bigint {
    let H = BigInt(this.#length);
    for (const lane of this.#h) {
      H = BigInt.asUintN(64, (H ^ BigInt(lane >>> 0)) * FOLD);
      H ^= H >> 29n;
    }
    return H;
  }
}

/** Checksum of bytes, in 0..2⁶⁴−1. */
export const checksum64 = (bytes: Uint8Array): bigint => new Checksum().add(bytes).value;

/** Feeds whole blocks to the lanes. A DataView reads little-endian words at any alignment, as fast as a typed array. */
function absorb(h: Int32Array, blocks: DataView): void {
  for (let at = 0; at < blocks.byteLength; at += BLOCK) {
    for (let i = 0; i < LANES; i++) {
      const x = (h[i] as number) ^ blocks.getInt32(at + i * 4, true);
      h[i] = imul((x << 13) | (x >>> 19), MIX);
    }
  }
}

/** Bytes as lower-case hex. */
export const hexOf = (bytes: Uint8Array): string => Array.from(bytes, (b) => b.toString(16).padStart(2, '0')).join('');
