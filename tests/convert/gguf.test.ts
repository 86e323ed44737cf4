import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from '@jest/globals';
import { openGguf, type GgufFile } from '../../src/convert/gguf/index.js';
import { fileAccess } from '../../src/convert/directory-node.js';
import { GGML_TYPES, type GgmlType } from '../../src/convert/gguf/types.js';
import { MgtError } from '../../src/errors.js';
import { Rng } from '../support/rng.js';
import { encode, half, writeGguf, type Metadata, type Options, type Tensor } from './gguf-writer.js';

const rng = new Rng('gguf');
const random = (): number => rng.uniform();
const types = Object.keys(GGML_TYPES) as GgmlType[];
const metadata: Metadata = { 'general.architecture': { text: 'llama' }, 'llama.block_count': { u32: 2 } };
const ROWS = 5;
const COLUMNS = 96;

const made = types.map((type) => ({ type, ...encode(type, ROWS * COLUMNS, random) }));
const tensors = made.map(({ type, data }): Tensor => ({ name: `t.${type}`, type, shape: [ROWS, COLUMNS], data }));
const bytes = writeGguf(metadata, tensors);

const directory = mkdtempSync(join(tmpdir(), 'mgt-gguf-'));
afterAll(() => rmSync(directory, { recursive: true }));

