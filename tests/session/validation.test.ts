import { beforeAll, describe, expect, test } from '@jest/globals';
import { MgtError, MincutGatedTransformer, type Session } from '../../src/core.node.js';
import { POLICIES } from '../../src/gate/policy.js';
import { models } from '../support/models.js';
import { bitsOf, errorOf, hex, loadRandom, PACKETS, tokensOf } from './support.js';

/** Everything a caller can give wrongly, field by field: a typed error that names it, and nothing has happened. */
const config = models['odd decoder']!;
const U16 = 65535;
const U32 = 2 ** 32 - 1;
const Q15 = 32767;

type Bad = readonly [field: string, value: unknown];

/** Values that no integer field in min..max takes. */
const integers = (min: number, max: number): unknown[] => [
  ...['1', '', null, true, [], [1], {}, 1n, Symbol('one'), () => 1],
  ...[0.5, NaN, Infinity, -Infinity, min - 1, max + 1, 2 ** 53],
];
const NO_FLAGS = [0, 1, 'true', null, [], {}, NaN];
const NO_OBJECTS = [null, 1, 'x', true, [], [1]];
const each = (field: string, values: readonly unknown[]): Bad[] => values.map((value) => [field, value]);

let bytes: Uint8Array;
let model: MincutGatedTransformer;
beforeAll(async () => {
  ({ model, bytes } = await loadRandom(config));
});

/** Makes {a: {b: value}} of a.b. */
const at = (path: string, value: unknown): object =>
  path.split('.').reduceRight<unknown>((inner, key) => ({ [key]: inner }), value) as object;

describe('a call', () => {
  const valid = { tokens: [1, 2], signature: 3 };
  /** Field as given, values refused, field named (where it differs). */
  const rows: [given: string, values: readonly unknown[], named?: string][] = [
    ['gate', NO_OBJECTS],
    ['gate.lambda', integers(0, U32)],
    ['gate.lambdaPrev', integers(0, U32)],
    ['gate.boundaryEdges', integers(0, U16)],
    ['gate.boundaryConcentrationQ15', integers(0, Q15)],
    ['gate.partitionCount', integers(0, U16)],
    ['gate.flags', [...integers(0, U16), 8, 9, 1024]],
    ['gate.colour', [1]],
    ['spikes', NO_OBJECTS],
    ['spikes.rateQ15', integers(0, Q15)],
    ['spikes.noveltyQ15', integers(0, Q15)],
    ['spikes.flags', [...integers(0, U16), 4, 7]],
    ['spikes.fired', integers(0, 1)],
    ['spikes.topIdx', [null, 1, 'x', {}, new Uint16Array(2), new Array<number>(17).fill(1)]],
    ['spikes.topWQ15', [null, 1, 'x', {}, [1], new Array<number>(17).fill(1)]],
    ['spikes.topLen', [0, 1]],
    ['spikes.colour', [1]],
    ['signature', [-1, 0.5, NaN, 2 ** 53, '1', null, true, {}, -1n, 2n ** 64n]],
    ['tokens', [undefined, null, 1, 'abc', {}, [], new Array<number>(38).fill(1), new DataView(new ArrayBuffer(4))]],
    ['out', [null, 1, [], new Float64Array(300), new ArrayBuffer(2000)]],
    ['colour', [1], 'input.colour'],
  ];
  const cases = rows.flatMap(([given, values, named = given]) =>
    values.map((value): [string, object] => [named, { ...valid, ...at(given, value) }]),
  );
  integers(0, U16).forEach((value) => {
    const spikes = { topIdx: [1, value], topWQ15: [1, 1] };
    cases.push(['spikes.topIdx[1]', { ...valid, spikes }]);
  });
  integers(0, Q15).forEach((value) => {
    const spikes = { topIdx: [1, 1], topWQ15: [1, value] };
    cases.push(['spikes.topWQ15[1]', { ...valid, spikes }]);
  });
  integers(0, config.vocab - 1).forEach((value) => cases.push(['tokens[1]', { ...valid, tokens: [1, value] }]));
  cases.push(['tokens[0]', { ...valid, tokens: BigUint64Array.of(1n) }]);
  cases.push(['tokens[1]', { ...valid, tokens: Object.assign(new Array<number>(2), { 0: 1 }) }]);

  test('every field, every wrong value: BadInput naming it; session, model and next call are as if it had not been', () => {
    const [session, twin] = [model.createSession({ seed: 2 }), model.createSession({ seed: 2 })];
    for (const s of [session, twin]) s.infer({ tokens: tokensOf(config, 9, 1), signature: 3 });
    const before = hex(session.snapshot());
    const calls = session.trace.calls;
    for (const [field, input] of cases) {
      for (const on of [session, model]) {
        const error = errorOf(() => on.infer(input as never));
        expect([error.code, error.field]).toEqual(['BadInput', field]);
        expect(error.message).toContain(`"${field}"`);
      }
      expect(hex(session.snapshot())).toBe(before);
    }
    for (const input of NO_OBJECTS) expect(errorOf(() => session.infer(input as never)).field).toBe('input');
    const short = errorOf(() => session.infer({ ...valid, out: new Float32Array(config.vocab - 1) }));
    expect([short.code, short.field]).toEqual(['OutputTooSmall', 'out']);
    expect(hex(session.snapshot())).toBe(before);
    expect(session.trace.calls).toBe(calls);
    const next = { tokens: [4, 5, 6], gate: PACKETS.ReduceScope };
    expect(bitsOf(session.infer(next))).toBe(bitsOf(twin.infer(next)));
    expect(hex(session.snapshot())).toBe(hex(twin.snapshot()));
    expect(cases.length).toBeGreaterThan(230);
  });

  test('every field at both ends of its range is taken', () => {
    const session = model.createSession();
    const taken: [string, unknown][] = [
      ...(['lambda', 'lambdaPrev'] as const).flatMap((k): [string, unknown][] => [
        [`gate.${k}`, 0],
        [`gate.${k}`, U32],
      ]),
      ...(['boundaryEdges', 'partitionCount'] as const).flatMap((k): [string, unknown][] => [
        [`gate.${k}`, 0],
        [`gate.${k}`, U16],
      ]),
      ...['gate.boundaryConcentrationQ15', 'spikes.rateQ15', 'spikes.noveltyQ15'].flatMap((k): [string, unknown][] => [
        [k, 0],
        [k, Q15],
      ]),
      ...[0, 1, 2, 4, 7].map((flags): [string, unknown] => ['gate.flags', flags]),
      ...[0, 1, 2, 3].map((flags): [string, unknown] => ['spikes.flags', flags]),
      ...[0, 1].map((fired): [string, unknown] => ['spikes.fired', fired]),
      ...[0, 2 ** 53 - 1, 0n, 2n ** 64n - 1n, undefined].map((signature): [string, unknown] => [
        'signature',
        signature,
      ]),
      ...[[0], [config.vocab - 1], Uint8Array.of(1), Float64Array.of(2)].map((tokens): [string, unknown] => [
        'tokens',
        tokens,
      ]),
      ...['gate', 'spikes', 'out'].map((field): [string, unknown] => [field, undefined]),
    ];
    for (const [field, value] of taken) expect(session.infer({ ...valid, ...at(field, value) }).kind).toBe('logits');
    const topIdx = new Array<number>(16).fill(U16);
    const spikes = { flags: 1, topIdx, topWQ15: topIdx.map(() => Q15) };
    expect(session.infer({ ...valid, spikes }).kind).toBe('logits');
  });

  test('positions end: learned ones with the context, others at 2²⁰', async () => {
    const gpt = models['gpt-like']!;
    const { model: learned } = await loadRandom(gpt);
    const session = learned.createSession();
    session.infer({ tokens: tokensOf(gpt, gpt.context, 1) });
    const before = hex(session.snapshot());
    for (const gate of [{}, PACKETS.ReduceScope, PACKETS.FreezeWrites, PACKETS.Skip]) {
      const error = errorOf(() => session.infer({ tokens: [1], gate }));
      expect([error.code, error.field, error.expected]).toEqual([
        'BadInput',
        'tokens',
        'at most 0 more tokens in this session',
      ]);
      expect(hex(session.snapshot())).toBe(before);
    }
    expect(session.infer({ tokens: [1], gate: PACKETS.FlushKv }).witness.decision).toBe('FlushKv');
    expect(session.position).toBe(0);
  });
});

