import { readFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import { decoderPart, replacePart, storiesPart, table } from '../bench/lib/markdown.mjs';
import { judge } from '../bench/lib/targets.mjs';
import { median, medianRatio, takeTurns } from '../bench/lib/timing.mjs';

describe('timing', () => {
  test('median: the middle, or the mean of the two in the middle, whatever the order', () => {
    expect(median([9, 1, 5])).toBe(5);
    expect(median([10, 2, 4, 1])).toBe(3);
    expect(() => median([])).toThrow(RangeError);
  });

  test('a ratio is taken inside each round: a disturbed round moves both sides', () => {
    // The second round ran ten times slower for both; ratio of medians would be 20 / 3.
    expect(medianRatio([2, 20, 22], [1, 10, 3])).toBe(2);
  });

  test('contenders take turns, each after one untimed call, one value a round', async () => {
    const log: string[] = [];
    const spin = (name: string, ms: number) => (): void => {
      log.push(name);
      for (const end = performance.now() + ms; performance.now() < end;);
    };
    const times = await takeTurns(
      [
        { name: 'a', run: spin('a', 1) },
        { name: 'b', run: spin('b', 1), isAsync: true },
      ],
      { rounds: 3, batchMs: 0.5, warmMs: 1 },
    );
    expect(times.a).toHaveLength(3);
    expect(times.b).toHaveLength(3);
    expect(Math.min(...times.a!, ...times.b!)).toBeGreaterThanOrEqual(0.99);
    expect(log.slice(-12).join('')).toBe('aabbaabbaabb');
  });
});

describe('report', () => {
  const page = 'by hand\n<!-- npm run bench: x -->\n\nold\n\n<!-- end: x -->\nmore\n';

  test('only the generated part is replaced, again and again', () => {
    const once = replacePart(page, 'x', 'new');
    expect(once).toBe('by hand\n<!-- npm run bench: x -->\n\nnew\n\n<!-- end: x -->\nmore\n');
    expect(replacePart(once, 'x', 'new')).toBe(once);
    expect(() => replacePart(page, 'y', 'new')).toThrow('y');
    expect(() => replacePart(page.replace('end: x', ''), 'x', 'new')).toThrow('x');
  });

  test('the page has a place for every part', () => {
    const report = readFileSync(new URL('../docs/performance.md', import.meta.url), 'utf8');
    for (const name of ['targets', 'kernels', 'minilm', 'cold', 'decoder', 'stories', 'gate', 'seed']) {
      expect(replacePart(report, name, 'probe')).toContain(`npm run bench: ${name} -->\n\nprobe\n\n<!-- end: ${name}`);
    }
  });

  test('tables are aligned', () => {
    expect(table(['shape', 'ms'], [['8', 1.25]])).toBe('| shape |   ms |\n| ----- | ---: |\n| 8     | 1.25 |');
  });
});

describe('decoder', () => {
  const row = (name: string, peer: boolean, prefill: number): object => ({
    ...{ name, ...(peer ? {} : { build: 'plain' }), agreement: 1, loadMs: 12 },
    ...{ warm: { prefill, decode: 7 }, cold: { prefill: 5, decode: 3 } },
    ofRoof: { prefill: 0.5, decode: 0.25, decodeSimd: 0.1 },
  });
  const group = {
    ...{ quant: 'int8', file: 'Q8_0', rounds: 3, roofs: { gmacs: 40, gbPerS: 28 } },
    rows: [row('ours, Node, plain', false, 300), row('wllama 2.3.1', true, 50)],
    ratios: [{ ours: 'ours, Node, plain', peer: 'wllama 2.3.1', prefill: 6, decode: 3.5 }],
  };

  test('a row for each contender, a ratio for each pair, and what was left out', () => {
    const text = decoderPart({ prompt: 200, fed: 64, left: ['llama.cpp: not built here'], groups: [group] });
    expect(text).toContain('Left out: llama.cpp: not built here.');
    expect(text).toMatch(/\| ours, Node, plain +\| +300 \| +7\.0 \| +50\.0 % \| +25\.0 % \|/);
    expect(text).toMatch(/\| wllama 2\.3\.1 +\| +6\.00× \| +3\.50× \|/);
    expect(decoderPart({ prompt: 200, fed: 64, left: [], groups: [{ ...group, ratios: [] }] })).not.toContain('times');
  });
});

test('stories: shares of full depth, cold beside warm; what was guessed where something was', () => {
  const row = { msPerToken: 0.2, macsPerToken: 2e6, time: 0.75, macs: 0.7, arrived: 0.833 };
  const text = storiesPart({
    ...{ exit: { score: 'entropy', threshold: 0.1, layers: [2, 4] }, stories: 2, tokens: 9, layers: 8 },
    rows: [{ name: 'exit rule', ...row }],
    cold: [{ ...row, msPerToken: 0.5, time: 0.9 }],
    told: [
      { choice: 'temperature 0', name: 'full', ...row },
      { choice: 'temperature 0', name: 'verify', ...row, verify: { drafted: 5, accepted: 4 } },
    ],
  });
  expect(text).toContain('entropy ≤ 0.1, asked after 2, 4 of 8 layers');
  expect(text).toMatch(
    /\| exit rule \| +200\.0 µs \| +2\.00 M \| +70\.0 % \| +75\.0 % \| +83\.3 % \| +500\.0 µs \| +90\.0 % \|/,
  );
  expect(text).toMatch(/\| temperature 0 \| verify +\| .*\| +5 \| +4 \|/);
});

describe('targets', () => {
  const row = (build: string, m: number, ofRoof: number): object => ({ build, shape: [m, 8, 8], ofRoof });
  const tiers = (one: number, two: number, cached: number): object[] =>
    [1, one, two, 9, cached].map((share, i) => ({ tier: Math.min(i, 3), share }));
  const results = {
    kernels: { rows: [row('plain', 8, 0.9), row('plain', 64, 0.69), row('plain', 1, 0.5), row('relaxed', 1, 0.1)] },
    minilm: {
      rows: [
        { tokens: 8, batch: 1, speedup: { web: 2.6 } },
        { tokens: 32, batch: 16, speedup: { web: 9 } },
        { tokens: 32, batch: 1, speedup: { web: 1.4 } },
      ],
    },
    cold: { speedup: { web: 3 } },
    decoder: {
      groups: [
        { quant: 'int4', ratios: [{ ours: 'ours, Node, plain', peer: 'wllama 2.3.1', prefill: 99, decode: 99 }] },
        {
          quant: 'int8',
          ratios: [
            { ours: 'ours, Chromium', peer: 'wllama 2.3.1', prefill: 99, decode: 99 },
            { ours: 'ours, Node, plain', peer: 'wllama 2.3.1', prefill: 3.9, decode: 3 },
            { ours: 'ours, Node, plain', peer: 'wllama 3.8.1', prefill: 99, decode: 7.5 },
            { ours: 'ours, Node, relaxed', peer: 'wllama 3.8.1', prefill: 99, decode: 7.9 },
          ],
        },
      ],
    },
    stories: {
      rows: [
        { name: 'full', macs: 1 },
        { name: 'exit rule', macs: 0.81, arrived: 0.7 },
      ],
    },
    gate: {
      models: [
        { title: 'micro', rows: tiers(0.3, 0.5, 0.02) },
        { title: 'baseline', rows: tiers(0.61, 0.25, 0.01) },
        { title: 'MiniLM', rows: tiers(0.5, 0.1, 0.06) },
      ],
      deciding: [{ ns: 20 }, { ns: 900 }],
    },
  };

  test('the worst shape or model counts; a target is met from its number on, or up to it', () => {
    expect(judge(results).map(({ met }) => met)).toEqual([
      ...[false, true, true, false, true],
      ...[false, true, true, false, true, false, false, false, true, true],
    ]);
    expect(judge(results).map(({ measured }) => Math.round(measured! * 100) / 100)).toEqual([
      ...[69, 50, 2.6, 1.4, 3],
      ...[0.61, 0.25, 0.5, 0.06, 3, 7.9, 3.9, 0.81, 70, 900],
    ]);
  });

  test('what was not measured is neither met nor missed', () => {
    expect(judge({}).every(({ met, measured }) => met === undefined && measured === undefined)).toBe(true);
  });
});
