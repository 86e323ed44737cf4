import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import { MgtError } from '../src/errors.js';
import { instantiateKernels } from '../src/kernels/instantiate.js';
import { relaxedDotIsExact } from '../src/kernels/probe.js';

interface Facts {
  bytes: number;
  imports: string[];
  exports: string[];
  relaxedDots: number;
  mutableGlobals: number;
  dataSegments: number;
}

const script = new URL('../scripts/build-wasm.mjs', import.meta.url).pathname;
const facts = JSON.parse(execFileSync(process.execPath, [script, '--inspect'], { encoding: 'utf8' })) as Record<
  string,
  Facts
>;
const plain = readFileSync(new URL('../build/mgt.wasm', import.meta.url));
const relaxed = readFileSync(new URL('../build/mgt.relaxed.wasm', import.meta.url));
const memory = () => new WebAssembly.Memory({ initial: 1 });

/** The MgtError that f throws, as one comparable line. */
function refusal(f: () => unknown): string {
  try {
    f();
  } catch (error) {
    if (error instanceof MgtError) return `${error.code} ${error.field}: ${error.got}`;
    throw error;
  }
  return 'accepted';
}

/** A module whose exports are `name`s of one function with no parameters. */
function moduleExporting(...names: string[]): Uint8Array<ArrayBuffer> {
  const entries = names.flatMap((name) => [name.length, ...new TextEncoder().encode(name), 0, 0]);
  return new Uint8Array([
    ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...[1, 4, 1, 0x60, 0, 0],
    ...[3, 2, 1, 0],
    ...[7, entries.length + 1, names.length, ...entries],
    ...[10, 4, 1, 2, 0, 0x0b],
  ]);
}

describe.each(['build/mgt.wasm', 'build/mgt.relaxed.wasm'])('%s', (file) => {
  const build = facts[file]!;
  test('imports one memory and nothing else', () => expect(build.imports).toEqual(['env.memory memory']));
  test('is at most 40 KB', () => expect(build.bytes).toBeLessThanOrEqual(40 * 1024));
  test('keeps no state: no mutable globals, no static data', () => {
    expect([build.mutableGlobals, build.dataSegments]).toEqual([0, 0]);
  });
});

describe('the two builds', () => {
  test('only the relaxed one runs relaxed dot', () => {
    expect(facts['build/mgt.wasm']!.relaxedDots).toBe(0);
    expect(facts['build/mgt.relaxed.wasm']!.relaxedDots).toBeGreaterThan(0);
  });
  test('the relaxed one has the kernels that relaxed dot does otherwise', () => {
    expect(facts['build/mgt.relaxed.wasm']!.exports).toEqual(['gemmI4', 'gemmI7', 'gemvI4', 'gemvI7']);
    expect(facts['build/mgt.wasm']!.exports).toEqual(expect.arrayContaining(facts['build/mgt.relaxed.wasm']!.exports));
  });
});

describe('instantiateKernels', () => {
  test('gives the catalogue from bytes, a buffer and a module', () => {
    const buffer = new Uint8Array(plain).buffer;
    for (const source of [plain, buffer, new WebAssembly.Module(plain)]) {
      const kernels = instantiateKernels(source, memory());
      expect(Object.keys(kernels).sort()).toEqual(facts['build/mgt.wasm']!.exports);
      expect(kernels.heapBase()).toBeLessThanOrEqual(65536);
    }
  });
  test('the relaxed build runs where the probe says so, and is refused elsewhere', () => {
    expect(refusal(() => instantiateKernels(plain, memory(), relaxed)).split(':')[0]).toBe(
      relaxedDotIsExact() ? 'accepted' : 'UnsupportedMode wasm',
    );
  });
  test.each([
    ['<!doctype html><html><body>', 'HTML starting "<!doctype html><html><body>"'],
    ['{"error": 404}', 'text starting "{\\"error\\": 404}"'],
    ['', 'an empty file'],
    ['\x1f\x8b\x08\x00', 'gzip'],
    ['\x00\x01\x02\x03', 'bytes 00 01 02 03'],
  ])('refuses %j, naming what it is', (text, got) => {
    const bytes = Uint8Array.from(text, (c) => c.charCodeAt(0));
    expect(refusal(() => instantiateKernels(bytes, memory()))).toBe(`BadFile wasm: ${got}`);
  });
  test('refuses a broken module', () => {
    expect(refusal(() => instantiateKernels(plain.subarray(0, 100), memory()))).toMatch(/^UnsupportedMode wasm: /);
  });
  test('refuses modules with other exports', () => {
    expect(refusal(() => instantiateKernels(moduleExporting('heapBase'), memory()))).toBe(
      'BadFile wasm.checksum: no such export',
    );
    expect(refusal(() => instantiateKernels(moduleExporting('heapBase', 'checksum'), memory()))).toBe(
      'BadFile wasm.checksum: 0',
    );
  });
});

test('the probe knows the engine: relaxed dot is exact from V8 12 on', () => {
  expect(relaxedDotIsExact()).toBe(Number(process.versions.v8.split('.')[0]) >= 12);
});
