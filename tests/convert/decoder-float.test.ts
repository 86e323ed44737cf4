import { describe, expect, test } from '@jest/globals';
import { compareLogits, pooledAccuracy } from '../../src/convert/decoder-accuracy.js';
import { floatHead, floatLogits, floatStates, floatSteps } from '../../src/convert/decoder-float.js';
import type { DecoderModel } from '../../src/convert/decoder.js';
import { Rng } from '../support/rng.js';
import { refusal } from './fixtures.js';
import { fixture, fixtureFiles, gpt2Files, llamaFiles, openFiles, type Goldens } from './make-decoder.js';
import type { Files } from './make-bert.js';

const golden = fixture('expected.json') as Goldens;
const open = async (files: Files): Promise<DecoderModel> => (await openFiles(files)).model;

/** Largest difference of the golden rows, over the spread of the golden logits. */
async function error(files: Files, name: string): Promise<{ long: number; short: number }> {
  const model = await open(files);
  const { vocab } = model.facts;
  const expected = golden.logits[name]!;
  const context = golden.long.length;
  const long = floatLogits(model, golden.long, { context });
  const short = floatLogits(model, golden.short, { context: golden.short.length });
  const spread = Math.max(...expected.long.flat()) - Math.min(...expected.long.flat());
  const off = (row: number[], got: Float32Array, position: number): number =>
    Math.max(...row.map((v, i) => Math.abs(v - got[position * vocab + i]!))) / spread;
  return {
    long: Math.max(...expected.long.map((row, r) => off(row, long, golden.positions[r]!))),
    short: off(expected.short, short, golden.short.length - 1),
  };
}

describe('against PyTorch', () => {
  test.each(Object.keys(golden.rope))('Llama, RoPE %s', async (name) => {
    const found = await error(fixtureFiles('llama', { rope_parameters: golden.rope[name] }), `llama ${name}`);
    expect(found.long).toBeLessThan(3e-6);
    expect(found.short).toBeLessThan(3e-6);
  });

  test.each(['qwen2', 'gpt2'])('%s', async (name) => {
    const found = await error(fixtureFiles(name), name);
    expect(found.long).toBeLessThan(3e-6);
    expect(found.short).toBeLessThan(3e-6);
  });

  test('the scalings differ by far more than that', async () => {
    for (const name of Object.keys(golden.rope).filter((n) => n !== 'default')) {
      expect((await error(fixtureFiles('llama'), `llama ${name}`)).long).toBeGreaterThan(1e-3);
    }
  });
});

describe.each([
  ['llama', llamaFiles({ bias: 'all' })],
  ['gpt2', gpt2Files()],
])('%s of odd shape', (_name, files) => {
  const tokens = Array.from({ length: 23 }, (_, i) => (i * 37 + 5) % 301);

  test('a token sees none after it; sequences together are as alone; the head row by row is the head', async () => {
    const model = await open(files);
    const all = floatLogits(model, tokens);
    expect(all.length).toBe(23 * 301);
    expect(all.some((v) => Math.abs(v) > 0.1)).toBe(true);
    expect(floatLogits(model, tokens.slice(0, 9))).toEqual(all.subarray(0, 9 * 301));
    const others = [[1, 2, 3], tokens, [300]];
    const states = floatStates(model, others);
    expect(states.map(({ length }) => length)).toEqual([3 * 120, 23 * 120, 120]);
    expect(floatHead(model, states[1]!)).toEqual(all);
    expect(floatHead(model, states[1]!.subarray(22 * 120))).toEqual(all.subarray(22 * 301));
  });

  test('what cannot be computed is refused by name; a signal stops between layers', async () => {
    const model = await open(files);
    const fields = [[], [301], [-1], [1.5], Array.from({ length: 65 }, () => 1)].map((ids) =>
      refusal(() => floatLogits(model, ids)),
    );
    expect((await Promise.all(fields)).map(({ code, field }) => `${code} ${field}`)).toEqual([
      'BadInput tokens[0].length',
      'BadInput tokens[0][0]',
      'BadInput tokens[0][0]',
      'BadInput tokens[0][0]',
      'BadInput tokens[0].length',
    ]);
    expect([...floatSteps(model, [tokens])]).toEqual(Array.from({ length: model.facts.layers }, (_, i) => i + 1));
  });
});

