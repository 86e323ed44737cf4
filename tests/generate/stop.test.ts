import { describe, expect, test } from '@jest/globals';
import { commonPrefix } from '../../src/generate/prefix.js';
import { StopStrings } from '../../src/generate/stop.js';
import { Rng } from '../support/rng.js';

/** By definition, on the whole text: the stop string that ends first, of several the one that begins first. */
function whole(text: string, stops: string[]): { text: string; hit: string | undefined } {
  const found = stops.flatMap((stop) => {
    const at = text.indexOf(stop);
    return at < 0 ? [] : [{ stop, at, end: at + stop.length }];
  });
  const first = found.sort((a, b) => a.end - b.end || a.at - b.at)[0];
  return { text: text.slice(0, first?.at), hit: first?.stop };
}

describe('stop strings', () => {
  test('any cut of any text ends as the whole text does, and no more is held back than must be', () => {
    const rng = new Rng('stops');
    const word = (length: number): string => rng.ints(length, 0, 2).reduce((s, i) => s + 'abé'[i], '');
    let hits = 0;
    for (let round = 0; round < 3000; round++) {
      const stops = Array.from({ length: rng.int(0, 3) }, () => word(rng.int(1, 6)));
      const text = word(rng.int(0, 30));
      const expected = whole(text, stops);
      const stop = new StopStrings(stops);
      let [given, at] = ['', 0];
      while (at < text.length) {
        const next = Math.min(text.length, at + rng.int(0, 5));
        given += stop.push(text.slice(at, next));
        at = next;
        if (stop.hit !== undefined) continue;
        const soFar = text.slice(0, at);
        const held = Array.from(soFar, (_, i) => i).find((from) => stops.some((s) => s.startsWith(soFar.slice(from))));
        expect(given).toBe(soFar.slice(0, held));
      }
      given += stop.flush();
      expect({ round, text: given, hit: stop.hit }).toEqual({ round, ...expected });
      hits += stop.hit === undefined ? 0 : 1;
    }
    expect(hits).toBeGreaterThan(500);
    expect(hits).toBeLessThan(2500);
  });

  test('a stop string over many pieces; what only began one comes out', () => {
    const stop = new StopStrings(['\nUser:', '###']);
    expect(['Yes.', '\nUs', 'es', '\n', 'Us', 'er', ': next'].map((piece) => stop.push(piece))).toEqual([
      ...['Yes.', '', '\nUses', '', '', '', ''],
    ]);
    expect([stop.hit, stop.flush(), stop.push('more')]).toEqual(['\nUser:', '', '']);
    const open = new StopStrings('###');
    expect([open.push('a#'), open.push('#'), open.flush(), open.flush(), open.hit]).toEqual([
      ...['a', '', '##', '', undefined],
    ]);
  });

  test.each<[unknown, string]>([
    [3, 'stop'],
    [{}, 'stop'],
    [null, 'stop'],
    ['', 'stop[0]'],
    [['a', ''], 'stop[1]'],
    [['a', 5], 'stop[1]'],
    [['\ud83d'], 'stop[0]'],
  ])('refuses %j', (stop, field) => {
    expect(() => new StopStrings(stop as string)).toThrow(expect.objectContaining({ code: 'BadInput', field }));
  });
});

test.each([
  [[], [], 0],
  [[1, 2, 3], [1, 2, 3], 3],
  [[1, 2, 3], [1, 2], 2],
  [[1, 2], [1, 2, 3], 2],
  [[1, 5, 3], [1, 2, 3], 1],
  [[4], [1], 0],
])('common prefix of %j and %j', (a, b, n) => {
  expect(commonPrefix(a, Int32Array.from(b))).toBe(n);
});
