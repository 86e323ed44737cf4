import { describe, expect, test } from '@jest/globals';
import { inferReference, referenceRules } from '../../src/cli/reference.js';
import type { CallSetup } from '../../src/cli/setup.js';
import type { ModelConfig } from '../../src/config.js';
import type { InferInput, InferResult, LoadOptions, RecordedCall } from '../../src/core.node.js';
import { pieces } from '../../src/engine/pieces.js';
import { partOf } from '../../src/engine/ring.js';
import { parseHeader } from '../../src/format/file.js';
import { encodeSnapshot, type SessionState } from '../../src/format/snapshot.js';
import { density, partitionMask, positionCount } from '../../src/gate/partitions.js';
import { emptySession } from '../../src/reference/session.js';
import { models, oddDecoder, oddEncoder } from '../support/models.js';
import { bitsOf, builds, errorOf, loadRandom, PACKETS, tokensOf } from './support.js';

/** Attention by the gate packet's partitions: what a row may see, and that engine and reference compute just that. */

const ON = { partitions: true };
const config = oddDecoder;
const tokens = tokensOf(config, config.context, 3);
const parts = (partitionCount: number) => ({ partitionCount });

/** The reference under a model's load options: stateless, or a session that begins empty. */
class Reference {
  readonly #model;
  readonly #rules;
  readonly #run;
  #state: SessionState | undefined;

  constructor(bytes: Uint8Array, setup: CallSetup, session: boolean) {
    const file = parseHeader(bytes, bytes.length);
    this.#model = { file, payload: bytes.subarray(file.payloadOffset) };
    const { rules, run } = referenceRules(file.config, setup);
    this.#rules = rules;
    this.#run = run;
    this.#state = session ? emptySession(file.config, { ...run, seed: 0 }) : undefined;
  }

