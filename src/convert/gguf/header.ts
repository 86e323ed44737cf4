import { MgtError } from '../../errors.js';
import { Metadata } from './metadata.js';
import type { RandomAccess } from '../source.js';
import { ggmlType, rowBytes, type GgmlType } from './types.js';

/**
 * The header of a GGUF file (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md), versions 2 and 3, little-endian:
 *
 *   ┌ "GGUF" ┬ version u32 ┬ tensors u64 ┬ keys u64 ┬ keys and values ┬ tensor descriptions ┬ pad ┬ data ┐
 *   │ 0      │ 4           │ 8           │ 16       │ 24 …            │                     │     │      │
 *   └────────┴─────────────┴─────────────┴──────────┴─────────────────┴─────────────────────┴─────┴──────┘
 *
 * @huggingface/gguf reads the keys and descriptions, in pieces of 2 MB; what it makes of them is checked here.
 */
export interface GgufHeader {
  readonly metadata: Metadata;
  readonly tensors: readonly TensorInfo[];
}

export interface TensorInfo {
  readonly name: string;
  readonly type: GgmlType;
  /** Slowest dimension first, as in C: [rows, columns]. GGUF itself counts the other way. */
  readonly shape: readonly number[];
  /** Bytes from the start of the file. */
  readonly at: number;
  readonly bytes: number;
}

const HEAD_BYTES = 24;
/** A key of no name and one byte of value; a tensor of no name and no dimension. */
const MIN_KEY_BYTES = 13;
const MIN_TENSOR_BYTES = 24;
/** Most keys or tensors taken: a header of zeros would be read as millions. The largest models have some thousands. */
const MAX_COUNT = 65_536;
/** Dimensions of a ggml tensor. */
const MAX_DIMS = 4;
const DEFAULT_ALIGNMENT = 32;

/**
 * Reads and checks a header.
 * @throws MgtError `MissingDependency` (@huggingface/gguf), `BadFile`, `Truncated`, `UnknownVersion`; `UnsupportedMode`
 * naming the first tensor of a quantisation that is not read
 */
export async function readHeader(access: RandomAccess, file: string): Promise<GgufHeader> {
  checkHead(access, file);
  const library = await import('@huggingface/gguf').catch((cause: unknown) => {
    throw new MgtError('MissingDependency', '@huggingface/gguf', 'npm i @huggingface/gguf', 'not installed', { cause });
  });
  const parsed = await library
    .gguf(`https://file.invalid/`, { fetch: ranges(access, file) })
    .catch((cause: unknown) => unreadable(access, file, cause));
  const { size } = access;
  const [, end] = parsed.tensorInfoByteRange;
  if (end > size) throw new MgtError('Truncated', file, `at least ${end} bytes`, size);

  const values = new Map<string, unknown>(Object.entries(parsed.metadata));
  const own = ['version', 'tensor_count', 'kv_count'];
  if (BigInt(values.size - own.length) !== values.get('kv_count')) {
    throw new MgtError('BadFile', `${file} header`, 'every key once', 'two keys of one name');
  }
  own.forEach((key) => values.delete(key));
  const metadata = new Metadata(file, values);
  const alignment = metadata.integer('general.alignment', 1, 2 ** 20, DEFAULT_ALIGNMENT);
  const start = Math.ceil(end / alignment) * alignment;
  const names: Readonly<Record<number, string>> = library.GGMLQuantizationType;
  const tensors = parsed.tensorInfos.map((info): TensorInfo => {
    const at = `${file}.${info.name}`;
    const type = ggmlType(at, info.dtype, (id) => names[id]);
    const shape = info.shape.map(Number).reverse();
    const bytes = tensorBytes(at, type, shape);
    const offset = Number(info.offset);
    if (offset % alignment !== 0) throw new MgtError('BadFile', `${at} offset`, `a multiple of ${alignment}`, offset);
    const stop = start + offset + bytes;
    if (stop > size) throw new MgtError('Truncated', at, `at least ${stop} bytes`, size);
    return { name: info.name, type, shape, at: start + offset, bytes };
  });
  checkApart(file, tensors);
  return { metadata, tensors };
}

