import { beforeAll, describe, expect, test } from '@jest/globals';
import type { MincutGatedTransformer } from '../../src/core.node.js';
import { parseHeader } from '../../src/format/file.js';
import { encodeSnapshot } from '../../src/format/snapshot.js';
import { gateShape } from '../../src/gate/shape.js';
import { kvRows } from '../../src/reference/attention.js';
import * as ops from '../../src/reference/ops.js';
import { Weights } from '../../src/reference/weights.js';
import { models } from '../support/models.js';
import { bitsOf, hex, loadRandom, ownerOf, PACKETS, ReferenceSession, stateOf, tokensKv, tokensOf } from './support.js';

/** Five tokens of Allow, three of ReduceScope (these skip layers), then what follows. */
const BEFORE = 5;
const REDUCED = 3;
const LENGTH = BEFORE + REDUCED;
const FILLS = [
  ['first', 'propagate'],
  ['first', 'hole'],
  ['last', 'propagate'],
  ['last', 'hole'],
] as const;

describe.each(['baseline', 'odd decoder', 'windowed decoder', 'gpt-like'])('%s', (name) => {
  const config = models[name]!;
  const { kvHeads, headDim, hidden, layers: L } = config;
  const k = gateShape(config, config.context).layersDegraded;
  const skipped = (order: 'first' | 'last'): number[] =>
    Array.from({ length: L - k }, (_, i) => (order === 'first' ? k + i : i));
  const reduced = { tokens: tokensOf(config, REDUCED, 2), gate: PACKETS.ReduceScope };
  let model: MincutGatedTransformer;
  let bytes: Uint8Array;
  beforeAll(async () => {
    ({ model, bytes } = await loadRandom(config));
  });
  const begun = (options: object) => {
    const session = model.createSession(options);
    session.infer({ tokens: tokensOf(config, BEFORE, 1) });
    session.infer(reduced);
    return session;
  };

  test.each(FILLS)(
    'D11 skipped-layers-kv: %s layers run, %s: every layer holds the same tokens',
    (layerOrder, kvFill) => {
      const session = begun({ layerOrder, kvFill });
      const reference = new ReferenceSession(bytes, { layerOrder, kvFill });
      reference.infer({ tokens: tokensOf(config, BEFORE, 1) });
      reference.infer(reduced);

      const { layers, positions } = stateOf(bytes, session);
      expect(positions).toHaveLength(LENGTH);
      layers.forEach((layer, i) => {
        expect(layer.kScales).toHaveLength(LENGTH * kvHeads);
        const hole = kvFill === 'hole' && skipped(layerOrder).includes(i);
        const [was, is] = [tokensKv(layer, kvHeads, 0, BEFORE), tokensKv(layer, kvHeads, BEFORE, LENGTH)];
        expect((was.kScales as number[]).every((s) => s > 0)).toBe(true);
        for (const scales of [is.kScales, is.vScales] as number[][])
          expect(scales.every((s) => (hole ? s === 0 : s > 0))).toBe(true);
        for (const codes of [is.k, is.v] as number[][]) expect(codes.every((c) => c === 0)).toBe(hole);
      });

      for (const [i, gate] of [{}, PACKETS.ReduceScope, PACKETS.QuarantineUpdates, {}].entries()) {
        const next = { tokens: tokensOf(config, 4, 3 + i), gate };
        expect(bitsOf(session.infer(next))).toBe(bitsOf(reference.infer(next)));
        expect(hex(session.snapshot())).toBe(hex(reference.snapshot()));
      }
    },
  );

  test('D11 skipped-layers-kv: what is filled changes what later calls see, and the two fills differ', () => {
    const next = { tokens: tokensOf(config, 2, 8) };
    const outputs = FILLS.map(([layerOrder, kvFill]) => bitsOf(begun({ layerOrder, kvFill }).infer(next)));
    expect(new Set(outputs).size).toBe(FILLS.length);
  });

  test('D11 skipped-layers-kv: propagate projects K and V from the stream that passed the layer', () => {
    const session = begun({ layerOrder: 'last' });
    const { layers } = stateOf(bytes, session);
    const file = parseHeader(bytes, bytes.length);
    const w = new Weights(file.weights, bytes.subarray(file.payloadOffset));
    // The first layers are skipped: what passes them is the embedding.
    const x = ops.embed(reduced.tokens, w.panels('embeddings.token'));
    const at = Array.from({ length: REDUCED }, (_, i) => BEFORE + i);
    if (config.positions === 'learned') ops.addRows(x, hidden, w.f32('embeddings.position'), at);
    for (const layer of skipped('last')) {
      const part = `layers.${layer}.attention`;
      const weight = w.f32(`${part}.norm.weight`);
      const h =
        config.norm === 'rmsnorm'
          ? ops.rmsNorm(x, weight, config.normEps)
          : ops.layerNorm(x, weight, w.f32(`${part}.norm.bias`), config.normEps);
      const codes = ops.quantize(h, REDUCED, hidden, w.find(`${part}.smooth`));
      const key = ops.gemmI8(codes, w.panels(`${part}.key`));
      const value = ops.gemmI8(codes, w.panels(`${part}.value`));
      if (config.positions === 'rope')
        ops.rope(key, kvHeads, headDim, ops.ropeTable(LENGTH, headDim, config.ropeBase, 0), at);
      const expected = kvRows(REDUCED, kvHeads, headDim);
      ops.kvAppend(expected, key, value, 0);
      expect(tokensKv(layers[layer]!, kvHeads, BEFORE, LENGTH)).toEqual(tokensKv(expected, kvHeads, 0, REDUCED));
    }
  });

  test.each(['first', 'last'] as const)(
    'D11 skipped-layers-kv: nothing that lies in a hole is ever seen (%s layers run)',
    (layerOrder) => {
      const session = begun({ layerOrder, kvFill: 'hole' });
      const state = stateOf(bytes, session);
      const forged = (scale: number): Uint8Array => {
        const layers = state.layers.map((layer, i) => {
          if (!skipped(layerOrder).includes(i)) return layer;
          const [keys, values] = [layer.k.slice(), layer.v.slice()];
          for (let c = BEFORE * kvHeads * headDim; c < keys.length; c++) [keys[c], values[c]] = [(c % 255) - 127, 127];
          const scales = layer.kScales.map((s) => (s === 0 ? scale : s));
          return { k: keys, v: values, kScales: scales, vScales: layer.vScales.map((s) => (s === 0 ? scale : s)) };
        });
        return encodeSnapshot({ ...state, layers }, ownerOf(bytes));
      };
      const [poisoned, visible] = [model.restore(forged(0)), model.restore(forged(0.01))];
      const next = { tokens: tokensOf(config, 3, 9) };
      const expected = bitsOf(session.infer(next));
      expect(bitsOf(poisoned.infer(next))).toBe(expected);
      expect(bitsOf(visible.infer(next))).not.toBe(expected);
      const tail = (of: typeof session) =>
        stateOf(bytes, of).layers.map((layer) => tokensKv(layer, kvHeads, LENGTH, LENGTH + 3));
      expect(tail(poisoned)).toEqual(tail(session));
    },
  );

  test('D11 skipped-layers-kv: a hole that is overwritten or truncated away is a token again', () => {
    const session = begun({ kvFill: 'hole' });
    session.truncate(BEFORE);
    const plain = model.createSession({ kvFill: 'hole' });
    plain.infer({ tokens: tokensOf(config, BEFORE, 1) });
    expect(hex(session.snapshot())).toBe(hex(plain.snapshot()));
    const next = { tokens: tokensOf(config, 6, 10) };
    expect(bitsOf(session.infer(next))).toBe(bitsOf(plain.infer(next)));
    expect(hex(session.snapshot())).toBe(hex(plain.snapshot()));
  });

  // Learned positions end before a slot is used again.
  if (config.positions !== 'learned')
    test.each(['first', 'last'] as const)(
      'D11 skipped-layers-kv: a hole in a slot that held a token is a hole (%s layers run)',
      (layerOrder) => {
        const options = { layerOrder, kvFill: 'hole' } as const;
        const [session, reference] = [model.createSession(options), new ReferenceSession(bytes, options)];
        const next = { tokens: tokensOf(config, 4, 12) };
        for (const s of [session, reference]) {
          s.infer({ tokens: tokensOf(config, config.context, 11) });
          s.infer(reduced);
        }
        const { layers } = stateOf(bytes, session);
        for (const i of skipped(layerOrder)) {
          const { length } = layers[i]!.kScales;
          expect(length).toBe(config.context * kvHeads);
          for (const scales of [layers[i]!.kScales, layers[i]!.vScales])
            expect(scales.subarray(length - REDUCED * kvHeads).every((s) => s === 0)).toBe(true);
        }
        expect(bitsOf(session.infer(next))).toBe(bitsOf(reference.infer(next)));
        expect(hex(session.snapshot())).toBe(hex(reference.snapshot()));
      },
    );
});