async function failure(action: () => unknown): Promise<MgtError> {
  try {
    await action();
  } catch (error) {
    if (error instanceof MgtError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

const opened = (keys: Metadata = metadata, list: readonly Tensor[] = tensors, options?: Options): Promise<GgufFile> =>
  openGguf(writeGguf(keys, list, options));

describe('Reading tensors', () => {
  test.each(made)('$type: every row, alone and with others', async ({ type, values }) => {
    const tensor = (await openGguf(bytes)).tensor(`t.${type}`);
    expect(tensor).toMatchObject({ type, shape: [ROWS, COLUMNS] });
    expect(tensor.rows(0, ROWS)).toEqual(values);
    expect(tensor.rows(2, 4)).toEqual(values.slice(2 * COLUMNS, 4 * COLUMNS));
    expect(tensor.rows(4, 4)).toEqual(new Float32Array(0));
  });

  test.each(made)('$type: a 4-bit grid where there is one, which makes the same weights', async ({ type, values }) => {
    const grid = (await openGguf(bytes)).tensor(`t.${type}`).grid(3);
    expect(grid !== undefined).toBe(type === 'Q4_0' || type === 'Q4_1');
    if (!grid) return;
    expect([grid.q.length, grid.scales.length, grid.mins.length]).toEqual([COLUMNS, 3, 3]);
    expect(Math.max(...grid.q)).toBeLessThanOrEqual(15);
    const row = Float32Array.from(grid.q, (q, i) => q * grid.scales[i >> 5]! + grid.mins[i >> 5]!);
    const unsigned = (v: number): number => v + 0; // 8 · −s − 8 · −s is 0, where 0 · −s is −0
    expect(row.map(unsigned)).toEqual(values.slice(3 * COLUMNS, 4 * COLUMNS).map(unsigned));
  });

  test('Q4_0 has −8 scales as minimum', async () => {
    const grid = (await openGguf(bytes)).tensor('t.Q4_0').grid(0)!;
    expect(grid.mins).toEqual(grid.scales.map((scale) => -8 * scale));
  });

  test('every half is exact: subnormals, zeros and signs too', async () => {
    const codes = Uint16Array.from({ length: 2 * 31 * 1024 }, (_, i) => (i >= 31 * 1024 ? i - 31 * 1024 + 0x8000 : i));
    const tensor: Tensor = { name: 'h', type: 'F16', shape: [codes.length], data: new Uint8Array(codes.buffer) };
    const values = (await opened(metadata, [tensor])).tensor('h').rows(0, 1);
    expect(values[1]).toBe(2 ** -24);
    expect(values[0x3ff]).toBe(1023 * 2 ** -24);
    expect(values[0x400]).toBe(2 ** -14);
    expect(values[0x7bff]).toBe(65504);
    expect(Object.is(values[31 * 1024], -0)).toBe(true);
    for (let i = 1024; i < 31 * 1024; i++) if (half(values[i]!) !== codes[i]) throw new Error(`half ${i}`);
    for (let i = 1; i < 31 * 1024; i++) if (values[i]! !== -values[i + 31 * 1024]!) throw new Error(`sign of ${i}`);
    for (let i = 1; i < 31 * 1024; i++) if (values[i]! <= values[i - 1]!) throw new Error(`order at ${i}`);
  });

  test('from a file on demand the same as from bytes; other alignments and version 2', async () => {
    for (const [i, options] of [{}, { version: 2 }, { alignment: 256 }].entries()) {
      const keys = options.alignment ? { ...metadata, 'general.alignment': { u32: options.alignment } } : metadata;
      const path = join(directory, `${i}.gguf`);
      writeFileSync(path, writeGguf(keys, tensors, options));
      const file = await openGguf(fileAccess(path));
      for (const { type, values } of made) expect(file.tensor(`t.${type}`).rows(0, ROWS)).toEqual(values);
      file.close();
      expect(await failure(() => file.tensor('t.F32').rows(0, 1))).toMatchObject({ code: 'Disposed' });
      file.close();
    }
  });

  test('a header of several pieces of 2 MB, and a vocabulary that crosses their edges', async () => {
    const texts = Array.from({ length: 80_000 }, (_, i) => `token number ${i} ${'é'.repeat(i % 9)}`);
    const file = await opened({ ...metadata, words: { texts } });
    expect(file.metadata.texts('words')).toEqual(texts);
    expect(file.tensor('t.F32').rows(0, ROWS)).toEqual(made[0]!.values);
  });

  test('rows that are none, and a tensor that is none', async () => {
    const file = await openGguf(bytes, 'm.gguf');
    for (const [from, to] of [
      [0, ROWS + 1],
      [-1, 1],
      [2, 1],
      [0.5, 1],
    ] as const) {
      expect(await failure(() => file.tensor('t.Q4_1').rows(from, to))).toMatchObject({ code: 'BadInput' });
    }
    expect(await failure(() => file.tensor('other'))).toMatchObject({ code: 'BadFile', field: 'm.gguf.other' });
  });

  test('NaN and infinity are no weights, in a scale neither', async () => {
    for (const type of types) {
      const { data } = encode(type, COLUMNS, random);
      const view = new DataView(data.buffer);
      if (type === 'F32') view.setFloat32(8, NaN, true);
      else view.setUint16(0, type === 'BF16' ? 0x7f80 : 0xfc00, true);
      const file = await opened(metadata, [{ name: 'bad', type, shape: [1, COLUMNS], data }]);
      const wanted = { code: 'BadWeights', field: 'model.gguf.bad' };
      expect(await failure(() => file.tensor('bad').rows(0, 1))).toMatchObject(wanted);
      if (type === 'Q4_1' || type === 'Q4_0') {
        expect(await failure(() => file.tensor('bad').grid(0))).toMatchObject(wanted);
      }
    }
  });
});

describe('Metadata', () => {
  test('each kind of value', async () => {
    const { metadata: m } = await opened({
      text: { text: 'é' },
      u64: { u64: 2n ** 40n },
      f32: { f32: 0.5 },
      flag: { bool: true },
      same: { i32s: [3, 3, 3] },
      other: { i32s: [3, 4] },
      floats: { f32s: [0.25, -1] },
      words: { texts: ['a', ''] },
    });
    expect(m.text('text')).toBe('é');
    expect(m.integer('u64', 0, 2 ** 41)).toBe(2 ** 40);
    expect(m.real('f32')).toBe(0.5);
    expect(m.flag('flag', false)).toBe(true);
    expect(m.integer('same', 1, 9)).toBe(3);
    expect(m.numbers('floats')).toEqual([0.25, -1]);
    expect(m.texts('words')).toEqual(['a', '']);
    expect([m.numbers('none'), m.real('none', 7), m.text('none', 'x'), m.flag('none', false)]).toEqual([
      ...[undefined, 7, 'x', false],
    ]);
    expect(await failure(() => m.integer('other', 0, 9))).toMatchObject({ code: 'UnsupportedArchitecture' });
    for (const wrong of [
      () => m.text('u64'),
      () => m.integer('f32', 0, 9),
      () => m.integer('u64', 0, 9),
      () => m.real('text'),
      () => m.flag('u64', true),
      () => m.texts('floats'),
      () => m.numbers('words'),
      () => m.text('none'),
    ]) {
      expect(await failure(wrong)).toMatchObject({ code: 'BadFile' });
    }
  });
});

describe('Bad files', () => {
  const bad = (stated: Tensor['stated'], name = 't.Q4_1'): Promise<MgtError> =>
    failure(() =>
      opened(
        metadata,
        tensors.map((t) => (t.name === name ? { ...t, stated: stated! } : t)),
      ),
    );

  test('cut anywhere: Truncated, from bytes and from a file', async () => {
    const first = writeGguf(metadata, tensors.slice(0, 1));
    for (let length = 1; length < first.length; length += 1 + (length >> 4)) {
      const error = await failure(() => openGguf(first.subarray(0, length)));
      expect([length, error.code]).toEqual([length, 'Truncated']);
    }
    const path = join(directory, 'cut.gguf');
    writeFileSync(path, first.subarray(0, first.length - 1));
    expect(await failure(() => openGguf(fileAccess(path)))).toMatchObject({ code: 'Truncated' });
  });

  test('a file that shrinks after it was opened', async () => {
    const path = join(directory, 'shrinks.gguf');
    writeFileSync(path, bytes);
    const file = await openGguf(fileAccess(path));
    writeFileSync(path, bytes.subarray(0, 500));
    expect(await failure(() => file.tensor('t.BF16').rows(0, ROWS))).toMatchObject({ code: 'Truncated' });
    file.close();
  });

  test('no such file, a directory', async () => {
    expect(await failure(() => fileAccess(join(directory, 'none')))).toMatchObject({ code: 'FileNotFound' });
    expect(await failure(() => fileAccess(directory))).toMatchObject({ code: 'FileNotFound' });
  });

  test('something else, another version, another byte order', async () => {
    expect(await failure(() => openGguf(new Uint8Array(0)))).toMatchObject({ code: 'BadFile' });
    expect(await failure(() => openGguf(new TextEncoder().encode('x'.repeat(99))))).toMatchObject({ code: 'BadFile' });
    for (const version of [0x10001, 1, 4]) {
      expect(await failure(() => opened(metadata, [], { version }))).toMatchObject({ code: 'UnknownVersion' });
    }
    expect(await failure(() => opened(metadata, [], { version: 3 << 24 }))).toMatchObject({ code: 'UnsupportedMode' });
  });

  test('huge counts cost nothing', async () => {
    const before = process.memoryUsage().rss;
    for (const huge of [1000n, 2n ** 32n, 2n ** 63n, 2n ** 64n - 1n]) {
      for (const counts of [{ tensors: huge }, { keys: huge }]) {
        const error = await failure(() => opened(metadata, tensors, { counts }));
        expect([error.code, error.expected]).toEqual(['Truncated', expect.stringMatching(/ keys and .* tensors$/)]);
      }
    }
    const zeros = new Uint8Array(4e6);
    zeros.set(writeGguf({}, [], { counts: { tensors: 100_000n } }));
    expect(await failure(() => openGguf(zeros))).toMatchObject({ code: 'BadFile', got: '100000' });
    // The count of a list lies 12 bytes behind its key.
    const listed = writeGguf({ list: { i32s: [1, 2] }, ...metadata }, tensors);
    for (const huge of [999_999n, 2n ** 40n, 2n ** 64n - 1n]) {
      const copy = listed.slice();
      new DataView(copy.buffer).setBigUint64(24 + 8 + 4 + 4 + 4, huge, true);
      expect(await failure(() => openGguf(copy))).toMatchObject({ code: 'Truncated' });
    }
    expect(process.memoryUsage().rss - before).toBeLessThan(200e6);
  });

  test.each([
    [{ type: 12 }, 'UnsupportedMode', 'Q4_K'],
    [{ type: 14 }, 'UnsupportedMode', 'Q6_K'],
    [{ type: 6 }, 'UnsupportedMode', 'Q5_0'],
    [{ type: 24 }, 'UnsupportedMode', 'I8'],
    [{ type: 999 }, 'UnsupportedMode', 'type 999'],
  ])('a quantisation that is not read is named with its tensor: %j', async (stated, code, got) => {
    expect(await bad(stated)).toMatchObject({ code, got, field: 'model.gguf.t.Q4_1' });
  });

  test.each([
    [{ offset: 7 }, 'BadFile'],
    [{ offset: 0 }, 'BadFile'],
    [{ offset: 2 ** 40 }, 'Truncated'],
    [{ shape: [ROWS, COLUMNS + 1] }, 'BadFile'],
    [{ shape: [ROWS + 1, COLUMNS] }, 'BadFile'],
    [{ shape: [2 ** 31, 2 ** 32] }, 'BadFile'],
    [{ shape: [2 ** 20, 2 ** 20] }, 'Truncated'],
    [{ shape: [0, COLUMNS] }, 'BadFile'],
    [{ shape: [] }, 'BadFile'],
    [{ shape: [1, 1, 1, 1, 32] }, 'BadFile'],
  ])('a tensor whose description cannot be: %j', async (stated, code) => {
    expect(await bad(stated)).toMatchObject({ code });
  });

  test('two tensors or two keys of one name; an alignment that is none', async () => {
    expect(await failure(() => opened(metadata, [tensors[0]!, tensors[0]!]))).toMatchObject({ code: 'BadFile' });
    const twice = writeGguf({ ab: { u32: 1 }, cd: { u32: 2 } });
    twice.set(new TextEncoder().encode('ab'), 24 + 8 + 2 + 8 + 8);
    expect(await failure(() => openGguf(twice))).toMatchObject({ code: 'BadFile', field: 'model.gguf header' });
    for (const u32 of [0, 2 ** 31]) {
      const keys = { ...metadata, 'general.alignment': { u32 } };
      expect(await failure(() => opened(keys))).toMatchObject({ code: 'BadFile' });
    }
  });

  test('random damage is never another error than ours', async () => {
    const small = writeGguf({ ...metadata, words: { texts: ['a', 'bc'] }, n: { i32s: [1, 2] } }, tensors.slice(0, 2));
    const codes = new Set<string>();
    for (let round = 0; round < 150; round++) {
      const copy = small.slice();
      for (let i = rng.int(1, 3); i > 0; i--) copy[rng.int(0, 300)] = rng.int(0, 255);
      try {
        await openGguf(copy);
        codes.add('read');
      } catch (error) {
        if (!(error instanceof MgtError)) throw error;
        codes.add(error.code);
      }
    }
    expect([...codes]).toEqual(expect.arrayContaining(['BadFile', 'Truncated', 'read']));
  });
});
