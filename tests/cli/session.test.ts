import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { sha256Hex } from '../../src/cli/model.js';
import { MincutGatedTransformer, type InferInput, type SessionOptions } from '../../src/core.node.js';
import { failureInside, inferInside, inside, untouched } from './inside.js';
import { writeEncoder, writeMicro, type Inferred } from './models.js';
import { expectFailure, expectJsonFailure, mgt, results, scratch } from './support.js';

const dir = scratch();
const micro = dir.path('micro.mgt');
const encoder = dir.path('encoder.mgt');
let model: MincutGatedTransformer;

/** A folder of its own within the scratch: what else appears beside a file is seen. */
let made = 0;
const folder = (): ((name: string) => string) => {
  const name = `folder${made++}`;
  mkdirSync(dir.path(name));
  return (file) => dir.path(`${name}/${file}`);
};

beforeAll(async () => {
  const bytes = await writeMicro(micro);
  await writeEncoder(encoder, false);
  model = await MincutGatedTransformer.load(bytes);
});
afterAll(() => {
  model.dispose();
  dir.remove();
});

const infer = (...words: string[]): Inferred =>
  results(mgt(['infer', micro, '--json', ...words]))[0] as unknown as Inferred;
const shaOf = ({ logits }: { logits?: Float32Array }): string =>
  sha256Hex(new Uint8Array(logits!.buffer, logits!.byteOffset, logits!.byteLength));

/** What one session of one process gives: sha256 of each output, and the bytes after each call. */
function inOneProcess(
  options: SessionOptions,
  calls: readonly InferInput[],
): { sha256: string[]; bytes: Uint8Array[] } {
  const session = model.createSession(options);
  const sha256: string[] = [];
  const bytes: Uint8Array[] = [];
  for (const call of calls) {
    sha256.push(shaOf(session.infer(call)));
    bytes.push(session.snapshot());
  }
  session.dispose();
  return { sha256, bytes };
}

const REDUCED = { boundaryEdges: 30 };
const SKIP = { flags: 2 };

