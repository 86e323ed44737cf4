import { validateConfig, type ModelConfig } from '../config.js';
import { MgtError } from '../errors.js';
import {
  AT,
  ENDIANNESS,
  ENTRY_BYTES,
  FIXED_BYTES,
  MAGIC,
  NAME_BYTES,
  TABLE_AT,
  TENSOR_KINDS,
  VERSION,
  entryWords,
  headerHash,
  readConfig,
  viewOf,
} from './header.js';
import { planWeights, roundUp, type TensorSpec, type WeightPlan } from './tensors.js';

/** Largest header read: tokenizers of 256k entries stay below 32 MiB. */
const MAX_HEADER_BYTES = 64 * 2 ** 20;
/** Largest payload: wasm32 addresses 4 GiB, the arena needs room beside it. */
const MAX_PAYLOAD_BYTES = 2 ** 32 - 2 ** 24;

/** Cosines of an encoder's vectors to those of the source's own float weights. */
export interface EncoderAccuracy {
  readonly cosineMean: number;
  readonly cosineMin: number;
  /** Texts, or random sequences where there is no tokenizer. */
  readonly texts: number;
}

/** A decoder's next-token distributions beside those of the source's own float weights. */
export interface DecoderAccuracy {
  /** Mean KL(float ‖ file), in nats. */
  readonly kl: number;
  /** Share of positions with the same most likely token; of equal logits the first counts, as in greedy decoding. */
  readonly top1: number;
  /** Positions. */
  readonly tokens: number;
}

/** Accuracy and cost of quantisation, as measured by the converter; plain JSON. */
export interface QuantReport {
  readonly scheme: string;
  readonly worstTensor: { readonly name: string; readonly error: number };
  readonly accuracy?: EncoderAccuracy | DecoderAccuracy;
  /** True where the converter was told to write a file it would have refused. */
  readonly allowNoise?: boolean;
  readonly [more: string]: unknown;
}

export interface ModelMeta {
  readonly source: { readonly name: string; readonly license: string };
  readonly report: QuantReport;
  /** tokenizer.json and tokenizer_config.json, verbatim. */
  readonly tokenizer?: { readonly json: string; readonly config: string };
  /** Ids that end a text, of a decoder. */
  readonly endTokens?: readonly number[];
}

/** A parsed header: what the file says, checked; the payload itself is not looked at. */
export interface ModelFile {
  readonly version: number;
  readonly config: ModelConfig;
  readonly weights: WeightPlan;
  readonly payloadOffset: number;
  readonly payloadBytes: number;
  readonly sha256: Uint8Array;
  /** docs/numbers.md "Checksum" of the payload, unsigned. */
  readonly checksum: bigint;
  readonly meta: ModelMeta;
}

/**
 * Reads how long the header is from the first `FIXED_BYTES` bytes of a file, checking magic, version,
 * endianness and flags.
 * @throws MgtError `Truncated`, `BadFile`, `UnknownVersion`.
 */
export function headerLength(bytes: Uint8Array): number {
  for (let i = 0; i < MAGIC.length; i++) {
    if (i < bytes.length && bytes[i] !== MAGIC[i])
      throw new MgtError('BadFile', 'magic', 'an .mgt file', firstBytes(bytes));
  }
  if (bytes.length < FIXED_BYTES)
    throw new MgtError('Truncated', 'header', `at least ${FIXED_BYTES} bytes`, bytes.length);
  const view = viewOf(bytes);
  const version = view.getUint32(AT.version, true);
  if (version !== VERSION) throw new MgtError('UnknownVersion', 'version', VERSION, version);
  const mark = view.getUint32(AT.endianness, true);
  if (mark !== ENDIANNESS) throw new MgtError('BadFile', 'endianness', ENDIANNESS, mark);
  const flags = view.getUint32(AT.flags, true);
  if (flags !== 0) throw new MgtError('UnknownVersion', 'flags', 0, flags);
  const length = view.getUint32(AT.headerBytes, true);
  if (length < TABLE_AT || length > MAX_HEADER_BYTES || length % 64 !== 0) {
    throw new MgtError('BadFile', 'headerBytes', `a multiple of 64 in ${TABLE_AT}..${MAX_HEADER_BYTES}`, length);
  }
  return length;
}

