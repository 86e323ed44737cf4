import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { NEUTRAL_GATE, parseGatePacket } from '../../src/packets/gate.js';
import { NEUTRAL_SPIKES, parseSpikePacket } from '../../src/packets/spike.js';
import { gatePackets, refusal, spikePackets } from './support.js';

/** Every integer field of a packet with its largest value. */
const GATE_FIELDS: [string, number][] = [
  ['lambda', 2 ** 32 - 1],
  ['lambdaPrev', 2 ** 32 - 1],
  ['boundaryEdges', 65535],
  ['boundaryConcentrationQ15', 32767],
  ['partitionCount', 65535],
  ['flags', 7],
];
const SPIKE_FIELDS: [string, number][] = [
  ['rateQ15', 32767],
  ['noveltyQ15', 32767],
  ['flags', 3],
  ['fired', 1],
];

/** No integer in any field's range, whatever the range. */
const NO_INTEGERS: unknown[] = [
  null,
  true,
  false,
  '',
  '5',
  'high',
  1.5,
  0.1 + 0.2,
  -1,
  -0.5,
  NaN,
  Infinity,
  -Infinity,
  2 ** 32,
  2 ** 53,
  5n,
  [],
  [5],
  {},
  { valueOf: () => 5 },
  () => 5,
  Symbol('5'),
  new Date(5),
];
const NO_PACKETS: unknown[] = [null, 0, 1, '', '{}', true, [], [1], 5n, Symbol('gate'), () => ({})];

const parsers = [
  { door: 'gate', parse: parseGatePacket, fields: GATE_FIELDS, neutral: NEUTRAL_GATE },
  { door: 'spikes', parse: parseSpikePacket, fields: SPIKE_FIELDS, neutral: NEUTRAL_SPIKES },
] as const;

describe.each(parsers)('$door from outside', ({ door, parse, fields, neutral }) => {
  test('nothing, an empty object and missing fields are neutral', () => {
    expect(parse(undefined)).toEqual(neutral);
    expect(parse({})).toEqual(neutral);
    expect(parse(Object.fromEntries(fields.map(([key]) => [key, undefined])))).toEqual(neutral);
  });

  test.each(fields)('%s takes 0 and %d, and changes no other field', (key, max) => {
    for (const value of [0, max]) expect(parse({ [key]: value })).toEqual({ ...neutral, [key]: value });
  });

  test.each(fields)('%s refuses what is below 0, above %d or no integer, by name', (key, max) => {
    for (const value of [...NO_INTEGERS, max + 1]) {
      expect(refusal(() => parse({ [key]: value }))).toMatchObject({ code: 'BadInput', field: `${door}.${key}` });
    }
  });

  test('every other number, string or object in every field is refused', () => {
    const wrong = fc.oneof(
      fc.double().filter((x) => !Number.isInteger(x)),
      fc.integer({ max: -1 }),
      fc.maxSafeInteger().filter((x) => x > 2 ** 32 - 1),
      fc.string(),
      fc.boolean(),
      fc.bigInt(),
      fc.object(),
      fc.array(fc.nat()),
    );
    fc.assert(
      fc.property(fc.constantFrom(...fields), wrong, ([key], value) => {
        const given = { [key]: value };
        expect(refusal(() => parse(given)).field).toBe(`${door}.${key}`);
        expect(given[key]).toBe(value);
      }),
    );
  });

  test('an unknown key is refused by name', () => {
    const keys = ['Lambda', 'lambda_prev', 'rate', 'top_len', 'topLen', '', 'toString', '__proto__', 'λ'];
    for (const key of keys) {
      const given: unknown = JSON.parse(`{${JSON.stringify(key)}: 1}`);
      expect(refusal(() => parse(given))).toMatchObject({ code: 'BadInput', field: `${door}.${key}` });
    }
  });

  test('what is no object is refused', () => {
    for (const value of NO_PACKETS) {
      expect(refusal(() => parse(value))).toMatchObject({ code: 'BadInput', field: door, expected: 'an object' });
    }
  });

  test('an unknown flag bit is refused, the known ones listed', () => {
    for (let bit = neutral === NEUTRAL_GATE ? 8 : 4; bit < 65536; bit *= 2) {
      const error = refusal(() => parse({ flags: bit + 1 }));
      expect(error).toMatchObject({ code: 'BadInput', field: `${door}.flags`, got: String(bit + 1) });
      expect(error.expected).toContain(door === 'gate' ? 'SKIP 2' : 'CONTEXT 2');
    }
  });

  test('minus zero, which JSON can hold, is zero', () => {
    for (const [key] of fields) expect(parse(JSON.parse(`{"${key}": -0}`))).toEqual({ ...neutral, [key]: 0 });
  });

  test('the neutral packet cannot be changed', () => expect(Object.isFrozen(parse(undefined))).toBe(true));
});

