import { Checksum } from '../checksum.js';
import { validateConfig, type ModelConfig, type Quant } from '../config.js';
import { yieldToHost } from '../engine/patience.js';
import { MgtError } from '../errors.js';
import type { DecoderAccuracy, ModelMeta, QuantReport } from '../format/file.js';
import { packParts, type TensorError, type TensorRows, type TensorValues } from '../format/pack.js';
import { planWeights, type TensorSpec } from '../format/tensors.js';
import { writeHeader, type PayloadDigest } from '../format/write.js';
import type { ConvertReport, Job } from './convert.js';
import type { DecoderFacts, DecoderModel } from './decoder.js';
import { compareLogits, pooledAccuracy } from './decoder-accuracy.js';
import { floatHead, floatSteps } from './decoder-float.js';
import { foldSteps } from './decoder-fold.js';
import { readDecoder, readGguf, type DecoderSource } from './decoder-source.js';
import type { Inputs } from './inputs.js';
import { openFile, type FileSource } from './source.js';
import { withEngine } from './vectors.js';

/** What a report says beside the scheme. */
type Figures = Pick<QuantReport, 'worstTensor'> & Partial<QuantReport>;

/** KL in nats above which a file is noise. */
const MOST_KL = 0.1;
/** Bytes of the meta JSON, above what it takes with every figure, the longest names and licence included. */
const META_BYTES = 1536;
const NOTHING: TensorError = { name: '', error: -1 };

/**
 * A Llama- or GPT-2-like directory, or a GGUF file of it, to a file.
 * @param file name of the GGUF file; `undefined`: the directory itself
 * @throws MgtError as `convert`
 */
export async function convertDecoder(files: FileSource, file: string | undefined, job: Job): Promise<ConvertReport> {
  const { signal, progress } = job;
  const reading = {
    signal,
    onProgress: (loaded: number, total: number): void => progress('read', loaded, total),
  };
  const access = file === undefined ? undefined : await openFile(files, file, reading);
  if (file !== undefined && !access) throw new MgtError('FileNotFound', file, 'a GGUF file', 'no such file');
  const source = access ? await readGguf(access, file!) : await readDecoder(files, reading);
  try {
    return await write(source, job);
  } finally {
    source.model.close?.();
  }
}

async function write({ model, name, license, tokenizer, inputs }: DecoderSource, job: Job): Promise<ConvertReport> {
  const { target, allowNoise } = job;
  const config = decoderConfig(model, job.quant);
  const { quant } = config;
  const { eos } = model.facts;
  const plan = planWeights(config);
  const first = plan.tensors.find(({ kind }) => kind === 'panel-i4')?.name;
  const keeps = first !== undefined && model.grid?.(first, 0) !== undefined;
  const kind =
    quant === 'int4' ? 'in groups of 32 with minimum, activations int8 per 32' : 'per row, activations int8 per 64';
  const scheme = `${quant} ${kind}${keeps ? '' : ', channels folded'}`;
  const headerOf = (digest: PayloadDigest, report: Figures): Uint8Array => {
    const meta: ModelMeta = {
      source: { name, license },
      report: { scheme, ...report },
      ...(tokenizer ? { tokenizer } : {}),
      ...(eos.length > 0 ? { endTokens: eos } : {}),
    };
    return writeHeader(config, digest, meta, META_BYTES + 8 * eos.length);
  };
  const calibrated = (done: number): void => job.progress('calibrate', done, model.facts.layers);
  // A source's own 4-bit grids are kept as they are.
  const even = keeps ? model : await inSteps(foldSteps(model, inputs.calibration), calibrated);
  const at = headerOf({ sha256: new Uint8Array(32), checksum: 0n }, { worstTensor: NOTHING }).length;
  await target.begin(at + plan.bytes);
  const { checksum, worstTensor } = await pack(even, config, job, at);
  const digest = { checksum, sha256: await target.sha256(at) };
  await target.write(0, headerOf(digest, { worstTensor }));

  const accuracy = await measure(model, inputs, job);
  const noisy = !(accuracy.kl <= MOST_KL);
  if (noisy && !allowNoise) throw new MgtError('NoisyModel', 'accuracy.kl', `at most ${MOST_KL} nats`, accuracy.kl);
  const measuredOn = inputs.kind;
  const figures = { worstTensor, accuracy, measuredOn, ...(noisy ? { allowNoise: true } : {}) };
  const header = headerOf(digest, figures);
  // The payload stands behind the first one.
  if (header.length !== at) throw new MgtError('BadConfig', 'header', `${at} bytes`, header.length);
  await target.write(0, header);
  const tensors = plan.tensors.length;
  return {
    ...{ name, license, quant, tensors, bytes: at + plan.bytes, worstTensor, accuracy, measuredOn },
    ...{ smoothed: even !== model, tokenizer: tokenizer !== undefined },
  };
}