/** What the library must not be trusted with: counts that the file has no room for, versions, byte order. */
function checkHead(access: RandomAccess, file: string): void {
  const { size } = access;
  const bytes = access.read(0, Math.min(size, HEAD_BYTES));
  if (String.fromCharCode(...bytes.subarray(0, 4)) !== 'GGUF'.slice(0, size) || size === 0) {
    throw new MgtError('BadFile', file, 'a GGUF file', 'other bytes');
  }
  if (size < HEAD_BYTES) throw new MgtError('Truncated', file, `at least ${HEAD_BYTES} bytes`, size);
  const view = new DataView(bytes.buffer, bytes.byteOffset, HEAD_BYTES);
  const version = view.getUint32(4, true);
  if ((version & 0xffff) === 0) {
    throw new MgtError('UnsupportedMode', `${file} byte order`, 'little-endian', 'big-endian');
  }
  if (version !== 2 && version !== 3) throw new MgtError('UnknownVersion', `${file} version`, '2 or 3', version);
  const tensors = Number(view.getBigUint64(8, true));
  const keys = Number(view.getBigUint64(16, true));
  const least = HEAD_BYTES + keys * MIN_KEY_BYTES + tensors * MIN_TENSOR_BYTES;
  if (least > size) {
    throw new MgtError('Truncated', file, `at least ${least} bytes for ${keys} keys and ${tensors} tensors`, size);
  }
  if (Math.max(keys, tensors) > MAX_COUNT) {
    throw new MgtError('BadFile', `${file} header`, `at most ${MAX_COUNT} keys or tensors`, Math.max(keys, tensors));
  }
}

/** Answers the library's range requests from the file; past its end come zeros, and what is read of them is found out later. */
function ranges(access: RandomAccess, file: string): typeof fetch {
  return (_, options) => {
    const range = new Headers(options?.headers).get('range') ?? '';
    const [first = 0, last = 0] = [...range.matchAll(/\d+/g)].map(Number);
    // It asks ahead once; a second piece without a byte of the file means that it is lost.
    if (first > access.size + (last - first)) {
      return Promise.reject(new MgtError('Truncated', `${file} header`, 'an end', access.size));
    }
    const body = new Uint8Array(last - first + 1);
    const held = Math.max(0, Math.min(last + 1, access.size) - first);
    if (held > 0) body.set(access.read(first, held));
    return Promise.resolve(
      new Response(body, { status: 206, headers: { 'content-range': `bytes ${first}-${last}/${access.size}` } }),
    );
  };
}

/** What the library throws: a count, a length or a type larger than the file itself means that the file is cut. */
function unreadable(access: RandomAccess, file: string, cause: unknown): never {
  if (cause instanceof MgtError) throw cause;
  const message = cause instanceof Error ? cause.message : String(cause);
  const numbers = [...message.matchAll(/\d+/g)].map(Number);
  const cut = numbers.some((n) => n > access.size);
  const expected = cut ? 'what its header counts' : 'a header that @huggingface/gguf reads';
  throw new MgtError(cut ? 'Truncated' : 'BadFile', `${file} header`, expected, message, { cause });
}

function tensorBytes(field: string, type: GgmlType, shape: readonly number[]): number {
  const count = shape.reduce((product, n) => product * n, 1);
  if (shape.length < 1 || shape.length > MAX_DIMS || count < 1 || !Number.isSafeInteger(count * 4)) {
    throw new MgtError('BadFile', `${field} shape`, `1..${MAX_DIMS} dimensions, none of them 0`, shape);
  }
  const columns = shape[shape.length - 1]!;
  const row = rowBytes(type, columns);
  if (row === undefined) throw new MgtError('BadFile', `${field} shape`, `rows of whole blocks of ${type}`, shape);
  return (count / columns) * row;
}

/** Names are unique and no two tensors share bytes. */
function checkApart(file: string, tensors: readonly TensorInfo[]): void {
  const names = new Set<string>();
  for (const { name } of tensors) {
    if (names.has(name)) throw new MgtError('BadFile', `${file}.${name}`, 'one tensor', 'two of this name');
    names.add(name);
  }
  let end = 0;
  for (const { name, at, bytes } of [...tensors].sort((a, b) => a.at - b.at)) {
    if (at < end) throw new MgtError('BadFile', `${file}.${name} offset`, `at least ${end}`, at);
    end = at + bytes;
  }
}
