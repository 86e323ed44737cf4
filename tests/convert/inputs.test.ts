import { describe, expect, test } from '@jest/globals';
import { readHuggingFace } from '../../src/convert/huggingface.js';
import { chooseInputs, type Inputs } from '../../src/convert/inputs.js';
import { ACCURACY_TEXTS, CALIBRATION_TEXTS } from '../../src/convert/texts.js';
import { bertFiles, json, memorySource, tokenizerJson, type BertRecipe } from './make-bert.js';

const SMALL: BertRecipe = { hidden: 8, heads: 2, ffn: 8, layers: 1 };

async function inputsOf(recipe: BertRecipe, tokenizer = false): Promise<Inputs> {
  const files = bertFiles({ ...SMALL, ...recipe });
  if (tokenizer) files.set('tokenizer.json', json(tokenizerJson()));
  const { tokenizer: text, bert } = await readHuggingFace(memorySource(files));
  return chooseInputs(text, bert);
}

test('what calibrates never judges, and there is enough of what judges', () => {
  const seen = new Set(CALIBRATION_TEXTS);
  expect(seen.size).toBe(CALIBRATION_TEXTS.length);
  expect(ACCURACY_TEXTS.filter((text) => seen.has(text))).toEqual([]);
  expect(new Set(ACCURACY_TEXTS).size).toBe(ACCURACY_TEXTS.length);
  expect(ACCURACY_TEXTS.length).toBeGreaterThanOrEqual(32);
  expect(ACCURACY_TEXTS.length).not.toBe(CALIBRATION_TEXTS.length); // a report's count tells which set it is
  const bytes = [...CALIBRATION_TEXTS, ...ACCURACY_TEXTS].reduce((n, text) => n + Buffer.byteLength(text), 0);
  expect(bytes).toBeLessThanOrEqual(6 * 1024); // they ship in the package
});

describe('random ids', () => {
  test('of mixed lengths inside vocabulary and context, the same every time', async () => {
    const inputs = await inputsOf({ vocab: 50, positions: 24 });
    expect(inputs).toEqual(await inputsOf({ vocab: 50, positions: 24 }));
    expect(inputs.kind).toBe('random ids');
    for (const set of [inputs.calibration, inputs.accuracy]) {
      expect(set.length).toBeGreaterThanOrEqual(32);
      const lengths = set.map(({ length }) => length);
      expect([Math.min(...lengths), Math.max(...lengths)]).toEqual([1, 24]);
      expect(set.flat().every((id) => Number.isInteger(id) && id >= 0 && id < 50)).toBe(true);
      expect(new Set(set.flat()).size).toBe(50);
    }
  });

  test('long sequences of the two sets differ', async () => {
    const { calibration, accuracy } = await inputsOf({ vocab: 50, positions: 24 });
    const seen = new Set(calibration.map((ids) => ids.join()));
    expect(accuracy.filter((ids) => ids.length > 3 && seen.has(ids.join()))).toEqual([]);
  });
});

test('texts are cut to the context with their closing token', async () => {
  const { kind, accuracy } = await inputsOf({ positions: 10 }, true);
  expect(kind).toBe('texts');
  expect(accuracy).toHaveLength(ACCURACY_TEXTS.length);
  for (const ids of accuracy) {
    expect(ids.length).toBeLessThanOrEqual(10);
    expect([ids[0], ids[ids.length - 1]]).toEqual([2, 3]);
  }
});
