import { beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { MgtError, MincutGatedTransformer, type Session } from '../../src/core.node.js';
import { randomModel } from '../../src/convert/init.js';
import { emptySession } from '../../src/reference/session.js';
import { encodeSnapshot, type SessionState } from '../../src/format/snapshot.js';
import { models } from '../support/models.js';
import {
  bitsOf,
  builds,
  errorOf,
  hex,
  loadRandom,
  ownerOf,
  PACKETS,
  ReferenceSession,
  stamped,
  stateOf,
  tokensOf,
} from './support.js';

/** Small enough that every byte of a snapshot can be damaged. */
const small = { ...models['odd decoder']!, vocab: 23 };

describe.each(['micro', 'odd decoder', 'windowed decoder', 'gpt-like', 'odd encoder'])('%s', (name) => {
  const config = models[name]!;
  let bytes: Uint8Array;
  let engines: MincutGatedTransformer[];
  beforeAll(async () => {
    bytes = await randomModel(config, 7);
    engines = await Promise.all(builds.map((simd) => MincutGatedTransformer.load(bytes, { simd })));
  });

  test('a snapshot goes on with the same bits on every build and on the reference, back and forth', () => {
    const options = { seed: 6, layerOrder: 'last', kvFill: 'hole' } as const;
    const reference = new ReferenceSession(bytes, options);
    let session = engines[0]!.createSession(options);
    const steps = config.positions === 'learned' ? 10 : 30;
    for (let i = 0; i < steps; i++) {
      const n = 1 + ((i * 5) % (config.positions === 'learned' ? 4 : 9));
      const gate = Object.values(PACKETS)[i % 5 === 4 ? i % 6 : i % 2]!;
      const input = { tokens: tokensOf(config, n, i), gate, signature: i % 3 };
      expect(bitsOf(session.infer(input))).toBe(bitsOf(reference.infer(input)));
      const snapshot = session.snapshot();
      expect(hex(snapshot)).toBe(hex(reference.snapshot()));
      session.dispose();
      session = engines[i % engines.length]!.restore(snapshot);
      expect(hex(session.snapshot())).toBe(hex(snapshot));
      expect(session.options).toMatchObject(options);
    }
    session.dispose();
  });

  test('it reads bytes that lie anywhere in a buffer, keeps none of them, and takes nothing else', () => {
    const session = engines[0]!.createSession();
    session.infer({ tokens: tokensOf(config, 5, 1), signature: 1 });
    const snapshot = session.snapshot();
    const shared = new Uint8Array(snapshot.length + 7);
    shared.set(snapshot, 3);
    const restored = engines[0]!.restore(shared.subarray(3, 3 + snapshot.length));
    shared.fill(255);
    expect(hex(restored.snapshot())).toBe(hex(snapshot));
    const after = restored.snapshot();
    restored.infer({ tokens: [1], signature: 2 });
    expect(hex(after)).toBe(hex(snapshot));
    for (const wrong of [undefined, null, 'x', [1], snapshot.buffer, new Int8Array(4)])
      expect(errorOf(() => engines[0]!.restore(wrong as never)).field).toBe('snapshot');
    expect(errorOf(() => engines[0]!.restore(snapshot, { colour: 1 } as never)).field).toBe('options.colour');
    expect(errorOf(() => engines[0]!.restore(snapshot, { log: 1 } as never)).field).toBe('log');
  });
});

describe('what is no snapshot of this model', () => {
  let model: MincutGatedTransformer;
  let bytes: Uint8Array;
  let session: Session;
  let snapshot: Uint8Array;
  let total: number;

  beforeAll(async () => {
    ({ model, bytes } = await loadRandom(small, { sessions: 2 }));
    session = model.createSession({ seed: 3 });
    session.infer({ tokens: [1, 2], signature: 5 });
    snapshot = session.snapshot();
    total = model.info.memory.total;
  });
  /** The error of restoring; nothing else may have happened. */
  function refused(damaged: Uint8Array): MgtError {
    const error = errorOf(() => model.restore(damaged));
    expect(error.field).toMatch(/^session\./);
    return error;
  }
  const unharmed = (): void => {
    expect(hex(session.snapshot())).toBe(hex(snapshot));
    expect(model.info.memory.total).toBe(total);
  };
  const u32 = (at: number, value: number): Uint8Array => {
    const forged = snapshot.slice();
    new DataView(forged.buffer).setUint32(at, value, true);
    return stamped(forged);
  };

  test('every byte flipped, by one bit and by all', () => {
    const codes = new Set<string>();
    for (let at = 0; at < snapshot.length; at++) {
      for (const bit of [1 << (at % 8), 255]) {
        const damaged = snapshot.slice();
        damaged[at]! ^= bit;
        codes.add(refused(damaged).code);
      }
    }
    expect([...codes].sort()).toEqual(['BadChecksum', 'BadFile', 'Truncated', 'UnknownVersion']);
    unharmed();
  });

  test('every cut, and bytes behind it', () => {
    for (let n = 0; n < snapshot.length; n++) expect(refused(snapshot.subarray(0, n)).code).toBe('Truncated');
    for (const extra of [1, 8, 64]) {
      const longer = new Uint8Array(snapshot.length + extra);
      longer.set(snapshot);
      expect(refused(longer)).toMatchObject({ code: 'BadFile', field: 'session.bytes' });
      expect(refused(stamped(longer))).toMatchObject({ code: 'BadFile', field: 'session.bytes' });
    }
    unharmed();
  });

  test('a file of another kind, another model, another context', async () => {
    expect(refused(bytes)).toMatchObject({ code: 'BadFile', field: 'session.magic' });
    const { model: other } = await loadRandom(small, {}, 8);
    expect(errorOf(() => other.restore(snapshot))).toMatchObject({ code: 'BadFile', field: 'session.model' });
    const { model: shorter } = await loadRandom(small, { context: 36 });
    expect(errorOf(() => shorter.restore(snapshot))).toMatchObject({ code: 'BadFile', field: 'session.shape' });
    // The same weights under another arithmetic.
    const { model: twin } = await loadRandom({ ...small, ropeBase: 5000 });
    expect(errorOf(() => twin.restore(snapshot))).toMatchObject({ code: 'BadFile', field: 'session.shape' });
    unharmed();
  });

  test('huge counts under a right checksum are refused before anything is made of them', () => {
    const heap = process.memoryUsage().arrayBuffers;
    for (const value of [2 ** 32 - 1, 2 ** 31, 2 ** 24]) {
      expect(refused(u32(76, value))).toMatchObject({ code: 'Truncated', field: 'session.bytes' });
      expect(refused(u32(80, value))).toMatchObject({ code: 'Truncated', field: 'session.bytes' });
      expect(refused(u32(56, value)).field).toBe('session.sinks');
      expect(refused(u32(72, value)).field).toBe('session.position');
    }
    expect(process.memoryUsage().arrayBuffers - heap).toBeLessThan(2 ** 20);
    unharmed();
  });

  test.each([
    ['position below what is stored', 68, 1, 'BadFile', 'position'],
    ['an unknown flag', 12, 12, 'UnknownVersion', 'flags'],
    ['a reserved word', 84, 1, 'UnknownVersion', 'reserved'],
    ['another version', 8, 3, 'UnknownVersion', 'version'],
    ['a flag that takes the cached output away', 12, 0, 'BadFile', 'outputs'],
    ['positions that do not rise', 96, 1, 'BadFile', 'positions'],
    ['a position that is not yet', 100, 2, 'BadFile', 'positions'],
    ['a token that is none', 104, 2 ** 31, 'BadFile', 'tokens'],
    ['an output that is no number', 112, 0x7fc00000, 'BadFile', 'output'],
  ] as const)('%s, under a right checksum', (_what, at, value, code, field) => {
    expect(refused(u32(at, value))).toMatchObject({ code, field: `session.${field}` });
    unharmed();
  });

  const forged = (change: (state: SessionState) => SessionState): Uint8Array =>
    encodeSnapshot(change(stateOf(bytes, session)), ownerOf(bytes));
  test.each([-1, NaN, Infinity, -Infinity])('a scale of %d', (scale) => {
    for (const key of ['kScales', 'vScales'] as const) {
      const bad = forged((state) => ({
        ...state,
        layers: state.layers.map((layer, i) => (i === 1 ? { ...layer, [key]: layer[key].map(() => scale) } : layer)),
      }));
      expect(refused(bad)).toMatchObject({ code: 'BadFile', field: 'session.scales' });
    }
  });

  test('a code of −128', () => {
    for (const key of ['k', 'v'] as const) {
      const bad = forged((state) => ({
        ...state,
        layers: state.layers.map((layer) => ({ ...layer, [key]: layer[key].map(() => -128) })),
      }));
      expect(refused(bad)).toMatchObject({ code: 'BadFile', field: 'session.codes' });
    }
  });

  test('a name for an output that is not there', () => {
    const unnamed = forged((state) => ({ ...state, cached: undefined }));
    new DataView(unnamed.buffer).setUint32(88, 1, true);
    expect(refused(stamped(unnamed))).toMatchObject({ code: 'BadFile', field: 'session.signature' });
  });

  test('more tokens or sinks than the context has', () => {
    const many = forged((state) => {
      const n = small.context + 1;
      const ones = (part: ArrayLike<number>): { length: number } => ({ length: (part.length / 2) * n });
      const codes = (part: Int8Array): Int8Array => Int8Array.from(ones(part), () => 1);
      const scales = (part: Float32Array): Float32Array => Float32Array.from(ones(part), () => 1);
      return {
        ...state,
        position: n,
        positions: Uint32Array.from({ length: n }, (_, i) => i),
        layers: state.layers.map((l) => ({
          k: codes(l.k),
          v: codes(l.v),
          kScales: scales(l.kScales),
          vScales: scales(l.vScales),
        })),
      };
    });
    expect(refused(many)).toMatchObject({ code: 'BadFile', field: 'session.stored' });
    expect(refused(u32(56, small.context)).field).toBe('session.sinks');
  });

  test('more sinks than a session can have, in a context that has room for them', async () => {
    const { model: wide, bytes: file } = await loadRandom({ ...small, context: 300 });
    const { config, ...owner } = ownerOf(file);
    for (const sinks of [65, 128, 200, 299]) {
      const options = { layerOrder: 'first', kvFill: 'propagate', seed: 0, sinks } as const;
      const bad = encodeSnapshot(emptySession(config, options), { config, ...owner });
      expect(errorOf(() => wide.restore(bad))).toMatchObject({ code: 'BadFile', field: 'session.sinks' });
    }
  });

  test('an encoder that says it holds tokens', async () => {
    const { model: encoder, bytes: file } = await loadRandom(models['odd encoder']!);
    const taken = encoder.createSession().snapshot();
    for (const at of [56, 68, 72]) {
      const bad = taken.slice();
      new DataView(bad.buffer).setUint32(at, 1, true);
      expect(errorOf(() => encoder.restore(stamped(bad))).code).toBe('BadFile');
    }
    expect(hex(encoder.restore(taken).snapshot())).toBe(hex(taken));
    expect(ownerOf(file).config.kind).toBe('encoder');
  });

  test('any bytes changed under a right checksum: refused by name, or a state that is what its bytes say', () => {
    const change = fc.record({ at: fc.nat(snapshot.length - 9), value: fc.nat(255) });
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 3 }), (changes) => {
        const bad = snapshot.slice();
        for (const { at, value } of changes) bad[at] = value;
        stamped(bad);
        let restored: Session | undefined;
        try {
          restored = model.restore(bad);
          expect(hex(restored.snapshot())).toBe(hex(bad));
          restored.infer({ tokens: [1] });
        } catch (error) {
          if (!(error instanceof MgtError)) throw error;
          // A position at the end of what can be, or scales that overflow.
          if (restored) expect(['BadInput', 'BadWeights']).toContain(error.code);
        } finally {
          restored?.dispose();
        }
      }),
      { numRuns: 1500 },
    );
    unharmed();
  });
});
