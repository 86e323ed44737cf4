import { describe, expect, test } from '@jest/globals';
import { MgtError, type InferInput, type InferResult } from '../../src/core.node.js';
import { Random } from '../../src/random.js';
import { models } from '../support/models.js';
import { bitsOf, builds, loadRandom, PACKETS, ReferenceSession, tokensOf } from './support.js';

/** Calls of every decision, of many lengths, with sparse lists and signatures: past the context several times. */
function walk(config: { vocab: number; context: number }, seed: number, calls: number): InferInput[] {
  const random = new Random(seed);
  const pick = (n: number): number => random.u32() % n;
  const packets = Object.values(PACKETS);
  return Array.from({ length: calls }, (_, i) => {
    const n = pick(4) === 0 ? 1 + pick(config.context) : 1 + pick(5);
    const topLen = pick(6);
    return {
      tokens: tokensOf(config as never, n, seed * 1000 + i),
      gate: packets[pick(3) === 0 ? pick(packets.length) : pick(2)]!,
      ...(pick(2) === 0 && { signature: pick(4) }),
      ...(pick(2) === 0 && {
        spikes: {
          fired: 1 as const,
          flags: pick(4),
          topIdx: Array.from({ length: topLen }, () => pick(2 * config.context)),
          topWQ15: new Array<number>(topLen).fill(1),
        },
      }),
    };
  });
}

function attempt(call: () => InferResult): InferResult | MgtError {
  try {
    return call();
  } catch (error) {
    if (error instanceof MgtError) return error;
    throw error;
  }
}

describe.each(Object.entries(models))('%s', (_name, config) => {
  const variants = [
    {},
    { layerOrder: 'last' as const, kvFill: 'hole' as const },
    ...(config.kind === 'decoder'
      ? [
          { sinks: 3, kvFill: 'hole' as const },
          { sinks: 5, layerOrder: 'last' as const },
        ]
      : []),
  ];
  test.each(builds)('a session on the %s build and on the reference: same outputs, same snapshots', async (simd) => {
    for (const [v, options] of variants.entries()) {
      const { model, bytes } = await loadRandom(config, { simd });
      const session = model.createSession({ seed: 5, ...options });
      const reference = new ReferenceSession(bytes, { seed: 5, ...options });
      for (const [i, input] of walk(config, 11 + v, 14).entries()) {
        const [expected, got] = [attempt(() => reference.infer(input)), attempt(() => session.infer(input))];
        expect(Buffer.compare(session.snapshot(), reference.snapshot())).toBe(0);
        if (expected instanceof MgtError || got instanceof MgtError) {
          // Learned positions end with the context.
          expect([config.positions, got]).toEqual(['learned', expected]);
          session.truncate(0);
          reference.infer({ tokens: [1], gate: PACKETS.FlushKv });
          continue;
        }
        expect([v, i, bitsOf(got)]).toEqual([v, i, bitsOf(expected)]);
        expect(got.witness).toEqual(expected.witness);
        expect(got.stats.macs).toEqual(expected.stats.macs);
      }
    }
  });
});
