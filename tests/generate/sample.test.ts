import { describe, expect, test } from '@jest/globals';
import { exp } from '../../src/generate/exp.js';
import { Sampler, type SampleOptions } from '../../src/generate/sample.js';
import { Rng } from '../support/rng.js';

describe('e^x', () => {
  // mpmath 1.3, 40 digits.
  test.each([
    [0, 1],
    [-1e-9, 0.999999999],
    [-0.1, 0.9048374180359595],
    [-0.34657, 0.7071093199024199],
    [-0.35, 0.7046880897187134],
    [-1, 0.36787944117144233],
    [-2.5, 0.0820849986238988],
    [-10, 4.5399929762484854e-5],
    [-100.75, 1.757239464727628e-44],
    [-345.6, 8.087737632630891e-151],
    [-700, 9.85967654375977e-305],
    [-708, 3.307553003638408e-308],
  ])('%d', (x, y) => {
    expect(Math.abs(exp(x) - y)).toBeLessThanOrEqual(y * 2 ** -52);
  });

  test('falls nowhere, and is 0 where e^x is subnormal', () => {
    const rng = new Rng('exp');
    const { exp: own } = Math;
    let [worst, rises] = [0, 0];
    for (let i = 0; i < 20000; i++) {
      const x = -rng.uniform(0, 708);
      const y = exp(x);
      worst = Math.max(worst, Math.abs(y / own(x) - 1));
      rises += exp(x - 1e-12) > y ? 1 : 0;
    }
    expect(worst).toBeLessThan(4e-16);
    expect(rises).toBe(0);
    expect([exp(-708.1), exp(-Infinity), exp(NaN)]).toEqual([0, 0, 0]);
  });
});

const LOGITS = Float32Array.of(2.5, -1.25, 0.75, 2.5, -3.0, 1.5, 0.0, -0.5, 3.25, 1.0);
const HISTORY = [8, 0, 4, 8];

/** Probability of each token, by the draws of an even grid of random numbers. */
function shares(options: SampleOptions, n = 20000): number[] {
  const sampler = new Sampler(LOGITS.length, options);
  const counts = new Array<number>(LOGITS.length).fill(0);
  for (let i = 0; i < n; i++) counts[sampler.pick(LOGITS, HISTORY, () => (i + 0.5) / n)]!++;
  return counts.map((count) => count / n);
}

/** The same by definition: every step on a full sort of all tokens; ids in the order in which the draw walks them. */
function slow(logits: Float32Array, history: number[], o: SampleOptions): { ids: number[]; p: number[] } {
  const { temperature = 0, topK = 0, topP = 1, minP = 0, repetitionPenalty: r = 1, logitBias = {} } = o;
  const seen = new Set(history);
  const scores = Array.from(logits, (x, id) => {
    const penalised = seen.has(id) ? (x < 0 ? x * r : x / r) : x;
    return penalised + ((logitBias as Record<string, number>)[id] ?? 0);
  });
  const sorted = scores.map((_, id) => id).sort((a, b) => scores[b]! - scores[a]! || a - b);
  const weight = (id: number): number => Math.exp((scores[id]! - scores[sorted[0]!]!) / temperature);
  let kept = sorted.slice(0, topK || sorted.length).filter((id) => weight(id) >= minP && weight(id) > 0);
  const total = kept.reduce((sum, id) => sum + weight(id), 0);
  let mass = 0;
  kept = kept.filter((id) => {
    const before = mass;
    mass += weight(id);
    return id === sorted[0] || topP === 1 || before < topP * total;
  });
  if (topP === 1 && !(topK > 0 && topK < logits.length)) kept.sort((a, b) => a - b);
  const sum = kept.reduce((all, id) => all + weight(id), 0);
  return { ids: kept, p: kept.map((id) => weight(id) / sum) };
}

