import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, test } from '@jest/globals';
import { scratch } from './support.js';

const dir = scratch();
afterAll(() => dir.remove());

const SEARCH = fileURLToPath(new URL('../../examples/search.mjs', import.meta.url));

// With the model at hand it is run by the real-model suite.
describe('npm run example:search', () => {
  test('without Python one readable line, no trace, exit 1', () => {
    const env = { ...process.env, PATH: dir.path('nothing'), MGT_CACHE: dir.path('cache') };
    const { status, stdout, stderr } = spawnSync(process.execPath, [SEARCH], { env, input: '', encoding: 'utf8' });
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
    expect(stderr).toMatch(/^search: [^\n]*needs python3[^\n]*\n$/);
  });

  test('the page has forty sentences or more, all different', () => {
    const page = readFileSync(fileURLToPath(new URL('../../examples/page.txt', import.meta.url)), 'utf8');
    const sentences = page.split('\n').filter(Boolean);
    expect(sentences.length).toBeGreaterThanOrEqual(40);
    expect(new Set(sentences).size).toBe(sentences.length);
  });
});
