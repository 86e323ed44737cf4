import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, test } from '@jest/globals';
import { convert, type ConvertOptions, type ConvertProgress } from '../../src/convert/convert.js';
import { Rng } from '../support/rng.js';
import { refusal } from './fixtures.js';
import { writeGguf, type Options, type Tensor } from './gguf-writer.js';
import { memorySource, type Files } from './make-bert.js';
import { llamaGguf, type MadeGguf } from './make-gguf.js';

const SMALL = { vocab: 33, hidden: 32, heads: 4, kvHeads: 2, headDim: 8, ffn: 64, context: 8, std: 0.05 } as const;
const CODES = /^(BadFile|Truncated|BadWeights|UnsupportedMode|UnsupportedArchitecture|UnknownVersion|FileNotFound)$/;

const run = (source: Files | Uint8Array | string, options: ConvertOptions = {}): ReturnType<typeof convert> =>
  convert(source instanceof Map ? memorySource(source) : source, options);
const refused = async (source: Files | Uint8Array | string, options?: ConvertOptions): Promise<string> => {
  const { code, field } = await refusal(() => run(source, options));
  return `${code} ${field}`;
};

describe('GGUF', () => {
  const made = llamaGguf({ ...SMALL, type: (name) => (name.includes('attn') ? 'Q4_1' : 'Q8_0') });
  const changedTensor = (
    { metadata, parts }: MadeGguf,
    name: string,
    change: Partial<Tensor>,
    options?: Options,
  ): Uint8Array =>
    writeGguf(
      metadata,
      parts.map((part) => (part.name === name ? { ...part, ...change } : part)),
      options,
    );
  const up = made.parts.find(({ name }) => name === 'blk.1.ffn_up.weight')!;
  const withBits = (name: string, at: number, bits: number): Uint8Array => {
    const data = made.parts.find((part) => part.name === name)!.data.slice();
    new DataView(data.buffer).setUint16(at, bits, true);
    return changedTensor(made, name, { data });
  };

  test.each([
    ['Q4_K', 12],
    ['Q5_0', 6],
    ['Q6_K', 14],
    ['IQ4_XS', 23],
    ['type 99', 99],
  ])('%s is named, and its tensor', async (type, id) => {
    const file = changedTensor(made, up.name, { stated: { type: id } });
    const error = await refusal(() => run(file));
    expect(`${error.code} ${error.field} ${error.got}`).toMatch(
      new RegExp(id === 99 ? '^(UnsupportedMode|BadFile) ' : `^UnsupportedMode model\\.gguf\\.${up.name} ${type}$`),
    );
  });

  test.each([
    ['an infinite scale', withBits(up.name, 34 * 3, 0x7c00), `BadWeights model.gguf.${up.name}`],
    ['NaN for a minimum', withBits('blk.0.attn_q.weight', 2, 0x7e00), 'BadWeights model.gguf.blk.0.attn_q.weight'],
    ['a tensor missing', writeGguf(made.metadata, made.parts.slice(1)), 'BadFile model.gguf.token_embd.weight'],
    ['a tensor twice', writeGguf(made.metadata, [...made.parts, up]), `BadFile model.gguf.${up.name}`],
    [
      'another shape',
      changedTensor(made, up.name, { stated: { shape: [32, 64] } }),
      `BadFile model.gguf.${up.name} shape`,
    ],
    ['no file', new Uint8Array(0), 'BadFile model.gguf'],
    ['counts of 2⁶⁰', writeGguf(made.metadata, made.parts, { counts: { tensors: 2n ** 60n } }), 'Truncated model.gguf'],
    ['keys of 2⁶³', writeGguf(made.metadata, made.parts, { counts: { keys: 2n ** 63n } }), 'Truncated model.gguf'],
  ])('%s', async (_, file, expected) => {
    expect(await refused(file)).toBe(expected);
  });

  test('cut anywhere', async () => {
    const { file } = made;
    const rng = new Rng('gguf');
    for (const n of [
      1,
      4,
      23,
      24,
      25,
      file.length - 1,
      ...rng.ints(25, 0, 1500),
      ...rng.ints(25, 0, file.length - 1),
    ]) {
      expect([n, await refused(file.slice(0, n))]).toEqual([
        n,
        expect.stringMatching(/^(Truncated|BadFile) model\.gguf/),
      ]);
    }
  });

  test('any byte of the header changed: a model or a typed error', async () => {
    const rng = new Rng('bytes');
    for (let i = 0; i < 60; i++) {
      const file = made.file.slice();
      file[rng.int(0, 1400)]! ^= 1 << rng.int(0, 7);
      const code = await run(file, { allowNoise: true }).then(
        () => 'FileNotFound', // as good as any
        (error: { code?: string }) => error.code ?? String(error),
      );
      expect(code).toMatch(CODES);
    }
  });

  test('a model of ours, a text', async () => {
    const { bytes } = await run(made.file);
    expect(await refused(bytes)).toBe('BadFile model.gguf');
    expect(await refused(new TextEncoder().encode('# A model\n'))).toBe('BadFile model.gguf');
  });
});

