import { beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { validateConfig } from '../../src/config.js';
import { randomModel } from '../../src/convert/init.js';
import { MgtError } from '../../src/errors.js';
import { headerLength, parseHeader } from '../../src/format/file.js';
import { AT, TABLE_AT, headerHash } from '../../src/format/header.js';
import { checkPayload, codeOffset, packPayload } from '../../src/format/pack.js';
import { planWeights } from '../../src/format/tensors.js';
import { writeModel } from '../../src/format/write.js';
import { anyConfig, models, oddEncoder } from '../support/models.js';

const viewOf = (b: Uint8Array): DataView => new DataView(b.buffer, b.byteOffset, b.byteLength);
const codeOf = (run: () => unknown): string => {
  try {
    run();
  } catch (error) {
    if (error instanceof MgtError) return `${error.code} ${error.field}`;
    throw error;
  }
  return 'no error';
};
/** Recomputes the header hash, as somebody would who means to fool the reader. */
const restamp = (bytes: Uint8Array): Uint8Array => {
  viewOf(bytes).setBigUint64(AT.headerHash, headerHash(bytes.subarray(0, headerLength(bytes))), true);
  return bytes;
};

let bytes: Uint8Array;
beforeAll(async () => {
  bytes = await randomModel(oddEncoder, 1);
});

describe('round trip', () => {
  test.each(Object.entries(models))('%s: config, plan and meta survive', async (_name, config) => {
    const { payload } = packPayload(config, ({ shape }) => ({
      values: new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(0.5),
    }));
    const meta = {
      source: { name: 'näme', license: 'mit' },
      report: {
        scheme: 'int8',
        worstTensor: { name: 'x', error: 0.25 },
        accuracy: { cosineMean: 1, cosineMin: 1, texts: 32 },
      },
      tokenizer: { json: '{"ü":"\u{1F600}"}', config: '{}' },
    };
    const file = await writeModel(config, payload, meta);
    const parsed = parseHeader(file, file.length);
    expect(parsed.config).toEqual(config);
    expect(parsed.weights).toEqual(planWeights(config));
    expect(parsed.meta).toEqual(meta);
    expect(Buffer.compare(file.subarray(parsed.payloadOffset), payload)).toBe(0);
    expect(file.length).toBe(parsed.payloadOffset + parsed.payloadBytes);
  });

  test('the payload is the end of the file and its SHA-256 stands in the header as 32 raw bytes', async () => {
    const { payloadOffset, sha256 } = parseHeader(bytes, bytes.length);
    const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes.slice(payloadOffset)));
    expect(sha256).toEqual(digest);
    expect(bytes.subarray(AT.sha256, AT.sha256 + 32)).toEqual(digest);
  });

  test('codes dequantise to within half a scale of the floats', () => {
    const config = { ...oddEncoder, smoothed: false };
    const source = new Map<string, Float32Array>();
    const { payload, errors } = packPayload(config, ({ name, shape }) => {
      const values = Float32Array.from(
        { length: shape.reduce((a, b) => a * b, 1) },
        (_, i) => Math.sin(i * 12.9898) * 3,
      );
      source.set(name, values);
      return { values };
    });
    const tensor = planWeights(config).tensors.find((t) => t.name === 'layers.1.ffn.up')!;
    const view = new DataView(payload.buffer, tensor.offset);
    const stride = 64 + 8 * 96;
    for (let n = 0; n < 176; n++) {
      const panel = Math.floor(n / 8) * stride;
      const scale = view.getFloat32(panel + 4 * (n % 8), true);
      for (let k = 0; k < 96; k++) {
        const value = view.getInt8(panel + 64 + codeOffset(k, n % 8)) * scale;
        expect(Math.abs(value - source.get(tensor.name)![n * 96 + k]!)).toBeLessThanOrEqual(scale * 0.5001);
      }
    }
    expect(errors.every((e) => e.error > 0 && e.error < 0.01)).toBe(true);
  });
});

