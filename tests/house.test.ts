import { describe, expect, test } from '@jest/globals';
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseModule, reach, readModules } from './support/modules.js';

/**
 * Who may import whom: a folder of src/, or a file at its top, and the others whose values it may use. What is not
 * listed is an error; `type` targets are types only. An oracle shares no arithmetic with what it judges, the gate
 * knows packets and no memory, kernels know addresses and no regions.
 */
const LEAVES = ['errors', 'check', 'round', 'config', 'checksum', 'presets', 'random'];
const TABLE: Record<string, { value: string[]; type?: string[] }> = {
  errors: { value: [] },
  round: { value: [] },
  random: { value: [] },
  checksum: { value: [] },
  check: { value: ['errors'] },
  config: { value: ['errors', 'check'] },
  presets: { value: ['errors', 'check', 'config'] },
  format: { value: LEAVES },
  packets: { value: LEAVES },
  kernels: { value: ['errors', '@assemblyscript/loader'] },
  plan: { value: [...LEAVES, 'format', 'packets', 'kernels'] },
  arena: { value: [...LEAVES, 'plan'] },
  gate: { value: [...LEAVES, 'packets'] },
  platform: { value: ['errors', 'arena', 'node:'], type: ['generate'] },
  engine: { value: [...LEAVES, 'format', 'packets', 'plan', 'arena', 'kernels', 'gate', 'platform', 'generate'] },
  reference: { value: [...LEAVES, 'format'] },
  log: { value: [...LEAVES, 'format', 'packets', 'gate'], type: ['engine'] },
  generate: { value: [...LEAVES, '@huggingface/jinja'], type: ['text'] },
  text: { value: [...LEAVES, '@huggingface/tokenizers'], type: ['platform', 'generate'] },
  convert: {
    value: [...LEAVES, 'format', 'text', 'engine', 'reference', 'platform', 'core.node', 'node:', '@huggingface/gguf'],
  },
  exports: { value: ['errors', 'gate', 'packets'], type: ['config', 'engine', 'generate'] },
  core: { value: ['exports', 'engine', 'platform'] },
  'core.node': { value: ['exports', 'engine', 'platform'] },
  index: { value: ['exports', 'engine', 'platform', 'text', 'generate'] },
  'index.node': { value: ['exports', 'engine', 'platform', 'text', 'generate'] },
  stories: { value: ['platform'] },
  cli: {
    value: [
      ...LEAVES,
      'format',
      'plan',
      'engine',
      'gate',
      'packets',
      'reference',
      'log',
      'convert',
      'text',
      'platform',
      'node:',
    ].concat(...['index.node', 'core.node', 'generate']),
  },
};

/** Folders whose results are bits that must be the same everywhere. */
const VALUE_PATH =
  /^(engine|reference|format|kernels|plan|arena|gate|packets)\/|^convert\/init\.ts$|^generate\/(sample|exp|log)\.ts$|^[a-z]+\.ts$/;
/** Members of Math that IEEE 754 or integers define exactly; the others differ between engines. */
const EXACT = ['abs', 'ceil', 'clz32', 'floor', 'fround', 'imul', 'max', 'min', 'sign', 'sqrt', 'trunc'];

const modules = readModules();
const unitOf = (file: string): string =>
  file.includes('/') ? file.slice(0, file.indexOf('/')) : file.replace(/\.ts$/, '');
const targetOf = (specifier: string, file: string | undefined): string =>
  file ? unitOf(file) : specifier.startsWith('node:') ? 'node:' : specifier;

