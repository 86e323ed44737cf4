import { beforeAll, describe, expect, test } from '@jest/globals';
import { QUANTS } from '../../src/config.js';
import { convert } from '../../src/convert/convert.js';
import { MincutGatedTransformer } from '../../src/core.node.js';
import { parseHeader } from '../../src/format/file.js';
import {
  AT,
  ENTRY_BYTES,
  FIXED_BYTES,
  NAME_BYTES,
  TABLE_AT,
  TENSOR_KINDS,
  headerHash,
} from '../../src/format/header.js';
import { writeModel } from '../../src/format/write.js';
import { refusal } from './fixtures.js';
import { llamaGguf } from './make-gguf.js';

/** Somebody's file: an int4 decoder with int8 layers whose header was changed and stamped again. */

const INT8 = TENSOR_KINDS.indexOf('panel-i8');
const INT4 = TENSOR_KINDS.indexOf('panel-i4');
/** Where config.quant stands: word 18 of the configuration. */
const QUANT_AT = FIXED_BYTES + 4 * 18;

let bytes: Uint8Array;
let names: string[];
beforeAll(async () => {
  const { file } = llamaGguf({
    ...{ vocab: 33, hidden: 64, heads: 4, kvHeads: 2, headDim: 16, ffn: 96, context: 16, std: 0.05 },
    type: (name) => (name.includes('ffn_up') ? 'Q8_0' : 'Q4_1'),
  });
  ({ bytes } = await convert(file));
  names = parseHeader(bytes, bytes.length).weights.tensors.map(({ name }) => name);
});

class Forged {
  readonly file = bytes.slice();
  readonly view = new DataView(this.file.buffer);
  #at = (name: string): number => TABLE_AT + names.indexOf(name) * ENTRY_BYTES;
  kind(name: string, kind: number): this {
    this.view.setUint32(this.#at(name) + NAME_BYTES, kind, true);
    return this;
  }
  rename(name: string, other: string): this {
    const text = new TextEncoder().encode(other);
    this.file.fill(0, this.#at(name), this.#at(name) + NAME_BYTES).set(text, this.#at(name));
    return this;
  }
  quant(quant: (typeof QUANTS)[number]): this {
    this.view.setUint32(QUANT_AT, QUANTS.indexOf(quant), true);
    return this;
  }
  async refused(): Promise<string> {
    const { payloadOffset } = parseHeader(bytes, bytes.length);
    this.view.setBigUint64(AT.headerHash, headerHash(this.file.subarray(0, payloadOffset)), true);
    const { code, field } = await refusal(() => MincutGatedTransformer.load(this.file));
    return `${code} ${field}`;
  }
}

test('as it was, it loads and says which layers are int8', async () => {
  expect(new Forged().view.getUint32(QUANT_AT, true)).toBe(QUANTS.indexOf('int4'));
  const { info } = await MincutGatedTransformer.load(bytes);
  expect(info.config).toMatchObject({ quant: 'int4', int8Tensors: ['layers.0.ffn.up', 'layers.1.ffn.up'] });
});

describe('kinds of the table', () => {
  test('int8 for what is no linear layer', async () => {
    for (const name of ['layers.0.attention.norm.weight', 'final.norm.weight']) {
      expect(await new Forged().kind(name, INT8).refused()).toMatch(/^Bad(File|Config) config\.int8Tensors$/);
    }
  });

  test('a layer from one kind to the other: the sizes disagree', async () => {
    expect(await new Forged().kind('layers.0.ffn.gate', INT8).refused()).toBe('BadFile payloadBytes');
    expect(await new Forged().kind('layers.0.ffn.up', INT4).refused()).toBe('BadFile payloadBytes');
    expect(await new Forged().kind('embeddings.token', INT4).refused()).toMatch(/^BadFile tensors\[0\]\.kind$/);
  });

  test('two of one shape exchanged: the length is right, the places are not', async () => {
    const swapped = new Forged().kind('layers.0.ffn.up', INT4).kind('layers.0.ffn.gate', INT8);
    expect(await swapped.refused()).toMatch(/^BadFile tensors\[\d+\]\.bytes$/);
  });

  test.each(['int8', 'int7'] as const)('a configuration that says %s', async (quant) => {
    expect(await new Forged().quant(quant).refused()).toBe('BadFile payloadBytes');
    const all = names.reduce((forged, name) => forged.kind(name, INT8), new Forged().quant(quant));
    expect(await all.refused()).toBe('BadFile payloadBytes');
  });

  test('int8 under a name that is not there, or is twice', async () => {
    for (const [other, expected] of [
      ['layers.0.ffn.bottom', 'BadConfig config.int8Tensors'],
      ['layers.1.ffn.up', 'BadFile config.int8Tensors'],
      ['layers.9.ffn.up', 'BadConfig config.int8Tensors'],
      ['__proto__', 'BadConfig config.int8Tensors'],
    ] as const) {
      expect([other, await new Forged().rename('layers.0.ffn.up', other).refused()]).toEqual([other, expected]);
    }
    expect(await new Forged().rename('layers.0.ffn.up', 'embeddings.token').refused()).toBe('BadFile payloadBytes');
  });
});

test('f16 scales that are not finite, padding that is not zero: behind a right checksum all the same', async () => {
  const { weights, payloadOffset } = parseHeader(bytes, bytes.length);
  const { checksum64 } = await import('../../src/checksum.js');
  const { offset } = weights.tensors.find(({ name }) => name === 'layers.0.ffn.gate')!;
  const change = async (at: number, byte: number): Promise<string> => {
    const forged = new Forged();
    forged.file[payloadOffset + offset + at] = byte;
    forged.view.setBigUint64(AT.checksum, checksum64(forged.file.subarray(payloadOffset)), true);
    return forged.refused();
  };
  expect(await change(64 + 1, 0x7c)).toBe('BadWeights layers.0.ffn.gate.scale[0][0]');
  expect(await change(64 + 16 + 3, 0xfe)).toBe('BadWeights layers.0.ffn.gate.min[1][0]');
  expect(await change(3, 0xff)).toBe('BadWeights layers.0.ffn.gate.scale[0]');
});

test.each([5, {}, 'abc', null, [1, '2'], [33], [-1], [1.5], [[1]]])(
  'end tokens that are no ids: %j',
  async (endTokens) => {
    const { config, meta, payloadOffset } = parseHeader(bytes, bytes.length);
    const write = async (ids: unknown): Promise<Uint8Array> =>
      writeModel(config, bytes.subarray(payloadOffset), { ...meta, endTokens: ids } as never);
    const { code, field } = await refusal(async () => MincutGatedTransformer.load(await write(endTokens)));
    expect([code, field]).toEqual(['BadFile', 'meta.endTokens']);
    (await MincutGatedTransformer.load(await write([0, 32]))).dispose();
  },
);