/**
 * Parses and checks a whole header. `header` holds at least the header's bytes; `fileBytes`, where the
 * length of the file is known, must be header + payload exactly.
 * @throws MgtError `Truncated`, `BadFile`, `BadChecksum`, `UnknownVersion`, `BadConfig`.
 */
export function parseHeader(header: Uint8Array, fileBytes?: number): ModelFile {
  const length = headerLength(header);
  if (header.length < length) throw new MgtError('Truncated', 'header', `${length} bytes`, header.length);
  const bytes = header.subarray(0, length);
  const view = viewOf(bytes);
  const stated = view.getBigUint64(AT.headerHash, true);
  const computed = headerHash(bytes);
  if (stated !== computed) throw new MgtError('BadChecksum', 'headerHash', hex(stated), hex(computed));

  const payloadBytes = Number(view.getBigUint64(AT.payloadBytes, true));
  if (!(payloadBytes <= MAX_PAYLOAD_BYTES)) {
    throw new MgtError('BadFile', 'payloadBytes', `at most ${MAX_PAYLOAD_BYTES}`, payloadBytes);
  }
  if (fileBytes !== undefined && fileBytes !== length + payloadBytes) {
    const code = fileBytes < length + payloadBytes ? 'Truncated' : 'BadFile';
    throw new MgtError(code, 'file', `${length + payloadBytes} bytes`, fileBytes);
  }
  for (let i = AT.reserved; i < FIXED_BYTES; i++) {
    if (bytes[i] !== 0) throw new MgtError('UnknownVersion', 'reserved', 'zero bytes', bytes[i]);
  }

  const fixed = readConfig(view);
  // Bounds the plan by the header that must hold its table, before anything is planned.
  if (fixed.layers * 6 * ENTRY_BYTES > length)
    throw new MgtError('BadFile', 'config.layers', `a table inside ${length} bytes`, fixed.layers);
  const config = withInt8(fixed, bytes, view);
  const weights = planWeights(config);
  if (weights.bytes !== payloadBytes) throw new MgtError('BadFile', 'payloadBytes', weights.bytes, payloadBytes);
  const tableEnd = checkTable(bytes, view, weights.tensors);

  const blobs = [AT.metaBytes, AT.tokenizerBytes, AT.tokenizerConfigBytes].map((at) => view.getUint32(at, true));
  const [metaBytes = 0, tokenizerBytes = 0, tokenizerConfigBytes = 0] = blobs;
  const end = tableEnd + metaBytes + tokenizerBytes + tokenizerConfigBytes;
  if (roundUp(end, 64) !== length) throw new MgtError('BadFile', 'headerBytes', roundUp(end, 64), length);
  const text = (name: string, at: number, n: number): string => utf8(name, bytes.subarray(at, at + n));
  const meta = parseMeta(text('meta', tableEnd, metaBytes), config.vocab);
  const json = text('tokenizer', tableEnd + metaBytes, tokenizerBytes);
  const tokenizerConfig = text('tokenizerConfig', tableEnd + metaBytes + tokenizerBytes, tokenizerConfigBytes);
  return {
    version: VERSION,
    config,
    weights,
    payloadOffset: length,
    payloadBytes,
    sha256: bytes.slice(AT.sha256, AT.sha256 + 32),
    checksum: view.getBigUint64(AT.checksum, true),
    meta: tokenizerBytes > 0 ? { ...meta, tokenizer: { json, config: tokenizerConfig } } : meta,
  };
}

/** Which linear layers of an int4 model are int8 stands in the table alone. */
function withInt8(config: ModelConfig, bytes: Uint8Array, view: DataView): ModelConfig {
  if (config.quant !== 'int4') return config;
  const int8Tensors: string[] = [];
  const count = view.getUint32(AT.tensorCount, true);
  for (let i = 0, at = TABLE_AT; i < count && at + ENTRY_BYTES <= bytes.length; i++, at += ENTRY_BYTES) {
    const name = nameAt(bytes, i);
    const kind = view.getUint32(at + NAME_BYTES, true);
    if (kind === TENSOR_KINDS.indexOf('panel-i8') && name !== 'embeddings.token') int8Tensors.push(name);
  }
  return int8Tensors.length > 0 ? validateConfig({ ...config, int8Tensors }, 'BadFile') : config;
}

