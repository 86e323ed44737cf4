import { describe, expect, test } from '@jest/globals';
import { duplicateKey } from '../../src/convert/json.js';
import { openSafetensors } from '../../src/convert/safetensors.js';
import { refusal } from './fixtures.js';
import { assemble, bfloatBits, halfBits, safetensors, type HeaderEntry } from './make-bert.js';

const FILE = 'model.safetensors';
const data = (n: number): Uint8Array => new Uint8Array(n);
const open = (header: unknown, bytes: number): ReturnType<typeof openSafetensors> =>
  openSafetensors(assemble(typeof header === 'string' ? header : JSON.stringify(header), [data(bytes)]));
const entry = (begin: number, end: number, more: Partial<HeaderEntry> = {}): HeaderEntry => ({
  dtype: 'F32',
  shape: [(end - begin) / 4],
  data_offsets: [begin, end],
  ...more,
});
const words = (dtype: string, values: readonly number[], shape = [values.length]): Uint8Array => {
  const view = new DataView(new ArrayBuffer(2 * values.length));
  values.forEach((v, i) => view.setUint16(2 * i, v, true));
  return assemble(JSON.stringify({ t: { dtype, shape, data_offsets: [0, view.byteLength] } }), [
    new Uint8Array(view.buffer),
  ]);
};

describe('values', () => {
  const values = Float32Array.of(0, 1, -2.5, 3e-8, 65504, -0.1);
  const file = safetensors(new Map([['t', { shape: [3, 2], values }]]));

  test('F32 by rows, aligned or not', () => {
    for (const shift of [0, 1, 2, 3]) {
      const moved = new Uint8Array(file.length + shift);
      moved.set(file, shift);
      const tensor = openSafetensors(moved.subarray(shift)).tensor('t');
      expect(tensor.shape).toEqual([3, 2]);
      expect(tensor.read()).toEqual(values);
      expect(tensor.read(1, 2)).toEqual(values.slice(2));
      expect(tensor.read(2)).toEqual(values.slice(4));
    }
  });

  test('every finite F16 is exact', () => {
    const codes = Array.from({ length: 0x10000 }, (_, h) => h).filter((h) => ((h >> 10) & 31) !== 31);
    const read = openSafetensors(words('F16', codes)).tensor('t').read();
    expect([0x0001, 0x3c00, 0xc000, 0x7bff, 0x3555].map((h) => read[codes.indexOf(h)])).toEqual([
      2 ** -24,
      1,
      -2,
      65504,
      0.333251953125,
    ]);
    // The writer of these tests is its own implementation: there and back must be the same codes.
    expect(codes.filter((h, i) => halfBits(read[i]!) !== h && h !== 0x8000)).toEqual([]);
    expect(Object.is(read[codes.indexOf(0x8000)], -0)).toBe(true);
  });

  test('BF16 is the upper half of F32', () => {
    const codes = [0x0000, 0x3f80, 0xc020, 0x7f7f, 0x0001, 0x8080];
    const read = openSafetensors(words('BF16', codes)).tensor('t').read();
    expect([...read].slice(0, 4)).toEqual([0, 1, -2.5, Math.fround(3.3895313892515355e38)]);
    expect([...read].map(bfloatBits)).toEqual(codes);
  });

  test('names, and a metadata entry that is no tensor', () => {
    const opened = openSafetensors(file);
    expect(opened.names).toEqual(['embeddings.position_ids', 't']);
    expect([opened.has('t'), opened.has('__metadata__'), opened.has('toString')]).toEqual([true, false, false]);
  });

  test('an empty file of no tensors, and a tensor of no elements', () => {
    expect(open({}, 0).names).toEqual([]);
    expect(
      open({ t: entry(0, 0, { shape: [0, 4] }) }, 0)
        .tensor('t')
        .read(),
    ).toHaveLength(0);
  });
});

