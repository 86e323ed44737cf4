import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { POLICIES } from '../../src/gate/policy.js';
import { readLog } from '../../src/log/chain.js';
import type { CallEntry } from '../../src/log/entry.js';
import { failureInside, inferInside, inside, untouched } from './inside.js';
import { writeMicro, type Inferred } from './models.js';
import { expectFailure, expectJsonFailure, mgt, results, scratch } from './support.js';

const dir = scratch();
const micro = dir.path('micro.mgt');
const file = dir.path('policy.json');

beforeAll(async () => {
  await writeMicro(micro);
});
afterAll(() => dir.remove());

const TOKENS = '5,4,3,2,1,6,7,8,9,10,11,12';
const infer = (...words: string[]): Promise<Inferred> => inferInside(micro, '--tokens', TOKENS, ...words);
function written(policy: unknown): string {
  writeFileSync(file, typeof policy === 'string' ? policy : JSON.stringify(policy));
  return file;
}
const failure = (policy: unknown): Promise<string> =>
  failureInside('infer', micro, '--tokens', '1', '--policy', written(policy));

describe('a policy by its name', () => {
  test('decides by its thresholds and leaves its id', async () => {
    const decide = async (name: string, gate: object) => {
      const { witness } = await infer('--policy', name, '--gate', JSON.stringify(gate));
      return [witness.decision, witness.policyId];
    };
    expect(await decide('default', { lambda: 40 })).toEqual(['FlushKv', 0]);
    expect(await decide('conservative', { lambda: 40 })).toEqual(['QuarantineUpdates', 1]);
    expect(await decide('permissive', { lambda: 55 })).toEqual(['Allow', 2]);
    expect(await decide('default', { lambda: 25, lambdaPrev: 25 })).toEqual(['QuarantineUpdates', 0]);
    expect(await decide('permissive', { lambda: 25, lambdaPrev: 25 })).toEqual(['Allow', 2]);
    const { witness } = await infer();
    expect(witness.policyId).toBe(0);
  });

  test('as a file it has the same effects and the id of a custom one', async () => {
    for (const [name, policy] of Object.entries(POLICIES)) {
      for (const gate of [{}, { lambda: 45, lambdaPrev: 45 }, { boundaryEdges: 15 }, { partitionCount: 15 }]) {
        const words = ['--gate', JSON.stringify(gate)];
        const named = await infer('--policy', name, ...words);
        const custom = await infer('--policy', written(policy), ...words);
        expect(custom).toEqual({ ...named, witness: { ...named.witness, policyId: 65535 } });
      }
    }
  });

  test('by the bin, on both engines, and where people read it', () => {
    const words = ['infer', micro, '--tokens', TOKENS, '--policy', written({ boundaryEdgesMax: 0 }), '--gate'];
    const run = (...more: string[]) =>
      results(mgt([...words, '{"boundaryEdges":1}', '--json', ...more]))[0] as unknown as Inferred;
    const [wasm, reference] = [run(), run('--engine', 'reference')];
    expect(wasm.witness).toMatchObject({ decision: 'ReduceScope', reason: 'BoundarySpike', tier: 1, policyId: 65535 });
    expect(reference).toEqual({ ...wasm, stats: { ...wasm.stats, build: 'reference' } });
    const human = mgt([...words, '{"boundaryEdges":1}']);
    expect(human.stdout).toMatch(/^witness +ReduceScope, reason BoundarySpike · tier 1 · λ 100 → 100$/m);
    expect(human.stdout).toMatch(/policy 65535$/m);
    for (const line of human.stdout.split('\n')) expect(line.length).toBeLessThanOrEqual(100);
  });
});

