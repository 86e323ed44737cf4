import { beforeAll, describe, expect, test } from '@jest/globals';
import { randomModel } from '../../src/convert/init.js';
import { Random } from '../../src/random.js';
import { MincutGatedTransformer } from '../../src/core.node.js';
import type { ModelConfig } from '../../src/config.js';
import { NO_PAST, prepareCall, type Call, type InferInput } from '../../src/engine/call.js';
import { runOptions } from '../../src/engine/options.js';
import { attendedPairs } from '../../src/engine/stats.js';
import { parseHeader } from '../../src/format/file.js';
import { panelBytes } from '../../src/format/tensors.js';
import { POLICIES } from '../../src/gate/policy.js';
import { relaxedDotIsExact } from '../../src/kernels/probe.js';
import { gateShape } from '../../src/gate/shape.js';
import { referenceForward } from '../../src/reference/forward.js';
import { models } from '../support/models.js';

const builds = relaxedDotIsExact() ? (['plain', 'relaxed'] as const) : (['plain'] as const);
const bits = (v: Float32Array): string => Buffer.from(v.buffer, v.byteOffset, v.byteLength).toString('base64');

/** A stateless call under the default rules. */
function prepared(config: ModelConfig, input: InferInput): Call {
  const { context } = config;
  const gate = { policy: POLICIES.default, policyId: 0, scheduler: false };
  return prepareCall(
    { config, shape: gateShape(config, context), gate },
    runOptions({}, config, context),
    NO_PAST,
    input,
  );
}

/** Rows of a decoder that go through a layer together. */
const BLOCK = 128;

/** Gate packets that give each tier: full, reduced, safe, skip. */
const tiers = {
  0: {},
  1: { boundaryEdges: 30 },
  2: { lambda: 20 },
  3: { flags: 2 },
};

describe.each(Object.entries(models))('%s', (_name, config) => {
  let bytes: Uint8Array;
  beforeAll(async () => {
    bytes = await randomModel(config, 7);
  });

  const tokensOf = (n: number, seed: number): number[] => {
    const random = new Random(seed);
    return Array.from({ length: n }, () => random.u32() % config.vocab);
  };

  test.each(builds)('%s build and reference give the same bits at every length and tier', async (simd) => {
    const model = await MincutGatedTransformer.load(bytes, { simd });
    const file = parseHeader(bytes, bytes.length);
    const payload = bytes.subarray(file.payloadOffset);
    for (const n of [1, 2, 3, 5, 8, 17, config.context]) {
      for (const gate of Object.values(tiers)) {
        const tokens = tokensOf(n, n);
        const result = model.infer({ tokens, gate });
        const values = (result.embedding ?? result.logits)!;
        const call = prepared(config, { tokens, gate });
        const expected = referenceForward(file, payload, call);
        expect(bits(values)).toEqual(bits(expected.values));
        // The engine takes rows through a layer in blocks.
        if (n <= BLOCK) expect(result.stats.kernelCalls).toEqual(expected.kernelCalls);
        expect(values.some((v) => v !== 0)).toBe(true);
      }
    }
  });

  test('layers, kernel calls and MACs agree with the closed formula of what ran', async () => {
    const model = await MincutGatedTransformer.load(bytes, { simd: 'plain' });
    const { hidden, heads, kvHeads, headDim, ffn, vocab } = config;
    for (const gate of Object.values(tiers)) {
      const tokens = tokensOf(config.context, 3);
      const { stats, witness } = model.infer({ tokens, gate });
      const call = prepared(config, { tokens, gate });
      const n = call.tokens.length;
      const layers = call.verdict.layersToRun;
      const qDim = heads * headDim;
      const perRow = 2 * hidden * qDim + 2 * hidden * kvHeads * headDim + (config.gatedFfn ? 3 : 2) * hidden * ffn;
      expect(stats.layersExecuted).toBe(layers);
      expect(witness.layersExecuted).toBe(layers);
      expect(stats.macs).toEqual({
        linear: layers * n * perRow,
        attention: layers * 2 * attendedPairs(n, 0, n, config.causal, call.window, call.extras) * qDim,
        head: config.kind === 'decoder' ? vocab * hidden : 0,
        gate: 0,
      });
      const calls = Object.values(stats.kernelCalls).reduce((a, b) => a + b, 0);
      expect(calls).toBeGreaterThan(layers * 10);
      const blocks = config.kind === 'encoder' ? 1 : Math.ceil(n / BLOCK);
      expect(stats.kernelCalls.attention ?? 0).toBe(layers * blocks);
      const matmuls = (['gemmI8', 'gemvI8', 'gemmI7', 'gemvI7', 'gemmI4', 'gemvI4'] as const).reduce(
        (sum, k) => sum + (stats.kernelCalls[k] ?? 0),
        0,
      );
      expect(matmuls).toBe(layers * blocks * (config.gatedFfn ? 7 : 6) + (config.kind === 'decoder' ? 1 : 0));
    }
  });
});

test('an encoder at full window: linear L·n·(4D² + 2DF), attention 2L·n²·D', async () => {
  const config = models['odd encoder']!;
  const model = await MincutGatedTransformer.load(await randomModel(config, 1));
  const { macs } = model.infer({ tokens: [1, 2, 3, 4, 5, 6, 7] }).stats;
  expect(macs.linear).toBe(2 * 7 * (4 * 96 ** 2 + 2 * 96 * 176));
  expect(macs.attention).toBe(2 * 2 * 7 ** 2 * 96);
});

test('changing any one weight tensor changes the output, a key bias excepted', async () => {
  for (const name of ['odd encoder', 'odd decoder', 'gpt-like']) {
    const config = models[name]!;
    const bytes = await randomModel(config, 5);
    const file = parseHeader(bytes, bytes.length);
    const call = {
      tokens: Uint32Array.of(3, 5, 7, 11),
      positions: Uint32Array.of(0, 1, 2, 3),
      layers: config.layers,
      window: config.context,
    };
    const run = (payload: Uint8Array): string => bits(referenceForward(file, payload, call).values);
    const before = run(bytes.slice(file.payloadOffset));
    for (const tensor of file.weights.tensors) {
      const payload = bytes.slice(file.payloadOffset);
      const view = new DataView(payload.buffer, tensor.offset);
      // The first panel's 8 outputs (tokens 3, 5 and 7 of the table), or the first row: every one is read.
      if (tensor.kind === 'f32') view.setFloat32(0, view.getFloat32(0, true) + 0.5, true);
      else for (let i = 64; i < panelBytes(tensor.shape[1]!); i++) view.setInt8(i, -view.getInt8(i));
      expect([tensor.name, run(payload)]).not.toEqual([tensor.name, before]);
    }
  }
});