describe('refused', () => {
  test.each<[string, number[], string]>([
    ['F32', [], 'NaN'],
    ['F16', [0x3c00, 0x7c00], 'Infinity'],
    ['F16', [0xfc00], '-Infinity'],
    ['F16', [0x7e00], 'NaN'],
    ['BF16', [0x3f80, 0xff80], '-Infinity'],
    ['BF16', [0x7fc0], 'NaN'],
  ])('%s %j: a value that is not finite', async (dtype, codes, got) => {
    const file =
      dtype === 'F32'
        ? safetensors(new Map([['t', { shape: [2], values: Float32Array.of(1, NaN) }]]))
        : words(dtype, codes);
    expect(await refusal(() => openSafetensors(file).tensor('t').read())).toEqual({
      code: 'BadWeights',
      field: 't',
      expected: 'finite values',
      got,
    });
  });

  test.each(['I64', 'F64', 'F8_E4M3', 'I8'])('a used tensor of %s', async (dtype) => {
    const size = { I64: 8, F64: 8, F8_E4M3: 1, I8: 1 }[dtype]!;
    const opened = open({ t: { dtype, shape: [2], data_offsets: [0, 2 * size] } }, 2 * size);
    expect(await refusal(() => opened.tensor('t').read())).toEqual({
      code: 'UnsupportedArchitecture',
      field: `${FILE}.t.dtype`,
      expected: 'F32, F16 or BF16',
      got: dtype,
    });
  });

  test('a tensor that is not there, rows that are not there', async () => {
    const opened = open({ t: entry(0, 8) }, 8);
    expect(await refusal(() => opened.tensor('u'))).toMatchObject({ code: 'BadFile', field: `${FILE}.u` });
    expect(await refusal(() => opened.tensor('t').read(1, 2))).toMatchObject({ code: 'BadInput', field: 't rows' });
  });

  const cases: [string, unknown, number, string, string][] = [
    ['a key twice', '{"t":{"dtype":"U8","shape":[],"data_offsets":[0,1]},"t":{"dtype":"U8","shape":[],"data_offsets":[0,1]}}', 1, 'BadFile', `${FILE}.t`], // prettier-ignore
    [
      'a field twice',
      '{"t":{"dtype":"U8","shape":[],"shape":[1],"data_offsets":[0,1]}}',
      1,
      'BadFile',
      `${FILE}.shape`,
    ],
    ['no object', '[1]', 0, 'BadFile', `${FILE} header`],
    ['no JSON', '{"t":', 0, 'BadFile', `${FILE} header`],
    ['a tensor that is no object', { t: 1 }, 0, 'BadFile', `${FILE}.t`],
    ['an unknown dtype', { t: entry(0, 4, { dtype: 'F4' }) }, 4, 'BadFile', `${FILE}.t.dtype`],
    ['a dtype of the prototype', { t: entry(0, 4, { dtype: 'toString' }) }, 4, 'BadFile', `${FILE}.t.dtype`],
    ['a negative dimension', { t: entry(0, 4, { shape: [-1] }) }, 4, 'BadFile', `${FILE}.t.shape`],
    ['a fractional dimension', { t: entry(0, 4, { shape: [0.5] }) }, 4, 'BadFile', `${FILE}.t.shape`],
    ['a product beyond the file', { t: entry(0, 4, { shape: [2 ** 40, 2 ** 40] }) }, 4, 'BadFile', `${FILE}.t.data_offsets`], // prettier-ignore
    ['fewer bytes than the shape', { t: entry(0, 4, { shape: [2] }) }, 4, 'BadFile', `${FILE}.t.data_offsets`],
    ['end before begin', { t: entry(0, 4, { data_offsets: [4, 0] }) }, 4, 'BadFile', `${FILE}.t.data_offsets`],
    ['one offset', { t: entry(0, 4, { data_offsets: [0] }) }, 4, 'BadFile', `${FILE}.t.data_offsets`],
    ['an overlap', { t: entry(0, 8), u: entry(4, 12) }, 12, 'BadFile', `${FILE}.u.data_offsets`],
    ['a gap', { t: entry(0, 4), u: entry(8, 12) }, 12, 'BadFile', `${FILE}.u.data_offsets`],
    ['a gap at the start', { t: entry(4, 8) }, 8, 'BadFile', `${FILE}.t.data_offsets`],
    ['bytes after the last tensor', { t: entry(0, 4) }, 5, 'BadFile', FILE],
    ['too few bytes', { t: entry(0, 4), u: entry(4, 12) }, 11, 'Truncated', `${FILE}.u`],
  ];
  test.each(cases)('%s', async (_, header, bytes, code, field) => {
    expect(await refusal(() => open(header, bytes))).toMatchObject({ code, field });
  });

  test.each<[string, Uint8Array, string]>([
    ['nothing', data(0), 'Truncated'],
    ['seven bytes', data(7), 'Truncated'],
    ['a header of no bytes', data(8), 'BadFile'],
    ['a header past the end', Uint8Array.of(9, 0, 0, 0, 0, 0, 0, 0, 123, 125), 'Truncated'],
    ['a header of 2^63 bytes', Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 128, 123, 125), 'BadFile'],
    ['bytes that are no UTF-8', Uint8Array.of(2, 0, 0, 0, 0, 0, 0, 0, 255, 254), 'BadFile'],
    ['a Git LFS pointer', new TextEncoder().encode('version https://git-lfs.github.com/spec/v1\n'), 'BadFile'],
  ])('%s', async (_, bytes, code) => {
    expect(await refusal(() => openSafetensors(bytes))).toMatchObject({ code });
  });

  test('every cut of a file is refused', async () => {
    const file = safetensors(new Map([['t', { shape: [2], values: Float32Array.of(1, 2) }]]));
    for (let n = 0; n < file.length; n++) {
      expect(['Truncated', 'BadFile']).toContain((await refusal(() => openSafetensors(file.subarray(0, n)))).code);
    }
  });
});

test('duplicateKey sees keys of the same object only, however they are written', () => {
  expect(duplicateKey('{"a":1,"b":{"a":2,"c":[{"a":1},{"a":2}]},"c":"a"}')).toBeUndefined();
  expect(duplicateKey('{"a":"{\\"b\\":1,\\"b\\":2}","b":"}"}')).toBeUndefined();
  expect(duplicateKey('{"a":1, "b":[{"x":1,"y":2,"x" : 3}]}')).toBe('x');
  expect(duplicateKey('{"a":1,"\\u0061":2}')).toBe('a');
});
