import { describe, expect, test } from '@jest/globals';
import { readFileSync } from 'node:fs';
import type { ExitOptions, ExitScore, InferInput, MincutGatedTransformer } from '../../src/core.node.js';
import { Sampler } from '../../src/generate/sample.js';
import { ln } from '../../src/generate/log.js';
import { bitsOf, errorOf, loadRandom, PACKETS, ReferenceSession, stateOf, tokensOf } from '../session/support.js';
import { models } from '../support/models.js';
import { deepDecoder } from './support.js';

const config = deepDecoder;
const ALWAYS = { score: 'maxProb', threshold: 0 } as const;

/** The scores by their textbook definitions, in f64 with Math.exp and Math.log. */
function scoresOf(logits: Float32Array): Record<Exclude<ExitScore, 'saturation'>, number> {
  const top = Math.max(...logits);
  const e = Array.from(logits, (l) => Math.exp(l - top));
  const sum = e.reduce((a, b) => a + b, 0);
  const p = e.map((x) => x / sum).sort((a, b) => b - a);
  const entropy = -p.reduce((h, x) => h + (x > 0 ? x * Math.log(x) : 0), 0) / Math.log(logits.length);
  return { maxProb: p[0]!, margin: p[0]! - p[1]!, entropy };
}

describe('the scores are what their names say', () => {
  const at = 2;
  const leaves = (model: MincutGatedTransformer, tokens: number[], exit: ExitOptions): boolean =>
    model.infer({ tokens, exit }).stats.layers[0] === at;

  test.each(['maxProb', 'margin', 'entropy'] as const)('%s', async (score) => {
    for (let seed = 1; seed <= 6; seed++) {
      const { model } = await loadRandom(config, {}, seed);
      const tokens = tokensOf(config, 5, seed);
      const exact = scoresOf(model.infer({ tokens, layers: at }).logits!)[score];
      // f32 sums over the vocabulary: 257 terms err by a few 1e-7.
      for (const step of [-1e-5, 1e-5]) {
        const sure = score === 'entropy' ? step > 0 : step < 0;
        expect([seed, step, leaves(model, tokens, { score, threshold: exact * (1 + step), layers: [at] })]).toEqual([
          seed,
          step,
          sure,
        ]);
      }
    }
  });

  test('ln: within 2 units in the last place of Math.log', () => {
    for (let i = 0; i < 3000; i++) {
      const x = 2 ** ((i - 1500) / 75) * (1 + i / 7919);
      expect(Math.abs(ln(x) - Math.log(x))).toBeLessThanOrEqual(2 ** -51 * Math.max(Math.abs(Math.log(x)), 1));
    }
  });
});