describe('who imports whom', () => {
  const files = new Set(modules.map((module) => module.file));
  const each = modules.flatMap(({ file, imports }) => imports.map((i) => ({ from: file, unit: unitOf(file), ...i })));

  test('every module stands in the table, and every row has modules', () => {
    expect([...new Set(modules.map(({ file }) => unitOf(file)))].sort()).toEqual(Object.keys(TABLE).sort());
  });

  test('every import is one its row allows', () => {
    const forbidden = each.filter(({ unit, specifier, file, typeOnly }) => {
      const to = targetOf(specifier, file);
      const { value = [], type = [] } = TABLE[unit] ?? {};
      return to !== unit && !value.includes(to) && !(typeOnly && [...LEAVES, ...type].includes(to));
    });
    expect(forbidden.map(({ from, specifier }) => `${from} imports ${specifier}`)).toEqual([]);
  });

  test('every relative import names a module', () => {
    expect(each.filter(({ file }) => file !== undefined && !files.has(file))).toEqual([]);
  });

  test('no module reaches itself', () => {
    const cyclic = modules.filter(({ file, imports }) =>
      imports.some(({ file: next, typeOnly }) => next && !typeOnly && reach(modules, next).has(file)),
    );
    expect(cyclic.map(({ file }) => file)).toEqual([]);
  });

  test.each([
    ['reference', ['kernels', 'arena', 'engine', 'plan', 'platform']],
    ['gate', ['kernels', 'arena', 'engine', 'plan', 'format', 'platform']],
    ['packets', ['kernels', 'arena', 'engine', 'plan', 'format', 'platform']],
    ['engine', ['reference', 'convert', 'cli', 'text']],
  ])('%s reaches nothing of %j, however far', (unit, never) => {
    const reached = modules
      .filter(({ file }) => unitOf(file) === unit)
      .flatMap(({ file }) => [...reach(modules, file)].map(unitOf));
    expect(reached).toContain(unit);
    expect([...new Set(reached)].filter((other) => never.includes(other))).toEqual([]);
  });

  test('only kernels and the engine name WebAssembly', () => {
    const named = modules.filter(({ names }) => names.has('WebAssembly')).map(({ file }) => unitOf(file));
    expect([...new Set(named)].filter((unit) => !['kernels', 'arena', 'engine'].includes(unit))).toEqual([]);
  });

  test('the parser sees what it is asked for', () => {
    const seen = parseModule(
      'a/b.ts',
      "import { type A, b } from '../c.js'; import type { D } from './d.js'; await import('e'); Math.exp(1); const { sin, fround: f } = Math;",
    );
    expect(seen.imports).toEqual([
      { specifier: '../c.js', file: 'c.ts', typeOnly: false },
      { specifier: './d.js', file: 'a/d.ts', typeOnly: true },
      { specifier: 'e', file: undefined, typeOnly: false },
    ]);
    expect(seen.math).toEqual(['exp', 'sin', 'fround']);
  });
});

describe('arithmetic', () => {
  test('modules that make values use exact Math only', () => {
    const valuePath = modules.filter(({ file }) => VALUE_PATH.test(file));
    expect(valuePath.length).toBeGreaterThan(30);
    const inexact = valuePath.flatMap(({ file, math }) =>
      math.filter((name) => !EXACT.includes(name)).map((name) => `${file}: Math.${name}`),
    );
    expect(inexact).toEqual([]);
  });

  test.each(['gate', 'engine', 'reference', 'kernels'])('%s reads no clock', (unit) => {
    const impure = modules.filter(
      ({ file, names }) => unitOf(file) === unit && (names.has('Date') || names.has('performance')),
    );
    expect(impure.map(({ file }) => file)).toEqual([]);
  });
});

interface Bundle {
  /** Input files of what is loaded with the entry. */
  inputs: string[];
  /** Of what is loaded when it is asked for. */
  later: string[];
  /** Of the entry's own chunk. */
  bytes: number;
}

/** A browser bundle of an entry as esbuild makes it. */
function bundle(entry: string): Bundle {
  const root = fileURLToPath(new URL('..', import.meta.url));
  // In a process of its own: esbuild's JavaScript API does not run inside jest's realm.
  const script = `import { build } from 'esbuild';
    const { metafile: { outputs } } = await build({ entryPoints: [${JSON.stringify(entry)}], bundle: true, minify: true, write: false,
      format: 'esm', platform: 'browser', metafile: true, logLevel: 'error', external: ['*.wasm'], splitting: true, outdir: 'none' });
    const first = Object.keys(outputs).find((name) => outputs[name].entryPoint === ${JSON.stringify(entry)});
    const reach = (name, seen = new Set()) => {
      if (!seen.has(name)) {
        seen.add(name);
        for (const { path, kind } of outputs[name].imports) if (kind === 'import-statement') reach(path, seen);
      }
      return seen;
    };
    const now = reach(first);
    const inputsOf = (names) => names.flatMap((name) => Object.keys(outputs[name].inputs));
    const later = inputsOf(Object.keys(outputs).filter((name) => !now.has(name)));
    console.log(JSON.stringify({ inputs: inputsOf([...now]), later, bytes: outputs[first].bytes }));`;
  const printed = execFileSync(process.execPath, ['--input-type=module', '-e', script], {
    cwd: root,
    encoding: 'utf8',
  });
  return JSON.parse(printed) as Bundle;
}

/** `src` for our own modules, else the npm package an input belongs to. */
const ownerOf = (input: string): string =>
  /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(input)?.[1] ?? (input.startsWith('src/') ? 'src' : input);

describe('what a browser bundle holds', () => {
  test.each([
    ['src/core.ts', ['@assemblyscript/loader', 'src'], []],
    ['src/index.ts', ['@assemblyscript/loader', '@huggingface/tokenizers', 'src'], ['@huggingface/jinja']],
  ])('%s: %j, and once it is used %j', (entry, owners, lazy) => {
    const { inputs, later, bytes } = bundle(entry);
    expect([...new Set(later.map(ownerOf))].sort()).toEqual(lazy);
    expect([...new Set(inputs.map(ownerOf))].sort()).toEqual(owners);
    expect(inputs.filter((input) => /^src\/(cli|convert|reference)\/|node\.ts$|stories/.test(input))).toEqual([]);
    expect(bytes).toBeGreaterThan(1000);
  });
});