  infer(input: InferInput): InferResult {
    const { result, state } = inferReference(this.#model, this.#rules, this.#run, this.#state, input);
    this.#state = state;
    return result;
  }

  snapshot(): Uint8Array {
    const { config: c, sha256 } = this.#model.file;
    return encodeSnapshot(this.#state!, { config: c, sha256, context: this.#rules.shape.seqLen });
  }
}

/** Everything that engine and reference must agree in. */
const answer = (result: InferResult) => ({
  bits: bitsOf(result),
  witness: result.witness,
  macs: result.stats.macs,
  layers: result.stats.layersExecuted,
});

const sparse = (...topIdx: number[]): InferInput['spikes'] => ({
  fired: 1,
  flags: 1,
  topIdx,
  topWQ15: topIdx.map(() => 1),
});

describe.each(['micro', 'odd decoder', 'odd decoder int7', 'gpt-like', 'windowed decoder'])('%s', (name) => {
  const shape: ModelConfig = models[name]!;
  const { context } = shape;

  test.each(builds)(
    'the %s build gives the bits and MACs of the reference, whatever partitions and keys',
    async (simd) => {
      const policy = { partitionsMax: 65535 };
      for (const run of [{}, { sinks: 3 }, { sinks: 0, tiers: { windowNormal: 6, windowDegraded: 3 } }]) {
        const options = { ...run, policy };
        const { model, bytes } = await loadRandom(shape, { simd, ...ON, ...options });
        const reference = new Reference(bytes, { ...ON, ...options }, false);
        for (const [n, partitionCount] of [
          [16, 2],
          [context, 3],
          [23, 4],
          [context, 7],
          [context - 1, 65535],
        ] as const) {
          for (const spikes of [undefined, sparse(0, 5, 9, 10, n - 3)]) {
            const input = { tokens: tokensOf(shape, n, n), gate: parts(partitionCount), spikes };
            expect([n, partitionCount, answer(model.infer(input))]).toEqual([
              n,
              partitionCount,
              answer(reference.infer(input)),
            ]);
          }
        }
      }
    },
  );

  test.each(builds)('a session on the %s build goes on from a partitioned call as on the reference', async (simd) => {
    // Where the tier keeps nothing, the rows are read from scratch.
    for (const tiers of [undefined, { enableKvCache: false }]) {
      const options = { ...ON, ...(tiers && { tiers }) };
      const { model, bytes } = await loadRandom(shape, { simd, ...options });
      const session = model.createSession();
      const reference = new Reference(bytes, options, true);
      const calls: InferInput[] = [
        { tokens: tokensOf(shape, 19, 1), gate: parts(3), spikes: sparse(6) },
        { tokens: tokensOf(shape, 5, 2), gate: parts(3) },
        { tokens: [7], gate: PACKETS.FlushKv },
        { tokens: tokensOf(shape, context, 3), gate: parts(5) },
        ...(shape.positions === 'learned' ? [] : [{ tokens: tokensOf(shape, 17, 4), gate: parts(4) }]),
      ];
      for (const [i, input] of calls.entries()) {
        expect([i, answer(session.infer(input))]).toEqual([i, answer(reference.infer(input))]);
        expect(Buffer.compare(session.snapshot(), reference.snapshot())).toBe(0);
      }
    }
  });
});

async function run(options: LoadOptions, input: Partial<InferInput> = {}): Promise<InferResult> {
  const { model } = await loadRandom(config, options);
  return model.infer({ tokens, ...input });
}

describe('SA2 partitions and the output', () => {
  test('off, and off by default, a partition count changes nothing; on, it changes the output', async () => {
    const dense = answer(await run({}));
    for (const options of [{}, { partitions: false }]) {
      const off = answer(await run(options, { gate: parts(4) }));
      expect([off.bits, off.macs]).toEqual([dense.bits, dense.macs]);
    }
    expect(answer(await run(ON))).toEqual(dense);
    expect(answer(await run(ON, { gate: parts(4) })).bits).not.toBe(dense.bits);
  });

  test('at full window attention MACs fall by the density of the mask; nothing else of the MACs changes', async () => {
    const dense = (await run({ sinks: 0 })).stats.macs;
    for (const partitionCount of [2, 4, 8]) {
      const mask = partitionMask({ lambda: 100, partitionCount }, tokens.length, 30);
      const { macs, kernelCalls } = (await run({ ...ON, sinks: 0 }, { gate: parts(partitionCount) })).stats;
      expect(macs.attention).toBe(config.layers * 2 * positionCount(mask) * config.heads * config.headDim);
      expect(macs.attention / dense.attention).toBeCloseTo(density(mask), 12);
      expect({ ...macs, attention: 0 }).toEqual({ ...dense, attention: 0 });
      // The first block is one attention call; of blocks of 4 there are no other rows than the boundary's.
      const calls = mask.blocks.reduce((sum, { count }, b) => sum + (b > 0 && count > 4 ? 2 : 1), 0);
      expect(kernelCalls.attention).toBe(config.layers * calls);
    }
  });

  test('an inner token of another block is out of sight, a boundary token and an extra key are not', async () => {
    // Blocks of 12, 12 and 13: the last row is an inner one of the last block, in sight of the others by its boundary rows alone.
    const changed = (at: number): number[] => tokens.map((token, i) => (i === at ? (token + 1) % config.vocab : token));
    const seen = async (at: number, options: LoadOptions, spikes?: InferInput['spikes']): Promise<boolean> => {
      const input = { gate: parts(3), spikes };
      const [before, after] = [await run(options, input), await run(options, { ...input, tokens: changed(at) })];
      return bitsOf(before) !== bitsOf(after);
    };
    for (const at of [4, 11, 16, 23]) expect([at, await seen(at, {}), await seen(at, ON)]).toEqual([at, true, false]);
    for (const at of [0, 3, 12, 15, 24, 36]) expect([at, await seen(at, ON)]).toEqual([at, true]);
    expect([await seen(16, ON, sparse(16)), await seen(17, ON, sparse(16))]).toEqual([true, false]);
  });

  test('dense where the call is short, shaky, narrowed, or not the first of its session', async () => {
    const same = async (options: LoadOptions, input: Partial<InferInput>): Promise<boolean> =>
      bitsOf(await run({ ...ON, ...options }, input)) === bitsOf(await run(options, input));
    expect(await same({}, { gate: parts(4) })).toBe(false);
    expect(await same({}, { gate: parts(4), tokens: tokens.slice(0, 15) })).toBe(true);
    expect(await same({}, { gate: { ...parts(4), boundaryEdges: 30 } })).toBe(true);
    // The energy gate can allow what the rules would not: there, lambda below the limit reaches tier 0.
    const shaky = { energy: true, policy: { lambdaMin: 2000 } };
    const allowed = { gate: { ...parts(4), lambda: 1000, lambdaPrev: 1000 } };
    expect((await run(shaky, allowed)).witness.tier).toBe(0);
    expect(await same(shaky, allowed)).toBe(true);
    expect(await same({ energy: true, policy: { lambdaMin: 1000 } }, allowed)).toBe(false);

    const outputs = await Promise.all(
      [{}, ON].map(async (options) => {
        const session = (await loadRandom(config, options)).model.createSession();
        session.infer({ tokens: [1] });
        const later = bitsOf(session.infer({ tokens: tokens.slice(0, 20), gate: parts(4) }));
        session.truncate(0);
        return [later, bitsOf(session.infer({ tokens, gate: parts(4) }))];
      }),
    );
    expect(outputs[0]![0]).toBe(outputs[1]![0]);
    expect(outputs[0]![1]).not.toBe(outputs[1]![1]);
  });

  test('an encoder is not touched', async () => {
    const input = { tokens: tokensOf(oddEncoder, 37, 1), gate: parts(4) };
    const [off, on] = await Promise.all(
      [{}, ON].map(async (o) => (await loadRandom(oddEncoder, o)).model.infer(input)),
    );
    expect(on).toEqual(off);
  });

  test('the option is true or false, and a log keeps it', async () => {
    await expect(run({ partitions: 1 as never })).rejects.toMatchObject({ code: 'BadInput', field: 'partitions' });
    const calls: RecordedCall[] = [];
    const log = { record: (call: RecordedCall) => void calls.push(call) };
    for (const options of [{ log }, { log, ...ON }]) await run(options);
    expect(calls.map(({ settings }) => settings.partitions)).toEqual([false, true]);
    const { model } = await loadRandom(config, ON);
    expect(errorOf(() => model.createSession(ON as object)).field).toBe('options.partitions');
  });
});

describe('pieces', () => {
  test('are the mask row by row: earlier rows in order, extra keys by their place', () => {
    const mask = partitionMask({ lambda: 100, partitionCount: 3 }, 32, 30);
    const rows = (first: number, count: number) => ({ first, count });
    expect([...pieces(mask, [2, 7, 8, 25])]).toEqual([
      { ...rows(0, 10), sees: [], extras: [2, 7, 8] },
      { ...rows(10, 4), sees: [rows(0, 4), rows(7, 2)], extras: [2, 4, 5] },
      { ...rows(14, 6), sees: [rows(2, 1), rows(7, 2), rows(10, 4)], extras: [0, 1, 2] },
      { ...rows(20, 4), sees: [rows(0, 4), rows(7, 2), rows(10, 4)], extras: [2, 4, 5] },
      { ...rows(24, 8), sees: [rows(2, 1), rows(7, 2), rows(20, 4)], extras: [0, 1, 2, 8] },
    ]);
  });

  test('find their rows in the slots that keep them', () => {
    const runs = [
      { slot: 9, count: 3 },
      { slot: 2, count: 4 },
    ];
    expect(partOf(runs, 0, 7)).toEqual(runs);
    expect(partOf(runs, 1, 3)).toEqual([
      { slot: 10, count: 2 },
      { slot: 2, count: 1 },
    ]);
    expect(partOf(runs, 4, 2)).toEqual([{ slot: 3, count: 2 }]);
    expect(partOf(runs, 7, 2)).toEqual([]);
  });
});
