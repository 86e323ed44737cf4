import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { CallSetup } from '../../src/cli/setup.js';
import { inferReference, referenceRules } from '../../src/cli/reference.js';
import type { ExitOptions, InferInput, InferResult } from '../../src/core.node.js';
import { bits, bitsOf, builds, loadRandom, ReferenceSession, tokensOf } from '../session/support.js';
import { parseHeader } from '../../src/format/file.js';
import { models } from '../support/models.js';
import { anyDecoder, deepDecoder } from './support.js';

const SCORES = ['maxProb', 'margin', 'entropy', 'saturation'] as const;
/** Thresholds that everything reaches, and that nothing does. */
const ALWAYS = { maxProb: 0, margin: 0, entropy: 1, saturation: -1 };
const NEVER = { maxProb: 1, margin: 1, entropy: 0, saturation: 1 };

/** Thresholds around what random models give, so that some rows leave and some do not. */
const anyExit = (layers: number): fc.Arbitrary<ExitOptions> =>
  fc
    .record({
      score: fc.constantFrom(...SCORES),
      place: fc.double({ min: 0, max: 1, noNaN: true }),
      asked: fc.subarray(Array.from({ length: layers - 1 }, (_, i) => i + 1)),
    })
    .map(({ score, place, asked }) => {
      const range = { maxProb: [0.3, 1], margin: [0.2, 1], entropy: [0, 0.5], saturation: [0.5, 1] }[score] as [
        number,
        number,
      ];
      const threshold = range[0] + place * (range[1] - range[0]);
      return { score, threshold, ...(asked.length > 0 && { layers: asked }) };
    });

const what = ({ logits, witness, stats }: InferResult): unknown => {
  const { layersExecuted, macs, layers, upstream } = stats;
  return { logits: bits(logits!), witness, layersExecuted, macs, layers, upstream };
};

/** A stateless call on the reference. */
function alone(bytes: Uint8Array, setup: CallSetup, input: InferInput): InferResult {
  const file = parseHeader(bytes, bytes.length);
  const { rules, run } = referenceRules(file.config, setup);
  const model = { file, payload: bytes.subarray(file.payloadOffset) };
  return inferReference(model, rules, run, undefined, input).result;
}

const rowOf = (logits: Float32Array, row: number, vocab: number): string =>
  bits(logits.slice(row * vocab, (row + 1) * vocab));