describe('damage', () => {
  test('a flipped bit is refused: in every byte up to the table, in every seventh of the rest', () => {
    const length = headerLength(bytes);
    for (let i = 0; i < length; i += i < TABLE_AT ? 1 : 7) {
      const damaged = bytes.slice(0, length);
      damaged[i]! ^= 1 << (i % 8);
      expect([i, codeOf(() => parseHeader(damaged, bytes.length))]).not.toEqual([i, 'no error']);
    }
  });

  test('every cut is Truncated', () => {
    const length = headerLength(bytes);
    for (const n of [0, 1, 7, 8, 127, 128, 200, length - 1]) {
      expect([n, codeOf(() => parseHeader(bytes.subarray(0, n), n))]).toEqual([n, 'Truncated header']);
    }
    for (const n of [length, bytes.length - 1]) {
      expect(codeOf(() => parseHeader(bytes.subarray(0, n), n))).toBe('Truncated file');
    }
    expect(codeOf(() => parseHeader(bytes, bytes.length + 1))).toBe('BadFile file');
  });

  test('foreign files are named by what they start with', () => {
    const html = new TextEncoder().encode('<!DOCTYPE html>');
    expect(() => headerLength(html)).toThrow('a file that starts "<!DOCTYP"');
    expect(() => headerLength(Uint8Array.of(0x1f, 0x8b, 8))).toThrow('1f 8b 08');
    expect(codeOf(() => headerLength(html))).toBe('BadFile magic');
  });

  test.each([
    ['version', AT.version, 'UnknownVersion version'],
    ['flags', AT.flags, 'UnknownVersion flags'],
    ['endianness', AT.endianness, 'BadFile endianness'],
    ['payloadBytes', AT.payloadBytes, 'BadFile payloadBytes'],
    ['tensorCount', AT.tensorCount, 'BadFile tensorCount'],
    ['metaBytes', AT.metaBytes, 'BadFile meta'],
    ['reserved', AT.reserved, 'UnknownVersion reserved'],
    ['config.kind', 128, 'BadConfig config.kind'],
    ['config.hidden', 136, 'BadConfig config.heads'],
    ['config.exitLayers', 128 + 31 * 4, 'BadConfig config.exitLayers[0]'],
    ['tensor name', TABLE_AT, 'BadFile tensors[0].name'],
    ['tensor kind', TABLE_AT + 40, 'BadFile tensors[0].kind'],
    ['tensor offset', TABLE_AT + 72 + 56, 'BadFile tensors[1].offset'],
    ['tensor bytes', TABLE_AT + 72 + 64, 'BadFile tensors[1].bytes'],
  ])('a re-stamped header with another %s is refused by name', (_what, at, expected) => {
    const forged = bytes.slice();
    viewOf(forged).setUint32(at, viewOf(forged).getUint32(at, true) + 2, true);
    if (at > AT.flags) restamp(forged);
    const size = at === AT.payloadBytes ? undefined : forged.length;
    expect(codeOf(() => parseHeader(forged, size))).toBe(expected);
  });

  test.each([
    ['no source', { report: { scheme: 'int8', worstTensor: { name: 'x', error: 0 } } }, 'meta.source'],
    ['no report', { source: { name: 'x', license: 'x' } }, 'meta.report.scheme'],
    ['no worst tensor', { source: { name: 'x', license: 'x' }, report: { scheme: 'int8' } }, 'meta.report.worstTensor'],
    [
      'accuracy without numbers',
      {
        source: { name: 'x', license: 'x' },
        report: { scheme: 'int8', worstTensor: { name: 'x', error: 0 }, accuracy: {} },
      },
      'meta.report.accuracy',
    ],
  ])('meta with %s is refused by name', async (_what, meta, field) => {
    const { payloadOffset } = parseHeader(bytes);
    const file = await writeModel(oddEncoder, bytes.slice(payloadOffset), meta as never);
    expect(codeOf(() => parseHeader(file, file.length))).toBe(`BadFile ${field}`);
  });

  test('dimensions that would make a plan of billions of entries are refused before planning', () => {
    const forged = bytes.slice();
    viewOf(forged).setUint32(128 + 12, 2 ** 24, true);
    expect(codeOf(() => parseHeader(restamp(forged), forged.length))).toBe('BadFile config.layers');
  });

  test('any garbage is a typed error', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 600 }), fc.boolean(), (garbage, magic) => {
        if (magic) garbage.set(bytes.subarray(0, Math.min(24, garbage.length)));
        expect(codeOf(() => parseHeader(garbage, garbage.length))).not.toBe('no error');
      }),
    );
  });
});

describe('payload', () => {
  const tensors = planWeights(oddEncoder).tensors;
  const at = (name: string): number => tensors.find((t) => t.name === name)!.offset;
  const withByte = (offset: number, write: (view: DataView, at: number) => void): string => {
    const file = bytes.slice();
    const payload = file.subarray(parseHeader(file).payloadOffset);
    write(viewOf(payload), offset);
    return codeOf(() => checkPayload(oddEncoder, payload));
  };

  test.each([NaN, Infinity, 0, -1])('a scale of %s is refused by tensor and row', (scale) => {
    expect(withByte(at('layers.1.ffn.down') + 4 * 3, (v, o) => v.setFloat32(o, scale, true))).toBe(
      'BadWeights layers.1.ffn.down.scale[3]',
    );
  });

  test('NaN in a norm or a bias is refused', () => {
    expect(withByte(at('embeddings.norm.weight'), (v, o) => v.setFloat32(o, NaN, true))).toBe(
      'BadWeights embeddings.norm.weight',
    );
    expect(withByte(at('layers.0.attention.key') + 32, (v, o) => v.setFloat32(o, Infinity, true))).toBe(
      'BadWeights layers.0.attention.key.bias[0]',
    );
  });

  test('padding must be zero', () => {
    // Output 257 of the token table is the first of the last panel's seven padding lanes.
    expect(withByte(at('embeddings.token') + 32 * 832 + 64 + 4, (v, o) => v.setUint8(o, 1))).toBe(
      'BadFile embeddings.token',
    );
  });

  test('int7 codes outside 1..127 are refused: relaxed dot is exact only there', async () => {
    const config = { ...oddEncoder, quant: 'int7' as const };
    const { payload } = packPayload(config, ({ shape }) => ({
      values: new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(1),
    }));
    checkPayload(config, payload);
    payload[planWeights(config).tensors.find((t) => t.name === 'layers.0.ffn.up')!.offset + 64] = 128;
    expect(codeOf(() => checkPayload(config, payload))).toBe('BadWeights layers.0.ffn.up');
  });

  test('weights that are not finite never reach a file', () => {
    const weights = ({ name, shape }: { name: string; shape: readonly number[] }): { values: Float32Array } => {
      const values = new Float32Array(shape.reduce((a, b) => a * b, 1));
      if (name === 'layers.0.attention.value') values[5] = NaN;
      return { values };
    };
    expect(codeOf(() => packPayload(oddEncoder, weights))).toBe('BadWeights layers.0.attention.value');
  });
});

test('every valid config passes, and CFG2: hidden 100 with 3 heads is BadConfig', () => {
  fc.assert(fc.property(anyConfig, (config) => void expect(validateConfig(config)).toEqual(config)));
  expect(codeOf(() => validateConfig({ ...oddEncoder, hidden: 100, heads: 3, kvHeads: 3, headDim: 33 }))).toBe(
    'BadConfig config.heads',
  );
});
