import { MgtError } from '../../errors.js';

/**
 * Tensor types of GGUF that are read (ggml.h, `enum ggml_type`), in blocks along a row, numbers little-endian:
 *
 *   Q8_0  ┌ d f16 ┬ q i8[32] ────────────────┐            w = q · d
 *   Q4_0  ┌ d f16 ┬ nibbles u8[16] ┐                      w = (q − 8) · d
 *   Q4_1  ┌ d f16 ┬ m f16 ┬ nibbles u8[16] ┐              w = q · d + m
 *
 * Byte i of the nibbles holds weight i in its low half and weight 16 + i in its high half.
 */
export type GgmlType = 'F32' | 'F16' | 'BF16' | 'Q8_0' | 'Q4_0' | 'Q4_1';

interface TypeSpec {
  /** Number that stands in a tensor's description. */
  readonly id: number;
  /** Weights of a block. */
  readonly block: number;
  /** Bytes of a block. */
  readonly bytes: number;
}

export const GGML_TYPES: Readonly<Record<GgmlType, TypeSpec>> = {
  F32: { id: 0, block: 1, bytes: 4 },
  F16: { id: 1, block: 1, bytes: 2 },
  Q4_0: { id: 2, block: 32, bytes: 18 },
  Q4_1: { id: 3, block: 32, bytes: 20 },
  Q8_0: { id: 8, block: 32, bytes: 34 },
  BF16: { id: 30, block: 1, bytes: 2 },
};

const BY_ID = new Map(Object.entries(GGML_TYPES).map(([name, { id }]) => [id, name as GgmlType]));

/**
 * The type of a tensor.
 * @param nameOf name of a type by its number, where the reader of the header knows one
 * @throws MgtError `UnsupportedMode` naming the tensor and the quantisation
 */
export function ggmlType(field: string, id: number, nameOf: (id: number) => string | undefined): GgmlType {
  const type = BY_ID.get(id);
  if (type) return type;
  throw new MgtError('UnsupportedMode', field, Object.keys(GGML_TYPES).join(', '), nameOf(id) ?? `type ${id}`);
}

/** Bytes of a row of `n` weights; undefined where `n` is not a multiple of the type's block. */
export function rowBytes(type: GgmlType, n: number): number | undefined {
  const { block, bytes } = GGML_TYPES[type];
  return n % block === 0 ? (n / block) * bytes : undefined;
}
