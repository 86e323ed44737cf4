import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { writeEncoder, writeMicro, type Inferred } from './models.js';
import { expectFailure, expectJsonFailure, mgt, results, scratch } from './support.js';

const dir = scratch();
const micro = dir.path('micro.mgt');
const encoder = dir.path('encoder.mgt');

beforeAll(async () => {
  await writeMicro(micro);
  await writeEncoder(encoder, false);
});
afterAll(() => dir.remove());

const infer = (file: string, ...rest: string[]): Inferred => {
  const lines = results(mgt(['infer', file, '--json', ...rest]));
  expect(lines).toHaveLength(1);
  return lines[0] as unknown as Inferred;
};
const raw = (values: readonly number[]): Buffer => Buffer.from(new Float32Array(values).buffer);
const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

describe('mgt infer --json', () => {
  test('a decoder gives logits, an encoder an embedding', () => {
    const logits = infer(micro, '--tokens', '1,2,3');
    expect(Object.keys(logits)).toEqual(['kind', 'shape', 'sha256', 'layers', 'values', 'witness', 'stats']);
    expect(logits).toMatchObject({ kind: 'logits', shape: [256] });
    const embedding = infer(encoder, '--tokens', '2,9,3');
    expect(embedding).toMatchObject({ kind: 'embedding', shape: [96] });
    for (const { shape, values, sha256: stated } of [logits, embedding]) {
      expect(values).toHaveLength(shape[0]!);
      expect(sha256(raw(values))).toBe(stated);
    }
    expect(Object.keys(logits.witness)).toEqual([
      ...['lambda', 'lambdaPrev', 'lambdaDelta', 'topBoundaryEdgeIds', 'effectiveSeqLen', 'effectiveWindow'],
      ...['boundaryEdges', 'boundaryConcentrationQ15', 'partitionCount', 'decision', 'reason', 'kvWritesEnabled'],
      ...['externalWritesEnabled', 'tier', 'flags', 'layersExecuted', 'policyId'],
    ]);
    expect(logits.witness).toMatchObject({ decision: 'Allow', reason: 'None', tier: 0, layersExecuted: 2 });
    expect(logits.stats.layersExecuted).toBe(2);
    expect(Object.keys(logits.stats.macs)).toEqual(['linear', 'attention', 'head', 'gate']);
  });

  test('--out writes the raw values and leaves them out of the line', () => {
    const shown = infer(micro, '--tokens', '1,2,3');
    const written = infer(micro, '--tokens', '1,2,3', '--out', dir.path('raw.f32'));
    expect(readFileSync(dir.path('raw.f32')).equals(raw(shown.values))).toBe(true);
    expect({ ...written, values: shown.values }).toEqual(shown);
    expect(written).not.toHaveProperty('values');
  });

  test('without --json a summary with the same sha256', () => {
    const { code, stdout, stderr } = mgt(['infer', micro, '--tokens', '1,2,3']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toContain(infer(micro, '--tokens', '1,2,3').sha256);
    expect(stdout).toMatch(/^witness +Allow/m);
  });
});

/** A call per tier, and packets of every field. */
const CALLS: readonly (readonly string[])[] = [
  ['--tokens', '7'],
  ['--tokens', '1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20'],
  ['--tokens', '5,4,3,2,1,6,7,8,9,10,11,12', '--gate', '{"boundaryEdges":30}'],
  ['--tokens', '5,4,3,2,1,6,7,8,9,10,11,12', '--gate', '{"lambda":20}'],
  ['--tokens', '5,4,3', '--gate', '{"flags":2}'],
  ['--tokens', '5,4,3', '--spikes', '{"fired":1,"rateQ15":30000,"topIdx":[1,2],"topWQ15":[5,6]}'],
];

describe('every engine prints the same', () => {
  test.each(CALLS)('%s %s %s %s', (...words) => {
    const call = words.filter((word) => word !== undefined);
    for (const file of call.length > 2 ? [micro] : [micro, encoder]) {
      const wasm = infer(file, ...call);
      const plain = infer(file, ...call, '--simd', 'plain');
      const reference = infer(file, ...call, '--engine', 'reference');
      expect(plain.stats.build).toBe('plain');
      expect(reference.stats.build).toBe('reference');
      for (const other of [plain, reference]) {
        expect(other).toEqual({ ...wasm, stats: { ...wasm.stats, build: other.stats.build } });
      }
    }
  });

  test('the reference runs where there is no WebAssembly, and the gate really changes what runs', () => {
    const args = ['infer', micro, '--tokens', '1,2,3', '--engine', 'reference', '--json'];
    const { code, stdout } = mgt(args, { node: ['--jitless'] });
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toEqual(infer(micro, '--tokens', '1,2,3', '--engine', 'reference'));

    const tokens = CALLS[2]!.slice(0, 2);
    expect(infer(micro, ...CALLS[2]!).sha256).not.toBe(infer(micro, ...tokens).sha256);
    expect(CALLS.map((call) => infer(micro, ...call).stats.layersExecuted)).toEqual([2, 2, 1, 1, 0, 1]);
  });

  test('--simd relaxed runs, or exits 5 where the probe fails, and auto takes what it can', () => {
    const relaxed = mgt(['infer', micro, '--tokens', '1,2,3', '--simd', 'relaxed', '--json']);
    const auto = infer(micro, '--tokens', '1,2,3');
    if (relaxed.code === 0) {
      expect(auto.stats.build).toBe('relaxed');
      expect(results(relaxed)[0]).toEqual(auto);
    } else {
      expectJsonFailure(relaxed, { exit: 5, code: 'UnsupportedMode', field: 'simd' });
      expect(auto.stats.build).toBe('plain');
    }
  });
});

describe('parsed but invalid input exits 4', () => {
  const many = Array.from({ length: 33 }, () => '1').join(',');
  test.each([
    ['--tokens', '', 'tokens'],
    ['--tokens', many, 'tokens'],
    ['--tokens', '-1,2', 'tokens[0]'],
    ['--tokens', '1,1.5', 'tokens[1]'],
    ['--tokens', '1,2,256', 'tokens[2]'],
    ['--tokens', '1e999', 'tokens[0]'],
    ['--gate', '{"lambda":-1}', 'gate.lambda'],
    ['--gate', '{"lambda":4294967296}', 'gate.lambda'],
    ['--gate', '{"lambda":1.5}', 'gate.lambda'],
    ['--gate', '{"lambda":"100"}', 'gate.lambda'],
    ['--gate', '{"boundaryConcentrationQ15":32768}', 'gate.boundaryConcentrationQ15'],
    ['--gate', '{"lamda":1}', 'gate.lamda'],
    ['--gate', '{"__proto__":1}', 'gate.__proto__'],
    ['--gate', '{"a\\nb":1}', /^gate\.a b$/],
    ['--gate', 'null', 'gate'],
    ['--gate', '[]', 'gate'],
    ['--spikes', '{"fired":2}', 'spikes.fired'],
    ['--spikes', '{"rateQ15":40000}', 'spikes.rateQ15'],
    ['--spikes', '{"topIdx":[1],"topWQ15":[1,2]}', /^spikes\.top/],
    ['--spikes', '{"topLen":1}', 'spikes.topLen'],
  ] as [string, string, string | RegExp][])('%s %s', (option, text, field) => {
    const words = option === '--tokens' ? [option, text] : ['--tokens', '1,2', option, text];
    expectFailure(mgt(['infer', micro, ...words]), { exit: 4, code: 'BadInput', field });
  });

  test('the reference refuses the same, and JSON says so', () => {
    const reference = ['infer', micro, '--json', '--engine', 'reference', '--tokens'];
    for (const [words, field] of [
      [['1,256'], 'tokens[1]'],
      [[''], 'tokens'],
      [['1', '--gate', '{"flags":64}'], 'gate.flags'],
    ] as const) {
      expectJsonFailure(mgt([...reference, ...words]), { exit: 4, code: 'BadInput', field });
    }
  });

  test('nothing is written then', () => {
    expectFailure(mgt(['infer', micro, '--tokens', '300', '--out', dir.path('none')]), { exit: 4, code: 'BadInput' });
    expect(() => readFileSync(dir.path('none'))).toThrow('ENOENT');
  });
});
