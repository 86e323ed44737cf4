import { describe, expect, test } from '@jest/globals';
import { convert } from '../../src/convert/convert.js';
import { MincutGatedTransformer } from '../../src/core.node.js';
import { NO_PAST, prepareCall, type InferInput } from '../../src/engine/call.js';
import { runOptions } from '../../src/engine/options.js';
import { parseHeader, type ModelFile } from '../../src/format/file.js';
import { POLICIES } from '../../src/gate/policy.js';
import { gateShape } from '../../src/gate/shape.js';
import { relaxedDotIsExact } from '../../src/kernels/probe.js';
import { referenceForward } from '../../src/reference/forward.js';
import { Rng } from '../support/rng.js';
import { memorySource, type Files } from './make-bert.js';
import { fixture, fixtureFiles, gpt2Files, llamaFiles, type Goldens } from './make-decoder.js';
import { llamaGguf } from './make-gguf.js';

const builds = relaxedDotIsExact() ? (['plain', 'relaxed'] as const) : (['plain'] as const);
const bits = (v: Float32Array): string => Buffer.from(v.buffer, v.byteOffset, v.byteLength).toString('base64');

/** Logits of every token by the reference, under the default rules of a model loaded for `context`. */
function byReference(file: ModelFile, bytes: Uint8Array, input: InferInput, context: number): Float32Array {
  const { config } = file;
  const gate = { policy: POLICIES.default, policyId: 0, scheduler: false };
  const rules = { config, shape: gateShape(config, context), gate };
  const call = prepareCall(rules, runOptions({}, config, context), NO_PAST, input);
  return referenceForward(file, bytes.subarray(file.payloadOffset), { ...call, context }).values;
}

/** Cuts a sequence into calls of these lengths, the last one taking the rest. */
function cut(tokens: readonly number[], lengths: readonly number[]): number[][] {
  const parts: number[][] = [];
  let at = 0;
  for (const n of lengths) parts.push(tokens.slice(at, (at += n)));
  return [...parts, tokens.slice(at)].filter(({ length }) => length > 0);
}

const rope = fixture('expected.json') as Goldens;
const scaled = (name: string): Files => fixtureFiles('llama', { rope_parameters: rope.rope[name] });
const sources: Readonly<Record<string, Files | Uint8Array>> = {
  llama: llamaFiles({ context: 40 }),
  'llama, all biases, F16, heads wider than hidden': llamaFiles({
    ...{ context: 40, hidden: 70, headDim: 26, bias: 'all', dtype: 'F16', tied: true, seed: 8 },
  }),
  gpt2: gpt2Files({ context: 40 }),
  'gpt2, heads of 7, a head of its own': gpt2Files({ context: 40, hidden: 63, heads: 9, ffn: 131, tied: false }),
  'GGUF, Q4_1 and Q8_0': llamaGguf({
    ...{ context: 40, hidden: 96, heads: 6, headDim: 16, ffn: 160, bias: 'qkv', std: 0.1 },
    type: (name) => (name.includes('attn') ? 'Q4_1' : 'Q8_0'),
  }).file,
  YaRN: scaled('yarn-all'),
  'dynamic NTK': scaled('dynamic'),
  llama3: scaled('llama3'),
  'one of everything': llamaFiles({
    ...{ vocab: 1, hidden: 1, layers: 1, heads: 1, kvHeads: 1, headDim: 2, ffn: 1, context: 1 },
  }),
};

describe.each(['int8', 'int4', 'int7'] as const)('%s', (quant) => {
  test.each(Object.entries(sources))('%s: engine and reference, in one call or many', async (name, source) => {
    const from = source instanceof Uint8Array ? source : memorySource(source);
    const { bytes } = await convert(from, { quant, allowNoise: true });
    const file = parseHeader(bytes, bytes.length);
    expect(file.config.quant).toBe(quant);
    const { vocab } = file.config;
    // Dynamic NTK beyond its 16 tokens too.
    for (const context of name === 'dynamic NTK' ? [16, 37] : [file.config.context]) {
      for (const simd of builds) {
        const model = await MincutGatedTransformer.load(bytes, { simd, context });
        const calls = new Set([1, 2, 9, context].filter((n) => n <= context));
        for (const n of calls) {
          const tokens = new Rng(n).ints(n, 0, vocab - 1);
          const whole = model.infer({ tokens, all: true }).logits!;
          expect(whole).toHaveLength(n * vocab);
          expect(bits(byReference(file, bytes, { tokens, all: true }, context))).toBe(bits(whole));
          expect(bits(model.infer({ tokens }).logits!)).toBe(bits(whole.subarray((n - 1) * vocab)));
          if (n !== context) continue;
          for (const lengths of [Array.from(tokens, () => 1), [n - 1], [5, 1, 8, 3]]) {
            const session = model.createSession();
            const parts = cut(tokens, lengths).map((part) => session.infer({ tokens: part, all: true }).logits!);
            expect(Buffer.concat(parts.map((part) => Buffer.from(bits(part), 'base64'))).toString('base64')).toBe(
              bits(whole),
            );
            session.dispose();
          }
        }
        model.dispose();
      }
    }
  });
});

test('a sequence longer than the rows that go through a layer together, cut anywhere', async () => {
  const { bytes } = await convert(
    memorySource(llamaFiles({ context: 300, hidden: 40, heads: 2, kvHeads: 1, ffn: 50, vocab: 61 })),
    { quant: 'int4', allowNoise: true },
  );
  const file = parseHeader(bytes, bytes.length);
  const tokens = new Rng(4).ints(290, 0, 60);
  const model = await MincutGatedTransformer.load(bytes);
  const whole = bits(model.infer({ tokens, all: true }).logits!);
  expect(bits(byReference(file, bytes, { tokens, all: true }, 300))).toBe(whole);
  for (const lengths of [[128], [127, 2], [1, 260]]) {
    const session = model.createSession();
    const parts = cut(tokens, lengths).map((part) => session.infer({ tokens: part, all: true }).logits!);
    expect(Buffer.concat(parts.map((part) => Buffer.from(bits(part), 'base64'))).toString('base64')).toBe(whole);
  }
  model.dispose();
});

test('the same source gives the same file', async () => {
  const make = async (files: Files): Promise<Uint8Array> =>
    (await convert(memorySource(files, 'same'), { quant: 'int4', allowNoise: true })).bytes;
  const one = await make(llamaFiles({ context: 20 }));
  expect(Buffer.compare(await make(llamaFiles({ context: 20 })), one)).toBe(0);
  expect(Buffer.compare(await make(llamaFiles({ context: 20, shards: 3 })), one)).toBe(0);
  expect(Buffer.compare(await make(llamaFiles({ context: 20, seed: 9 })), one)).not.toBe(0);
});
