import { describe, expect, test } from '@jest/globals';
import { MgtError, type Session } from '../../src/core.node.js';
import type { Generation } from '../../src/engine/generate.js';
import { models } from '../support/models.js';
import { errorOf, loadRandom, tokensOf } from './support.js';

const config = models['odd decoder']!;

async function drain(generation: Generation): Promise<number[]> {
  const tokens: number[] = [];
  for await (const { token } of generation) tokens.push(token);
  return tokens;
}

/** The largest logit's id, of equal ones the lowest. */
const best = (logits: Float32Array): number => logits.indexOf(Math.max(...logits));

const failure = async (generation: Generation): Promise<MgtError> => {
  try {
    await drain(generation);
  } catch (error) {
    if (error instanceof MgtError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
};

describe('generate', () => {
  const prompt = tokensOf(config, 7, 3);

  test('greedy: the best token of each step, as infer gives them', async () => {
    const { model } = await loadRandom(config);
    const loop = model.createSession();
    const expected: number[] = [];
    let { logits, stats } = loop.infer({ tokens: prompt });
    const macs = { ...stats.macs };
    while (expected.length < 12) {
      expected.push(best(logits!));
      if (expected.length === 12) break;
      ({ logits, stats } = loop.infer({ tokens: expected.slice(-1) }));
      for (const kind of ['linear', 'attention', 'head', 'gate'] as const) macs[kind] += stats.macs[kind];
    }
    const generation = model.createSession().generate({ tokens: prompt, maxTokens: 12 });
    expect(await drain(generation)).toEqual(expected);
    expect(generation.finishReason).toBe('length');
    expect(generation.promptTokens).toEqual(prompt);
    expect(generation.tokens).toEqual(expected);
    expect(generation.stats).toEqual({ prefillTokens: 7, decodeTokens: 11, macs });
  });

  test('every token comes with the witness and layers of the step that chose it', async () => {
    const { model } = await loadRandom(config);
    const gate = (step: number) => ({ gate: step % 2 === 1 ? { flags: 1 } : {} });
    const seen: [string, number][] = [];
    for await (const { witness, layers } of model.createSession().generate({ tokens: prompt, maxTokens: 4, gate })) {
      seen.push([witness.decision, layers]);
    }
    const [full, safe] = [['Allow', 2] as const, ['FreezeWrites', 1] as const];
    expect(seen).toEqual([full, safe, full, safe]);
  });

  test("sampling is the session's generator: the same seed, the same tokens", async () => {
    const { model } = await loadRandom(config);
    const run = (seed: number): Promise<number[]> =>
      drain(model.createSession({ seed }).generate({ tokens: prompt, maxTokens: 15, temperature: 2, topK: 50 }));
    expect(await run(1)).toEqual(await run(1));
    expect(await run(1)).not.toEqual(await run(2));
  });

  test('what the session holds of the prompt is not computed again, and changes no token', async () => {
    const { model } = await loadRandom(config);
    const session = model.createSession();
    const first = await drain(session.generate({ tokens: prompt, maxTokens: 5 }));
    const longer = [...prompt, ...first, 9, 4];
    const again = session.generate({ tokens: longer, maxTokens: 5 });
    const fresh = model.createSession().generate({ tokens: longer, maxTokens: 5 });
    expect(await drain(again)).toEqual(await drain(fresh));
    // The last of the first five was chosen but not run.
    expect([again.stats.prefillTokens, fresh.stats.prefillTokens]).toEqual([3, longer.length]);
    const other = session.generate({ tokens: [...prompt.slice(0, 3), 1], maxTokens: 1 });
    await drain(other);
    expect(other.stats.prefillTokens).toBe(1);
  });

  test('ends at the context, or goes on in the ring', async () => {
    const { model } = await loadRandom(config);
    const stops = model.createSession().generate({ tokens: prompt });
    expect(await drain(stops)).toHaveLength(config.context - prompt.length + 1);
    expect(stops.finishReason).toBe('context');
    const rings = model.createSession().generate({ tokens: prompt, ring: true, maxTokens: 2 * config.context });
    expect(await drain(rings)).toHaveLength(2 * config.context);
    const learned = (await loadRandom(models['gpt-like']!)).model.createSession();
    expect(errorOf(() => learned.generate({ tokens: [1], ring: true })).code).toBe('UnsupportedMode');
  });

  test('an abort is heard between layers of the prompt; the session is as it was', async () => {
    const { model } = await loadRandom(models['long decoder']!);
    const session = model.createSession();
    session.infer({ tokens: [1, 2, 3] });
    const before = session.snapshot();
    const controller = new AbortController();
    const tokens = [1, 2, 3, ...tokensOf(models['long decoder']!, 250, 1)];
    const running = failure(session.generate({ tokens, signal: controller.signal }));
    setImmediate(() => controller.abort());
    expect((await running).code).toBe('Aborted');
    expect(Buffer.compare(session.snapshot(), before)).toBe(0);
    expect(session.infer({ tokens: [4] }).logits).toBeDefined();
  });

  test('other calls in between change no token; the session itself is held', async () => {
    const { model } = await loadRandom(models['long decoder']!);
    const tokens = tokensOf(models['long decoder']!, 200, 2);
    const expected = await drain(model.createSession().generate({ tokens, maxTokens: 6 }));
    const session: Session = model.createSession();
    const running = [session, model.createSession()].map((s) => drain(s.generate({ tokens, maxTokens: 6 })));
    const timer = setInterval(() => model.infer({ tokens: [5, 6] }), 1);
    await new Promise((resolve) => setImmediate(resolve));
    expect(errorOf(() => session.infer({ tokens: [1] })).field).toBe('session');
    model.infer({ tokens: [5, 6] }); // once at the least, however late the timer
    expect(await Promise.all(running)).toEqual([expected, expected]);
    clearInterval(timer);
    expect(session.infer({ tokens: [1] }).witness.decision).toBe('Allow');
  });

  test('comes to an end beside calls that never cease', async () => {
    const { model } = await loadRandom(config);
    const asked = { tokens: prompt, maxTokens: 3 };
    const alone = await drain(model.createSession().generate(asked));
    const side = model.createSession();
    let going = true;
    let calls = 0;
    const call = (): void => {
      side.reset();
      side.infer({ tokens: prompt });
      if (going && ++calls < 1000) setImmediate(call);
    };
    call();
    expect(await drain(model.createSession().generate(asked))).toEqual(alone);
    going = false;
    expect(calls).toBeLessThan(100);
  });

  test('disposed in its prompt, a session writes nothing more: another may have its block', async () => {
    const { model } = await loadRandom(models['long decoder']!);
    const tokens = tokensOf(models['long decoder']!, 200, 2);
    const gone = model.createSession();
    const refused = failure(gone.generate({ tokens, maxTokens: 3 }));
    await new Promise((resolve) => setImmediate(resolve));
    gone.dispose();
    const next = model.createSession();
    const before = next.snapshot();
    expect((await refused).code).toBe('Disposed');
    expect(Buffer.compare(next.snapshot(), before)).toBe(0);
  });

  test('what cannot be is refused by name, and nothing has changed', async () => {
    const { model } = await loadRandom(config);
    const session = model.createSession();
    const before = session.snapshot();
    for (const [options, field] of [
      [{}, 'prompt'],
      [{ prompt: 'a', tokens: [1] }, 'prompt'],
      [{ tokens: [1], temperature: NaN }, 'temperature'],
      [{ tokens: [1], topP: 2 }, 'topP'],
      [{ tokens: [1], maxTokens: 0 }, 'maxTokens'],
      [{ tokens: [1], stop: [''] }, 'stop[0]'],
      [{ tokens: [1], stop: 'a' }, 'stop'], // no text to look in
      [{ tokens: [1], colour: 1 }, 'options.colour'],
    ] as const) {
      expect([options, errorOf(() => session.generate(options as never)).field]).toEqual([options, field]);
    }
    session.infer({ tokens: [1, 2, 3] });
    const held = session.snapshot();
    expect((await failure(session.generate({ tokens: [9, config.vocab] }))).field).toBe('tokens[1]');
    expect((await failure(session.generate({ tokens: null as never }))).field).toBe('tokens');
    expect((await failure(session.generate({ tokens: [9], gate: { lambda: -1 } }))).field).toBe('gate.lambda');
    expect(Buffer.compare(session.snapshot(), held)).toBe(0);
    session.reset();
    expect((await failure(session.generate({ tokens: [] }))).field).toBe('tokens');
    expect((await failure(session.generate({ tokens: [config.vocab] }))).field).toBe('tokens[0]');
    expect((await failure(session.generate({ tokens: tokensOf(config, 38, 1) }))).field).toBe('tokens');
    expect((await failure(session.generate({ prompt: 'a' }))).code).toBe('UnsupportedMode');
    expect(Buffer.compare(session.snapshot(), before)).toBe(0);
    const encoder = (await loadRandom(models['odd encoder']!)).model.createSession();
    expect(errorOf(() => encoder.generate({ tokens: [1] })).code).toBe('UnsupportedMode');
  });
});