/** Facts that stand elsewhere in a file, or otherwise in its configuration. */
const NO_CONFIG = new Set(['bos', 'eos', 'pad', 'ropeFactors', 'ropeScale', 'ropeDynamic', 'ropeOriginal']);
type CommonFacts = Pick<ModelConfig, keyof ModelConfig & keyof DecoderFacts>;

/**
 * The configuration of a decoder's file. An int4 file of a source that has 4-bit tensors leaves its others at int8: they were meant to be
 * finer. A head of its own is int8 but where it has a 4-bit grid: it errs for every token, and costs little.
 */
export function decoderConfig(model: DecoderModel, asked?: Quant): ModelConfig {
  const { ropeFactors: factors, ropeScale: scale, ropeDynamic: dynamic, ropeOriginal: original } = model.facts;
  const scaled = factors || scale !== 1 || dynamic !== 0;
  const config = {
    ...(Object.fromEntries(Object.entries(model.facts).filter(([key]) => !NO_CONFIG.has(key))) as CommonFacts),
    quant: 'int4' as const,
    smoothed: false,
    ...(scaled ? { rope: { factors, scale, dynamic, original } } : {}),
  };
  const layers = planWeights(config).tensors.filter(({ kind }) => kind === 'panel-i4');
  const ungridded = layers.map(({ name }) => name).filter((name) => model.grid?.(name, 0) === undefined);
  const own = ungridded.length < layers.length;
  const quant = asked ?? (own ? 'int4' : 'int8');
  const wide = quant !== 'int4' ? [] : own ? ungridded : ungridded.filter((name) => name === 'head');
  return validateConfig({ ...config, quant, ...(wide.length > 0 ? { int8Tensors: wide } : {}) }, 'BadFile');
}

/** Runs steps, and lets the host in between them. */
async function inSteps<T>(steps: Generator<number, T>, report: (done: number) => void): Promise<T> {
  for (let step = steps.next(); ; step = steps.next()) {
    if (step.done) return step.value;
    report(step.value);
    await yieldToHost();
  }
}

/** Quantises row by row and writes from `first` on. */
async function pack(
  model: DecoderModel,
  config: ModelConfig,
  { progress, target }: Job,
  first: number,
): Promise<{ checksum: bigint; worstTensor: TensorError }> {
  const total = planWeights(config).bytes;
  const checksum = new Checksum();
  let worstTensor = NOTHING;
  for (const { at, bytes, error } of packParts(config, tensorsOf(model))) {
    progress('pack', at, total);
    checksum.add(bytes);
    await target.write(first + at, bytes);
    if (error && error.error > worstTensor.error) worstTensor = error;
    await yieldToHost();
  }
  progress('pack', total, total);
  return { checksum: checksum.value, worstTensor };
}

function tensorsOf(model: DecoderModel): (tensor: TensorSpec) => TensorValues | TensorRows {
  return ({ name, kind, shape }) => {
    if (shape.length === 1) return { values: model.vector(name)! };
    const bias = kind === 'f32' ? undefined : model.vector(`${name}.bias`);
    return {
      rows: (from, to) => model.rows(name, from, to),
      grid: (row) => model.grid?.(name, row),
      ...(bias ? { bias } : {}),
    };
  };
}

/** Rows of logits compared at a time: the whole head is decoded for each lot. */
const LOT_ROWS = 32;

/** Next-token distributions of the file in the engine beside those of the source's own weights. */
async function measure(
  model: DecoderModel,
  { accuracy: sequences }: Inputs,
  { progress, target }: Job,
): Promise<DecoderAccuracy> {
  const { layers, vocab } = model.facts;
  const context = Math.max(...sequences.map(({ length }) => length));
  const all = layers + sequences.length;
  const states = await inSteps(floatSteps(model, sequences, { context }), (done) => progress('measure', done, all));
  for (const broken of states.map((rows) => rows.find((x) => !Number.isFinite(x)))) {
    if (broken !== undefined) throw new MgtError('BadWeights', 'model', 'finite states in float arithmetic', broken);
  }
  return withEngine(target.content, { context }, async (engine) => {
    const parts: DecoderAccuracy[] = [];
    for (let first = 0, end = 0; first < sequences.length; first = end) {
      let rows = 0;
      while (end < sequences.length && (rows === 0 || rows + sequences[end]!.length <= LOT_ROWS)) {
        rows += sequences[end++]!.length;
      }
      const float = floatHead(model, concat(states.slice(first, end)));
      const ours = new Float32Array(rows * vocab);
      let at = 0;
      for (const tokens of sequences.slice(first, end)) {
        engine.infer({ tokens, all: true, out: ours.subarray(at, (at += tokens.length * vocab)) });
      }
      parts.push(compareLogits(float, ours, vocab));
      progress('measure', layers + end, all);
      await yieldToHost();
    }
    return pooledAccuracy(parts);
  });
}

function concat(parts: readonly Float32Array[]): Float32Array {
  const whole = new Float32Array(parts.reduce((n, { length }) => n + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