describe('sampling', () => {
  // transformers 5.23's RepetitionPenalty-, Temperature-, TopK-, MinP- and TopPLogits…, in our order, in float64.
  test.each<[SampleOptions, number[]]>([
    [
      { temperature: 0.7 },
      [0.184994, 0.000872, 0.015185, 0.184994, 0.000072, 0.044334, 0.005201, 0.002546, 0.540098, 0.021703],
    ],
    [
      { temperature: 1, repetitionPenalty: 1.3 },
      [0.161226, 0.006751, 0.049885, 0.287071, 0.000477, 0.105608, 0.023564, 0.014292, 0.287071, 0.064054],
    ],
    [{ temperature: 1.5, topK: 4 }, [0.240261, 0, 0, 0.240261, 0, 0.123354, 0, 0, 0.396124, 0]],
    [{ temperature: 1, topP: 0.8 }, [0.242895, 0, 0, 0.242895, 0, 0, 0, 0, 0.514209, 0]],
    [{ temperature: 2, minP: 0.3 }, [0.220561, 0, 0, 0.220561, 0, 0.133777, 0, 0, 0.320915, 0.104186]],
    [
      { temperature: 1.2, topK: 7, topP: 0.7, minP: 0.1, repetitionPenalty: 1.8 },
      [0.165663, 0, 0, 0.418167, 0, 0.181735, 0, 0, 0.234435, 0],
    ],
  ])('%j gives the shares of transformers', (options, expected) => {
    shares(options).forEach((share, id) => expect(Math.abs(share - expected[id]!)).toBeLessThan(1.1e-4));
  });

  test('any options choose the token that full sorts choose', () => {
    const rng = new Rng('oracle');
    const sizes = { one: 0, few: 0, many: 0 };
    for (let round = 0; round < 1500; round++) {
      const vocab = rng.int(1, 300);
      // Coarse logits make ties.
      const logits = Float32Array.from(rng.normals(vocab, 3), (x) => (round % 3 === 0 ? Math.round(x) : x));
      const history = rng.ints(rng.int(0, 20), 0, vocab - 1);
      const options: SampleOptions = {
        temperature: rng.uniform(0.05, 3),
        ...(rng.int(0, 1) ? { topK: rng.int(0, vocab + 3) } : {}),
        ...(rng.int(0, 1) ? { topP: rng.int(0, 9) ? rng.uniform() : 0 } : {}),
        ...(rng.int(0, 1) ? { minP: rng.uniform() ** 3 } : {}),
        ...(rng.int(0, 1) ? { repetitionPenalty: rng.uniform(0.5, 2) } : {}),
        ...(rng.int(0, 1) ? { logitBias: { [rng.int(0, vocab - 1)]: rng.normal() * 5 } } : {}),
      };
      const { ids, p } = slow(logits, history, options);
      sizes[ids.length === 1 ? 'one' : ids.length < 10 ? 'few' : 'many']++;
      const sampler = new Sampler(vocab, options);
      for (const u of [0, rng.uniform(), rng.uniform(), 1 - 1e-9]) {
        let [i, reached] = [0, p[0]!];
        while (reached <= u && i < ids.length - 1) reached += p[++i]!;
        expect({ round, options, token: sampler.pick(logits, history, () => u) }).toEqual({
          ...{ round, options, token: ids[i] },
        });
      }
      expect(ids).toContain(sampler.pick(logits, history, () => 1 - 2 ** -53));
    }
    expect(Math.min(sizes.one, sizes.few, sizes.many)).toBeGreaterThan(100);
  });

  test('draws are distributed as the softmax (chi-square)', () => {
    const rng = new Rng(20);
    const logits = rng.normals(12, 1.5);
    const [n, temperature] = [30000, 0.8];
    const sampler = new Sampler(12, { temperature });
    const counts = new Array<number>(12).fill(0);
    for (let i = 0; i < n; i++) counts[sampler.pick(logits, [], () => rng.uniform())]!++;
    const chiSquare = (t: number): number => {
      const { ids, p } = slow(logits, [], { temperature: t });
      return ids.reduce((sum, id, i) => sum + (counts[id]! - n * p[i]!) ** 2 / (n * p[i]!), 0);
    };
    expect(chiSquare(temperature)).toBeLessThan(31.26); // 11 degrees of freedom, p = 0.001
    expect(chiSquare(temperature * 1.05)).toBeGreaterThan(31.26);
  });

  test('a large vocabulary, against full sorts; buffers are kept from call to call', () => {
    const rng = new Rng('large');
    const options: SampleOptions[] = [{}, { topK: 40, topP: 0.9 }, { topP: 0.95 }, { minP: 0.05 }, { topK: 49151 }];
    for (const more of options) {
      const sampler = new Sampler(49152, { temperature: 0.9, ...more });
      for (let i = 0; i < 2; i++) {
        const logits = rng.normals(49152, 3);
        const { ids, p } = slow(logits, [], { temperature: 0.9, ...more });
        const u = rng.uniform();
        let [at, reached] = [0, p[0]!];
        while (reached <= u && at < ids.length - 1) reached += p[++at]!;
        expect(sampler.pick(logits, [], () => u)).toBe(ids[at]);
      }
    }
  });

  test('greedy: the largest, of equal ones the lowest id, and no random number', () => {
    const never = (): number => {
      throw new Error('drawn');
    };
    const logits = Float32Array.of(-2, 5, 5, -2);
    expect(new Sampler(4).pick(logits, [], never)).toBe(1);
    expect(new Sampler(4, { repetitionPenalty: 2 }).pick(logits, [1, 1, 9, 3], never)).toBe(2);
    expect(new Sampler(4, { repetitionPenalty: 2 }).pick(Float32Array.of(-2, -3, -2, -8), [0, 2], never)).toBe(1);
    expect(new Sampler(4, { logitBias: { 3: 8 } }).pick(logits, [], never)).toBe(3);
    expect(new Sampler(4, { logitBias: new Map([1, 2].map((id) => [id, -Infinity])) }).pick(logits, [], never)).toBe(0);
    expect(new Sampler(4, { temperature: 1e-300 }).pick(logits, [], () => 0.7)).toBe(2);
  });

  test('a share begins at its lower bound', () => {
    const sampler = new Sampler(4, { temperature: 1 });
    const draw = (u: number): number => sampler.pick(new Float32Array(4), [], () => u);
    expect([0, 0.25, 0.25 - 2 ** -54, 0.5, 0.75].map(draw)).toEqual([0, 1, 0, 2, 3]);
  });

  test('a token that is ruled out is never drawn', () => {
    for (const more of [{}, { topK: 9 }, { topP: 0.999999 }]) {
      const sampler = new Sampler(10, { temperature: 5, logitBias: { 0: -Infinity, 9: -Infinity }, ...more });
      const drawn = [0, 0.5, 1 - 2 ** -53].map((u) => sampler.pick(LOGITS, [], () => u));
      expect(drawn.filter((id) => id === 0 || id === 9)).toEqual([]);
    }
  });

  test.each<[string, unknown]>([
    ['temperature', NaN],
    ['temperature', -1],
    ['temperature', Infinity],
    ['temperature', '1'],
    ['topK', -1],
    ['topK', 1.5],
    ['topP', 2],
    ['topP', -0.1],
    ['topP', NaN],
    ['minP', 1.01],
    ['minP', '0'],
    ['repetitionPenalty', 0],
    ['repetitionPenalty', -1],
    ['repetitionPenalty', NaN],
    ['logitBias', { 10: 1 }],
    ['logitBias', { '-1': 1 }],
    ['logitBias', { word: 1 }],
    ['logitBias', new Map([[1.5, 1]])],
    ['logitBias', [1]],
    ['logitBias', Object.fromEntries(Array.from(LOGITS, (_, id) => [id, -Infinity]))],
    ['logitBias[3]', { 3: NaN }],
    ['logitBias[3]', { 3: Infinity }],
  ])('refuses %s %p', (field, value) => {
    const option = field.replace(/\[.*/, '');
    expect(() => new Sampler(10, { [option]: value })).toThrow(expect.objectContaining({ code: 'BadInput', field }));
  });

  test('refuses logits and random numbers that are none', () => {
    const sampler = new Sampler(3, { temperature: 1 });
    const bad = (field: string): unknown => expect.objectContaining({ code: 'BadInput', field });
    const pick =
      (logits: number[], u = 0) =>
      () =>
        sampler.pick(Float32Array.from(logits), [], () => u);
    expect(pick([1, 2])).toThrow(bad('logits'));
    expect(pick([1, NaN, 2])).toThrow(bad('logits[1]'));
    expect(pick([1, Infinity, 2])).toThrow(bad('logits'));
    expect(pick([-Infinity, -Infinity, -Infinity])).toThrow(bad('logits'));
    expect(pick([1, 2, 3], 1)).toThrow(bad('random'));
    expect(pick([1, 2, 3], NaN)).toThrow(bad('random'));
    expect(pick([1, 2, 3], 0)()).toBe(0);
  });
});
