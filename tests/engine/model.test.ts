import { readFile } from 'node:fs/promises';
import { beforeAll, describe, expect, jest, test } from '@jest/globals';
import { randomModel } from '../../src/convert/init.js';
import { MincutGatedTransformer } from '../../src/core.node.js';
import type { InferInput } from '../../src/engine/call.js';
import { MgtError } from '../../src/errors.js';
import { parseHeader } from '../../src/format/file.js';
import { models } from '../support/models.js';

const encoder = models['odd encoder']!;
let bytes: Uint8Array;
let model: MincutGatedTransformer;
beforeAll(async () => {
  bytes = await randomModel(encoder, 3);
  model = await MincutGatedTransformer.load(bytes);
});

const infer = (input: InferInput): number[] => [...new Uint32Array(model.infer(input).embedding!.buffer)];
const failure = async (run: () => unknown): Promise<MgtError> => {
  try {
    await run();
  } catch (error) {
    if (error instanceof MgtError) return error;
    throw error;
  }
  throw new Error('no error was thrown');
};

describe('bad input', () => {
  const good = { tokens: [1, 2, 3] };
  test.each([
    ['no tokens', { tokens: [] }, 'BadInput', 'tokens'],
    ['too many tokens', { tokens: new Array(38).fill(1) }, 'BadInput', 'tokens'],
    ['tokens of another kind', { tokens: '1,2' }, 'BadInput', 'tokens'],
    ['an id past the vocabulary', { tokens: [0, 257] }, 'BadInput', 'tokens[1]'],
    ['a negative id', { tokens: [-1] }, 'BadInput', 'tokens[0]'],
    ['a fractional id', { tokens: [1, 2, 1.5] }, 'BadInput', 'tokens[2]'],
    ['NaN', { tokens: [NaN] }, 'BadInput', 'tokens[0]'],
    ['a string id', { tokens: ['1'] }, 'BadInput', 'tokens[0]'],
    ['a big id', { tokens: [10n] }, 'BadInput', 'tokens[0]'],
    ['an unknown key', { ...good, token: 1 }, 'BadInput', 'input.token'],
    ['a gate field out of range', { ...good, gate: { lambda: -1 } }, 'BadInput', 'gate.lambda'],
    ['a gate field of the wrong type', { ...good, gate: { lambda: '5' } }, 'BadInput', 'gate.lambda'],
    ['an unknown gate field', { ...good, gate: { lamda: 5 } }, 'BadInput', 'gate.lamda'],
    ['a spike field out of range', { ...good, spikes: { rateQ15: 32768 } }, 'BadInput', 'spikes.rateQ15'],
    ['a small output buffer', { ...good, out: new Float32Array(10) }, 'OutputTooSmall', 'out'],
  ])('%s is a typed error, and the model gives the same bits afterwards', async (_what, input, code, field) => {
    const before = infer(good);
    const error = await failure(() => model.infer(input as unknown as InferInput));
    expect([error.code, error.field]).toEqual([code, field]);
    expect(error.message).toMatch(/^".+" expected .+, got .+$/);
    expect(infer(good)).toEqual(before);
  });

  test('IN1: the message of OutputTooSmall holds both numbers', async () => {
    const micro = await MincutGatedTransformer.load(await randomModel(models.micro!, 1));
    const error = await failure(() => micro.infer({ tokens: [1, 2, 3, 4], out: new Float32Array(10) }));
    expect(error.message).toContain('256');
    expect(error.message).toContain('10');
    expect(error.recoverable).toBe(true);
    const out = new Float32Array(300);
    expect(micro.infer({ tokens: [1, 2, 3, 4], out }).logits).toBe(out);
    expect(micro.infer({ tokens: [1, 2, 3, 4] }).witness.decision).toBe('Allow');
  });

  test('IN9: any length up to the context, none beyond', async () => {
    const micro = await MincutGatedTransformer.load(await randomModel(models.micro!, 1));
    for (const n of [1, 8, 16, 32]) {
      const { witness } = micro.infer({ tokens: new Array<number>(n).fill(7) });
      expect(witness.effectiveSeqLen).toBeLessThanOrEqual(32);
    }
    expect((await failure(() => micro.infer({ tokens: new Array<number>(33).fill(7) }))).code).toBe('BadInput');
  });
});

