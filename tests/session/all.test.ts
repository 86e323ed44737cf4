import { describe, expect, test } from '@jest/globals';
import { models } from '../support/models.js';
import { bits, bitsOf, builds, errorOf, loadRandom, PACKETS, ReferenceSession, tokensOf } from './support.js';

/** Logits of every token, and contexts beyond the file's. */
describe.each(['micro', 'odd decoder', 'int4 gpt', 'long decoder'])('%s: all', (name) => {
  const config = models[name]!;
  const { vocab } = config;
  const n = Math.min(config.context, 140);

  test.each(builds)(
    'on the %s build each row is what the prefix alone gives, and the reference the same',
    async (simd) => {
      const { model, bytes } = await loadRandom(config, { simd });
      const tokens = tokensOf(config, n, 4);
      const { logits, stats } = model.infer({ tokens, all: true });
      expect(logits).toHaveLength(n * vocab);
      expect(stats.macs.head).toBe(n * vocab * config.hidden);
      for (const last of [0, 1, 7, 8, n - 1]) {
        const row = logits!.slice(last * vocab, (last + 1) * vocab);
        expect([last, bits(row)]).toEqual([last, bitsOf(model.infer({ tokens: tokens.slice(0, last + 1) }))]);
      }
      expect(bitsOf(new ReferenceSession(bytes).infer({ tokens, all: true }))).toBe(bits(logits!));
    },
  );

  test('after what a session holds, in reduced and skipped calls: as many rows as ran', async () => {
    const { model, bytes } = await loadRandom(config);
    const [session, reference] = [model.createSession(), new ReferenceSession(bytes)];
    for (const gate of [{}, PACKETS.ReduceScope, PACKETS.Skip, PACKETS.FreezeWrites]) {
      const input = { tokens: tokensOf(config, 9, 5), gate, all: true, signature: 3 };
      const [got, expected] = [session.infer(input), reference.infer(input)];
      expect(bitsOf(got)).toBe(bitsOf(expected));
      const rows = got.witness.tier === 3 ? 9 : Math.min(9, got.witness.effectiveSeqLen);
      expect(got.logits).toHaveLength(rows * vocab);
    }
    expect(Buffer.compare(session.snapshot(), reference.snapshot())).toBe(0);
    const small = errorOf(() => session.infer({ tokens: [1, 2], all: true, out: new Float32Array(2 * vocab - 1) }));
    expect([small.code, small.field]).toEqual(['OutputTooSmall', 'out']);
  });
});

test('dynamic NTK goes beyond the context of training, others do not', async () => {
  const config = models['dynamic NTK decoder']!;
  const context = 60;
  const { model, bytes } = await loadRandom(config, { context });
  const tokens = tokensOf(config, 50, 6);
  const reference = new ReferenceSession(bytes, {}, context);
  expect(bitsOf(model.createSession().infer({ tokens }))).toBe(bitsOf(reference.infer({ tokens })));
  const shorter = (await loadRandom(config)).model;
  expect(bitsOf(shorter.infer({ tokens: [1, 2, 3] }))).not.toBe(bitsOf(model.infer({ tokens: [1, 2, 3] })));
  await expect(loadRandom(models['odd decoder']!, { context })).rejects.toMatchObject({ field: 'context' });
});
