import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { GenerateOptions, Session } from '../../src/core.node.js';
import { CallLog, replay } from '../../src/log/index.js';
import { MincutGatedTransformer } from '../../src/core.node.js';
import { builds, errorOf, loadRandom, PACKETS, tokensOf } from '../session/support.js';
import { models } from '../support/models.js';
import { anyDecoder, deepDecoder } from './support.js';

const config = deepDecoder;
/** Every guess is made, at depths where a random model's are often right. */
const EAGER = { score: 'maxProb', threshold: 0, layers: [4] } as const;

async function told(session: Session, options: GenerateOptions): Promise<Record<string, unknown>> {
  const generation = session.generate(options);
  const seen: unknown[] = [];
  for await (const { token, text, witness, layers } of generation) seen.push({ token, text, witness, layers });
  const { tokens, finishReason, stats } = generation;
  const { prefillTokens, decodeTokens, verify } = stats;
  const snapshot = Buffer.from(session.snapshot()).toString('base64');
  const { trace } = session;
  return { seen, tokens, finishReason, prefillTokens, decodeTokens, snapshot, trace: trace.recent(), verify };
}

/** What both modes give must be the same but for what it took. */
async function same(
  make: () => Session,
  options: GenerateOptions,
  exit?: GenerateOptions['exit'],
): Promise<{ drafted: number; accepted: number; blocks: number }> {
  const { verify: none, ...full } = await told(make(), options);
  const { verify, ...ahead } = await told(make(), { ...options, mode: 'verify', exit });
  expect(none).toBeUndefined();
  expect(ahead).toEqual(full);
  return verify as { drafted: number; accepted: number; blocks: number };
}

describe.each(builds)('verify on the %s build', (simd) => {
  test('tokens, witnesses, trace and session are those of full depth, however tokens are chosen', async () => {
    let [drafted, accepted] = [0, 0];
    await fc.assert(
      fc.asyncProperty(
        fc.record({
          config: anyDecoder,
          score: fc.constantFrom('maxProb' as const, 'margin' as const, 'entropy' as const, 'saturation' as const),
          place: fc.double({ min: 0, max: 1, noNaN: true }),
          deep: fc.boolean(),
          sample: fc.constantFrom<GenerateOptions>(
            {},
            { temperature: 0.7 },
            { temperature: 1.5, topK: 8 },
            { temperature: 1, topP: 0.6, minP: 0.01 },
            { repetitionPenalty: 1.3, temperature: 0.3, logitBias: { 0: -2 } },
          ),
          maxTokens: fc.integer({ min: 1, max: 30 }),
          prompt: fc.integer({ min: 1, max: 6 }),
          kvFill: fc.constantFrom('propagate' as const, 'hole' as const),
          ring: fc.boolean(),
          seed: fc.nat(1000),
        }),
        async ({ config, score, place, deep, sample, maxTokens, prompt, kvFill, ring, seed }) => {
          const { model } = await loadRandom(config, { simd, sessions: 2 }, seed);
          const threshold = { maxProb: place, margin: place, entropy: 1 - place, saturation: place }[score];
          const layers = deep && config.layers > 1 ? [config.layers - 1] : undefined;
          const options = {
            tokens: tokensOf(config, prompt, seed),
            maxTokens,
            ...sample,
            ring: ring && config.positions === 'rope',
          };
          const verify = await same(() => model.createSession({ seed, kvFill }), options, {
            score,
            threshold,
            ...(layers && { layers }),
          });
          drafted += verify.drafted;
          accepted += verify.accepted;
          model.dispose();
        },
      ),
      { numRuns: 40, seed: 5 },
    );
    expect(Math.min(accepted, drafted - accepted)).toBeGreaterThan(20);
  });

  test('at the gate: steps that it narrows, flushes, freezes or skips run alone, the others together', async () => {
    const { model } = await loadRandom(config, { simd, sessions: 2 });
    const kinds = Object.values(PACKETS);
    const gate = (step: number) => ({ gate: step % 5 === 3 ? kinds[((step / 5) % kinds.length) | 0]! : {} });
    const options = { tokens: [1, 2, 3], maxTokens: 32, gate };
    const { drafted, accepted } = await same(() => model.createSession(), options, EAGER);
    expect([drafted > 5, accepted > 0, accepted < drafted]).toEqual([true, true, true]);
    const spikes = { flags: 3, topIdx: [7], topWQ15: [9] };
    const sparse = { ...options, tokens: tokensOf(config, 9, 1), gate: undefined, spikes };
    expect(await same(() => model.createSession(), sparse, EAGER)).toMatchObject({ blocks: 0, drafted: 0 });
  });
});

