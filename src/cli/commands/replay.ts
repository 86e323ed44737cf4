import { replay } from '../../log/model.js';
import { hexOf } from '../../checksum.js';
import { modelPath } from '../default-model.js';
import { readWhole } from '../files.js';
import { catchUp } from '../interrupt.js';
import { readModel } from '../model.js';
import { oneLine, print } from '../output.js';
import { createProgress } from '../progress.js';
import type { Run } from '../specs.js';

/** `mgt replay`: runs a log's calls again and compares every output and witness. */
export const run: Run = async ({ operands, values }, { json, signal }) => {
  const logPath = operands[0]!;
  const path = modelPath(values.get('model'));
  const log = await readWhole(logPath, logPath, signal);
  const { MincutGatedTransformer } = await import('../../core.node.js');
  const { file } = await readModel(path, signal);
  const progress = createProgress();
  try {
    const simd = (values.get('simd') ?? 'auto') as 'auto' | 'plain' | 'relaxed';
    const onProgress = (p: { loaded: number; total: number }): void => progress.update('loading', p.loaded, p.total);
    const answer = await replay(log, {
      sha256: hexOf(file.sha256),
      load: (options) => MincutGatedTransformer.load(path, { ...options, simd, signal, onProgress }),
      before: () => catchUp('replay', signal),
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
