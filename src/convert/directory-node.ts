import { closeSync, fstatSync, openSync, readSync, type Stats } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { checkSignal } from '../check.js';
import { MgtError } from '../errors.js';
import type { FileSource, NamedSource, RandomAccess } from './source.js';

/** Bytes between two looks at the abort signal. */
const CHUNK = 16 * 2 ** 20;

/** A directory of the file system. @throws MgtError `FileNotFound` where there is no such directory. */
export async function directorySource(path: string): Promise<FileSource> {
  const root = resolve(path.startsWith('file:') ? fileURLToPath(path) : path);
  const found = await stat(root).catch((cause: NodeJS.ErrnoException) => unreadable(path, 'a directory', cause));
  if (!found.isDirectory()) throw new MgtError('FileNotFound', path, 'a directory', 'a file');
  return {
    name: basename(root),
    async read(file, { signal, onProgress } = {}) {
      const full = join(root, file);
      const handle = await open(full, 'r').catch((cause: NodeJS.ErrnoException) =>
        isAbsent(cause) ? undefined : unreadable(full, 'a readable file', cause),
      );
      if (!handle) return undefined;
      try {
        const about = await handle.stat();
        if (!about.isFile()) throw new MgtError('FileNotFound', full, 'a file', 'a directory or device');
        const bytes = new Uint8Array(about.size);
        for (let loaded = 0; loaded < bytes.length;) {
          checkSignal(signal, 'convert');
          const { bytesRead } = await handle.read(bytes, loaded, Math.min(CHUNK, bytes.length - loaded), null);
          if (bytesRead === 0) throw new MgtError('Truncated', full, `${bytes.length} bytes`, loaded);
          loaded += bytesRead;
          onProgress?.(loaded, bytes.length);
        }
        return bytes;
      } catch (cause) {
        if (cause instanceof MgtError) throw cause;
        return unreadable(full, 'a readable file', cause as NodeJS.ErrnoException);
      } finally {
        await handle.close();
      }
    },
    async open(file) {
      const full = join(root, file);
      const about = await stat(full).catch((cause: NodeJS.ErrnoException) =>
        isAbsent(cause) ? undefined : unreadable(full, 'a readable file', cause),
      );
      return about && fileAccess(full);
    },
  };
}

/** A directory, or a file of one. @throws MgtError `FileNotFound` */
export async function findPath(path: string): Promise<NamedSource> {
  const full = resolve(path.startsWith('file:') ? fileURLToPath(path) : path);
  const found = await stat(full).catch((cause: NodeJS.ErrnoException) =>
    unreadable(path, 'a file or directory', cause),
  );
  if (found.isDirectory()) return { files: await directorySource(path), file: undefined };
  return { files: await directorySource(dirname(full)), file: basename(full) };
}

/** A file opened for reading on demand. @throws MgtError `FileNotFound`: no such file, not readable, a directory or device */
export function fileAccess(path: string): RandomAccess {
  const failed = (cause: unknown): never => unreadable(path, 'a readable file', cause as NodeJS.ErrnoException);
  let file = -1;
  let about: Stats | undefined;
  try {
    file = openSync(path, 'r');
    about = fstatSync(file);
  } catch (cause) {
    return failed(cause);
  }
  if (!about.isFile()) {
    closeSync(file);
    throw new MgtError('FileNotFound', path, 'a file', 'a directory or device');
  }
  const { size } = about;
  return {
    size,
    read(at, length) {
      if (file < 0) throw new MgtError('Disposed', path, 'an open file', 'a closed one');
      const bytes = new Uint8Array(length);
      for (let done = 0; done < length;) {
        let n = 0;
        try {
          n = readSync(file, bytes, done, length - done, at + done);
        } catch (cause) {
          failed(cause);
        }
        if (n === 0) throw new MgtError('Truncated', path, `${size} bytes`, at + done);
        done += n;
      }
      return bytes;
    },
    close() {
      if (file >= 0) closeSync(file);
      file = -1;
    },
  };
}

const isAbsent = ({ code }: NodeJS.ErrnoException): boolean => code === 'ENOENT' || code === 'ENOTDIR';

function unreadable(path: string, expected: string, cause: NodeJS.ErrnoException): never {
  throw new MgtError('FileNotFound', path, expected, cause.code ?? cause, { cause });
}
