import type { Quant } from '../config.js';
import { MgtError } from '../errors.js';
import type { EncoderAccuracy, ModelMeta, QuantReport } from '../format/file.js';
import { packPayload } from '../format/pack.js';
import { writeModel } from '../format/write.js';
import { ENOUGH, compare } from './accuracy.js';
import type { ConvertReport, Job, Progress } from './convert.js';
import { readHuggingFace, type SourceModel } from './huggingface.js';
import { chooseInputs, type Inputs } from './inputs.js';
import { encoderConfig, encoderWeights } from './mapping.js';
import { smoothing, startCalibration, type Smoothing } from './smooth.js';
import type { FileSource } from './source.js';
import { engineVectors, floatVectors } from './vectors.js';

/** Calibration cosine from which on a smoothed model is taken without trying it unsmoothed. */
const GOOD = 0.999;

/** A BERT directory to a file. About 10 s of one core for 22 M parameters. @throws MgtError as `convert` */
export async function convertEncoder(files: FileSource, job: Job): Promise<ConvertReport> {
  const { signal, progress, quant = 'int8' } = job;
  if (quant === 'int4') throw new MgtError('UnsupportedMode', 'quant', 'int8 or int7 for an encoder', quant);
  const model = await readHuggingFace(files, {
    signal,
    onProgress: (loaded, total) => progress('read', loaded, total),
  });
  const inputs = chooseInputs(model.tokenizer, model.bert);
  const best = await search(model, inputs, quant, progress);

  const accuracy = await judge(model, best.file, inputs.accuracy, (done, all) => progress('measure', done, all));
  const low = (['cosineMean', 'cosineMin'] as const).find((key) => accuracy[key] < ENOUGH[key]);
  if (low && !job.allowNoise) {
    throw new MgtError('NoisyModel', `accuracy.${low}`, `at least ${ENOUGH[low]}`, accuracy[low]);
  }
  const { worstTensor, smoothed, tensors } = best;
  const report: QuantReport = {
    scheme: `${quant} per row, activations int8 per 64${smoothed ? ', smoothed' : ''}`,
    ...{ worstTensor, accuracy, measuredOn: inputs.kind },
    ...(low ? { allowNoise: true } : {}),
  };
  const bytes = await writeModel(best.config, best.payload, metaOf(model, report));
  await job.target.begin(bytes.length);
  await job.target.write(0, bytes);
  return {
    ...{ name: model.name, license: model.license, quant, tensors, bytes: bytes.length, worstTensor, accuracy },
    ...{ measuredOn: inputs.kind, smoothed, tokenizer: model.tokenizer !== undefined },
  };
}

type Candidate = Awaited<ReturnType<typeof pack>>;

/** Calibrates and packs with smoothing; a model that comes out badly is packed without it too, and the better one wins. */
async function search(
  model: SourceModel,
  { calibration }: Inputs,
  quant: Quant,
  progress: Progress,
): Promise<Candidate> {
  const { bert } = model;
  const { maxima, observe } = startCalibration(bert);
  const calibrated = (done: number): void => progress('calibrate', done, calibration.length);
  const float = await floatVectors(model, calibration, calibrated, observe);
  const measured = async (candidate: Candidate): Promise<number> =>
    compare(await engineVectors(candidate.file, calibration), float).cosineMean;
  progress('pack', 0, 1);
  const smoothed = await pack(model, quant, smoothing(bert, maxima));
  progress('pack', 1, 1);
  const cosine = await measured(smoothed);
  if (cosine >= GOOD) return smoothed;
  progress('pack', 1, 2);
  const plain = await pack(model, quant, undefined);
  progress('pack', 2, 2);
  return (await measured(plain)) > cosine ? plain : smoothed;
}

/** A complete file, its report still without accuracy. */
async function pack(model: SourceModel, quant: Quant, smooth: Smoothing | undefined) {
  const { bert, pooling, normalize } = model;
  const smoothed = smooth !== undefined;
  const config = encoderConfig(bert, { pooling, normalize, quant, smoothed });
  let tensors = 0;
  const weights = encoderWeights(bert, smooth);
  const { payload, errors } = packPayload(config, (tensor) => {
    tensors++;
    return weights(tensor);
  });
  const worstTensor = errors.reduce((a, b) => (b.error > a.error ? b : a));
  const file = await writeModel(config, payload, metaOf(model, { scheme: quant, worstTensor }));
  return { config, payload, file, tensors, worstTensor, smoothed };
}

const metaOf = ({ name, license, tokenizer }: SourceModel, report: QuantReport): ModelMeta => ({
  source: { name, license },
  report,
  ...(tokenizer ? { tokenizer: { json: tokenizer.json, config: tokenizer.config } } : {}),
});

async function judge(
  model: SourceModel,
  file: Uint8Array,
  ids: readonly number[][],
  progress: (done: number, all: number) => void,
): Promise<EncoderAccuracy> {
  const engine = await engineVectors(file, ids);
  return compare(engine, await floatVectors(model, ids, (done) => progress(done, ids.length)));
}
