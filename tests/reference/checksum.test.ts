import { expect, test } from '@jest/globals';
import { checksum64 } from '../../src/checksum.js';
import { Rng } from '../support/rng.js';

/** docs/numbers.md "Checksum" word by word, in big integers. */
function written(bytes: Uint8Array): bigint {
  const u32 = (x: bigint): bigint => BigInt.asUintN(32, x);
  const h = Array.from({ length: 16 }, (_, i) => u32(0x9e3779b9n * BigInt(i + 1)));
  const padded = [...bytes, ...new Uint8Array((64 - (bytes.length % 64)) % 64)];
  for (let at = 0; at < padded.length; at += 4) {
    const w = padded.slice(at, at + 4).reduceRight((word, b) => word * 256n + BigInt(b), 0n);
    const lane = (at / 4) % 16;
    const x = h[lane]! ^ w;
    h[lane] = u32(((x << 13n) | (x >> 19n)) * 0x85ebca6bn);
  }
  return h.reduce((H, lane) => {
    const mixed = BigInt.asUintN(64, (H ^ lane) * 0x9e3779b97f4a7c15n);
    return mixed ^ (mixed >> 29n);
  }, BigInt(bytes.length));
}

const bytesOf = (n: number): Uint8Array => Uint8Array.from(new Rng(n).ints(n, 0, 255));

test('every length up to three blocks gives the written value, at any alignment', () => {
  for (let n = 0; n <= 192; n++) {
    const bytes = bytesOf(n);
    const expected = written(bytes);
    expect(checksum64(bytes)).toBe(expected);
    const shifted = new Uint8Array(n + 3);
    shifted.set(bytes, 3);
    expect(checksum64(shifted.subarray(3))).toBe(expected);
  }
});

test('any one flipped bit, any zero byte more, changes it', () => {
  const bytes = bytesOf(130);
  const before = checksum64(bytes);
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const damaged = bytes.slice();
    damaged[bit >> 3]! ^= 1 << (bit & 7);
    expect(checksum64(damaged)).not.toBe(before);
  }
  const longer = new Uint8Array(131);
  longer.set(bytes);
  expect(checksum64(longer)).not.toBe(before);
});

test('an unsigned 64-bit value, also of nothing', () => {
  const values = [0, 1, 64, 1000].map((n) => checksum64(bytesOf(n)));
  for (const v of values) expect(v >= 0n && v < 1n << 64n).toBe(true);
  expect(new Set(values).size).toBe(4);
});
