import { beforeAll, describe, expect, test } from '@jest/globals';
import type { InferInput, MincutGatedTransformer, Session } from '../../src/core.node.js';
import { PAGE, planArena } from '../../src/plan/plan.js';
import { models } from '../support/models.js';
import { bitsOf, errorOf, hex, loadRandom, PACKETS, ReferenceSession, tokensOf } from './support.js';

/** Blocks of the one memory: taken, given back, grown for; no session ever sees another's. */
const config = models['odd decoder']!;
const { session: layout } = planArena(config, config.context);

/** What session i does at step k: every decision, own tokens, own signatures. */
const step = (i: number, k: number): InferInput => ({
  tokens: tokensOf(config, 1 + ((i + 3 * k) % 7), 100 * i + k),
  gate: Object.values(PACKETS)[(i + k) % 6]!,
  signature: 1000 * i + (k % 2),
});

test('sessions in any order do not touch one another: each is what it is alone', async () => {
  const { model, bytes } = await loadRandom(config, { sessions: 3 });
  const count = 7;
  const alone = Array.from({ length: count }, (_, i) => new ReferenceSession(bytes, { seed: i, sinks: i }));
  const sessions = alone.map((_, i) => model.createSession({ seed: i, sinks: i }));
  for (let k = 0; k < 12; k++) {
    const order = sessions.map((_, i) => (i * 3 + k) % count);
    for (const i of order) expect(bitsOf(sessions[i]!.infer(step(i, k)))).toBe(bitsOf(alone[i]!.infer(step(i, k))));
    model.infer({ tokens: tokensOf(config, config.context, k) });
  }
  sessions.forEach((session, i) => expect(hex(session.snapshot())).toBe(hex(alone[i]!.snapshot())));
});

test('growing detaches every view: sessions and stateless calls go on with the same bits', async () => {
  const { model, bytes } = await loadRandom(config, { sessions: 0 });
  const total = model.info.memory.total;
  const first = model.createSession();
  const reference = new ReferenceSession(bytes);
  const input = { tokens: [1, 2, 3] };
  const stateless = bitsOf(model.infer(input));
  const sessions: Session[] = [];
  let grown = 0;
  for (let k = 0; k < 40; k++) {
    const before = model.info.memory.total;
    sessions.push(k % 3 === 0 ? first.fork() : k % 3 === 1 ? model.restore(first.snapshot()) : model.createSession());
    if (model.info.memory.total > before) grown++;
    expect(bitsOf(first.infer(step(0, k)))).toBe(bitsOf(reference.infer(step(0, k))));
    expect(hex(first.snapshot())).toBe(hex(reference.snapshot()));
    expect(bitsOf(model.infer(input))).toBe(stateless);
  }
  expect(grown).toBeGreaterThan(3);
  expect(model.info.memory.total).toBeGreaterThan(total);
  expect(model.info.memory.total % PAGE).toBe(0);
  // No more than the blocks need.
  expect(model.info.memory.total - total).toBeLessThan(41 * layout.bytes + PAGE);
});

test('a block given back is taken again, zeroed: the memory does not grow', async () => {
  const { model } = await loadRandom(config, { sessions: 2 });
  const kept = model.createSession();
  kept.infer(step(1, 0));
  const before = hex(kept.snapshot());
  const total = model.info.memory.total;
  const fresh = model.createSession();
  const empty = hex(fresh.snapshot());
  fresh.dispose();
  for (let k = 0; k < 60; k++) {
    const session = k % 2 ? model.createSession() : kept.fork();
    if (k % 2) expect(hex(session.snapshot())).toBe(empty);
    session.infer({ tokens: tokensOf(config, config.context, k), signature: k });
    session.dispose();
    session.dispose();
  }
  expect(model.info.memory.total).toBe(total);
  expect(hex(kept.snapshot())).toBe(before);
  // Disposed twice is given back once: two new sessions get two blocks.
  const [a, b] = [model.createSession(), model.createSession()];
  a.infer({ tokens: [1, 2, 3] });
  expect(hex(b.snapshot())).toBe(empty);
});

describe('maxMemory', () => {
  let model: MincutGatedTransformer;
  let limit: number;
  beforeAll(async () => {
    const { total } = planArena(config, config.context, 2).memory;
    limit = total + 2 * PAGE + 17;
    ({ model } = await loadRandom(config, { sessions: 2, maxMemory: limit }));
  });

  test('one session more than fits is OutOfMemory naming both sizes; those that are there go on', () => {
    const sessions: Session[] = [];
    const create = [
      () => model.createSession(),
      () => sessions[0]!.fork(),
      () => model.restore(sessions[0]!.snapshot()),
    ];
    let made = 0;
    for (; made < 1000; made++) {
      try {
        sessions.push(model.createSession());
      } catch {
        break;
      }
    }
    const fits = Math.floor(
      (Math.floor(limit / PAGE) * PAGE - planArena(config, config.context).sessionsAt) / layout.bytes,
    );
    expect(made).toBe(fits);
    sessions[0]!.infer(step(1, 0));
    const before = sessions.map((session) => hex(session.snapshot()));
    const total = model.info.memory.total;
    for (const more of create) {
      const error = errorOf(more);
      expect([error.code, error.field]).toEqual(['OutOfMemory', 'memory']);
      expect(error.expected).toContain(String(limit));
      const pages = Math.ceil((planArena(config, config.context).sessionsAt + (fits + 1) * layout.bytes) / PAGE);
      expect(error.got).toBe(String(pages * PAGE));
    }
    expect(sessions.map((session) => hex(session.snapshot()))).toEqual(before);
    expect(model.info.memory.total).toBe(total);
    expect(total).toBeLessThanOrEqual(limit);
    sessions[0]!.infer(step(1, 1));

    sessions.pop()!.dispose();
    const again = model.createSession();
    expect(again.length).toBe(0);
    expect(errorOf(() => model.createSession()).code).toBe('OutOfMemory');
  });

  test('sessions planned beyond it are refused at load', async () => {
    const { total } = planArena(config, config.context, 3).memory;
    const error = await loadRandom(config, { sessions: 3, maxMemory: total - 1 }).catch((e: unknown) => e);
    expect(error).toMatchObject({ code: 'OutOfMemory', expected: `at most ${total - 1} bytes`, got: String(total) });
    await loadRandom(config, { sessions: 3, maxMemory: total });
  });
});

test('inference never grows the memory', async () => {
  const { model } = await loadRandom(config, { sessions: 1 });
  const session = model.createSession();
  const { total } = model.info.memory;
  for (let k = 0; k < 30; k++) session.infer(step(2, k));
  session.infer({ tokens: tokensOf(config, config.context, 1) });
  session.snapshot();
  expect(model.info.memory.total).toBe(total);
});
