import { readFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import { askedLayers, chooseRule, paretoFront, type Rule } from '../scripts/lib/stories.mjs';
import { cardParts, replacePart } from '../scripts/lib/story-card.mjs';

describe('rules of exits', () => {
  test('asked: every inner layer alone, pairs apart, every second; all where asking costs nothing', () => {
    expect(askedLayers(6, 'maxProb')).toEqual([[2], [3], [4], [2, 4]]);
    expect(askedLayers(6, 'saturation')).toEqual([[2], [3], [4], [2, 4], [2, 3, 4]]);
    expect(askedLayers(8, 'margin')).toHaveLength(12);
  });

  test('the front: by share, each with fewer bits than all that spend less', () => {
    const rules = [
      { share: 0.9, bitsPerByte: 1 },
      { share: 0.5, bitsPerByte: 2 },
      { share: 0.7, bitsPerByte: 2.1 },
      { share: 0.7, bitsPerByte: 1.5 },
      { share: 0.8, bitsPerByte: 1.5 },
    ];
    expect(paretoFront(rules)).toEqual([rules[1], rules[3], rules[0]]);
  });

  /** A text on which bits fall and compute rises with the threshold: of two layers the later spends more and loses less. */
  const figures = ({ threshold, layers }: Rule): { share: number; bitsPerByte: number } => ({
    share: 0.3 + 0.02 * layers[0]! + 0.5 * threshold,
    bitsPerByte: 1 + (1 - threshold) / layers[0]!,
  });
  const grid = [2, 4].flatMap((layer) =>
    [0.2, 0.5, 0.8].map((threshold) => {
      const rule = { score: 'maxProb', threshold, layers: [layer] };
      return { ...rule, ...figures(rule) };
    }),
  );
  const choose = async (limit: number, gridLimit = limit): ReturnType<typeof chooseRule> =>
    chooseRule(
      { measure: (_, { exit }) => Promise.resolve(figures(exit)) },
      undefined,
      grid,
      limit,
      gridLimit,
      () => undefined,
    );

  test('chosen: the least share within the limit, between the points of the grid', async () => {
    const best = (await choose(1.1))!;
    // 1 + (1 − t) / 4 = 1.1 at t = 0.6; the other family reaches it at 0.8.
    expect(best.layers).toEqual([4]);
    expect(best.bitsPerByte).toBeLessThanOrEqual(1.1);
    expect(best.threshold).toBeGreaterThanOrEqual(0.6);
    expect(best.threshold).toBeLessThan(0.63);
  });

  test('where all documents are harder than the grid’s, it becomes stricter; none where none is within', async () => {
    const best = (await choose(1.02, 1.06))!;
    expect(best.bitsPerByte).toBeLessThanOrEqual(1.02);
    expect(best.threshold).toBeGreaterThanOrEqual(0.92);
    expect(await choose(0.9)).toBeUndefined();
  });

  test('where all of the grid is within, it becomes laxer', async () => {
    const best = (await choose(1.22))!;
    expect(best.layers).toEqual([4]);
    expect(best.threshold).toBeGreaterThanOrEqual(0.12);
    expect(best.threshold).toBeLessThan(0.14);
  });
});

describe('the model card', () => {
  const card = readFileSync(new URL('../docs/stories.md', import.meta.url), 'utf8');

  test('has a place for every part', () => {
    for (const name of ['model', 'data', 'bits', 'ngram', 'rule', 'curve', 'samples'])
      expect(replacePart(card, name, 'probe')).toContain(
        `story-model.mjs: ${name} -->\n\nprobe\n\n<!-- end: ${name} -->`,
      );
    expect(() => replacePart(card, 'nothing', '')).toThrow('nothing');
  });

  test('exits: int8 beside float where there is one; compute as a share of the last', () => {
    const exit = (layer: number, bitsPerByte: number): object => ({ layer, bitsPerByte, macsPerToken: layer * 1e6 });
    const int8 = { test: { documents: 2, tokens: 1000, bytes: 3000, exits: [exit(1, 1.1), exit(2, 0.99)] } };
    const { bits } = cardParts({ int8 }, { float: { test: { 2: 1 } } });
    expect(bits).toMatch(/\| 1 +\| +– \| +1\.1000 \| +– \| +1\.00 M \| +50\.0 % \|/);
    expect(bits).toMatch(/\| 2 +\| +1\.0000 \| +0\.9900 \| +−1\.00 % \| +2\.00 M \| +100\.0 % \|/);
  });

  test('the rule, or that there is none; samples as they are', () => {
    const figures = { bitsPerByte: 1.01, full: 1, more: 0.01, share: 0.7, macsPerToken: 2e6, meanLayers: 5 };
    const exit = { score: 'entropy', threshold: 0.1, layers: [2, 4] };
    const { rule } = cardParts({ rule: { limit: 1.8, exit, dev: figures, test: figures } });
    expect(rule).toContain('--exit entropy:0.1 --exit-layers 2,4');
    expect(rule).toMatch(/\| test \| +1\.0000 \| +1\.0100 \| +\+1\.00 % \| +70\.0 % \|/);
    expect(rule).toContain('for at most 2 % more bits, reached; the goal of 65 % is not reached.');
    const dear = { ...figures, more: 0.021, share: 0.6 };
    expect(cardParts({ rule: { limit: 1.8, exit, dev: dear, test: dear } }).rule).toMatch(
      /bits, not reached; .* not reached/,
    );
    expect(cardParts({ rule: { limit: 1.8 } }).rule).toContain('No rule');
    const stories = [{ seed: 0, text: 'A cat.\nIt sat.', tokens: 7, ended: 'stop' }];
    const { samples } = cardParts({ samples: { temperature: 0.7, minP: 0.05, maxTokens: 9, stories } });
    expect(samples).toContain('Seed 0, 7 tokens, ended by itself:\n\n> A cat.\n> It sat.');
  });
});