describe('every field of a file decides', () => {
  const none = {};
  test.each<[string, object, object, object | undefined, object, object]>([
    ['lambdaMin', { lambdaMin: 101 }, none, undefined, { reason: 'None' }, { reason: 'LambdaBelowMin' }],
    [
      'lambdaMin, its largest',
      { lambdaMin: 2 ** 32 - 1 },
      none,
      undefined,
      { reason: 'None' },
      { reason: 'LambdaBelowMin' },
    ],
    [
      'dropRatioQ15Max',
      { dropRatioQ15Max: 0 },
      { lambda: 99 },
      undefined,
      { reason: 'None' },
      { reason: 'LambdaDroppedFast' },
    ],
    [
      'boundaryEdgesMax',
      { boundaryEdgesMax: 3 },
      { boundaryEdges: 4 },
      undefined,
      { reason: 'None' },
      { reason: 'BoundarySpike' },
    ],
    [
      'boundaryEdgesMax, its largest',
      { boundaryEdgesMax: 65535 },
      { boundaryEdges: 65535 },
      undefined,
      { reason: 'BoundarySpike' },
      { reason: 'None' },
    ],
    [
      'boundaryConcentrationQ15Max',
      { boundaryConcentrationQ15Max: 9 },
      { boundaryConcentrationQ15: 10 },
      undefined,
      { reason: 'None' },
      { reason: 'BoundaryConcentrationSpike' },
    ],
    [
      'partitionsMax',
      { partitionsMax: 1 },
      { partitionCount: 2 },
      undefined,
      { reason: 'None' },
      { reason: 'PartitionDrift' },
    ],
    [
      'spikeRateQ15Max',
      { spikeRateQ15Max: 99 },
      none,
      { fired: 1, rateQ15: 100 },
      { reason: 'None' },
      { reason: 'SpikeStorm' },
    ],
    [
      'spikeNoveltyQ15Min, read by nothing',
      { spikeNoveltyQ15Min: 32767 },
      none,
      { fired: 1, noveltyQ15: 1 },
      { reason: 'None' },
      { reason: 'None' },
    ],
    [
      'allowKvWriteWhenUnstable',
      { allowKvWriteWhenUnstable: false },
      { boundaryEdges: 30 },
      undefined,
      { kvWritesEnabled: 1 },
      { kvWritesEnabled: 0 },
    ],
    [
      'allowExternalWriteWhenUnstable',
      { allowExternalWriteWhenUnstable: true },
      { boundaryEdges: 30, flags: 2 },
      undefined,
      { externalWritesEnabled: 0 },
      { externalWritesEnabled: 1 },
    ],
  ])('%s; what is missing is the default', async (_name, policy, gate, spikes, usual, custom) => {
    const words = ['--gate', JSON.stringify(gate), ...(spikes ? ['--spikes', JSON.stringify(spikes)] : [])];
    const log = dir.path('fields.jsonl');
    expect((await infer(...words)).witness).toMatchObject({ ...usual, policyId: 0 });
    expect((await infer(...words, '--policy', written({}))).witness).toMatchObject({ ...usual, policyId: 65535 });
    expect((await infer(...words, '--policy', written(policy), '--log', log)).witness).toMatchObject({
      ...custom,
      policyId: 65535,
    });
    const last = (await readLog(readFileSync(log))).entries.at(-1) as CallEntry;
    expect(last.settings.policy).toEqual({ ...POLICIES.default, ...policy });
  });

  test('and what was decided by files replays', async () => {
    const answer = JSON.parse(await inside('replay', dir.path('fields.jsonl'), '--model', micro, '--json')) as unknown;
    expect(answer).toEqual({ calls: 11, verified: 11 });
  });

  test("a session's calls may each have their own", async () => {
    const session = ['--session', dir.path('s'), '--log', dir.path('s.jsonl')];
    await infer(...session);
    const kept = await inferInside(
      micro,
      '--tokens',
      '7',
      ...session,
      '--policy',
      'permissive',
      '--gate',
      '{"lambda":60}',
    );
    expect(kept.witness).toMatchObject({ decision: 'Allow', policyId: 2 });
    const refused = await inferInside(
      micro,
      '--tokens',
      '7',
      ...session,
      '--policy',
      written({ lambdaMin: 61 }),
      '--gate',
      '{"lambda":60}',
    );
    expect(refused.witness).toMatchObject({ decision: 'QuarantineUpdates', policyId: 65535 });
    const answer = JSON.parse(await inside('replay', dir.path('s.jsonl'), '--model', micro, '--json')) as unknown;
    expect(answer).toEqual({ calls: 3, verified: 3 });
  });
});