test('weights larger than one block of 4 MB', async () => {
  const files = llamaFiles({ vocab: 9001, tied: true, layers: 1, seed: 5 });
  const model = await open(files);
  const one = floatLogits(model, [9000, 4]);
  const table = model.rows('embeddings.token', 0, 9001);
  const state = floatStates(model, [[9000, 4]])[0]!;
  for (const id of [0, 1, 8735, 8736, 8737, 9000]) {
    let dot = 0;
    for (let d = 0; d < 120; d++) dot += table[id * 120 + d]! * state[120 + d]!;
    expect(one[9001 + id]).toBeCloseTo(dot, 5);
  }
});

describe('accuracy of logits', () => {
  const f = (...values: number[]): Float32Array => Float32Array.from(values);

  test('KL in nats against the definition; a constant on a row changes nothing', () => {
    const [p, q] = [
      [0.5, 0.25, 0.25],
      [0.125, 0.375, 0.5],
    ];
    const kl = p.reduce((sum, x, i) => sum + x * Math.log(x / q[i]!), 0);
    const { kl: found, top1, tokens } = compareLogits(f(...p.map(Math.log)), f(...q.map((x) => Math.log(x) + 30)), 3);
    expect(found).toBeCloseTo(kl, 5);
    expect([top1, tokens]).toEqual([0, 1]);
  });

  test('equal logits: 0 and 1, at any size of the numbers', () => {
    for (const x of [f(1, 2, 3), f(1e30, -1e30, 0), f(-3e38, -3e38, -3e38), f(0, -Infinity, 1), f(5)]) {
      expect(compareLogits(x, x.slice(), x.length)).toEqual({ kl: 0, top1: 1, tokens: 1 });
    }
  });

  test('never below 0, however the terms round', () => {
    const rng = new Rng(3);
    for (let i = 0; i < 300; i++) {
      const x = Float32Array.from({ length: 17 }, () => Math.round(rng.uniform() * 4096) / 256);
      const shifted = x.map((v) => v + 3); // exact: the same distribution
      const { kl } = compareLogits(x, shifted, 17);
      expect(kl).toBeGreaterThanOrEqual(0);
      expect(kl).toBeLessThan(1e-13);
    }
  });

  test('mean over positions; of equal logits the first is the top', () => {
    const float = f(0, 5, 5, 1, 0, 0);
    expect(compareLogits(float, f(0, 5, 5, 1, 0, 0), 3).top1).toBe(1);
    const half = compareLogits(float, f(0, 5, 5.5, 1, 0, 0), 3);
    expect([half.top1, half.tokens]).toEqual([0.5, 2]);
    expect(half.kl).toBeGreaterThan(0);
    const pooled = pooledAccuracy([half, { kl: 0, top1: 1, tokens: 6 }]);
    expect(pooled).toEqual({ kl: half.kl / 4, top1: 7 / 8, tokens: 8 });
  });

  test('no distribution, or one that excludes what happens: Infinity, never NaN', () => {
    for (const bad of [f(NaN, 0), f(0, NaN), f(Infinity, 0), f(-Infinity, -Infinity), f(0, -Infinity)]) {
      expect(compareLogits(f(0, 0), bad, 2).kl).toBe(Infinity);
    }
    for (const bad of [f(NaN, 0), f(Infinity, 0), f(-Infinity, -Infinity)]) {
      expect(compareLogits(bad, f(0, 0), 2).kl).toBe(Infinity);
    }
    expect(compareLogits(f(NaN, NaN), f(NaN, NaN), 2).top1).toBe(0);
    expect(compareLogits(f(0, -Infinity), f(0, 0), 2).kl).toBeCloseTo(Math.LN2, 12);
    expect(compareLogits(f(0, -Infinity), f(0, -Infinity), 2).kl).toBe(0);
    expect(compareLogits(f(0, -1e5), f(0, -Infinity), 2).kl).toBe(0); // e^−100000 is 0 in f64
  });

  test('lengths', async () => {
    const cases = [
      () => compareLogits(f(1, 2, 3), f(1, 2, 3), 2),
      () => compareLogits(f(), f(), 2),
      () => compareLogits(f(1, 2), f(1, 2, 3, 4), 2),
      () => pooledAccuracy([]),
    ];
    for (const run of cases) expect((await refusal(run)).code).toBe('BadInput');
  });
});