describe('what stats, witness and session say', () => {
  test('D7 exit-stats: layersExecuted counts the layers that ran, of a kept prompt those of its other tokens', async () => {
    const { model } = await loadRandom(config);
    const exit = { ...ALWAYS, layers: [3] };
    for (const [result, ran] of [
      [model.infer({ tokens: [4], exit }), 3],
      [model.createSession().infer({ tokens: [4], exit }), 3],
      [model.createSession().infer({ tokens: [4, 5], exit }), 5],
      // Nobody will see the others' K and V.
      [model.infer({ tokens: [4, 5], exit }), 3],
      [model.createSession().infer({ tokens: [4, 5], exit, gate: { partitionCount: 11 }, layers: 4 }), 3],
      [model.infer({ tokens: [4, 5], all: true, exit }), 3],
    ] as const) {
      const { stats, witness } = result;
      expect([stats.layersExecuted, witness.layersExecuted, stats.upstream.layersExecuted]).toEqual([ran, ran, ran]);
      expect([new Set(stats.layers), stats.kernelCalls.attention]).toEqual([new Set([3]), ran]);
    }
  });

  test('D8 exit-any-layer: an exit at every layer that is asked, none is -1; under a reduced tier below its depth alone', async () => {
    const { model } = await loadRandom(config);
    const early = (input: Partial<InferInput>): number[] => {
      const { stats } = model.infer({ tokens: [4], ...input });
      return [stats.layers[0]!, stats.upstream.earlyExitLayer];
    };
    for (const layer of [1, 2, 3, 4]) {
      expect(early({ exit: { ...ALWAYS, layers: [layer] } })).toEqual([layer, layer]);
      expect(early({ layers: layer })).toEqual([layer, layer]);
    }
    expect(early({})).toEqual([5, -1]);
    expect(early({ layers: 5 })).toEqual([5, -1]);
    expect(early({ exit: { score: 'maxProb', threshold: 1 } })).toEqual([5, -1]);
    const gate = PACKETS.ReduceScope; // three layers
    expect(early({ gate, exit: { ...ALWAYS, layers: [2] } })).toEqual([2, 2]);
    expect(early({ gate, exit: { ...ALWAYS, layers: [3, 4] } })).toEqual([3, -1]);
    expect(early({ gate, layers: 2 })).toEqual([2, 2]);
    expect(early({ gate: PACKETS.FreezeWrites, exit: { ...ALWAYS, layers: [1] } })).toEqual([1, -1]);
    expect(early({ gate: PACKETS.Skip, exit: ALWAYS, layers: 2 })).toEqual([0, -1]);
  });

  test("layerOrder 'last': depth is counted from the first layer that the tier runs", async () => {
    const { model, bytes } = await loadRandom(config, { layerOrder: 'last' });
    const reference = new ReferenceSession(bytes, { layerOrder: 'last' });
    const session = model.createSession();
    for (const gate of [{}, PACKETS.ReduceScope, {}]) {
      const input = { tokens: [4, 9], gate, all: true, exit: { ...ALWAYS, layers: [2] } };
      const got = session.infer(input);
      expect(got.stats.layers).toEqual([2, 2]);
      expect(bitsOf(got)).toBe(bitsOf(reference.infer(input)));
    }
    expect(Buffer.compare(session.snapshot(), reference.snapshot())).toBe(0);
  });

  test("where exits ask by default: the model's own layers, or its quarter points", async () => {
    const asked = async (exitLayers?: readonly number[]): Promise<number> => {
      const { model } = await loadRandom({ ...config, layers: 8, ...(exitLayers && { exitLayers }) });
      const exit = { score: 'maxProb', threshold: 1 } as const;
      expect(model.info.config.exitLayers).toEqual(exitLayers);
      expect(model.infer({ tokens: [1], exit: ALWAYS }).stats.layers).toEqual([exitLayers?.[0] ?? 2]);
      return model.infer({ tokens: [1], exit }).stats.macs.gate / (config.vocab * config.hidden);
    };
    expect([await asked(), await asked([3]), await asked([1, 4, 5, 7])]).toEqual([3, 1, 4]);
  });

  test("kvFill 'hole': what a token skipped is not there for those after it", async () => {
    const { model, bytes } = await loadRandom(config, { kvFill: 'hole' });
    const session = model.createSession();
    session.infer({ tokens: [4, 5, 6], all: true, exit: { ...ALWAYS, layers: [2] } });
    const { layers } = stateOf(bytes, session);
    expect(layers.map(({ kScales }) => kScales.every((scale) => scale === 0))).toEqual([
      false,
      false,
      true,
      true,
      true,
    ]);
  });

  test('the output kept under a signature is the one that was given', async () => {
    const { model } = await loadRandom(config);
    const session = model.createSession();
    const first = session.infer({ tokens: [4], signature: 9, exit: ALWAYS });
    const again = session.infer({ tokens: [4], signature: 9, gate: PACKETS.Skip, exit: ALWAYS });
    expect([bitsOf(again), again.stats.cached, again.stats.layers]).toEqual([bitsOf(first), 1, [0]]);
  });
});

describe('what docs/exits.md says', () => {
  test('the table of costs', async () => {
    const shape = { hidden: 192, heads: 6, kvHeads: 2, headDim: 32, ffn: 512, vocab: 1024, layers: 8 };
    const { model } = await loadRandom({ ...config, ...shape, smoothed: false });
    const page = readFileSync(new URL('../../docs/exits.md', import.meta.url), 'utf8');
    const cells = (row: string): number[] =>
      page
        .split('\n')
        .find((line) => line.startsWith(`| ${row} `))!
        .split('|')

        .slice(3, 8)
        .map((cell) => parseInt(cell.replace(/[ ,]/g, ''), 10));
    const [kv, full] = [24_576, 8 * 393_216 + 196_608];
    for (const [row, ran] of [
      ['2', 2],
      ['4', 4],
      ['6', 6],
      ['never', 8],
    ] as const) {
      // The first layer of those asked that is given a threshold it cannot miss.
      const session = model.createSession();
      const questions = ran === 8 ? [2, 4, 6] : [2, 4, 6].filter((k) => k <= ran);
      const costs = questions.map(
        (at) =>
          session.fork().infer({ tokens: [1], exit: { score: 'maxProb', threshold: at === ran ? 0 : 1, layers: [at] } })
            .stats.macs,
      );
      const { linear, head } = costs.at(-1)!;
      const gate = costs.reduce((sum, macs) => sum + macs.gate, 0);
      const fill = (8 - ran) * kv;
      expect([row, ...cells(row)]).toEqual(
        [row, fill, head, gate, linear + head + gate, Math.round((100 * (linear + head + gate)) / full)].map((n) => n),
      );
    }
  });

  test('EE5: a guess is accepted where full depth chooses it', () => {
    const pick = (logits: number[]): number => new Sampler(4).pick(Float32Array.from(logits), [], () => 0);
    expect(pick([10, 100, 30, 20])).toBe(pick([15, 100, 35, 25]));
    expect(pick([10, 100, 30, 20])).not.toBe(pick([15, 50, 135, 25]));
    // The guess is second best here; taken, it would be another text.
    expect(pick([10, 100, 30, 20])).not.toBe(pick([15, 95, 135, 25]));
  });
});

