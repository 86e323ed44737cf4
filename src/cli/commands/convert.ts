import type { Quant } from '../../config.js';
import { convertTo, type ConvertProgress, type ConvertReport } from '../../convert/convert.js';
import { memoryTarget } from '../../convert/target.js';
import { beginFile } from '../files.js';
import { accuracyText, bytesText, oneLine, print } from '../output.js';
import { createProgress } from '../progress.js';
import type { Run } from '../specs.js';

const DOING: Readonly<Record<ConvertProgress['phase'], string>> = {
  read: 'reading the source',
  calibrate: 'calibrating',
  pack: 'quantising',
  measure: 'measuring the loss',
};

/** `mgt convert`: a Hugging Face directory or GGUF file to a model file, which appears only when it is whole and accurate enough. */
export const run: Run = async ({ operands, values, flags }, { json, signal }) => {
  const path = values.get('output')!;
  const file = await beginFile('-o', path);
  const progress = createProgress();
  let report: ConvertReport;
  try {
    const memory = memoryTarget();
    report = await convertTo(operands[0]!, file.parts ?? memory, {
      signal,
      quant: values.get('quant') as Quant | undefined,
      allowNoise: flags.has('allow-noise'),
      onProgress: ({ phase, loaded, total }) => progress.update(DOING[phase], loaded, total),
    });
    await (file.parts ? file.parts.finish() : file.write(memory.content));
    await file.commit();
  } finally {
    progress.done();
    await file.discard();
  }
  const { tensors, bytes, worstTensor, accuracy } = report;
  if (json) {
    await print(`${JSON.stringify({ tensors, bytes, worstTensor, accuracy })}\n`);
    return;
  }
  const rows = [
    ['file', `${path} · ${bytesText(bytes)} · ${tensors} tensors`],
    ['source', `${report.name} · licence ${report.license} · ${report.tokenizer ? 'with' : 'no'} tokenizer`],
    ['weights', `${report.quant}${report.smoothed ? ', channels evened' : ''}`],
    ['worst', `${worstTensor.name}, relative RMS error ${worstTensor.error.toFixed(5)}`],
    ['accuracy', `${accuracyText(accuracy)}, on ${report.measuredOn}`],
  ];
  await print(rows.map(([name, text]) => `${name!.padEnd(10)}${oneLine(text!)}\n`).join(''));
};