describe('load', () => {
  test('from bytes, ArrayBuffer, stream, Response and path alike', async () => {
    const stream = (): ReadableStream<Uint8Array> =>
      new ReadableStream({
        start(controller) {
          for (let i = 0; i < bytes.length; i += 1000) controller.enqueue(bytes.slice(i, i + 1000));
          controller.close();
        },
      });
    const { writeFile, mkdtemp } = await import('node:fs/promises');
    const dir = await mkdtemp(`${(await import('node:os')).tmpdir()}/mgt-`);
    await writeFile(`${dir}/m.mgt`, bytes);
    const sources = [
      bytes,
      bytes.slice().buffer,
      stream(),
      new Response(stream()),
      `${dir}/m.mgt`,
      new URL(`file://${dir}/m.mgt`),
    ];
    const before = infer({ tokens: [1, 2, 3] });
    for (const source of sources) {
      const other = await MincutGatedTransformer.load(source);
      expect([...new Uint32Array(other.infer({ tokens: [1, 2, 3] }).embedding!.buffer)]).toEqual(before);
    }
  });

  test('the weight region is the payload, byte for byte, at 64 KiB', async () => {
    const memories: WebAssembly.Memory[] = [];
    const spy = jest.spyOn(WebAssembly, 'Memory').mockImplementation(function (
      this: unknown,
      d: WebAssembly.MemoryDescriptor,
    ) {
      spy.mockRestore();
      const memory = new WebAssembly.Memory(d);
      memories.push(memory);
      return memory;
    });
    await MincutGatedTransformer.load(bytes);
    const { payloadOffset, payloadBytes } = parseHeader(bytes);
    expect(new Uint8Array(memories[0]!.buffer, 65536, payloadBytes)).toEqual(bytes.slice(payloadOffset));
  });

  test.each([
    ['a flipped payload byte', (b: Uint8Array) => void (b[b.length - 1000]! ^= 4), 'BadChecksum', 'payload'],
    ['a flipped header byte', (b: Uint8Array) => void (b[300]! ^= 4), 'BadChecksum', 'headerHash'],
    ['a foreign file', (b: Uint8Array) => void b.set([60, 104]), 'BadFile', 'magic'],
    ['another version', (b: Uint8Array) => void (b[8] = 9), 'UnknownVersion', 'version'],
  ])('%s is refused', async (_what, damage, code, field) => {
    const damaged = bytes.slice();
    damage(damaged);
    const error = await failure(() => MincutGatedTransformer.load(damaged));
    expect([error.code, error.field]).toEqual([code, field]);
  });

  test('a cut stream and a stream with more behind it are refused', async () => {
    const of = (b: Uint8Array): Response => new Response(new Blob([b as Uint8Array<ArrayBuffer>]).stream());
    expect((await failure(() => MincutGatedTransformer.load(of(bytes.slice(0, -7))))).code).toBe('Truncated');
    expect((await failure(() => MincutGatedTransformer.load(of(new Uint8Array([...bytes, 0]))))).code).toBe('BadFile');
  });

  test('options are checked by name', async () => {
    const load = (options: object): Promise<MgtError> => failure(() => MincutGatedTransformer.load(bytes, options));
    expect((await load({ simd: 'fast' })).field).toBe('simd');
    expect((await load({ context: 38 })).field).toBe('context');
    expect((await load({ context: 0 })).field).toBe('context');
    expect((await load({ colour: 1 })).field).toBe('options.colour');
    const memory = await load({ maxMemory: 65536 });
    expect([memory.code, memory.expected]).toEqual(['OutOfMemory', 'at most 65536 bytes']);
    expect((await failure(() => MincutGatedTransformer.load('no/such/file.mgt'))).code).toBe('FileNotFound');
    expect((await failure(() => MincutGatedTransformer.load(5 as never))).field).toBe('source');
  });

  test('a wasm of the caller: bytes or module; HTML is named', async () => {
    const wasm = await readFile(new URL('../../build/mgt.wasm', import.meta.url));
    for (const given of [wasm, await WebAssembly.compile(wasm)]) {
      const other = await MincutGatedTransformer.load(bytes, { simd: 'plain', wasm: given });
      expect(other.info.build).toBe('plain');
    }
    expect((await MincutGatedTransformer.load(bytes, { wasm: { plain: wasm } })).info.build).toBe('plain');
    const relaxed = await failure(() => MincutGatedTransformer.load(bytes, { wasm, simd: 'relaxed' }));
    expect([relaxed.code, relaxed.field]).toEqual(['BadInput', 'wasm.relaxed']);
    const none = await failure(() => MincutGatedTransformer.load(bytes, { wasm: {} as never }));
    expect(none.field).toBe('wasm.plain');
    const html = new TextEncoder().encode('<!DOCTYPE html><html>');
    const error = await failure(() => MincutGatedTransformer.load(bytes, { wasm: html, simd: 'plain' }));
    expect(error.message).toContain('<!DOCTYPE');
  });

  test('abort before and during loading', async () => {
    const aborted = await failure(() => MincutGatedTransformer.load(bytes, { signal: AbortSignal.abort() }));
    expect(aborted.code).toBe('Aborted');
    const controller = new AbortController();
    const response = new Response(new Blob([bytes as Uint8Array<ArrayBuffer>]).stream());
    const during = MincutGatedTransformer.load(response, {
      signal: controller.signal,
      onProgress: () => controller.abort(),
    });
    expect((await failure(() => during)).code).toBe('Aborted');
  });

  test('progress ends at the whole payload; verify checks SHA-256', async () => {
    const seen: number[] = [];
    await MincutGatedTransformer.load(bytes, { verify: true, onProgress: (p) => seen.push(p.loaded / p.total) });
    expect(seen.at(-1)).toBe(1);
  });

  test('a smaller context bounds the input and the memory', async () => {
    const small = await MincutGatedTransformer.load(bytes, { context: 8 });
    expect(small.info.memory.buffers).toBeLessThan(model.info.memory.buffers);
    const error = await failure(() => small.infer({ tokens: new Array<number>(9).fill(1) }));
    expect(error.field).toBe('tokens');
    expect([...new Uint32Array(small.infer({ tokens: [1, 2, 3] }).embedding!.buffer)]).toEqual(
      infer({ tokens: [1, 2, 3] }),
    );
  });

  test('a disposed model says so', async () => {
    const other = await MincutGatedTransformer.load(bytes);
    other[Symbol.dispose]();
    other.dispose();
    expect((await failure(() => other.infer({ tokens: [1] }))).code).toBe('Disposed');
  });

  test('text without a tokenizer is UnsupportedMode', async () => {
    expect((await failure(() => model.embed(['a']))).code).toBe('UnsupportedMode');
    expect((await failure(() => model.tokenize('a'))).field).toBe('tokenizer');
  });
});

test('weights that overflow f32 give BadWeights, not NaN', async () => {
  const { packPayload } = await import('../../src/format/pack.js');
  const { writeModel } = await import('../../src/format/write.js');
  const config = models['gpt-like']!;
  const { payload } = packPayload(config, ({ shape }) => ({
    values: new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(3e38),
  }));
  const meta = {
    source: { name: 'x', license: 'x' },
    report: { scheme: 'int8', worstTensor: { name: 'x', error: 0 } },
  };
  const wild = await MincutGatedTransformer.load(await writeModel(config, payload, meta));
  expect((await failure(() => wild.infer({ tokens: [1, 2] }))).code).toBe('BadWeights');
});
