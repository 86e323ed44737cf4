/** Bound once: inside jest's sandbox each look-up of a global costs more than the multiplication. */
const { imul } = Math;

/** Seeded numbers for tests: the same seed gives the same data on every engine (SplitMix32). */
export class Rng {
  private state: number;

  constructor(seed: number | string) {
    this.state = typeof seed === 'number' ? seed | 0 : hash(seed);
  }

  /** 0..2³²−1 */
  u32(): number {
    this.state = (this.state + 0x9e3779b9) | 0;
    let z = this.state;
    z = imul(z ^ (z >>> 16), 0x21f0aaad);
    z = imul(z ^ (z >>> 15), 0x735a2d97);
    return (z ^ (z >>> 15)) >>> 0;
  }

  /** Integer in lo..hi, both included. */
  int(lo: number, hi: number): number {
    return lo + (this.u32() % (hi - lo + 1));
  }

  /** Real in [lo, hi). */
  uniform(lo = 0, hi = 1): number {
    return lo + (this.u32() / 2 ** 32) * (hi - lo);
  }

  /** About normal (sum of twelve uniforms): mean 0, deviation 1, within ±6. */
  normal(): number {
    let sum = -6;
    for (let i = 0; i < 12; i++) sum += this.uniform();
    return sum;
  }

  normals(n: number, deviation = 1): Float32Array {
    return Float32Array.from({ length: n }, () => this.normal() * deviation);
  }

  /** Integers in lo..hi, both included. */
  ints(n: number, lo: number, hi: number): number[] {
    return Array.from({ length: n }, () => this.int(lo, hi));
  }
}

/** FNV-1a: a label as a seed. */
function hash(text: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = imul(h ^ text.charCodeAt(i), 0x01000193);
  return h | 0;
}
