// Writes the models of cases.mjs into a folder: the very bytes that every engine, browsers included, then loads.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { MODELS } from './cases.mjs';

export async function writeModels(folder) {
  const { initModel, randomModel } = await import('../../dist.modules/convert/init.js');
  for (const { name, preset, config, seed, quant } of MODELS) {
    const bytes = preset ? await initModel(preset, seed, quant) : await randomModel(config, seed);
    writeFileSync(join(folder, `${name}.mgt`), bytes);
  }
}
