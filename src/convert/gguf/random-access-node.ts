import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { basename } from 'node:path';
import { MgtError } from '../../errors.js';
import { checkRange, type RandomAccess } from './random-access.js';

/**
 * A file of the file system, of which no more than the last read is held.
 * @throws MgtError `FileNotFound`: no such file, not readable, a directory or device
 */
export function fileAccess(path: string): RandomAccess {
  const name = basename(path);
  const fd = guarded(path, () => openSync(path, 'r'));
  const about = guarded(path, () => fstatSync(fd));
  if (!about.isFile()) {
    closeSync(fd);
    throw new MgtError('FileNotFound', path, 'a file', 'a directory or device');
  }
  let open = true;
  let scratch = new Uint8Array(0);
  return {
    name,
    size: about.size,
    read(at, length) {
      if (!open) throw new MgtError('Disposed', name, 'an open file', 'a closed one');
      checkRange(name, about.size, at, length);
      if (scratch.length < length) scratch = new Uint8Array(length);
      for (let done = 0; done < length;) {
        const took = guarded(path, () => readSync(fd, scratch, done, length - done, at + done));
        if (took === 0) throw new MgtError('Truncated', name, `at least ${at + length} bytes`, at + done);
        done += took;
      }
      return scratch.subarray(0, length);
    },
    close() {
      if (open) closeSync(fd);
      open = false;
      scratch = new Uint8Array(0);
    },
  };
}

function guarded<T>(path: string, action: () => T): T {
  try {
    return action();
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code;
    throw new MgtError('FileNotFound', path, 'a readable file', code ?? cause, { cause });
  }
}