describe('a session in a file', () => {
  test('is made if missing and goes on: the bits of one process, and of one call with all the tokens', () => {
    const path = folder();
    const parts = [[1, 2, 3], [4, 5], [6]];
    const outputs = parts.map((tokens) => infer('--session', path('s'), '--tokens', tokens.join()).sha256);
    const { sha256, bytes } = inOneProcess(
      {},
      parts.map((tokens) => ({ tokens })),
    );
    expect(outputs).toEqual(sha256);
    expect(readFileSync(path('s')).equals(bytes[2]!)).toBe(true);
    expect(outputs[2]).toBe(shaOf(model.infer({ tokens: parts.flat() })));
    expect(outputs[2]).not.toBe(infer('--tokens', '6').sha256);
    expect(readdirSync(path(''))).toEqual(['s']);
  });

  test('past its ring, with every decision, by either engine in turn: the same bytes as by wasm alone', async () => {
    const path = folder();
    const many = Array.from({ length: 20 }, (_, i) => (i * 37) % 256);
    const calls: InferInput[] = [
      { tokens: many, gate: REDUCED },
      { tokens: many.slice(3), signature: 2n ** 64n - 1n },
      { tokens: [9, 8], gate: { lambda: 20 } },
      { tokens: [7], gate: SKIP, signature: 2n ** 64n - 1n },
      { tokens: [7, 7], spikes: { fired: 1, rateQ15: 9000, topIdx: [1], topWQ15: [5], flags: 1 } },
      { tokens: [5], gate: { lambda: 40, lambdaPrev: 100 } },
      { tokens: [1, 2, 3], gate: REDUCED },
    ];
    const made = ['--layer-order', 'last', '--kv-fill', 'hole', '--sinks', '2', '--seed', '4294967295'];
    const { sha256, bytes } = inOneProcess({ layerOrder: 'last', kvFill: 'hole', sinks: 2, seed: 2 ** 32 - 1 }, calls);
    for (const [i, { tokens, gate, spikes, signature }] of calls.entries()) {
      const words = ['--session', path('s'), '--tokens', Array.from(tokens).join(), ...(i === 0 ? made : [])];
      if (gate) words.push('--gate', JSON.stringify(gate));
      if (spikes) words.push('--spikes', JSON.stringify(spikes));
      if (signature !== undefined) words.push('--signature', String(signature));
      const result = i % 2 === 0 ? infer(...words, '--engine', 'reference') : await inferInside(micro, ...words);
      expect([i, result.sha256]).toEqual([i, sha256[i]]);
      expect([i, readFileSync(path('s')).equals(bytes[i]!)]).toEqual([i, true]);
    }
  });

  test('a reference process without WebAssembly makes the same file', () => {
    const path = folder();
    const args = ['infer', micro, '--tokens', '1,2,3', '--engine', 'reference', '--session', path('s'), '--json'];
    expect(mgt([...args, '--log', path('l')], { node: ['--jitless'] }).code).toBe(0);
    expect(readFileSync(path('s')).equals(inOneProcess({}, [{ tokens: [1, 2, 3] }]).bytes[0]!)).toBe(true);
  });

  test("an encoder's session keeps its signature cache", async () => {
    const path = folder();
    const call = (...words: string[]): Promise<Inferred> => inferInside(encoder, '--session', path('s'), ...words);
    const first = await call('--tokens', '2,9,3', '--signature', '0');
    const cached = await call('--tokens', '2', '--signature', '0', '--gate', JSON.stringify(SKIP));
    expect([cached.sha256, cached.stats.cached, cached.stats.kernelCalls]).toEqual([first.sha256, 1, {}]);
    const other = await call('--tokens', '2', '--signature', '1', '--gate', JSON.stringify(SKIP));
    expect(other).toMatchObject({ stats: { cached: 0, layersExecuted: 0 } });
    expect(other.sha256).not.toBe(first.sha256);
  });

  test('--signature: the ends of u64; a skip changes nothing', async () => {
    for (const name of ['0', String(2n ** 64n - 1n)]) {
      const path = folder();
      const words = ['--session', path('s'), '--signature', name];
      const kept = await inferInside(micro, ...words, '--tokens', '1,2,3');
      const skip = await untouched([path('s')], () =>
        inferInside(micro, ...words, '--tokens', '200', '--gate', JSON.stringify(SKIP)),
      );
      expect([skip.sha256, skip.stats.cached]).toEqual([kept.sha256, 1]);
    }
    for (const [name, failure] of [
      ['18446744073709551616', '4 BadInput signature'],
      ['-1', '4 BadInput signature'],
      ['', '2 Usage --signature'],
      ['1.5', '2 Usage --signature'],
      ['1e3', '2 Usage --signature'],
      ['0x10', '2 Usage --signature'],
      ['7n', '2 Usage --signature'],
    ] as const) {
      expect([name, await failureInside('infer', micro, '--tokens', '1', '--signature', name)]).toEqual([
        name,
        failure,
      ]);
    }
  });
});

describe('a file that is no session of this model exits 3 and stays as it is', () => {
  test('foreign, cut, damaged, of another model or context', async () => {
    const path = folder();
    await inferInside(micro, '--tokens', '1,2,3', '--session', path('good'), '--log', path('l'));
    await writeMicro(path('other.mgt'), 2);
    await inside('infer', path('other.mgt'), '--tokens', '1', '--session', path('other'));
    const good = readFileSync(path('good'));
    const flipped = good.slice();
    flipped[200]! ^= 16;
    writeFileSync(path('text'), 'a letter to a friend\n');
    writeFileSync(path('empty'), '');
    writeFileSync(path('cut'), good.subarray(0, -1));
    writeFileSync(path('long'), Buffer.concat([good, Buffer.of(0)]));
    writeFileSync(path('flipped'), flipped);
    const cases = [
      ['text', 'BadFile', 'session.magic'],
      ['l', 'BadFile', 'session.magic'],
      ['other.mgt', 'BadFile', 'session.magic'],
      ['empty', 'Truncated', 'session.bytes'],
      ['cut', 'Truncated', 'session.bytes'],
      ['long', 'BadFile', 'session.bytes'],
      ['flipped', 'BadChecksum', 'session.checksum'],
      ['other', 'BadFile', 'session.model'],
    ] as const;
    const paths = cases.map(([name]) => path(name));
    await untouched(paths, async () => {
      for (const [i, [name, code, field]] of cases.entries()) {
        const words = ['infer', micro, '--tokens', '4', '--session', path(name)];
        expect([name, await failureInside(...words)]).toEqual([name, `3 ${code} ${field}`]);
        if (i % 3 > 0) continue;
        expectJsonFailure(mgt([...words, '--json']), { exit: 3, code, field });
        expectFailure(mgt([...words, '--engine', 'reference']), { exit: 3, code, field });
      }
    });
    await untouched([path('good')], () => {
      const words = ['infer', micro, '--tokens', '4', '--session', path('good'), '--context', '16', '--json'];
      expectJsonFailure(mgt(words), { exit: 3, code: 'BadFile', field: 'session.shape' });
    });
  });

  test('cut to any length, or with any one byte changed', async () => {
    const path = folder();
    await inferInside(micro, '--tokens', '1,2,3', '--session', path('s'), '--signature', '5', '--sinks', '1');
    const good = readFileSync(path('s'));
    const damaged = [
      ...[0, 1, 7, 8, 95, 96, 103, good.length - 1],
      ...Array.from({ length: 20 }, (_, i) => (i * 977) % good.length),
    ].map((length) => good.subarray(0, length));
    for (let at = 0; at < good.length; at += at < 120 ? 1 : 23) {
      const copy = Buffer.from(good);
      copy[at]! ^= 1 << (at % 8);
      damaged.push(copy);
    }
    for (const bytes of damaged) {
      writeFileSync(path('s'), bytes);
      const failure = await untouched([path('s')], () =>
        failureInside('infer', micro, '--tokens', '4', '--session', path('s')),
      );
      expect(failure).toMatch(/^3 (BadFile|Truncated|BadChecksum|UnknownVersion) session\.\w+$/);
    }
    expect(damaged.length).toBeGreaterThan(200);
  });
});