describe.each(builds)('%s build', (simd) => {
  test('a block is what its tokens are one by one, and both are the reference, to the bit', async () => {
    let left = 0;
    let stayed = 0;
    await fc.assert(
      fc.asyncProperty(
        anyDecoder.chain((config) =>
          fc.record({
            config: fc.constant(config),
            exit: anyExit(config.layers),
            kvFill: fc.constantFrom('propagate' as const, 'hole' as const),
            layerOrder: fc.constantFrom('first' as const, 'last' as const),
            most: fc.option(fc.integer({ min: 1, max: config.layers }), { nil: undefined }),
            sizes: fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 4 }),
            seed: fc.nat(1000),
          }),
        ),
        async ({ config, exit, kvFill, layerOrder, most, sizes, seed }) => {
          const run = { kvFill, layerOrder };
          const { model, bytes } = await loadRandom(config, { simd, ...run }, seed);
          const [blocks, steps] = [model.createSession(), model.createSession()];
          const reference = new ReferenceSession(bytes, run);
          const given = { exit, ...(most !== undefined && { layers: most }) };
          for (const [i, size] of sizes.entries()) {
            if (steps.position + size > config.context) break;
            const tokens = tokensOf(config, size, seed + i);
            const input: InferInput = { tokens, all: true, ...given };
            const got = blocks.infer(input);
            expect(what(got)).toEqual(what(reference.infer(input)));
            const last = { tokens, ...given };
            expect(what(model.infer(last))).toEqual(what(alone(bytes, run, last)));
            for (const [row, token] of tokens.entries()) {
              const one = steps.infer({ tokens: [token], ...given });
              expect([row, rowOf(got.logits!, row, config.vocab), got.stats.layers[row]]).toEqual([
                row,
                bitsOf(one),
                one.stats.layers[0],
              ]);
              if (one.stats.layers[0]! < (most ?? config.layers)) left++;
              else stayed++;
            }
          }
          expect(Buffer.compare(blocks.snapshot(), steps.snapshot())).toBe(0);
          expect(Buffer.compare(blocks.snapshot(), reference.snapshot())).toBe(0);
          model.dispose();
        },
      ),
      { numRuns: 20, seed: 11 },
    );
    expect(Math.min(left, stayed)).toBeGreaterThan(30);
  });

  test.each(SCORES)(
    '%s: never reached it is full depth to the bit, always reached the first layer asked',
    async (score) => {
      const config = deepDecoder;
      const { model } = await loadRandom(config, { simd });
      const tokens = tokensOf(config, 12, 5);
      const full = model.infer({ tokens, all: true });
      const never = model.infer({ tokens, all: true, exit: { score, threshold: NEVER[score] } });
      expect([bitsOf(never), never.stats.layers]).toEqual([bitsOf(full), full.stats.layers]);
      expect(never.stats.macs.head).toBe(full.stats.macs.head);
      expect(never.stats.macs.gate).toBe(3 * 12 * config.hidden * (score === 'saturation' ? 3 : config.vocab));
      for (const at of [1, 3]) {
        const [short, left] = [model.createSession(), model.createSession()];
        const exit = { score, threshold: ALWAYS[score], layers: [at, 4] };
        const a = short.infer({ tokens, all: true, layers: at });
        const b = left.infer({ tokens, all: true, exit });
        expect(bitsOf(b)).toBe(bitsOf(a));
        expect(b.stats.layers).toEqual(tokens.map(() => at));
        expect(b.stats.macs).toEqual({ ...a.stats.macs, gate: score === 'saturation' ? 3 * 12 * config.hidden : 0 });
        expect([b.witness, b.stats.upstream]).toEqual([a.witness, a.stats.upstream]);
        expect(Buffer.compare(left.snapshot(), short.snapshot())).toBe(0);
      }
    },
  );

  test.each(['propagate', 'hole'] as const)('%s: past the ring, in blocks of any size', async (kvFill) => {
    const run = { kvFill, sinks: 2 };
    const { model, bytes } = await loadRandom(deepDecoder, { simd, ...run });
    const [blocks, steps, reference] = [model.createSession(), model.createSession(), new ReferenceSession(bytes, run)];
    const exit = { score: 'maxProb', threshold: 0.9, layers: [1, 2, 4] } as const;
    const depths: number[] = [];
    for (const [i, size] of [30, 13, 1, 40, 17].entries()) {
      const tokens = tokensOf(deepDecoder, size, i);
      const input = { tokens, all: true, exit };
      const got = blocks.infer(input);
      expect(bitsOf(got)).toBe(bitsOf(reference.infer(input)));
      for (const [row, token] of tokens.entries()) {
        expect([i, row, bitsOf(steps.infer({ tokens: [token], exit }))]).toEqual([
          i,
          row,
          rowOf(got.logits!, row, 257),
        ]);
      }
      depths.push(...got.stats.layers);
    }
    expect(new Set(depths).size).toBeGreaterThan(2);
    expect(Buffer.compare(blocks.snapshot(), steps.snapshot())).toBe(0);
    expect(Buffer.compare(blocks.snapshot(), reference.snapshot())).toBe(0);
  });

  test('more rows than go through a layer together, and rows that keep to partitions', async () => {
    const config = { ...models['long decoder']!, layers: 3 };
    const { model, bytes } = await loadRandom(config, { simd });
    const exit = { score: 'margin', threshold: 0.75, layers: [1, 2] } as const;
    const input = { tokens: tokensOf(config, 270, 3), all: true, exit };
    const [got, expected] = [model.infer(input), new ReferenceSession(bytes).infer(input)];
    expect(what(got)).toEqual(what(expected));
    expect(new Set(got.stats.layers)).toEqual(new Set([1, 2, 3]));

    const masked = (await loadRandom(config, { simd, partitions: true })).model;
    const gate = { partitionCount: 4 };
    const cut = { ...input, tokens: input.tokens.slice(0, 64), gate };
    const result = alone(bytes, { partitions: true }, cut);
    expect(what(masked.infer(cut))).toEqual(what(result));
    expect(bitsOf(result)).not.toBe(bitsOf(model.infer(cut)));
  });
});
