import { open, stat } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { checkSignal } from '../check.js';
import { MgtError } from '../errors.js';
import type { FileSource } from './source.js';

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
        cause.code === 'ENOENT' || cause.code === 'ENOTDIR' ? undefined : unreadable(full, 'a readable file', cause),
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
  };
}

function unreadable(path: string, expected: string, cause: NodeJS.ErrnoException): never {
  throw new MgtError('FileNotFound', path, expected, cause.code ?? cause, { cause });
}
