import { MgtError } from '../errors.js';

/** How a long read reports and stops. */
export interface ReadOptions {
  readonly signal?: AbortSignal | undefined;
  /** Bytes so far and in all; `total` is 0 where the length is not known. */
  readonly onProgress?: ((loaded: number, total: number) => void) | undefined;
}

/** A file read piece by piece. */
export interface RandomAccess {
  /** Bytes. */
  readonly size: number;
  /**
   * Bytes at..at + length − 1, all of them; a view of memory or a new array: do not write it.
   * @throws MgtError `Truncated` where the file has become shorter, `FileNotFound` where it cannot be read
   */
  read(at: number, length: number): Uint8Array;
  close(): void;
}

/** Bytes in memory as a file. */
export const inMemory = (bytes: Uint8Array): RandomAccess => ({
  size: bytes.length,
  read: (at, length) => bytes.subarray(at, at + length),
  close: () => undefined,
});

/** A file of a source, opened; held whole where the source cannot open it. `undefined`: no such file. */
export async function openFile(
  source: FileSource,
  path: string,
  options: ReadOptions = {},
): Promise<RandomAccess | undefined> {
  if (source.open) return source.open(path);
  const bytes = await source.read(path, options);
  return bytes && inMemory(bytes);
}

/** A directory of files, wherever it lies. */
export interface FileSource {
  /** Short name of the directory: the last part of its path, or the repository a URL names. */
  readonly name: string;
  /**
   * Whole content of a file, by its path below the directory with forward slashes.
   * Resolves to `undefined` where there is no such file.
   * @throws MgtError `FileNotFound` where it exists but cannot be read, `Aborted`
   */
  read(path: string, options?: ReadOptions): Promise<Uint8Array | undefined>;
  /**
   * The file opened for reading on demand, where the source can: a large file is never held whole. `undefined` as in `read`.
   * The caller closes it.
   */
  open?(path: string): Promise<RandomAccess | undefined>;
}

/** A directory, and which of its files a path or URL named. */
export interface NamedSource {
  readonly files: FileSource;
  readonly file: string | undefined;
}

/**
 * Opens what a path (Node) or `https://` URL names: a directory, or one file. A URL that ends in .gguf is a file's.
 * @throws MgtError as `openSource`
 */
export async function findSource(source: string): Promise<NamedSource> {
  const [, folder, url] = /^(https?:.*)\/([^/?#]+\.gguf)(?:[?#].*)?$/i.exec(source) ?? [];
  if (folder !== undefined && url !== undefined)
    return { files: await openSource(folder), file: decodeURIComponent(url) };
  if (isNode() && !/^https?:/i.test(source)) return (await import('./directory-node.js')).findPath(source);
  return { files: await openSource(source), file: undefined };
}

/**
 * Opens a directory by path (Node) or by `https://` URL.
 * @throws MgtError `FileNotFound` (no such directory), `BadInput` (a URL of another kind)
 */
export async function openSource(source: string): Promise<FileSource> {
  if (/^[a-z][a-z0-9+.-]+:\/\//i.test(source) && !source.startsWith('file:')) {
    const { httpSource } = await import('./http.js');
    return httpSource(source);
  }
  if (!isNode()) throw new MgtError('UnsupportedMode', 'source', 'an https:// URL outside of Node', source);
  const { directorySource } = await import('./directory-node.js');
  return directorySource(source);
}

export const isNode = (): boolean => typeof process === 'object' && Boolean(process?.versions?.node);