test('SD1: where there is nothing to draft nothing is drafted, and nothing accepted', async () => {
  const { model } = await loadRandom(config, { sessions: 2 });
  const none = { blocks: 0, drafted: 0, accepted: 0, draftLayers: 0 };
  expect(await same(() => model.createSession(), { tokens: [1, 2], maxTokens: 1 }, EAGER)).toMatchObject(none);
  const never = { score: 'saturation', threshold: 1 } as const;
  expect(await same(() => model.createSession(), { tokens: [1, 2], maxTokens: 9 }, never)).toMatchObject(none);
  const full = { tokens: tokensOf(config, config.context, 3), maxTokens: 9, ring: true };
  expect(await same(() => model.createSession(), full, EAGER)).toMatchObject(none);
});

test("SD2: each seed's tokens are those of full depth, so their distribution is the model's", async () => {
  const { model } = await loadRandom(config, { sessions: 2 });
  const seen = new Set<number>();
  for (let seed = 0; seed < 60; seed++) {
    const options = { tokens: [9], maxTokens: 5, temperature: 3 };
    const texts = [];
    for (const mode of [undefined, 'verify'] as const) {
      const session = model.createSession({ seed });
      const generation = session.generate({ ...options, mode, exit: mode && EAGER });
      for await (const { token } of generation) seen.add(token);
      texts.push(generation.tokens);
      session.dispose();
    }
    expect(texts[1]).toEqual(texts[0]);
  }
  expect(seen.size).toBeGreaterThan(40);
});

test('packets are asked for once a step, in order, when it comes', async () => {
  const { model } = await loadRandom(config);
  const steps: number[] = [];
  const gate = (step: number) => (steps.push(step), {});
  for await (const { token } of model
    .createSession()
    .generate({ tokens: [1], maxTokens: 9, gate, mode: 'verify', exit: EAGER })) {
    expect(token).toBeGreaterThanOrEqual(0);
  }
  expect(steps).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8]);
});

test('left in the middle, the session holds what has been chosen and nothing of what was guessed', async () => {
  const { model } = await loadRandom(config, { sessions: 3 });
  const states: string[][] = [];
  for (const mode of [undefined, 'verify'] as const) {
    const session = model.createSession({ seed: 4 });
    const seen: string[] = [];
    for await (const { token } of session.generate({ tokens: [7, 8], temperature: 1, mode, exit: mode && EAGER })) {
      seen.push(`${token} ${Buffer.from(session.snapshot()).toString('base64')}`);
      if (seen.length === 9) break;
    }
    seen.push(JSON.stringify(Array.from(session.infer({ tokens: [3] }).logits!)));
    states.push(seen);
  }
  expect(states[1]).toEqual(states[0]);
});

test('its log is that of full depth, and replays', async () => {
  const { model, bytes } = await loadRandom(config);
  const logs = await Promise.all(
    [undefined, 'verify' as const].map(async (mode) => {
      const log = new CallLog();
      const session = model.createSession({ log });
      for await (const { token } of session.generate({ tokens: [5, 6], maxTokens: 12, mode, exit: mode && EAGER }))
        void token;
      return Buffer.from(await log.bytes()).toString();
    }),
  );
  expect(logs[1]).toBe(logs[0]);
  const load = (options: object): Promise<MincutGatedTransformer> => MincutGatedTransformer.load(bytes, options);
  expect(await replay(Buffer.from(logs[1]!), { sha256: model.info.sha256, load })).toEqual({ calls: 12, verified: 12 });
});

test('two at once, other calls between: the same tokens', async () => {
  const { model } = await loadRandom(models['long decoder']!, { sessions: 3 });
  const run = async (between = (): void => {}): Promise<number[]> => {
    const generation = model.createSession().generate({
      tokens: [1, 2, 3],
      maxTokens: 20,
      mode: 'verify',
      exit: { score: 'maxProb', threshold: 0, layers: [1] },
    });
    for await (const { token } of generation) {
      expect(token).toBeLessThan(40);
      between();
    }
    return generation.tokens;
  };
  const alone = await run();
  const other = (): void => void model.infer({ tokens: [5, 6] });
  expect(await Promise.all([run(other), run(other)])).toEqual([alone, alone]);
});

test('a mode that is none is refused', async () => {
  const { model } = await loadRandom(config);
  expect(errorOf(() => model.createSession().generate({ tokens: [1], mode: 'draft' as never })).message).toBe(
    '"mode" expected one of verify, got draft',
  );
});
