import { checkKeys, checkOneOf, checkSignal } from '../check.js';
import { QUANTS, type Quant } from '../config.js';
import { MincutGatedTransformer } from '../engine/model.js';
import { MgtError } from '../errors.js';
import type { ModelMeta, QuantReport } from '../format/file.js';
import { packPayload } from '../format/pack.js';
import { writeModel } from '../format/write.js';
import type { Platform } from '../platform/platform.js';
import { ENOUGH, compare, type Accuracy } from './accuracy.js';
import type { BertModel } from './bert.js';
import { floatForward, type Observe } from './float.js';
import { readHuggingFace, type SourceModel } from './huggingface.js';
import { chooseInputs, type Inputs } from './inputs.js';
import { encoderConfig, encoderWeights } from './mapping.js';
import { smoothing, startCalibration, type Smoothing } from './smooth.js';
import { isNode, openSource, type FileSource } from './source.js';

export interface ConvertOptions {
  /** Code of the linear layers: `int8` (default, more accurate) or `int7` (fits relaxed SIMD). */
  readonly quant?: Quant | undefined;
  /** Write the file however much quantisation lost; recorded in it. */
  readonly allowNoise?: boolean | undefined;
  readonly onProgress?: ((progress: ConvertProgress) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Where a conversion stands: bytes (read), sequences (calibrate, measure) or files tried (pack) done, and in all. */
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

/** Calibration cosine that ends the search for better smoothing. */
const GOOD = 0.999;
/** Ways to smooth, tried in this order until one is good: a shift of every exponent, or none at all. */
const ATTEMPTS: readonly (number | undefined)[] = [0, 0.2, -0.2, undefined];
/** Rows of one float pass: enough for the matrix kernel, short enough to stay interruptible. */
const BATCH_ROWS = 96;

/**
 * Converts a Hugging Face BERT directory to an `.mgt` file, and measures what that cost: the finished file runs in the
 * engine on texts kept for that, against the source's own float weights. About 15 s for a 22 M parameter model.
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
  if (noisy && !o.allowNoise) {
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

/** Calibrates, then packs with one smoothing after another until the calibration inputs come out well; the best wins. */
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
  let best: { candidate: Candidate; cosine: number } | undefined;
  for (const [i, shift] of ATTEMPTS.entries()) {
    progress('pack', i, ATTEMPTS.length);
    const candidate = await pack(model, quant, shift === undefined ? undefined : smoothing(bert, maxima, shift));
    const cosine = compare(await engineVectors(candidate.file, calibration), float).cosineMean;
    if (!best || cosine > best.cosine) best = { candidate, cosine };
    if (best.cosine >= GOOD) break;
  }
  progress('pack', ATTEMPTS.length, ATTEMPTS.length);
  return best!.candidate;
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

/** The engine's vectors: the file goes through its own loader, as it will at the user's. */
async function engineVectors(file: Uint8Array, ids: readonly number[][]): Promise<Float32Array[]> {
  const platform: Platform = isNode()
    ? (await import('../platform/node.js')).nodePlatform
    : (await import('../platform/web.js')).webPlatform;
  class Engine extends MincutGatedTransformer {
    static override readonly platform = platform;
  }
  const model = await Engine.load(file);
  try {
    return ids.map((tokens) => model.infer({ tokens }).embedding!);
  } finally {
    model.dispose();
  }
}

/** The float model's vectors, batch by batch; lets the host breathe between two. */
async function floatVectors(
  { bert, pooling }: { bert: BertModel; pooling: 'mean' | 'cls' },
  ids: readonly number[][],
  progress: (done: number) => void,
  observe?: Observe,
): Promise<Float32Array[]> {
  const vectors: Float32Array[] = [];
  while (vectors.length < ids.length) {
    let end = vectors.length;
    for (let rows = 0; end < ids.length && rows < BATCH_ROWS; end++) rows += ids[end]!.length;
    vectors.push(...floatForward(bert, ids.slice(vectors.length, end), pooling, observe));
    progress(vectors.length);
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
  for (const vector of vectors) {
    const broken = vector.find((x) => !Number.isFinite(x));
    if (broken !== undefined) throw new MgtError('BadWeights', 'model', 'finite vectors in float arithmetic', broken);
  }
  return vectors;
}
