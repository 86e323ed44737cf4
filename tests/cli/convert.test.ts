import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { bertConfig, bertFiles, json, randomBert, safetensors } from '../convert/make-bert.js';
import { expectFailure, expectJsonFailure, mgt, mgtAsync, results, scratch } from './support.js';

const dir = scratch();
const source = dir.path('bert');
const RECIPE = { vocab: 120, hidden: 48, layers: 2, heads: 4, ffn: 80, positions: 40, std: 0.3 };

/** A source directory on disk. */
function write(name: string, files: ReadonlyMap<string, Uint8Array>): string {
  const folder = dir.path(name);
  mkdirSync(folder, { recursive: true });
  for (const [file, content] of files) writeFileSync(`${folder}/${file}`, content);
  return folder;
}

/** The plain directory with one file replaced, or left out where `content` is null. */
function changed(name: string, file: string, content: Uint8Array | null): string {
  const files = bertFiles(RECIPE);
  if (content) files.set(file, Uint8Array.from(content));
  else files.delete(file);
  return write(name, files);
}

function nanWeights(): Uint8Array {
  const tensors = randomBert(RECIPE);
  tensors.get('encoder.layer.1.output.dense.weight')!.values[7] = NaN;
  return safetensors(tensors);
}

beforeAll(() => void write('bert', bertFiles(RECIPE)));
afterAll(() => dir.remove());

describe('mgt convert', () => {
  test('--json says what was written, and the other commands read it', () => {
    const path = dir.path('model.mgt');
    const [line] = results(mgt(['convert', source, '-o', path, '--json']));
    expect(Object.keys(line!)).toEqual(['tensors', 'bytes', 'worstTensor', 'accuracy']);
    const { tensors, bytes, worstTensor, accuracy } = line as unknown as {
      tensors: number;
      bytes: number;
      worstTensor: { name: string; error: number };
      accuracy: { cosineMean: number; cosineMin: number; texts: number };
    };
    expect(bytes).toBe(readFileSync(path).length);
    expect(worstTensor.error).toBeGreaterThan(0);
    expect(accuracy.texts).toBeGreaterThanOrEqual(32);
    expect(accuracy.cosineMean).toBeGreaterThan(0.99);
    expect(accuracy.cosineMin).toBeLessThanOrEqual(accuracy.cosineMean);
    const [inspected] = results(mgt(['inspect', path, '--json'])) as [
      { regions: { name: string }[]; quantisation: object },
    ];
    const weights = inspected.regions.map(({ name }) => name).filter((name) => name.startsWith('weights.'));
    expect(weights).toHaveLength(tensors);
    expect(weights).toContain(`weights.${worstTensor.name}`);
    expect(inspected.quantisation).toMatchObject({ worstTensor, accuracy });
    expect(mgt(['infer', path, '--tokens', '1,2,3'])).toMatchObject({ code: 0, stderr: '' });
  });

  test('without --json a summary; --quant int7 is another file', () => {
    const ran = mgt(['convert', source, '-o', dir.path('int7.mgt'), '--quant', 'int7']);
    expect(ran).toMatchObject({ code: 0, stderr: '' });
    expect(ran.stdout).toMatch(/^accuracy +cosine to float mean 0\.99/m);
    const [line] = results(mgt(['inspect', dir.path('int7.mgt'), '--json']));
    expect(line).toMatchObject({ config: { quant: 'int7', kind: 'encoder', hidden: RECIPE.hidden } });
  });

  test('a URL is a source like a folder', async () => {
    const server = createServer((request, response) => {
      const path = `${source}/${decodeURIComponent(request.url!.slice(1))}`;
      const found = existsSync(path);
      response.writeHead(found ? 200 : 404).end(found ? readFileSync(path) : 'none');
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const ran = await mgtAsync(['convert', url, '-o', dir.path('fetched.mgt'), '--json']);
    server.close();
    results(ran);
    const sha256 = (path: string): unknown => results(mgt(['inspect', path, '--json']))[0]!.sha256;
    results(mgt(['convert', source, '-o', dir.path('local.mgt'), '--json']));
    expect(sha256(dir.path('fetched.mgt'))).toBe(sha256(dir.path('local.mgt')));
    expectFailure(await mgtAsync(['convert', url, '-o', dir.path('x.mgt')]), { exit: 3, code: 'FileNotFound' });
  });
});

describe('what convert refuses leaves no file', () => {
  const config = (name: string, over: Record<string, unknown>): string =>
    changed(name, 'config.json', json(bertConfig({ ...RECIPE, config: over })));
  test.each([
    ['a missing folder', () => dir.path('nowhere'), 3, 'FileNotFound'],
    ['a file that is no GGUF', () => `${source}/config.json`, 3, 'BadFile'],
    ['no weights', () => changed('weightless', 'model.safetensors', null), 3, 'FileNotFound'],
    ['a config that is no JSON', () => changed('garbled', 'config.json', Buffer.from('{"a": ')), 3, 'BadFile'],
    [
      'cut weights',
      () => changed('cut', 'model.safetensors', safetensors(randomBert(RECIPE)).subarray(0, 9999)),
      3,
      /^(Truncated|BadFile)$/,
    ],
    ['NaN weights', () => changed('nan', 'model.safetensors', nanWeights()), 3, 'BadWeights'],
    ['another shape than the config says', () => config('shape', { intermediate_size: 81 }), 3, /^Bad/],
    ['another architecture', () => config('t5', { model_type: 't5' }), 5, 'UnsupportedArchitecture'],
    ['another activation', () => config('act', { hidden_act: 'swish' }), 5, /^Unsupported/],
  ] as [string, () => string, number, string | RegExp][])('%s', (_, make, exit, code) => {
    const ran = mgt(['convert', make(), '-o', dir.path('refused.mgt'), '--json']);
    const found = (JSON.parse(ran.stderr) as { error: { code: string } }).error.code;
    expect(found).toMatch(code);
    expectJsonFailure(ran, { exit, code: found });
    expect(readdirSync(dir.path('.')).filter((name) => /refused/.test(name))).toEqual([]);
  });
});
