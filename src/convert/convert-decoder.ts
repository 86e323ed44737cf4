import { validateConfig, type ModelConfig, type Quant } from '../config.js';
import { yieldToHost } from '../engine/patience.js';
import { MgtError } from '../errors.js';
import type { DecoderAccuracy, ModelMeta, QuantReport } from '../format/file.js';
import { packSteps, type TensorError, type TensorRows, type TensorValues } from '../format/pack.js';
import { planWeights, type TensorSpec } from '../format/tensors.js';
import { digestOf, writeHeader } from '../format/write.js';
import type { Converted, Job } from './convert.js';
import type { DecoderFacts, DecoderModel } from './decoder.js';
import { compareLogits, pooledAccuracy } from './decoder-accuracy.js';
import { floatHead, floatSteps } from './decoder-float.js';
import { readDecoder, readGguf, type DecoderSource } from './decoder-source.js';
import { chooseInputs, type Inputs } from './inputs.js';
import { openFile, type FileSource } from './source.js';
import { withEngine } from './vectors.js';

/** What a report says beside the scheme. */
type Figures = Pick<QuantReport, 'worstTensor'> & Partial<QuantReport>;

/** KL in nats above which a file is noise. */
const MOST_KL = 0.1;
/** Room in the header for the figures that come last. */
const FIGURES_BYTES = 1024;

/**
 * A Llama- or GPT-2-like directory, or a GGUF file of it, to a file.
 * @param file name of the GGUF file; `undefined`: the directory itself
 * @throws MgtError as `convert`
 */
export async function convertDecoder(files: FileSource, file: string | undefined, job: Job): Promise<Converted> {
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

async function write(source: DecoderSource, job: Job): Promise<Converted> {
  const { model, name, license, tokenizer } = source;
  const config = decoderConfig(model, job.quant);
  const { quant } = config;
  const inputs = chooseInputs(tokenizer, config);
  const { eos } = model.facts;
  const scheme = `${quant} ${quant === 'int4' ? 'in groups of 32 with minimum' : 'per row'}, activations int8 per 64`;
  const metaOf = (report: Figures): ModelMeta => ({
    source: { name, license },
    report: { scheme, ...report },
    ...(tokenizer ? { tokenizer: { json: tokenizer.json, config: tokenizer.config } } : {}),
    ...(eos.length > 0 ? { endTokens: eos } : {}),
  });
  const { file, worstTensor, tensors } = await pack(model, config, metaOf, job);
  const accuracy = await measure(model, file(metaOf({ worstTensor })), inputs, job);
  const noisy = !(accuracy.kl <= MOST_KL);
  if (noisy && !job.allowNoise) throw new MgtError('NoisyModel', 'accuracy.kl', `at most ${MOST_KL} nats`, accuracy.kl);
  const measuredOn = inputs.kind;
  const bytes = file(metaOf({ worstTensor, accuracy, measuredOn, ...(noisy ? { allowNoise: true } : {}) }));
  return {
    bytes,
    report: {
      ...{ name, license, quant, tensors, bytes: bytes.length, worstTensor, accuracy, measuredOn },
      ...{ smoothed: false, tokenizer: tokenizer !== undefined },
    },
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

interface Draft {
  readonly tensors: number;
  readonly worstTensor: TensorError;
  /** The whole file under a header: a view of one buffer, valid until the next call. */
  readonly file: (meta: ModelMeta) => Uint8Array;
}

/** Packs row by row, and leaves room for the header before the payload: the file is never copied. */
async function pack(
  model: DecoderModel,
  config: ModelConfig,
  metaOf: (report: Figures) => ModelMeta,
  { progress }: Job,
): Promise<Draft> {
  const { tensors, bytes } = planWeights(config);
  let worstTensor: TensorError = { name: '', error: -1 };
  const digestless = { sha256: new Uint8Array(32), checksum: 0n };
  const room = FIGURES_BYTES + writeHeader(config, digestless, metaOf({ worstTensor })).length;
  const buffer = new Uint8Array(room + bytes);
  const payload = buffer.subarray(room);
  const ends = new Map(tensors.map(({ name, offset, bytes: span }) => [name, offset + span]));
  for (const packed of packSteps(config, tensorsOf(model), payload)) {
    if (packed.error > worstTensor.error) worstTensor = packed;
    progress('pack', ends.get(packed.name)!, bytes);
    await yieldToHost();
  }
  const digest = await digestOf(payload);
  return {
    ...{ worstTensor, tensors: tensors.length },
    file: (meta) => {
      const header = writeHeader(config, digest, meta);
      buffer.set(header, room - header.length);
      return buffer.subarray(room - header.length);
    },
  };
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
const LOT_ROWS = 64;

/** Next-token distributions of the file in the engine beside those of the source's own weights. */
async function measure(
  model: DecoderModel,
  file: Uint8Array,
  { accuracy: sequences }: Inputs,
  { progress }: Job,
): Promise<DecoderAccuracy> {
  const { layers, vocab } = model.facts;
  const context = Math.max(...sequences.map(({ length }) => length));
  const all = layers + sequences.length;
  const steps = floatSteps(model, sequences, { context });
  let step = steps.next();
  for (; !step.done; step = steps.next()) {
    progress('measure', step.value, all);
    await yieldToHost();
  }
  const states = step.value;
  for (const broken of states.map((rows) => rows.find((x) => !Number.isFinite(x)))) {
    if (broken !== undefined) throw new MgtError('BadWeights', 'model', 'finite states in float arithmetic', broken);
  }
  return withEngine(file, { context }, async (engine) => {
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