function nameAt(bytes: Uint8Array, i: number): string {
  const at = TABLE_AT + i * ENTRY_BYTES;
  return utf8(`tensors[${i}].name`, bytes.subarray(at, at + NAME_BYTES)).replace(/\0+$/, '');
}

/** Compares the file's tensor table with the plan; returns where the table ends. */
function checkTable(bytes: Uint8Array, view: DataView, tensors: readonly TensorSpec[]): number {
  const count = view.getUint32(AT.tensorCount, true);
  if (count !== tensors.length) throw new MgtError('BadFile', 'tensorCount', tensors.length, count);
  const end = TABLE_AT + count * ENTRY_BYTES;
  if (end > bytes.length) throw new MgtError('BadFile', 'headerBytes', `at least ${end}`, bytes.length);
  const words = ['kind', 'rank', 'shape[0]', 'shape[1]'];
  tensors.forEach((tensor, i) => {
    const at = TABLE_AT + i * ENTRY_BYTES;
    const expect = (field: string, wanted: string | number, got: string | number): void => {
      if (wanted !== got) throw new MgtError('BadFile', `tensors[${i}].${field}`, wanted, got);
    };
    expect('name', tensor.name, nameAt(bytes, i));
    entryWords(tensor).forEach((wanted, w) => expect(words[w]!, wanted, view.getUint32(at + NAME_BYTES + 4 * w, true)));
    expect('offset', tensor.offset, Number(view.getBigUint64(at + NAME_BYTES + 16, true)));
    expect('bytes', tensor.bytes, Number(view.getBigUint64(at + NAME_BYTES + 24, true)));
  });
  return end;
}

function parseMeta(text: string, vocab: number): Omit<ModelMeta, 'tokenizer'> {
  let meta: unknown;
  try {
    meta = JSON.parse(text);
  } catch (cause) {
    throw new MgtError('BadFile', 'meta', 'JSON', text, { cause });
  }
  const { source, report } = (meta ?? {}) as { source?: Record<string, unknown>; report?: Record<string, unknown> };
  if (typeof source?.name !== 'string' || typeof source.license !== 'string') {
    throw new MgtError('BadFile', 'meta.source', 'a name and a license', source);
  }
  const { scheme, worstTensor, accuracy } = report ?? {};
  const numbers = (value: unknown, ...keys: string[]): boolean =>
    keys.every((key) => typeof (value as Record<string, unknown> | null | undefined)?.[key] === 'number');
  if (typeof scheme !== 'string') throw new MgtError('BadFile', 'meta.report.scheme', 'a name', scheme);
  if (!numbers(worstTensor, 'error') || typeof (worstTensor as Record<string, unknown>).name !== 'string') {
    throw new MgtError('BadFile', 'meta.report.worstTensor', 'a name and an error', worstTensor);
  }
  if (
    accuracy !== undefined &&
    !numbers(accuracy, 'cosineMean', 'cosineMin', 'texts') &&
    !numbers(accuracy, 'kl', 'top1', 'tokens')
  ) {
    throw new MgtError('BadFile', 'meta.report.accuracy', 'cosineMean, cosineMin, texts or kl, top1, tokens', accuracy);
  }
  const { endTokens = [] } = meta as { endTokens?: unknown };
  if (!Array.isArray(endTokens) || !endTokens.every((id: number) => Number.isInteger(id) && id >= 0 && id < vocab)) {
    throw new MgtError('BadFile', 'meta.endTokens', `a list of ids below ${vocab}`, endTokens);
  }
  return meta as Omit<ModelMeta, 'tokenizer'>;
}

function utf8(field: string, bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new MgtError('BadFile', field, 'UTF-8 text', 'other bytes', { cause });
  }
}

/** What a foreign file begins with: its text where it is text, else bytes in hex. */
function firstBytes(bytes: Uint8Array): string {
  if (bytes.length === 0) return 'an empty file';
  const head = bytes.subarray(0, 8);
  if (head.every((b) => b >= 0x20 && b < 0x7f)) return `a file that starts "${String.fromCharCode(...head)}"`;
  return `a file that starts ${[...head].map((b) => b.toString(16).padStart(2, '0')).join(' ')}`;
}

const hex = (h: bigint): string => h.toString(16).padStart(16, '0');
