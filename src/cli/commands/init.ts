import { checkInteger } from '../../check.js';
import type { Quant } from '../../config.js';
import { initModel } from '../../convert/init.js';
import { parseNumber } from '../args.js';
import { beginFile } from '../files.js';
import { bytesText, oneLine, print } from '../output.js';
import type { Run } from '../specs.js';

/** `mgt init`: a seeded random decoder. */
export const run: Run = async ({ operands, values }, { json }) => {
  const preset = operands[0] as 'micro' | 'baseline';
  const seed = checkInteger('seed', parseNumber('--seed', values.get('seed')!), 0, 2 ** 32 - 1);
  const quant = (values.get('quant') ?? 'int8') as Quant;
  const path = values.get('output')!;
  const target = await beginFile('-o', path);
  let bytes: Uint8Array;
  try {
    bytes = await initModel(preset, seed, quant);
    await target.write(bytes);
    await target.commit();
  } finally {
    await target.discard();
  }
  await print(
    json
      ? `${JSON.stringify({ file: path, preset, seed, quant, bytes: bytes.length })}\n`
      : oneLine(`${path}: random ${preset}, seed ${seed}, ${quant}, ${bytesText(bytes.length)}`) + '\n',
  );
};