describe('what cannot be is refused by name', () => {
  const bad: [unknown, string][] = [
    [{ exit: 1 }, '"exit" expected an object, got 1'],
    [
      { exit: { score: 'mean', threshold: 0 } },
      '"exit.score" expected one of maxProb, margin, entropy, saturation, got mean',
    ],
    [{ exit: { score: 'margin' } }, '"exit.threshold" expected a number in 0..1, got nothing'],
    [{ exit: { score: 'margin', threshold: NaN } }, '"exit.threshold" expected a number in 0..1, got NaN'],
    [{ exit: { score: 'margin', threshold: -0.1 } }, '"exit.threshold" expected a number in 0..1, got -0.1'],
    [{ exit: { score: 'saturation', threshold: -1.1 } }, '"exit.threshold" expected a number in -1..1, got -1.1'],
    [{ exit: { ...ALWAYS, layers: 2 } }, '"exit.layers" expected a list of layers, got 2'],
    [{ exit: { ...ALWAYS, layers: [] } }, '"exit.layers" expected a list of layers, got []'],
    [{ exit: { ...ALWAYS, layers: [0] } }, '"exit.layers[0]" expected an integer in 1..4, got 0'],
    [{ exit: { ...ALWAYS, layers: [2, 2] } }, '"exit.layers[1]" expected more than 2, got 2'],
    [{ exit: { ...ALWAYS, layers: [4, 5] } }, '"exit.layers[1]" expected an integer in 1..4, got 5'],
    [{ exit: { ...ALWAYS, layers: [4, 2] } }, '"exit.layers[1]" expected more than 4, got 2'],
    [{ exit: { ...ALWAYS, layers: [5] } }, '"exit.layers[0]" expected an integer in 1..4, got 5'],
    [
      { exit: { ...ALWAYS, colour: 1 } },
      '"exit.colour" expected one of score, threshold, layers, got the unknown key colour',
    ],
    [{ layers: 0 }, '"layers" expected an integer in 1..5, got 0'],
    [{ layers: 6 }, '"layers" expected an integer in 1..5, got 6'],
    [{ layers: 1.5 }, '"layers" expected an integer in 1..5, got 1.5'],
  ];

  test.each(bad)('%j', async (given, message) => {
    const { model } = await loadRandom(config);
    const session = model.createSession();
    session.infer({ tokens: [1, 2] });
    const before = session.snapshot();
    const input = { tokens: [3], ...(given as object) };
    expect(errorOf(() => session.infer(input)).message).toBe(message);
    expect(errorOf(() => model.infer(input)).message).toBe(message);
    if ('exit' in input) expect(errorOf(() => session.generate(input as never)).message).toBe(message);
    expect(Buffer.compare(session.snapshot(), before)).toBe(0);
    expect(session.witness!.layersExecuted).toBe(5);
  });

  test('an encoder has no exits', async () => {
    const { model } = await loadRandom(models['odd encoder']!);
    const codes = [{ exit: ALWAYS }, { layers: 1 }].map((given) =>
      errorOf(() => model.infer({ tokens: [1], ...given })),
    );
    expect(codes.map(({ code, field }) => [code, field])).toEqual([
      ['UnsupportedMode', 'exit'],
      ['UnsupportedMode', 'layers'],
    ]);
    expect(model.infer({ tokens: [1] }).stats.layers).toEqual([]);
  });

  test.each([
    [[0], 'config.exitLayers[0]'],
    [[5], 'config.exitLayers[0]'],
    [[2, 1], 'config.exitLayers[1]'],
    [[], 'config.exitLayers'],
    ['2', 'config.exitLayers'],
  ])('exitLayers %j of a model', async (exitLayers, field) => {
    await expect(loadRandom({ ...config, exitLayers: exitLayers as number[] })).rejects.toMatchObject({
      code: 'BadConfig',
      field,
    });
  });
});