describe('a call that fails leaves session and log as they are', () => {
  test.each<[string, string[], string]>([
    ['a token', ['--tokens', '4,256'], '4 BadInput tokens[1]'],
    ['no tokens', ['--tokens', ''], '4 BadInput tokens'],
    ['a gate field', ['--gate', '{"lambda":-1}'], '4 BadInput gate.lambda'],
    ['a spike field', ['--spikes', '{"fired":2}'], '4 BadInput spikes.fired'],
    ['no JSON', ['--gate', '{'], '2 Usage --gate'],
    ['a signature', ['--signature', '18446744073709551616'], '4 BadInput signature'],
    ['tier shapes', ['--tiers', '{"layersDegraded":9}'], '3 BadConfig tiers.layersDegraded'],
    ['another layer order', ['--layer-order', 'last'], '4 BadInput --layer-order'],
    ['another fill', ['--kv-fill', 'hole'], '4 BadInput --kv-fill'],
    ['other sinks', ['--sinks', '3'], '4 BadInput --sinks'],
    ['another seed', ['--seed', '1'], '4 BadInput --seed'],
    ['no seed', ['--seed', '-1'], '4 BadInput seed'],
    ['no policy', ['--policy', 'nowhere'], '3 FileNotFound --policy'],
    ['no folder for the output', ['--out', 'nowhere/raw'], '3 FileNotFound --out'],
    ['a full disk', ['--out', '/dev/full'], '3 FileNotFound --out'],
    ['the output into a folder', ['--out', '.'], '3 FileNotFound --out'],
  ])('%s', async (_name, words, failure) => {
    const path = folder();
    const files = ['--session', path('s'), '--log', path('l')];
    await inferInside(micro, '--tokens', '1,2,3', ...files);
    const tokens = words.includes('--tokens') ? [] : ['--tokens', '4'];
    const full = ['infer', micro, ...tokens, ...files, ...words];
    expect(await untouched([path('s'), path('l')], () => failureInside(...full))).toBe(failure);
  });

  test('on the reference too', async () => {
    const path = folder();
    const files = ['--session', path('s'), '--log', path('l')];
    await inferInside(micro, '--tokens', '1,2,3', ...files);
    await untouched([path('s'), path('l')], () => {
      const run = (...words: string[]) => mgt(['infer', micro, ...files, '--engine', 'reference', ...words]);
      expectFailure(run('--tokens', '256'), { exit: 4, code: 'BadInput', field: 'tokens[0]' });
      expectFailure(run('--tokens', '4', '--sinks', '3'), { exit: 4, code: 'BadInput', field: '--sinks' });
    });
  });

  test('the same options again are no contradiction', async () => {
    const path = folder();
    const words = ['--session', path('s'), '--layer-order', 'last', '--kv-fill', 'hole', '--sinks', '3', '--seed', '8'];
    await inferInside(micro, '--tokens', '1', ...words);
    await inferInside(micro, '--tokens', '2', ...words);
    expect(model.restore(readFileSync(path('s'))).position).toBe(2);
  });
});
