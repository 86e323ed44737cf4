import { checkKeys, checkOneOf, checkSignal } from '../check.js';
import { QUANTS, type Quant } from '../config.js';
import { MgtError } from '../errors.js';
import type { ModelMeta, QuantReport } from '../format/file.js';
import { packPayload } from '../format/pack.js';
import { writeModel } from '../format/write.js';
import { ENOUGH, compare, type Accuracy } from './accuracy.js';
import { readHuggingFace, type SourceModel } from './huggingface.js';
import { chooseInputs, type Inputs } from './inputs.js';
import { encoderConfig, encoderWeights } from './mapping.js';
import { smoothing, startCalibration, type Smoothing } from './smooth.js';
import { openSource, type FileSource } from './source.js';
import { engineVectors, floatVectors } from './vectors.js';

export interface ConvertOptions {
  /** Code of the linear layers: `int8` (default, more accurate) or `int7` (fits relaxed SIMD). */
  readonly quant?: Quant | undefined;
  /** Write the file however much quantisation lost; recorded in it. */
  readonly allowNoise?: boolean | undefined;
  readonly onProgress?: ((progress: ConvertProgress) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Where a conversion stands: bytes (read), sequences (calibrate, measure) or candidates (pack) done, and in all. */
export interface ConvertProgress {
  readonly phase: 'read' | 'calibrate' | 'pack' | 'measure';
  readonly loaded: number;
  /** 0 where it is not known. */
  readonly total: number;
}

export interface ConvertReport {
  readonly name: string;
  readonly license: string;
  readonly quant: Quant;
  /** Tensors in the file, and the file's length in bytes. */
  readonly tensors: number;
  readonly bytes: number;
  /** The linear layer that quantisation changed most: relative RMS of its weights. */
  readonly worstTensor: { readonly name: string; readonly error: number };
  /** Cosines of the finished file's vectors to float arithmetic on the source's own weights. */
  readonly accuracy: Accuracy;
  /** What accuracy was measured on. */
  readonly measuredOn: Inputs['kind'];
  readonly smoothed: boolean;
  readonly tokenizer: boolean;
}

/** Calibration cosine from which on a smoothed model is taken without trying it unsmoothed. */
const GOOD = 0.999;

/**
 * Converts a Hugging Face BERT directory to an `.mgt` file, and measures what that cost: the finished file runs in the
 * engine on texts kept for that, against the source's own float weights. About 10 s of one core for 22 M parameters.
 * @param source path (Node), `https://` URL of the directory, or any `FileSource`
 * @throws MgtError `FileNotFound`, `BadFile`, `Truncated`, `BadWeights`, `UnsupportedArchitecture`, `UnsupportedMode`,
 * `NoisyModel` (cosine mean below 0.99 or minimum below 0.97), `Aborted`, `BadInput`
 */
export async function convert(
  source: string | FileSource,
  options: ConvertOptions = {},
): Promise<{ bytes: Uint8Array; report: ConvertReport }> {
  const o = checkKeys('options', options, ['quant', 'allowNoise', 'onProgress', 'signal']) as ConvertOptions;
  const quant = checkOneOf('quant', o.quant ?? 'int8', QUANTS);
  if (quant === 'int4') throw new MgtError('UnsupportedMode', 'quant', 'int8 or int7 for an encoder', quant);
  const allowNoise = o.allowNoise ?? false;
  if (typeof allowNoise !== 'boolean') throw new MgtError('BadInput', 'allowNoise', 'true or false', allowNoise);
  const { signal } = o;
  const progress = (phase: ConvertProgress['phase'], loaded: number, total: number): void => {
    checkSignal(signal, 'convert');
    o.onProgress?.({ phase, loaded, total });
  };
  checkSignal(signal, 'convert');
  const files = typeof source === 'string' ? await openSource(source) : source;
  const model = await readHuggingFace(files, {
    signal,
    onProgress: (loaded, total) => progress('read', loaded, total),
  });
  const inputs = chooseInputs(model);
  const best = await search(model, inputs, quant, progress);

  const accuracy = await judge(model, best.file, inputs.accuracy, (done, all) => progress('measure', done, all));
  const noisy = accuracy.cosineMean < ENOUGH.cosineMean || accuracy.cosineMin < ENOUGH.cosineMin;
  if (noisy && !allowNoise) {
    const [key, got] =
      accuracy.cosineMean < ENOUGH.cosineMean
        ? (['cosineMean', accuracy.cosineMean] as const)
        : (['cosineMin', accuracy.cosineMin] as const);
    throw new MgtError('NoisyModel', `accuracy.${key}`, `at least ${ENOUGH[key]}`, got);
  }
  const { worstTensor, smoothed, tensors } = best;
  const report: QuantReport = {
    scheme: `${quant} per row, activations int8 per 64${smoothed ? ', smoothed' : ''}`,
    ...{ worstTensor, accuracy, measuredOn: inputs.kind },
    ...(noisy ? { allowNoise: true } : {}),
  };
  const bytes = await writeModel(best.config, best.payload, metaOf(model, report));
  return {
    bytes,
    report: {
      ...{ name: model.name, license: model.license, quant, tensors, bytes: bytes.length, worstTensor, accuracy },
      ...{ measuredOn: inputs.kind, smoothed, tokenizer: model.tokenizer !== undefined },
    },
  };
}

type Candidate = Awaited<ReturnType<typeof pack>>;

/** Calibrates and packs with smoothing; a model that comes out badly is packed without it too, and the better one wins. */
async function search(
  model: SourceModel,
  { calibration }: Inputs,
  quant: Quant,
  progress: (phase: ConvertProgress['phase'], loaded: number, total: number) => void,
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
): Promise<Accuracy> {
  const engine = await engineVectors(file, ids);
  return compare(engine, await floatVectors(model, ids, (done) => progress(done, ids.length)));
}
