import { MgtError } from '../errors.js';
import { asObject, duplicateKey, textOf, type JsonObject } from './json.js';
import { inMemory, type RandomAccess } from './source.js';

/**
 * The safetensors format, read strictly (https://github.com/huggingface/safetensors, "Format"):
 *
 *   ┌ u64 n, little-endian ┬ n bytes of JSON ─────────────────────────────────────┬ data to the end ┐
 *   │ 8 bytes              │ {name: {dtype, shape, data_offsets: [begin, end]}, …} │                 │
 *   └──────────────────────┴──────────────────────────────────────────────────────┴─────────────────┘
 *
 * Tensors lie in the data without gaps or overlap and cover it exactly. Everything is untrusted.
 */
export interface SafeTensor {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  /**
   * Rows `start` to `start + count` (all by default) of the first dimension as f32, row-major. F32 data that is
   * aligned is a view of the file; anything else is a copy.
   * @throws MgtError `UnsupportedArchitecture` (a dtype that is not F32, F16 or BF16), `BadWeights` (NaN, Inf)
   */
  read(start?: number, count?: number): Float32Array;
}

export interface SafeTensors {
  readonly names: readonly string[];
  has(name: string): boolean;
  /** @throws MgtError `BadFile` naming a tensor the file lacks. */
  tensor(name: string): SafeTensor;
}

/** The format's own limit on its header. */
const MAX_HEADER_BYTES = 100_000_000;
/** Bytes of one element. Only the float types are read; the others may lie beside them. */
const DTYPE_BYTES: Readonly<Record<string, number>> = {
  ...{ BOOL: 1, U8: 1, I8: 1, F8_E5M2: 1, F8_E4M3: 1, F8_E8M0: 1 },
  ...{ I16: 2, U16: 2, F16: 2, BF16: 2, I32: 4, U32: 4, F32: 4 },
  ...{ I64: 8, U64: 8, F64: 8, C64: 8 },
};
const LITTLE_ENDIAN_HOST = new Uint8Array(Uint32Array.of(1).buffer)[0] === 1;

interface Entry {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  /** Bytes from the start of the data; end exclusive. */
  readonly begin: number;
  readonly end: number;
}

/**
 * Opens a safetensors file: bytes in memory, or a file of which only the header and the rows asked for are read.
 * @param file name used in errors
 * @throws MgtError `Truncated`, `BadFile` naming the tensor
 */
export function openSafetensors(source: Uint8Array | RandomAccess, file = 'model.safetensors'): SafeTensors {
  const bytes = ArrayBuffer.isView(source) ? inMemory(source) : source;
  const headerBytes = headerLength(bytes, file);
  const dataAt = 8 + headerBytes;
  const entries = readHeader(textOf(`${file} header`, bytes.read(8, headerBytes)), file);
  checkCoverage(entries, bytes.size - dataAt, file);
  const byName = new Map(entries.map((entry) => [entry.name, entry]));
  return {
    names: entries.map(({ name }) => name),
    has: (name) => byName.has(name),
    tensor(name) {
      const entry = byName.get(name);
      if (!entry) throw new MgtError('BadFile', `${file}.${name}`, 'a tensor', 'none of this name');
      const { dtype, shape } = entry;
      return { name, dtype, shape, read: (start, count) => readRows(entry, bytes, dataAt, file, start, count) };
    },
  };
}

function headerLength(source: RandomAccess, file: string): number {
  const { size } = source;
  if (size < 8) throw new MgtError('Truncated', file, 'at least 8 bytes', size);
  const first = source.read(0, 8);
  if (String.fromCharCode(...first) === 'version ') {
    throw new MgtError('BadFile', file, 'the weights themselves', 'a Git LFS pointer to them');
  }
  const length = Number(new DataView(first.buffer, first.byteOffset, 8).getBigUint64(0, true));
  if (length < 2 || length > MAX_HEADER_BYTES) {
    throw new MgtError('BadFile', `${file} header`, `2..${MAX_HEADER_BYTES} bytes`, length);
  }
  if (length > size - 8) throw new MgtError('Truncated', file, `at least ${8 + length} bytes`, size);
  return length;
}

function readHeader(text: string, file: string): Entry[] {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (cause) {
    throw new MgtError('BadFile', `${file} header`, 'JSON', text, { cause });
  }
  const header = asObject(`${file} header`, parsed);
  const twice = duplicateKey(text);
  if (twice !== undefined) throw new MgtError('BadFile', `${file}.${twice}`, 'one entry', 'two of this name');
  return Object.entries(header)
    .filter(([name]) => name !== '__metadata__')
    .map(([name, value]) => readEntry(name, asObject(`${file}.${name}`, value), file));
}