describe('options', () => {
  const policyFields = Object.entries(POLICIES.default).flatMap(([key, value]): Bad[] => {
    const max = key === 'lambdaMin' ? U32 : /edges|partitions/i.test(key) && !key.endsWith('Q15Max') ? U16 : Q15;
    return each(`policy.${key}`, typeof value === 'boolean' ? NO_FLAGS : integers(0, max));
  });
  const policies: Bad[] = [...policyFields, ...each('policy.colour', [1]), ...each('policy', [null, 1, 'x', true, []])];

  test('every field of a policy: BadConfig naming it, at load and by setPolicy, which leaves the old one', async () => {
    const session = model.createSession();
    const gate = { lambda: 30, boundaryEdges: 20, partitionCount: 10, boundaryConcentrationQ15: 20480 };
    const expected = session.infer({ tokens: [1], gate }).witness;
    for (const [field, value] of policies) {
      const policy = field === 'policy' ? value : at(field, value)['policy' as keyof object];
      const error = errorOf(() => model.setPolicy(policy as never));
      expect([error.code, error.field]).toEqual(['BadConfig', field]);
    }
    expect(session.infer({ tokens: [1], gate }).witness).toEqual(expected);
    const own = Object.keys(POLICIES.default);
    expect(new Set(policyFields.map(([field]) => field)).size).toBe(own.length);
    for (const [field, value] of policies.filter((_, i) => i % 7 === 0))
      await refusedAtLoad(field, field === 'policy' ? { policy: value } : at(field, value), 'BadConfig');
  });

  async function refusedAtLoad(field: string, options: object, code = 'BadInput', file = bytes): Promise<void> {
    const error: unknown = await MincutGatedTransformer.load(file, options as never).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(MgtError);
    expect([(error as MgtError).code, (error as MgtError).field]).toEqual([code, field]);
  }

  const reals = ['0.5', null, true, [], {}, 1n, NaN, -0.01, 1.01, Infinity];
  const tierOf = (key: string, max: number): Bad[] => each(`tiers.${key}`, integers(1, max));
  const loads: [code: string, Bad[]][] = [
    [
      'BadConfig',
      [
        ...tierOf('windowNormal', 37),
        ...tierOf('windowDegraded', 37),
        ...tierOf('layersDegraded', config.layers),
        ...tierOf('seqLenDegraded', 37),
        ...tierOf('seqLenSafe', 18),
        ...each('tiers.enableKvCache', NO_FLAGS),
        ...each('tiers.enableExternalWrites', NO_FLAGS),
        ...each('tiers.colour', [1]),
        ...each('tiers', NO_OBJECTS),
        ...['allowBelow', 'quarantineFrom', 'minConfidence'].flatMap((key) => each(`energy.${key}`, reals)),
        ...each('energy.colour', [1]),
        ...each('energy', [null, 1, 'x', []]),
      ],
    ],
    [
      'BadInput',
      [
        ...each('simd', ['fast', '', null, 1, true]),
        ...each('context', [...integers(1, config.context)]),
        ...each(
          'maxMemory',
          integers(1, 2 ** 53 - 1).filter((v) => v !== 2 ** 53),
        ),
        ...each('sessions', integers(0, 65535)),
        ...each('scheduler', NO_FLAGS),
        ...each('verify', NO_FLAGS),
        ...each('partitions', NO_FLAGS),
        ...each('onProgress', [null, 1, 'x', {}, true]),
        ...each('signal', [null, 1, 'x', {}, true]),
        ...each('layerOrder', ['middle', '', null, 0, true, []]),
        ...each('kvFill', ['zero', '', null, 0, true, []]),
        ...each('sinks', integers(0, 36)),
        ...each('log', [null, 1, 'x', {}, { record: 1 }, () => 1]),
      ],
    ],
  ];

  test.each(loads)('load: %s naming the option', async (code, bad) => {
    for (const [field, value] of bad) await refusedAtLoad(field, at(field, value), code);
    await refusedAtLoad('options.colour', { colour: 1 });
    for (const options of NO_OBJECTS) await refusedAtLoad('options', options as never);
  });

  test('load: limits in order — windows, sequences and bands inside one another', async () => {
    await refusedAtLoad('tiers.windowDegraded', { tiers: { windowNormal: 5, windowDegraded: 6 } }, 'BadConfig');
    await refusedAtLoad('tiers.seqLenSafe', { tiers: { seqLenDegraded: 5, seqLenSafe: 6 } }, 'BadConfig');
    await refusedAtLoad('energy.quarantineFrom', { energy: { allowBelow: 0.6, quarantineFrom: 0.5 } }, 'BadConfig');
    await refusedAtLoad('tiers.windowNormal', { context: 20, tiers: { windowNormal: 21 } }, 'BadConfig');
    await refusedAtLoad('sinks', { context: 5, sinks: 5 });
  });

  test('an encoder has no sinks', async () => {
    const { bytes: file } = await loadRandom(models['odd encoder']!);
    await refusedAtLoad('sinks', { sinks: 1 }, 'BadInput', file);
  });

  const sessions: Bad[] = [
    ...each('seed', integers(0, U32)),
    ...each('layerOrder', ['middle', '', null, 0, true, []]),
    ...each('kvFill', ['zero', '', null, 0, true, []]),
    ...each('sinks', integers(0, 36)),
    ...each('log', [null, 1, 'x', {}, { record: 1 }]),
    ...each('options.colour', [1]),
  ];
  test('createSession: BadInput naming the option; no block is taken', async () => {
    const { model: own } = await loadRandom(config, { sessions: 1 });
    const { total } = own.info.memory;
    for (const [field, value] of sessions) {
      const options = field === 'options.colour' ? { colour: value } : at(field, value);
      const error = errorOf(() => own.createSession(options));
      expect([error.code, error.field]).toEqual(['BadInput', field]);
    }
    for (const options of NO_OBJECTS) expect(errorOf(() => own.createSession(options as never)).field).toBe('options');
    const made: Session = own.createSession({
      seed: U32,
      layerOrder: 'last',
      kvFill: 'hole',
      sinks: 36,
      log: undefined,
    });
    expect(made.options).toEqual({ seed: U32, layerOrder: 'last', kvFill: 'hole', sinks: 36 });
    expect(own.info.memory.total).toBe(total);
  });

  test('a session takes what it is not told from its model', async () => {
    const { model: own } = await loadRandom(config, { layerOrder: 'last', kvFill: 'hole', sinks: 2 });
    expect(own.createSession().options).toEqual({ seed: 0, layerOrder: 'last', kvFill: 'hole', sinks: 2 });
    expect(own.createSession({ sinks: 0, seed: 1 }).options).toMatchObject({ sinks: 0, seed: 1, kvFill: 'hole' });
    expect(model.createSession({ kvFill: undefined }).options).toMatchObject({ kvFill: 'propagate', sinks: 4 });
  });
});
