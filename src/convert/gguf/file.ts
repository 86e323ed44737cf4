import { MgtError } from '../../errors.js';
import { dequantise, gridOf, type Grid } from './dequantise.js';
import { readHeader, type TensorInfo } from './header.js';
import type { Metadata } from './metadata.js';
import { inMemory, type RandomAccess } from '../source.js';
import { rowBytes, type GgmlType } from './types.js';

/** A tensor of a GGUF file, decoded where it is read. */
export interface GgufTensor {
  readonly name: string;
  readonly type: GgmlType;
  /** Slowest dimension first: [rows, columns], or [n]. */
  readonly shape: readonly number[];
  /**
   * Rows from..to−1 as f32[(to − from) · columns]; a vector is one row. Rows count through all dimensions but the last.
   * @throws MgtError `BadInput` (rows the tensor lacks), `BadWeights` (NaN, Inf), `Truncated`
   */
  rows(from: number, to: number): Float32Array;
  /** The 4-bit grid of a row; undefined but for Q4_0 and Q4_1. @throws MgtError as `rows` */
  grid(row: number): Grid | undefined;
  /** The stored bytes of rows from..to−1. @throws MgtError as `rows` */
  bytes(from: number, to: number): Uint8Array;
}

/** An open GGUF file. */
export interface GgufFile {
  /** As it stands in errors. */
  readonly name: string;
  readonly metadata: Metadata;
  readonly names: readonly string[];
  has(name: string): boolean;
  /** @throws MgtError `BadFile` naming a tensor the file lacks */
  tensor(name: string): GgufTensor;
  close(): void;
}

/**
 * Opens a GGUF file: its header is read and checked, its tensors are not read. Closes the source where it throws.
 * @param source bytes, or a file read on demand
 * @param name of the file, as it stands in errors
 * @throws MgtError as `readHeader`
 */
export async function openGguf(source: Uint8Array | RandomAccess, name = 'model.gguf'): Promise<GgufFile> {
  const access = ArrayBuffer.isView(source) ? inMemory(source) : source;
  const { metadata, tensors } = await readHeader(access, name).catch((error: unknown) => {
    access.close();
    throw error;
  });
  const byName = new Map(tensors.map((info) => [info.name, tensorOf(access, name, info)]));
  return {
    name,
    metadata,
    names: [...byName.keys()],
    has: (tensor) => byName.has(tensor),
    tensor(wanted) {
      const found = byName.get(wanted);
      if (found) return found;
      throw new MgtError('BadFile', `${name}.${wanted}`, 'a tensor', 'none of this name');
    },
    close: () => access.close(),
  };
}

function tensorOf(access: RandomAccess, file: string, info: TensorInfo): GgufTensor {
  const { name, type, shape, at, bytes: span } = info;
  const columns = shape[shape.length - 1]!;
  const stride = rowBytes(type, columns)!;
  const count = span / stride;
  const field = `${file}.${name}`;
  const bytes = (from: number, to: number): Uint8Array => {
    if (!(Number.isInteger(from) && Number.isInteger(to) && from >= 0 && from <= to && to <= count)) {
      throw new MgtError('BadInput', `${field} rows`, `a range inside 0..${count}`, `${from}..${to}`);
    }
    return access.read(at + from * stride, (to - from) * stride);
  };
  return {
    name,
    type,
    shape,
    bytes,
    rows(from, to) {
      const raw = bytes(from, to);
      const out = new Float32Array((to - from) * columns);
      dequantise(type, raw, out);
      checkFinite(field, out);
      return out;
    },
    grid(row) {
      if (type !== 'Q4_0' && type !== 'Q4_1') return undefined;
      const grid = gridOf(type, bytes(row, row + 1), columns)!;
      checkFinite(field, grid.scales);
      checkFinite(field, grid.mins);
      return grid;
    },
  };
}

function checkFinite(field: string, values: Float32Array): void {
  for (let i = 0; i < values.length; i++) {
    const v = values[i]!;
    if (v - v !== 0) throw new MgtError('BadWeights', field, 'finite values', v); // only NaN and ±Inf differ from themselves
  }
}
