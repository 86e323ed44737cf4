import { describe, expect, test } from '@jest/globals';
import * as reference from '../../src/reference/ops.js';
import { BUILDS, guardArena } from '../support/builds.js';
import { CASES } from '../support/cases.js';
import { runCase } from '../support/sweeps/sweep.js';

describe.each(BUILDS)('%s build', (build) => {
  const arena = guardArena(build);

  test('every exported kernel has cases and a reference, and the other way round', () => {
    const exported = Object.keys(arena.kernels).filter((name) => name !== 'heapBase');
    expect(Object.keys(CASES).sort()).toEqual(exported.sort());
    expect(Object.keys(reference).sort()).toEqual(exported.sort());
    for (const cases of Object.values(CASES)) expect(cases.length).toBeGreaterThanOrEqual(7);
  });

  test('static data ends below the arena', () => {
    expect(arena.kernels.heapBase()).toBeLessThanOrEqual(65536);
  });

  test.each(Object.entries(CASES))(
    '%s: the bits of the reference at every size, and not a byte outside its regions',
    (_kernel, cases) => {
      const wrong: string[] = [];
      for (const one of cases) {
        const finding = runCase(arena, one);
        if (finding) wrong.push(`${one.label}: ${finding}`);
      }
      expect(wrong).toEqual([]);
    },
  );
});
