import { sha256 } from '../format/write.js';

/** Where a new model file goes, part by part: nothing of it needs to stay in memory. */
export interface FileTarget {
  /** Length of the whole file, said before anything is written. */
  begin(bytes: number): Promise<void>;
  write(at: number, bytes: Uint8Array): Promise<void>;
  /** SHA-256 of all bytes from `at` on. */
  sha256(at: number): Promise<Uint8Array>;
  /** The file as it is, for `load`: its bytes or its path. */
  readonly content: Uint8Array | string;
}

/** A file in memory. */
export function memoryTarget(): FileTarget & { readonly content: Uint8Array } {
  let content = new Uint8Array(0);
  return {
    begin(bytes) {
      content = new Uint8Array(bytes);
      return Promise.resolve();
    },
    write(at, bytes) {
      content.set(bytes, at);
      return Promise.resolve();
    },
    sha256: (at) => sha256(content.subarray(at)),
    get content() {
      return content;
    },
  };
}
