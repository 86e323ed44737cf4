import { closeSync, openSync, readSync } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { checkSignal } from '../check.js';
import { MgtError } from '../errors.js';
import type { FileSource, RandomAccess } from './source.js';

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
      if (!about) return undefined;
      if (!about.isFile()) throw new MgtError('FileNotFound', full, 'a file', 'a directory or device');
      return randomAccess(full, about.size);
    },
  };
}

function randomAccess(path: string, size: number): RandomAccess {
  const failed = (cause: unknown): never => unreadable(path, 'a readable file', cause as NodeJS.ErrnoException);
  let file: number;
  try {
    file = openSync(path, 'r');
  } catch (cause) {
    return failed(cause);
  }
  return {
    size,
    read(at, length) {
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
    close: () => closeSync(file),
  };
}

const isAbsent = ({ code }: NodeJS.ErrnoException): boolean => code === 'ENOENT' || code === 'ENOTDIR';

function unreadable(path: string, expected: string, cause: NodeJS.ErrnoException): never {
  throw new MgtError('FileNotFound', path, expected, cause.code ?? cause, { cause });
}
