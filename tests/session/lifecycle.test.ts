import { beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { InferInput, MincutGatedTransformer, Session } from '../../src/core.node.js';
import { Random } from '../../src/random.js';
import { models } from '../support/models.js';
import { bitsOf, errorOf, hex, loadRandom, PACKETS, stateOf, tokensOf } from './support.js';

/** fork, truncate, reset, random: what a session becomes is what it would have been on another way there. */
const NAMES = ['micro', 'odd decoder', 'windowed decoder', 'gpt-like', 'odd encoder'];
const DECODERS = NAMES.slice(0, 4);

describe.each(NAMES)('%s', (name) => {
  const config = models[name]!;
  let model: MincutGatedTransformer;
  let session: Session;
  beforeAll(async () => {
    ({ model } = await loadRandom(config));
  });
  const call = (n: number, seed: number, more: Partial<InferInput> = {}): InferInput => ({
    tokens: tokensOf(config, n, seed),
    ...more,
  });
  beforeEach(() => {
    session?.dispose();
    session = model.createSession({ seed: 4, kvFill: 'hole' });
    session.random();
    session.infer(call(6, 1, { signature: 8 }));
    session.infer(call(3, 2, { gate: PACKETS.ReduceScope }));
  });

  test('a fork continues with the same bits, options and random numbers; then each goes its own way', () => {
    const fork = session.fork();
    expect(hex(fork.snapshot())).toBe(hex(session.snapshot()));
    expect(fork.options).toEqual(session.options);
    const twin = session.fork();
    const before = hex(session.snapshot());

    const next = call(4, 3, { signature: 9 });
    const moved = bitsOf(fork.infer(next));
    expect(fork.random()).toBe(twin.random());
    expect(hex(session.snapshot())).toBe(before);
    expect(bitsOf(session.infer(next))).toBe(moved);
    session.random();
    expect(hex(session.snapshot())).toBe(hex(fork.snapshot()));

    fork.reset();
    fork.dispose();
    expect(bitsOf(session.infer(call(2, 4)))).toBe(bitsOf((twin.infer(next), twin.infer(call(2, 4)))));
    twin.dispose();
  });

  test('a fork of a fork, and forks of one state, all stand alone', () => {
    const forks = [session.fork(), session.fork()];
    forks.push(forks[0]!.fork());
    forks.forEach((fork, i) => fork.infer(call(2, 10 + i)));
    const got = forks.map((fork) => bitsOf(fork.infer(call(1, 20))));
    const expected = forks.map((_, i) => {
      const alone = model.restore(session.snapshot());
      alone.infer(call(2, 10 + i));
      const bits = bitsOf(alone.infer(call(1, 20)));
      alone.dispose();
      return bits;
    });
    expect(got).toEqual(expected);
    forks.forEach((fork) => fork.dispose());
  });

  test('reset is a fresh session: no tokens, no cached output, no witness, the generator at its seed', () => {
    const fresh = model.createSession({ seed: 4, kvFill: 'hole' });
    session.reset();
    expect(hex(session.snapshot())).toBe(hex(fresh.snapshot()));
    expect([session.length, session.position, session.witness]).toEqual([0, 0, undefined]);
    expect(session.random()).toBe(fresh.random());
    for (const next of [call(5, 5, { signature: 8 }), call(1, 6, { gate: PACKETS.Skip, signature: 8 })])
      expect(bitsOf(session.infer(next))).toBe(bitsOf(fresh.infer(next)));
    expect(hex(session.snapshot())).toBe(hex(fresh.snapshot()));
    fresh.dispose();
  });

  test('random() is the sequence of its seed, whatever is inferred; reset begins it again', () => {
    for (const seed of [0, 1, 2 ** 32 - 1]) {
      const drawing = model.createSession({ seed });
      const random = new Random(seed);
      const drawn: number[] = [];
      for (let i = 0; i < 20; i++) {
        drawn.push(drawing.random());
        expect(drawn[i]).toBe(random.double());
        if (i % 6 === 0) drawing.infer(call(1, i, { gate: Object.values(PACKETS)[i % 5]! }));
      }
      expect(drawn.every((v) => v >= 0 && v < 1)).toBe(true);
      expect(new Set(drawn).size).toBe(20);
      const [restored, forked] = [model.restore(drawing.snapshot()), drawing.fork()];
      const next = random.double();
      expect([drawing.random(), restored.random(), forked.random()]).toEqual([next, next, next]);
      drawing.reset();
      expect(drawing.random()).toBe(drawn[0]);
      // A restored session begins where the first one did.
      restored.reset();
      expect(restored.random()).toBe(drawn[0]);
      for (const done of [drawing, restored, forked]) done.dispose();
    }
  });

  test('truncate leaves signature cache, generator and last witness alone, and takes 0..position only', () => {
    const { position } = session;
    const before = hex(session.snapshot());
    for (const n of [-1, 0.5, NaN, position + 1, '1', null, undefined]) {
      const error = errorOf(() => session.truncate(n as number));
      expect([error.code, error.field]).toEqual(['BadInput', 'n']);
      expect(hex(session.snapshot())).toBe(before);
    }
    session.truncate(position);
    expect(hex(session.snapshot())).toBe(before);
    session.truncate(0);
    expect([session.position, session.length]).toEqual([0, 0]);
    expect(session.witness).toMatchObject({ decision: 'ReduceScope' });
    expect(session.infer(call(1, 7, { gate: PACKETS.Skip, signature: 8 })).stats.cached).toBe(1);
  });

  test('truncate to the position of an empty session changes nothing', () => {
    const empty = model.createSession();
    const before = hex(empty.snapshot());
    empty.truncate(0);
    expect(hex(empty.snapshot())).toBe(before);
    expect(errorOf(() => empty.truncate(1)).field).toBe('n');
    empty.dispose();
  });

  test('a disposed session says so, whatever is asked; disposing twice is fine', () => {
    const gone = model.createSession();
    gone.dispose();
    gone[Symbol.dispose]();
    const uses: (() => unknown)[] = [
      () => gone.infer(call(1, 1)),
      () => gone.fork(),
      () => gone.truncate(0),
      () => gone.reset(),
      () => gone.snapshot(),
      () => gone.random(),
      () => gone.length,
      () => gone.commit(() => 1),
    ];
    for (const use of uses) expect(errorOf(use)).toMatchObject({ code: 'Disposed', field: 'session' });
  });

  test('with its model disposed, a session says so too', async () => {
    const { model: other } = await loadRandom(config);
    const orphan = other.createSession();
    const snapshot = orphan.snapshot();
    other.dispose();
    const uses = [
      () => orphan.infer(call(1, 1)),
      () => orphan.fork(),
      () => orphan.truncate(0),
      () => orphan.reset(),
      () => orphan.snapshot(),
      () => orphan.commit(() => 1),
      () => other.createSession(),
      () => other.restore(snapshot),
      () => other.setPolicy('default'),
    ];
    for (const use of uses) expect(errorOf(use)).toMatchObject({ code: 'Disposed', field: 'model' });
    orphan.dispose();
  });
});

describe.each(DECODERS)('%s: truncate(n) is never having sent the later tokens', (name) => {
  const config = models[name]!;
  let model: MincutGatedTransformer;
  let bytes: Uint8Array;
  beforeAll(async () => {
    ({ model, bytes } = await loadRandom(config));
  });
  const tokens = tokensOf(config, 200, 5);
  const fed = (n: number): Session => {
    const session = model.createSession();
    for (let at = 0; at < n; at += 16) session.infer({ tokens: tokens.slice(at, Math.min(n, at + 16)) });
    return session;
  };

  test('within the context: the same snapshot, byte for byte', () => {
    const length = fc.integer({ min: 0, max: config.context });
    fc.assert(
      fc.property(length, length, (a, b) => {
        const [n, all] = [Math.min(a, b), Math.max(a, b)];
        const [cut, plain] = [fed(all), fed(n)];
        cut.truncate(n);
        expect(hex(cut.snapshot())).toBe(hex(plain.snapshot()));
        if (n < config.context) expect(bitsOf(cut.infer({ tokens: [3] }))).toBe(bitsOf(plain.infer({ tokens: [3] })));
        cut.dispose();
        plain.dispose();
      }),
      { numRuns: 25 },
    );
  });

  // Learned positions end with it.
  if (config.positions !== 'learned')
    test('past the context: the same bits as far as it goes, refused by name where a seen token is overwritten', () => {
      const all = 2 * config.context + 9;
      const whole = fed(all);
      const before = hex(whole.snapshot());
      const { sinks } = whole.options;
      const window = Math.min(config.tiers?.windowNormal ?? config.context, config.context - sinks);
      // A row sees window − 1 stored tokens beside the sinks: so many must be left.
      const least = all - (config.context - sinks - (window - 1));
      for (let n = all - 1; n >= 1; n--) {
        if (n < least) {
          const error = errorOf(() => whole.truncate(n));
          expect([error.code, error.field, error.expected.includes(`${least}..${all}`)]).toEqual([
            'BadInput',
            'n',
            true,
          ]);
          expect(hex(whole.snapshot())).toBe(before);
          continue;
        }
        const [cut, plain] = [whole.fork(), fed(n)];
        cut.truncate(n);
        expect([cut.position, cut.length]).toEqual([n, config.context - (all - n)]);
        // Sent again, it is as if nothing had happened; sent otherwise, as if that had been sent.
        const again = cut.fork();
        again.infer({ tokens: tokens.slice(n, Math.min(all, n + config.context)) });
        if (again.position === all) expect(hex(again.snapshot())).toBe(before);
        for (const next of [[1], [2, 3, 4, 5, 6, 7, 8, 9], [1]])
          expect(bitsOf(cut.infer({ tokens: next }))).toBe(bitsOf(plain.infer({ tokens: next })));
        for (const done of [cut, plain, again]) done.dispose();
      }
      expect(least).toBeLessThan(all);
      whole.truncate(0);
      expect(hex(whole.snapshot())).toBe(hex(model.createSession().snapshot()));
    });

  test('a position that ReduceScope cut away is a place to truncate to, like any other', () => {
    const session = model.createSession({ sinks: 0 });
    const n = config.context - 1;
    session.infer({ tokens: tokens.slice(0, n), gate: PACKETS.ReduceScope });
    const { positions } = stateOf(bytes, session);
    const first = positions[0]!;
    expect([positions.length < n, first > 0]).toEqual([true, true]);
    session.truncate(first + 1);
    expect([session.position, session.length]).toEqual([first + 1, 1]);
    session.truncate(first - 1);
    expect([session.position, session.length]).toEqual([first - 1, 0]);
    session.infer({ tokens: [1] });
    expect(Array.from(stateOf(bytes, session).positions)).toEqual([first - 1]);
  });
});
