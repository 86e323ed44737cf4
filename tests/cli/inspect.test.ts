import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { parseHeader } from '../../src/format/file.js';
import { MincutGatedTransformer } from '../../src/index.node.js';
import { writeEncoder, writeMicro } from './models.js';
import { mgt, results, scratch } from './support.js';

const dir = scratch();
const micro = dir.path('micro.mgt');
let bytes: Uint8Array;

interface Inspected {
  version: number;
  config: Record<string, unknown>;
  quantisation: { scheme: string; worstTensor: { name: string; error: number } };
  regions: { name: string; offset: number; bytes: number; align: number; dtype: string; shape: number[] }[];
  memory: { weights: number; buffers: number; kv: number; total: number };
  sha256: string;
}

beforeAll(async () => {
  bytes = await writeMicro(micro);
});
afterAll(() => dir.remove());

const inspect = (path: string): Inspected => {
  const lines = results(mgt(['inspect', path, '--json']));
  expect(lines).toHaveLength(1);
  return lines[0] as unknown as Inspected;
};

describe('mgt inspect --json', () => {
  test('says what the file says', () => {
    const { version, config, quantisation, sha256, ...rest } = inspect(micro);
    expect(Object.keys(rest)).toEqual(['regions', 'memory']);
    const header = parseHeader(bytes, bytes.length);
    const payload = bytes.subarray(header.payloadOffset);
    expect(version).toBe(header.version);
    expect(config).toEqual(header.config);
    expect(config).toMatchObject({ kind: 'decoder', layers: 2, hidden: 128, positions: 'rope' });
    expect(quantisation).toEqual(header.meta.report);
    expect(sha256).toBe(createHash('sha256').update(payload).digest('hex'));
  });

  test('regions are sorted, disjoint, aligned; the weights are the payload without gaps', async () => {
    const encoder = dir.path('encoder.mgt');
    await writeEncoder(encoder, false);
    for (const path of [micro, encoder]) {
      const { regions, memory } = inspect(path);
      let end = 0;
      for (const { offset, bytes: size, align, dtype, shape, name } of regions) {
        expect(offset).toBeGreaterThanOrEqual(end);
        expect({ name, aligned: offset % align === 0 && align === 64 }).toEqual({ name, aligned: true });
        expect(['u8', 'i8', 'i4', 'u16', 'u32', 'f32']).toContain(dtype);
        expect(shape.every((n) => Number.isInteger(n) && n > 0)).toBe(true);
        end = offset + size;
      }
      expect(memory.total).toBeGreaterThanOrEqual(end);
      const weights = regions.filter(({ name }) => name.startsWith('weights'));
      weights.forEach((region, i) => {
        const next = weights[i + 1];
        if (next) expect(next.offset).toBe(region.offset + region.bytes);
      });
      expect(weights.reduce((sum, region) => sum + region.bytes, 0)).toBe(memory.weights);
      const model = await MincutGatedTransformer.load(path);
      expect(model.info.memory).toEqual(memory);
      expect(memory.total % 65536).toBe(0);
      model.dispose();
    }
  });

  test('needs no WebAssembly', () => {
    const { code, stdout } = mgt(['inspect', micro, '--json'], { node: ['--jitless'] });
    expect({ code, ...(JSON.parse(stdout) as object) }).toEqual({ code: 0, ...inspect(micro) });
  });

  test('without --json a page for people', () => {
    const { code, stdout, stderr } = mgt(['inspect', micro]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const { sha256, regions } = inspect(micro);
    expect(stdout).toContain(sha256);
    for (const { name } of regions) expect(stdout).toContain(name);
  });

  test('says after which layers a model asks, where its file says so', () => {
    const asks = / · exits asked after ([\d, ]+)/;
    expect(mgt(['inspect', micro]).stdout).not.toMatch(asks);
    const own = mgt(['inspect']).stdout.match(asks);
    const config = results(mgt(['inspect', '--json']))[0]?.config as { exitLayers: number[] };
    expect(own?.[1]).toBe(config.exitLayers.join(', '));
  });
});
