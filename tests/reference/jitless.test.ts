import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import ts from 'typescript';
import { referenceForward } from '../../src/reference/forward.js';
import { models } from '../support/models.js';
import { packed, randomWeights } from '../support/weights.js';

const source = fileURLToPath(new URL('../../src/', import.meta.url));

/** Modules under src/ that the reference needs, types left out; each as a path from src/. */
function needed(entry: string, found = new Map<string, string>()): Map<string, string> {
  if (found.has(entry)) return found;
  const text = readFileSync(join(source, entry), 'utf8');
  const { outputText } = ts.transpileModule(text, {
    compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext, verbatimModuleSyntax: true },
  });
  found.set(entry, outputText);
  for (const [, path = ''] of outputText.matchAll(/from '([^']+)'/g)) {
    if (!path.startsWith('.')) throw new Error(`${entry} imports the package ${path}`);
    needed(relative(source, join(source, dirname(entry), path.replace(/\.js$/, '.ts'))), found);
  }
  return found;
}

describe('the reference stands alone', () => {
  const modules = needed('reference/session.ts', needed('reference/forward.ts'));

  test('it imports leaves and itself, never kernels, arena or engine', () => {
    const own = readdirSync(join(source, 'reference')).map((name) => `reference/${name}`);
    expect([...modules.keys()].sort()).toEqual(
      [...own, 'checksum.ts', 'errors.ts', 'format/tensors.ts', 'round.ts'].sort(),
    );
  });

  describe('under --jitless, where there is no WebAssembly', () => {
    const folder = mkdtempSync(join(tmpdir(), 'reference-'));
    beforeAll(() => {
      writeFileSync(join(folder, 'package.json'), '{ "type": "module" }');
      for (const [path, text] of modules) {
        const at = join(folder, path.replace(/\.ts$/, '.js'));
        mkdirSync(dirname(at), { recursive: true });
        writeFileSync(at, text);
      }
      writeFileSync(
        join(folder, 'run.js'),
        `import { readFileSync } from 'node:fs';
         import { referenceForward } from './reference/forward.js';
         const { model, payload, call } = JSON.parse(readFileSync(0, 'utf8'));
         const { values } = referenceForward(model, new Uint8Array(Buffer.from(payload, 'base64')), call);
         const bits = Array.from(new Uint32Array(values.buffer));
         console.log(JSON.stringify({ wasm: typeof WebAssembly, bits }));`,
      );
    });
    afterAll(() => rmSync(folder, { recursive: true }));

    test.each(['odd encoder', 'odd decoder int7', 'gpt-like'])('%s has the same bits', (name) => {
      const config = models[name]!;
      const { model, payload } = packed(config, randomWeights(config, 4));
      const call = { tokens: [1, 200, 30, 4], layers: 2, window: 3 };
      const input = JSON.stringify({ model, payload: Buffer.from(payload).toString('base64'), call });
      const printed = execFileSync(process.execPath, ['--jitless', '--no-warnings', join(folder, 'run.js')], {
        input,
        encoding: 'utf8',
        env: { ...process.env, NODE_OPTIONS: '' },
      });
      const { values } = referenceForward(model, payload, call);
      expect(JSON.parse(printed)).toEqual({ wasm: 'undefined', bits: [...new Uint32Array(values.buffer)] });
    });
  });
});