describe('tokenizers', () => {
  const VOCAB = 70;
  const words = (texts: readonly string[]): Uint8Array =>
    llamaGguf({
      ...{ ...SMALL, vocab: VOCAB },
      metadata: {
        'tokenizer.ggml.model': { text: 'gpt2' },
        'tokenizer.ggml.pre': { text: 'smollm' },
        'tokenizer.ggml.tokens': { texts },
        'tokenizer.ggml.merges': { texts: [] },
      },
    }).file;

  test('larger than the vocabulary', async () => {
    const tokens = Array.from({ length: VOCAB + 1 }, (_, i) => `t${i}`);
    expect(await refused(words(tokens))).toBe('BadFile model.gguf: tokenizer.json');
  });

  test('one without tokens for the texts: random ids measure it', async () => {
    for (const tokens of [[], ['e', 't'], ['€', 'ß'], Array.from({ length: VOCAB }, (_, i) => `t${i}`)]) {
      const { report } = await run(words(tokens));
      expect(report).toMatchObject({ measuredOn: 'random ids', tokenizer: true, accuracy: { tokens: 119 } });
    }
    expect(
      (await run(words([...'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-']))).report.measuredOn,
    ).toBe('texts');
  });
});

describe('a URL', () => {
  async function served<T>(listener: RequestListener, use: (url: string) => Promise<T>): Promise<T> {
    const server = createServer(listener);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    try {
      return await use(`http://localhost:${(server.address() as AddressInfo).port}`.replace('localhost', '127.0.0.1'));
    } finally {
      server.close();
    }
  }
  const { file } = llamaGguf(SMALL);

  test('of a .gguf file is that file; one that is not there, one cut short', async () => {
    const listener: RequestListener = ({ url = '' }, response) => {
      const body = /^\/owner\/sea%20q8\.gguf(\?|$)/.test(url)
        ? file
        : url === '/cut.gguf'
          ? file.subarray(0, 900)
          : undefined;
      response.writeHead(body ? 200 : 404).end(body ?? 'none');
    };
    await served(listener, async (url) => {
      const { bytes, report } = await run(`${url}/owner/sea%20q8.gguf?download=true`);
      expect(report.name).toBe('sea q8');
      expect(Buffer.compare(bytes.subarray(-5000), (await run(file)).bytes.subarray(-5000))).toBe(0);
      expect(await refused(`${url}/other.gguf`)).toBe('FileNotFound other.gguf');
      expect(await refused(`${url}/cut.gguf`)).toMatch(/^Truncated cut\.gguf/);
    });
    expect(await refused('http://example.org/x.gguf')).toBe('BadInput source');
  });

  test('an abort while it is read', async () => {
    const listener: RequestListener = (_, response) => void response.writeHead(200).write(file.subarray(0, 3000));
    await served(listener, async (url) => {
      const stop = new AbortController();
      const onProgress = ({ phase }: ConvertProgress): void => {
        if (phase === 'read') stop.abort();
      };
      expect(await refused(`${url}/x.gguf`, { signal: stop.signal, onProgress })).toMatch(/^Aborted/);
    });
  });
});
