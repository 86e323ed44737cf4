import { replayLog } from '../../log/replay.js';
import { hexOf } from '../../engine/load.js';
import { readWhole } from '../files.js';
import { replayEngine } from '../logs.js';
import { readModel } from '../model.js';
import { oneLine, print } from '../output.js';
import { createProgress } from '../progress.js';
import type { Run } from '../specs.js';

/** `mgt replay`: runs a log's calls again and compares every output and witness. */
export const run: Run = async ({ operands, values }, { json, signal }) => {
  const [logPath, modelPath] = [operands[0]!, values.get('model')!];
  const log = await readWhole(logPath, logPath, signal);
  const { MincutGatedTransformer } = await import('../../core.node.js');
  const { file } = await readModel(modelPath, signal);
  const progress = createProgress();
  try {
    const simd = (values.get('simd') ?? 'auto') as 'auto' | 'plain' | 'relaxed';
    const answer = await replayLog(log, {
      modelHash: hexOf(file.sha256),
      open: async ({ energy, tiers, seed: _ofSessions, ...settings }) => {
        const given = { ...settings, energy: energy ?? undefined, tiers: tiers ?? undefined };
        const onProgress = (p: { loaded: number; total: number }): void =>
          progress.update('loading', p.loaded, p.total);
        const model = await MincutGatedTransformer.load(modelPath, { ...given, simd, signal, onProgress });
        return replayEngine(model, signal);
      },
    });
    const { calls, verified } = answer;
    progress.done();
    await print(
      json
        ? `${JSON.stringify(answer)}\n`
        : `${oneLine(`${logPath}: ${verified} of ${calls} calls give the same bits`)}\n`,
    );
  } finally {
    progress.done();
  }
};