describe('a file that is no policy exits 3', () => {
  const numbers: readonly (readonly [string, number])[] = [
    ['lambdaMin', 2 ** 32 - 1],
    ['dropRatioQ15Max', 32767],
    ['boundaryEdgesMax', 65535],
    ['boundaryConcentrationQ15Max', 32767],
    ['partitionsMax', 65535],
    ['spikeRateQ15Max', 32767],
    ['spikeNoveltyQ15Min', 32767],
  ];

  test.each(numbers)('%s is an integer from 0 to %d', async (field, max) => {
    await infer('--policy', written({ [field]: 0 }));
    await infer('--policy', written({ [field]: max }));
    for (const value of ['-1', String(max + 1), '0.5', '1e999', '"30"', 'null', 'true', '[30]', '{}']) {
      expect([value, await failure(`{"${field}":${value}}`)]).toEqual([value, `3 BadConfig policy.${field}`]);
    }
  });

  test.each(['allowKvWriteWhenUnstable', 'allowExternalWriteWhenUnstable'])('%s is true or false', async (field) => {
    for (const value of ['0', '1', '"true"', 'null', '[]']) {
      expect([value, await failure(`{"${field}":${value}}`)]).toEqual([value, `3 BadConfig policy.${field}`]);
    }
  });

  test('unknown fields, other JSON, no JSON', async () => {
    for (const [text, field] of [
      ['{"lambdamin":30}', 'policy.lambdamin'],
      ['{"lambdaMin":30,"lambdaMax":40}', 'policy.lambdaMax'],
      ['{"__proto__":{"lambdaMin":1}}', 'policy.__proto__'],
      ['{"policyId":1}', 'policy.policyId'],
      ['[]', 'policy'],
      ['null', 'policy'],
      ['7', 'policy'],
      ['true', 'policy'],
      ['"conservative"', 'policy'],
      ['', '--policy'],
      ['{"lambdaMin":30,}', '--policy'],
      ['lambdaMin = 30', '--policy'],
    ] as const) {
      expect([text, await failure(text)]).toEqual([text, `3 BadConfig ${field}`]);
    }
    writeFileSync(file, Buffer.of(0x7b, 0xff, 0x7d));
    expect(await failureInside('infer', micro, '--tokens', '1', '--policy', file)).toBe('3 BadConfig --policy');
  });

  test('no file; a name is known by its letters', async () => {
    mkdirSync(dir.path('folder'));
    for (const path of [dir.path('none.json'), dir.path('folder'), '', 'Default', 'conservative ']) {
      expect([path, await failureInside('infer', micro, '--tokens', '1', '--policy', path)]).toEqual([
        path,
        '3 FileNotFound --policy',
      ]);
    }
  });

  test('the bin says so in one line, and keeps session, log and policy as they are', async () => {
    const files = ['--session', dir.path('k'), '--log', dir.path('k.jsonl')];
    await infer(...files);
    const words = ['infer', micro, '--tokens', '1', ...files, '--policy', written({ lambdaMin: 1, lambdaMon: 2 })];
    await untouched([dir.path('k'), dir.path('k.jsonl'), file], () => {
      expectFailure(mgt(words), { exit: 3, code: 'BadConfig', field: 'policy.lambdaMon' });
      expectJsonFailure(mgt([...words, '--engine', 'reference', '--json']), {
        exit: 3,
        code: 'BadConfig',
        field: 'policy.lambdaMon',
      });
    });
    written({});
    const out = ['infer', micro, '--tokens', '1', '--policy', file, '--out', file];
    expect(await untouched([file], () => failureInside(...out))).toBe('2 Usage --out');
    expectFailure(mgt(['infer', micro, '--tokens', '1', '--policy']), { exit: 2, code: 'Usage', field: '--policy' });
  });
});
