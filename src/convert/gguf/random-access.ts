import { MgtError } from '../../errors.js';

/** Bytes read where they are wanted, so that a model larger than memory can be converted row by row. */
export interface RandomAccess {
  /** Name of the file, as it stands in errors. */
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  /**
   * Bytes at..at+length−1. Valid until the next read: they may lie in a buffer that every read uses.
   * @throws MgtError `Truncated` (the range passes the end), `FileNotFound` (it cannot be read)
   */
  read(at: number, length: number): Uint8Array;
  /** Closes what it reads from; idempotent. */
  close(): void;
}

/** Bytes held in memory. */
export function bytesAccess(bytes: Uint8Array, name = 'model.gguf'): RandomAccess {
  return {
    name,
    size: bytes.length,
    read(at, length) {
      checkRange(name, bytes.length, at, length);
      return bytes.subarray(at, at + length);
    },
    close() {},
  };
}

/** @throws MgtError `Truncated` */
export function checkRange(name: string, size: number, at: number, length: number): void {
  if (at >= 0 && length >= 0 && at + length <= size) return;
  throw new MgtError('Truncated', name, `at least ${at + length} bytes`, size);
}
