import { describe, expect, test } from '@jest/globals';
import { MincutGatedTransformer } from '../../src/core.node.js';
import { readDecoderConfig } from '../../src/convert/decoder-config.js';
import { randomModel } from '../../src/convert/init.js';
import { CallLog, replay } from '../../src/log/index.js';
import { parseHeader } from '../../src/format/file.js';
import { errorOf, loadRandom, PACKETS } from '../session/support.js';
import { deepDecoder } from './support.js';

describe('a log of calls with exits', () => {
  const calls = [
    { tokens: [1, 2, 3], exit: { score: 'saturation', threshold: 0.2 } },
    { tokens: [4] },
    { tokens: [5], layers: 2 },
    { tokens: [6], exit: { score: 'entropy', threshold: 0.99, layers: [1, 4] }, layers: 4, gate: PACKETS.ReduceScope },
  ] as const;

  test.each(['json', 'binary'] as const)('%s: replays to the same bits, with the same layers', async (format) => {
    const { model, bytes } = await loadRandom(deepDecoder);
    const log = new CallLog(format);
    const session = model.createSession({ log });
    const ran = calls.map((call) => session.infer(call).witness.layersExecuted);
    expect(ran).toEqual([5, 5, 2, 1]);
    let loads = 0;
    const load = (options: object): Promise<MincutGatedTransformer> => {
      loads++;
      return MincutGatedTransformer.load(bytes, options);
    };
    const file = await log.bytes();
    expect(await replay(file, { sha256: model.info.sha256, load })).toEqual({ calls: 4, verified: 4 });
    expect(loads).toBe(1);
    const text = Buffer.from(await log.bytes('json')).toString();
    const settings = text
      .split('\n')
      .slice(0, 4)
      .map((line) => (JSON.parse(line) as { settings: object }).settings);
    expect(settings.map((s) => [('exit' in s && s.exit) || 0, ('layers' in s && s.layers) || 0])).toEqual([
      [{ score: 'saturation', threshold: 0.2, layers: [2, 3, 4] }, 0],
      [0, 0],
      [0, 2],
      [{ score: 'entropy', threshold: 0.99, layers: [1, 4] }, 4],
    ]);
  });

  test('of a model of one layer, which has nowhere to ask', async () => {
    const { model, bytes } = await loadRandom({ ...deepDecoder, layers: 1 });
    const log = new CallLog();
    const session = model.createSession({ log });
    const { stats, logits } = session.infer({ tokens: [1, 2], exit: { score: 'maxProb', threshold: 0 } });
    expect(stats).toMatchObject({ layers: [1], macs: { gate: 0 } });
    expect(logits).toEqual(model.infer({ tokens: [1, 2] }).logits);
    const load = (options: object): Promise<MincutGatedTransformer> => MincutGatedTransformer.load(bytes, options);
    expect(await replay(await log.bytes(), { sha256: model.info.sha256, load })).toEqual({ calls: 1, verified: 1 });
  });

  test('a call that no model can run is named with its line', async () => {
    const { model, bytes } = await loadRandom(deepDecoder);
    const log = new CallLog();
    const settings = { exit: { score: 'margin', threshold: 2, layers: [1] } };
    const recorder = {
      record: (call: never) =>
        log.record({
          ...(call as object),
          settings: { ...(call as { settings: object }).settings, ...settings },
        } as never),
    };
    model.createSession({ log: recorder }).infer({ tokens: [1] });
    const load = (options: object): Promise<MincutGatedTransformer> => MincutGatedTransformer.load(bytes, options);
    const failed = replay(await log.bytes(), { sha256: model.info.sha256, load });
    await expect(failed).rejects.toMatchObject({ code: 'BadFile', field: 'line 1: exit.threshold' });
  });
});

describe('exit layers of a model', () => {
  test.each([[[1]], [[2, 4, 6]], [[31, 32, 33, 63]], [Array.from({ length: 63 }, (_, i) => i + 1)]])(
    '%j stand in its file',
    async (exitLayers) => {
      const config = {
        ...deepDecoder,
        ...{ hidden: 8, heads: 1, kvHeads: 1, headDim: 8, ffn: 8, vocab: 9, layers: 70 },
        exitLayers,
      };
      const bytes = await randomModel(config, 1);
      expect(parseHeader(bytes, bytes.length).config).toEqual(config);
    },
  );

  test('and in config.json', () => {
    const base = {
      model_type: 'llama',
      hidden_size: 8,
      num_attention_heads: 2,
      num_hidden_layers: 5,
      intermediate_size: 8,
      vocab_size: 9,
      max_position_embeddings: 16,
    };
    const read = (exit_layers?: unknown): unknown => readDecoderConfig({ ...base, exit_layers }).facts.exitLayers;
    expect([read(), read(null), read([1, 4])]).toEqual([undefined, undefined, [1, 4]]);
    for (const wrong of [[], [0], [5], [2, 2], 2, ['1']]) {
      const error = errorOf(() => read(wrong));
      expect([error.code, error.field, error.expected]).toEqual([
        'BadFile',
        'config.json.exit_layers',
        'ascending integers in 1..4',
      ]);
    }
  });
});
