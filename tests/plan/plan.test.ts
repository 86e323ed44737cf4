import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { planWeights } from '../../src/format/tensors.js';
import { ARENA_START, PAGE, planArena } from '../../src/plan/plan.js';
import { anyConfig, oddEncoder } from '../support/models.js';
import { presetModel } from '../../src/presets.js';

describe('weight plan', () => {
  test('exact offsets of the odd encoder', () => {
    const { tensors, bytes } = planWeights(oddEncoder);
    const lines = tensors.slice(0, 9).map((t) => `${t.offset} ${t.bytes} ${t.kind} ${t.name} [${t.shape.join(',')}]`);
    // Panel of 96 inputs: 64 + 8·96 = 832 bytes; 257 outputs are 33 panels, 96 outputs 12.
    expect(lines).toEqual([
      '0 27456 panel-i8 embeddings.token [257,96]',
      '27456 14208 f32 embeddings.position [37,96]',
      '41664 384 f32 embeddings.norm.weight [96]',
      '42048 384 f32 embeddings.norm.bias [96]',
      '42432 384 f32 layers.0.attention.smooth [96]',
      '42816 9984 panel-i8 layers.0.attention.query [96,96]',
      '52800 9984 panel-i8 layers.0.attention.key [96,96]',
      '62784 9984 panel-i8 layers.0.attention.value [96,96]',
      '72768 9984 panel-i8 layers.0.attention.output [96,96]',
    ]);
    expect(bytes).toBe(tensors.reduce((n, t) => n + t.bytes, 0));
  });
});

describe('arena plan', () => {
  test('exact regions of micro', () => {
    const plan = planArena(presetModel('micro'), 32);
    const region = (name: string): unknown => {
      const r = plan.regions.find((x) => x.name === name);
      return r && [r.offset - ARENA_START - plan.memory.weights, r.bytes, r.dtype, r.shape];
    };
    expect(region('buffers.tokens')).toEqual([0, 128, 'u32', [32]]);
    expect(region('buffers.positions')).toEqual([128, 128, 'u32', [32]]);
    expect(region('buffers.x')).toEqual([256, 16384, 'f32', [32, 128]]);
    // K and V 4 heads × 32 slots × 32 codes, their scales 4 × 32 f32; positions and ids u32[32]; two KvLayerStates; f32[256].
    const layerBytes = 2 * 4096 + 2 * 512;
    const after = { positions: 18432, tokens: 18560, state: 18688, output: 18752, bytes: 19776 };
    expect(plan.session).toEqual({ kv: 0, layers: 2, layerBytes, ...after });
    expect(region('sessions.0')).toEqual([plan.memory.buffers, 19776, 'u8', [19776]]);
    expect(region('buffers.out')).toEqual([expect.any(Number), 8 * 1024, 'f32', [8, 256]]);
    expect([plan.block, plan.headRows]).toEqual([32, 8]);
    expect(planArena({ ...presetModel('micro'), context: 1000 }, 1000).block).toBe(128);
    expect(plan.memory.kv).toBe(19776);
  });

  test('AR2: a plan holds every tensor of a model whose width is no multiple of 64', () => {
    const config = { ...oddEncoder, hidden: 100, heads: 4, kvHeads: 4, headDim: 25 };
    const plan = planArena(config, config.context);
    for (const tensor of planWeights(config).tensors)
      expect(plan.weights.get(tensor.name)).toBe(ARENA_START + tensor.offset);
    expect(plan.memory.total % 64).toBe(0);
  });

  test('regions of any configuration are sorted, disjoint, aligned and inside; weights have no gaps', () => {
    fc.assert(
      fc.property(anyConfig, (config) => {
        const plan = planArena(config, config.context);
        let end = ARENA_START;
        for (const r of plan.regions) {
          expect(r.offset % 64).toBe(0);
          expect(r.offset).toBeGreaterThanOrEqual(end);
          if (r.name.startsWith('weights.')) expect(r.offset).toBe(end);
          end = r.offset + r.bytes;
        }
        const { weights, buffers, kv, total } = plan.memory;
        expect(end).toBeLessThanOrEqual(total);
        expect(ARENA_START + weights + buffers + kv).toBeLessThanOrEqual(total);
        expect(total % PAGE).toBe(0);
        expect(weights).toBe(planWeights(config).bytes);
        expect(new Set(plan.regions.map((r) => r.name)).size).toBe(plan.regions.length);
      }),
      { numRuns: 300 },
    );
  });

  test('room for more sessions is more of the same block', () => {
    const [one, three] = [1, 3].map((sessions) => planArena(presetModel('micro'), 32, sessions));
    expect(three!.memory.kv).toBe(3 * one!.memory.kv);
    expect(three!.sessionsAt).toBe(one!.sessionsAt);
    expect(three!.regions.filter((r) => r.name.startsWith('sessions.')).map((r) => r.offset)).toEqual(
      [0, 1, 2].map((i) => one!.sessionsAt + i * one!.session.bytes),
    );
  });

  test('KvLayerState fields widen above 65,535 slots', () => {
    const bytes = (context: number): number => {
      const { state, output } = planArena({ ...presetModel('micro'), layers: 16, context }, context).session;
      return output - state;
    };
    expect([bytes(65528), bytes(70000)]).toEqual([64, 128]);
  });
});
