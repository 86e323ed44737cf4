const imul = Math.imul;
const ROOT_3 = Math.sqrt(3);

/**
 * Seeded generator, the same on every engine: splitmix32 (Steele, Lea & Flood 2014, 32-bit variant).
 * Integer operations and one exact scaling only.
 */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** Where the generator stands: a new one with this seed goes on from here. */
  get state(): number {
    return this.#state >>> 0;
  }

  /** Uniform u32. */
  u32(): number {
    this.#state = (this.#state + 0x9e3779b9) | 0;
    let z = this.#state ^ (this.#state >>> 16);
    z = imul(z, 0x21f0aaad);
    z = imul(z ^ (z >>> 15), 0x735a2d97);
    return (z ^ (z >>> 15)) >>> 0;
  }

  /** Uniform in [0, 1), 24 bits: exact in f32. */
  uniform(): number {
    return (this.u32() >>> 8) / 2 ** 24;
  }

  /** Uniform in [0, 1), 53 bits: every share of a large vocabulary can be hit. Two steps of the generator. */
  double(): number {
    const high = this.u32() >>> 5;
    return (high * 2 ** 26 + (this.u32() >>> 6)) / 2 ** 53;
  }

  /** Bell-shaped with mean 0 and variance 1: four uniforms (Irwin–Hall), so no logarithm is needed. */
  normal(): number {
    const sum = this.uniform() + this.uniform() + this.uniform() + this.uniform();
    return (sum - 2) * ROOT_3;
  }
}
