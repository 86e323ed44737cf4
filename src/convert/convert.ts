import { checkKeys, checkOneOf, checkSignal } from '../check.js';
import { QUANTS, type Quant } from '../config.js';
import { MgtError } from '../errors.js';
import type { DecoderAccuracy, EncoderAccuracy } from '../format/file.js';
import { DECODERS } from './decoder-config.js';
import type { Inputs } from './inputs.js';
import { objectOf } from './json.js';
import { findSource, inMemory, type FileSource } from './source.js';
import { memoryTarget, type FileTarget } from './target.js';

export interface ConvertOptions {
  /**
   * Code of the linear layers: `int8`, more accurate than `int7`, which fits relaxed SIMD; `int4` for decoders, groups of 32 with scale and
   * minimum, a GGUF's own 4-bit grids kept exactly. Default: `int4` for a GGUF file with 4-bit tensors, else `int8`.
   */
  readonly quant?: Quant | undefined;
  /** Write the file however much quantisation lost; recorded in it. */
  readonly allowNoise?: boolean | undefined;
  readonly onProgress?: ((progress: ConvertProgress) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Where a conversion stands: bytes (read), sequences (calibrate), layers and sequences (measure), candidates or, of a decoder, bytes
 * (pack) done, and in all.
 */
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
  /** The finished file beside float arithmetic on the source's own weights. */
  readonly accuracy: EncoderAccuracy | DecoderAccuracy;
  /** What accuracy was measured on. */
  readonly measuredOn: Inputs['kind'];
  /** Channels were scaled against each other first: in the input's quantisation (encoders), or folded into the weights (decoders). */
  readonly smoothed: boolean;
  readonly tokenizer: boolean;
}

/** Reports, and stops an aborted conversion. @throws MgtError `Aborted` */
export type Progress = (phase: ConvertProgress['phase'], loaded: number, total: number) => void;

/** What was asked for, checked. */
export interface Job {
  readonly quant: Quant | undefined;
  readonly allowNoise: boolean;
  readonly signal: AbortSignal | undefined;
  readonly progress: Progress;
  readonly target: FileTarget;
}

/**
 * Converts a trained model to an `.mgt` file, and measures what that cost: the finished file runs in the engine on texts kept for that,
 * against the source's own float weights. A Hugging Face directory of a BERT, Llama (Mistral, Qwen2) or GPT-2, or a GGUF file of the latter
 * two. Of a decoder nothing is held but the rows at hand, the new file and the engine that measures it.
 * @param source path (Node) or `https://` URL of the directory or .gguf file; any `FileSource`; the bytes of a GGUF file
 * @throws MgtError `FileNotFound`, `BadFile`, `Truncated`, `BadWeights`, `UnsupportedArchitecture`, `UnsupportedMode`,
 * `NoisyModel` (cosine mean below 0.99 or minimum below 0.97, KL above 0.1), `MissingDependency`, `Aborted`, `BadInput`
 */
export async function convert(
  source: string | Uint8Array | FileSource,
  options: ConvertOptions = {},
): Promise<{ bytes: Uint8Array; report: ConvertReport }> {
  const target = memoryTarget();
  const report = await convertTo(source, target, options);
  return { bytes: target.content, report };
}

/** The same, written where the target says. */
export async function convertTo(
  source: string | Uint8Array | FileSource,
  target: FileTarget,
  options: ConvertOptions = {},
): Promise<ConvertReport> {
  const o = checkKeys('options', options, ['quant', 'allowNoise', 'onProgress', 'signal']) as ConvertOptions;
  const quant = o.quant === undefined ? undefined : checkOneOf('quant', o.quant, QUANTS);
  const allowNoise = o.allowNoise ?? false;
  if (typeof allowNoise !== 'boolean') throw new MgtError('BadInput', 'allowNoise', 'true or false', allowNoise);
  const { signal } = o;
  const progress: Progress = (phase, loaded, total) => {
    checkSignal(signal, 'convert');
    o.onProgress?.({ phase, loaded, total });
  };
  checkSignal(signal, 'convert');
  const job = { quant, allowNoise, signal, progress, target };
  const { files, file } = await opened(source);
  if (file === undefined) {
    const config = await files.read('config.json', { signal });
    const type = config && objectOf('config.json', config).model_type;
    if (typeof type === 'string' && type !== 'bert' && !DECODERS.includes(type)) {
      const known = ['bert', ...DECODERS].join(', ');
      throw new MgtError('UnsupportedArchitecture', 'config.json.model_type', `one of ${known}`, type);
    }
    if (!DECODERS.includes(type as string)) {
      return (await import('./convert-encoder.js')).convertEncoder(files, job);
    }
  }
  return (await import('./convert-decoder.js')).convertDecoder(files, file, job);
}

interface Opened {
  readonly files: FileSource;
  /** The GGUF file among them, where one is meant. */
  readonly file: string | undefined;
}

async function opened(source: string | Uint8Array | FileSource): Promise<Opened> {
  if (typeof source === 'string') return findSource(source);
  if (!ArrayBuffer.isView(source)) {
    if (typeof (source as FileSource | null | undefined)?.read === 'function')
      return { files: source, file: undefined };
    throw new MgtError('BadInput', 'source', 'a path, a URL, bytes of a GGUF file or a FileSource', source);
  }
  const bytes = new Uint8Array(source.buffer, source.byteOffset, source.byteLength); // of any view
  const [name, file] = ['bytes', 'model.gguf'];
  return { files: { name, read: () => Promise.resolve(bytes), open: () => Promise.resolve(inMemory(bytes)) }, file };
}
