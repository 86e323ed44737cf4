import { beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { MincutGatedTransformer, type ModelConfig, type Session } from '../../src/core.node.js';
import { randomWeights } from '../../src/convert/init.js';
import { packPayload } from '../../src/format/pack.js';
import { encodeSnapshot } from '../../src/format/snapshot.js';
import { writeModel } from '../../src/format/write.js';
import { gateShape } from '../../src/gate/shape.js';
import { models } from '../support/models.js';
import { bitsOf, hex, loadRandom, ownerOf, PACKETS, stateOf, tokensKv, tokensOf } from './support.js';

/** How tokens are cut into calls is nobody's business: the same bits in outputs and in state. */
const CASES = [
  ['micro', {}],
  ['micro', { sinks: 4 }],
  ['baseline', { sinks: 4 }],
  ['odd decoder', { sinks: 0 }],
  ['odd decoder', { sinks: 4 }],
  ['windowed decoder', {}],
  ['windowed decoder', { sinks: 7 }],
  ['gpt-like', {}],
] as const;

describe.each(CASES)('%s %j', (name, options) => {
  const config = models[name]!;
  // Learned positions end with the context; others go on past it, several times round the ring.
  const total = config.positions === 'learned' ? config.context : 3 * config.context + 5;
  const tokens = tokensOf(config, total, 1);
  let model: MincutGatedTransformer;
  let file: Uint8Array;
  /** Output and state after each token, one call a token. */
  let single: { output: string; state: string }[];

  beforeAll(async () => {
    ({ model, bytes: file } = await loadRandom(config));
    const session = model.createSession(options);
    single = tokens.map((token) => ({ output: bitsOf(session.infer({ tokens: [token] })), state: '' }));
    const again = model.createSession(options);
    single.forEach((entry, i) => {
      again.infer({ tokens: [tokens[i]!] });
      entry.state = hex(again.snapshot());
    });
  });

  /** Runs the tokens in calls of these lengths, the last one of what is left. */
  function run(session: Session, cuts: readonly number[]): void {
    for (let at = 0, call = 0; at < total; call++) {
      const end = Math.min(total, at + Math.min(config.context, cuts[call] ?? config.context));
      expect(bitsOf(session.infer({ tokens: tokens.slice(at, end) }))).toBe(single[end - 1]!.output);
      expect(hex(session.snapshot())).toBe(single[end - 1]!.state);
      at = end;
    }
  }

  test('the longest calls give what single tokens give', () => run(model.createSession(options), []));

  test('any cut gives the same bits after every call', () => {
    const session = model.createSession(options);
    const cut = fc.array(fc.integer({ min: 1, max: config.context }), { maxLength: 12 });
    fc.assert(
      fc.property(cut, (cuts) => {
        session.reset();
        run(session, cuts);
      }),
      { numRuns: name === 'baseline' ? 6 : 15 },
    );
  });

  test('calls that keep nothing, anywhere between, change none of it', () => {
    const session = model.createSession(options);
    for (let i = 0; i < total; i += 7) {
      const end = Math.min(total, i + 7);
      session.infer({ tokens: tokens.slice(i, end) });
      if (config.positions !== 'learned' || end < total)
        session.infer({ tokens: [3], gate: i % 2 ? PACKETS.FreezeWrites : PACKETS.QuarantineUpdates });
      expect(hex(session.snapshot())).toBe(single[end - 1]!.state);
    }
  });

  // Learned positions end before the ring turns.
  if (config.positions !== 'learned')
    test('what is held: the sinks and the newest tokens, and of each only what it alone decides in the first layer', () => {
      const session = model.createSession(options);
      const { sinks } = session.options;
      const held = (changedAt: number): Record<string, unknown>[] => {
        session.reset();
        tokens.forEach((token, at) =>
          session.infer({ tokens: [at === changedAt ? (token + 1) % config.vocab : token] }),
        );
        const { layers, positions } = stateOf(file, session);
        return Array.from(positions, (p, i) => ({ p, ...tokensKv(layers[0]!, config.kvHeads, i, i + 1) }));
      };
      const base = held(-1);
      expect(base.map(({ p }) => p)).toEqual([
        ...Array.from({ length: sinks }, (_, i) => i),
        ...Array.from({ length: config.context - sinks }, (_, i) => total - config.context + sinks + i),
      ]);
      for (const at of [0, sinks, total - 1]) {
        const differing = held(at).filter((entry, i) => JSON.stringify(entry) !== JSON.stringify(base[i]));
        expect(differing.map(({ p }) => p)).toEqual(at === sinks ? [] : at < sinks || at === total - 1 ? [at] : []);
      }
    });

  test.each(['Allow', 'ReduceScope', 'FreezeWrites'] as const)(
    '%s: a stored token is seen exactly where the window or a sink shows it',
    (decision) => {
      const session = model.createSession(options);
      const n = config.positions === 'learned' ? config.context - 2 : total;
      for (let at = 0; at < n; at += 8) session.infer({ tokens: tokens.slice(at, Math.min(n, at + 8)) });
      const state = stateOf(file, session);
      const call = { tokens: [5], gate: PACKETS[decision] };
      const before = session.snapshot();
      const { witness } = session.infer(call);
      const expected = bitsOf(model.restore(before).infer(call));

      const { sinks } = session.options;
      const { windowNormal } = gateShape(config, config.context);
      const stored = state.positions.length;
      const window = Math.min(witness.effectiveWindow, config.context - sinks);
      const seen = (key: number): boolean => key > stored - window || (window < windowNormal && key < sinks);
      for (let key = 0; key < stored; key++) {
        const width = config.kvHeads * config.headDim;
        const layers = state.layers.map((layer) => ({
          ...layer,
          v: layer.v.map((code, i) => (Math.floor(i / width) === key ? -code : code)),
        }));
        const other = model.restore(encodeSnapshot({ ...state, layers }, ownerOf(file)));
        expect([key, bitsOf(other.infer(call)) !== expected]).toEqual([key, seen(key)]);
        other.dispose();
      }
    },
  );
});

describe('D10 per-token-scales', () => {
  const HUGE = 7;
  /** Keys follow one direction of the stream, and one token is far out on it. */
  const config: ModelConfig = { ...models['odd decoder']!, positions: 'none', ropeBase: 0, smoothed: false };
  let model: MincutGatedTransformer;
  let bytes: Uint8Array;

  beforeAll(async () => {
    const random = randomWeights(3);
    const { payload } = packPayload(config, (tensor) => {
      const made = random(tensor);
      const { hidden } = config;
      if (tensor.name === 'embeddings.token')
        for (let row = 0; row < config.vocab; row++) {
          if (row === HUGE) made.values.fill(0, row * hidden, (row + 1) * hidden);
          made.values[row * hidden] = row === HUGE ? 10 : 0.04;
        }
      if (/attention\.(key|value)$/.test(tensor.name)) {
        made.values.forEach((v, i) => (made.values[i] = i % hidden === 0 ? 100 : v / 10));
        made.bias?.fill(0);
      }
      return made;
    });
    const meta = {
      source: { name: 'x', license: 'x' },
      report: { scheme: 'int8', worstTensor: { name: 'x', error: 0 } },
    };
    bytes = await writeModel(config, payload, meta);
    model = await MincutGatedTransformer.load(bytes);
  });

  test('a key a hundred times larger leaves those before it as they are, in all heads and layers', () => {
    const { kvHeads } = config;
    const session = model.createSession();
    const first = [20, 21, 22, 23];
    session.infer({ tokens: first });
    const before = stateOf(bytes, session);
    session.infer({ tokens: [HUGE, 30] });
    const after = stateOf(bytes, session);
    const layer = after.layers[0]!;
    for (let head = 0; head < kvHeads; head++) {
      const scale = (token: number): number => layer.kScales[token * kvHeads + head]!;
      for (const token of [0, 1, 2, 3, 5]) expect(scale(4)).toBeGreaterThan(100 * scale(token));
    }
    expect(after.layers).toHaveLength(config.layers);
    after.layers.forEach((is, i) => {
      expect(tokensKv(is, kvHeads, 0, 4)).toEqual(tokensKv(before.layers[i]!, kvHeads, 0, 4));
      // Each head of each token uses its codes to the full.
      for (const codes of [is.k, is.v])
        for (let cell = 0; cell < codes.length; cell += config.headDim) {
          const row = Array.from(codes.subarray(cell, cell + config.headDim), Math.abs);
          expect(Math.max(...row)).toBe(127);
        }
    });
  });

  test('lengths are of the layer, not of its heads: four tokens are four, not eight', () => {
    const session = model.createSession();
    session.infer({ tokens: [1, 2, 3, 4] });
    expect([session.length, session.position]).toEqual([4, 4]);
  });
});