describe('what is accepted', () => {
  test('a valid gate packet is taken as it is, into an object of its own', () => {
    fc.assert(
      fc.property(gatePackets, (packet) => {
        const parsed = parseGatePacket(packet);
        expect(parsed).toEqual(packet);
        expect(parsed).not.toBe(packet);
      }),
    );
  });

  test('a valid spike packet is taken as it is, topLen derived, its lists copied', () => {
    fc.assert(
      fc.property(spikePackets, ({ topLen, ...input }) => {
        const parsed = parseSpikePacket(input);
        expect(parsed).toEqual({ ...input, topLen });
        expect(parsed.topIdx).not.toBe(input.topIdx);
      }),
    );
  });

  test('a frozen packet is accepted: nothing is written to it', () => {
    const given = Object.freeze({ topIdx: Object.freeze([3]), topWQ15: Object.freeze([7]) });
    expect(parseSpikePacket(given)).toEqual({ ...NEUTRAL_SPIKES, topLen: 1, topIdx: [3], topWQ15: [7] });
  });

  test('a field is read once: a value that changes between reads cannot slip through', () => {
    let reads = 0;
    const given = {
      get lambda() {
        return reads++ === 0 ? 50 : -1;
      },
    };
    expect(parseGatePacket(given).lambda).toBe(50);
  });
});

describe('top-k lists', () => {
  const full = new Array<number>(16).fill(1);

  test('16 entries pass, 17 are refused', () => {
    expect(parseSpikePacket({ topIdx: full, topWQ15: full }).topLen).toBe(16);
    const error = refusal(() => parseSpikePacket({ topIdx: [...full, 1], topWQ15: [...full, 1] }));
    expect(error).toMatchObject({ code: 'BadInput', field: 'spikes.topIdx', got: '17' });
  });

  test.each([
    [
      [1, 2, 3],
      [1, 2],
    ],
    [[], [1]],
    [[1], undefined],
    [undefined, [1]],
  ])('lists of unequal length are refused: %j and %j', (topIdx, topWQ15) => {
    const error = refusal(() => parseSpikePacket({ topIdx, topWQ15 }));
    expect(error).toMatchObject({ code: 'BadInput', field: 'spikes.topWQ15' });
  });

  test.each([
    ['spikes.topIdx[1]', { topIdx: [65535, 65536], topWQ15: [0, 0] }],
    ['spikes.topIdx[0]', { topIdx: [-1], topWQ15: [0] }],
    ['spikes.topIdx[2]', { topIdx: [0, 1, '2'], topWQ15: [0, 0, 0] }],
    ['spikes.topIdx[0]', { topIdx: new Array<number>(1), topWQ15: [0] }],
    ['spikes.topWQ15[0]', { topIdx: [0], topWQ15: [32768] }],
    ['spikes.topWQ15[1]', { topIdx: [0, 1], topWQ15: [32767, null] }],
    ['spikes.topIdx', { topIdx: '1', topWQ15: [0] }],
    ['spikes.topIdx', { topIdx: { length: 0 }, topWQ15: [] }],
    ['spikes.topWQ15', { topIdx: [1], topWQ15: new Uint16Array(1) }],
  ])('%s is named', (field, given) => {
    expect(refusal(() => parseSpikePacket(given))).toMatchObject({ code: 'BadInput', field });
  });

  test('topLen is derived, so it cannot be given', () => {
    const given = { topLen: 1, topIdx: [1], topWQ15: [1] };
    expect(refusal(() => parseSpikePacket(given))).toMatchObject({ code: 'BadInput', field: 'spikes.topLen' });
  });
});