function readEntry(name: string, raw: JsonObject, file: string): Entry {
  const { dtype, shape, data_offsets: offsets } = raw;
  const bad = (what: string, expected: string, got: unknown): MgtError =>
    new MgtError('BadFile', `${file}.${name}.${what}`, expected, got);
  const size = typeof dtype === 'string' && Object.hasOwn(DTYPE_BYTES, dtype) ? DTYPE_BYTES[dtype] : undefined;
  if (size === undefined) throw bad('dtype', `one of ${Object.keys(DTYPE_BYTES).join(', ')}`, dtype);
  if (!isCounts(shape)) throw bad('shape', 'an array of integers ≥ 0', shape);
  if (!isCounts(offsets) || offsets.length !== 2) throw bad('data_offsets', 'two integers ≥ 0', offsets);
  const [begin = 0, end = 0] = offsets;
  if (begin > end) throw bad('data_offsets', 'begin ≤ end', offsets);
  const bytes = shape.reduce((product, n) => product * n, size);
  if (bytes !== end - begin) throw bad('data_offsets', `${bytes} bytes for ${dtype as string} [${shape}]`, end - begin);
  return { name, dtype: dtype as string, shape, begin, end };
}

const isCounts = (value: unknown): value is number[] =>
  Array.isArray(value) && value.every((n: unknown) => Number.isSafeInteger(n) && (n as number) >= 0);

/** In order of their offsets, each tensor must begin where the one before ends, and the last end the file. */
function checkCoverage(entries: readonly Entry[], dataBytes: number, file: string): void {
  let covered = 0;
  for (const { name, begin, end } of [...entries].sort((a, b) => a.begin - b.begin || a.end - b.end)) {
    if (end > dataBytes) throw new MgtError('Truncated', `${file}.${name}`, `${end} bytes of data`, dataBytes);
    if (begin !== covered) {
      const fault = begin < covered ? 'an overlap' : 'a gap';
      throw new MgtError('BadFile', `${file}.${name}.data_offsets`, `a begin of ${covered}`, `${fault}: ${begin}`);
    }
    covered = end;
  }
  if (covered !== dataBytes) throw new MgtError('BadFile', file, `${covered} bytes of data`, dataBytes);
}

function readRows(
  entry: Entry,
  source: RandomAccess,
  dataAt: number,
  file: string,
  start = 0,
  count?: number,
): Float32Array {
  const { name, dtype, shape, begin } = entry;
  const [rows = 1, ...rest] = shape;
  const width = rest.reduce((product, n) => product * n, 1);
  const n = (count ?? rows - start) * width;
  if (dtype !== 'F32' && dtype !== 'F16' && dtype !== 'BF16') {
    throw new MgtError('UnsupportedArchitecture', `${file}.${name}.dtype`, 'F32, F16 or BF16', dtype);
  }
  const size = DTYPE_BYTES[dtype]!;
  const at = begin + start * width * size;
  if (start < 0 || n < 0 || at + n * size > entry.end) {
    throw new MgtError('BadInput', `${name} rows`, `a range inside 0..${rows}`, `${start} + ${count}`);
  }
  const bytes = source.read(dataAt + at, n * size);
  const values = dtype === 'F32' ? floats(bytes) : dtype === 'F16' ? halves(bytes) : brains(bytes);
  for (let i = 0; i < n; i++) {
    const v = values[i]!;
    if (v - v !== 0) throw new MgtError('BadWeights', name, 'finite values', v); // only NaN and ±Inf differ from themselves
  }
  return values;
}

function floats(bytes: Uint8Array): Float32Array {
  if (LITTLE_ENDIAN_HOST && bytes.byteOffset % 4 === 0) {
    return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return Float32Array.from({ length: bytes.length / 4 }, (_, i) => view.getFloat32(4 * i, true));
}

/** bfloat16 is the upper half of an f32. */
function brains(bytes: Uint8Array): Float32Array {
  const out = new Float32Array(bytes.length / 2);
  const bits = new Uint32Array(out.buffer);
  for (let i = 0; i < bits.length; i++) bits[i] = ((bytes[2 * i]! | (bytes[2 * i + 1]! << 8)) << 16) >>> 0;
  return out;
}

/** IEEE 754 binary16: 1 sign, 5 exponent (bias 15), 10 mantissa bits. Every value is exact in f32. */
function halves(bytes: Uint8Array): Float32Array {
  const out = new Float32Array(bytes.length / 2);
  for (let i = 0; i < out.length; i++) {
    const h = bytes[2 * i]! | (bytes[2 * i + 1]! << 8);
    const exponent = (h >> 10) & 31;
    const mantissa = h & 1023;
    let value: number;
    if (exponent === 31) value = mantissa === 0 ? Infinity : NaN;
    else if (exponent === 0) value = mantissa * 2 ** -24;
    else value = (1024 + mantissa) * 2 ** (exponent - 25);
    out[i] = h & 0x8000 ? -value : value;
  }
  return out;
}
