import { open, readFile } from 'node:fs/promises';
import { MgtError } from '../errors.js';
import type { Platform } from './platform.js';

const WASM = {
  plain: new URL('../../build/mgt.wasm', import.meta.url),
  relaxed: new URL('../../build/mgt.relaxed.wasm', import.meta.url),
};

/** Node: paths through the file system, wasm beside the package. */
export const nodePlatform: Platform = {
  async open(path) {
    try {
      const file = await open(path.startsWith('file:') ? new URL(path) : path, 'r');
      const stat = await file.stat();
      if (!stat.isFile()) {
        await file.close();
        throw new MgtError('FileNotFound', path, 'a file', 'a directory or device');
      }
      return {
        size: stat.size,
        read: async (into) => (await file.read(into, 0, into.length, null)).bytesRead,
        close: () => file.close(),
      };
    } catch (cause) {
      if (cause instanceof MgtError) throw cause;
      throw new MgtError('FileNotFound', path, 'a readable file', (cause as NodeJS.ErrnoException).code ?? cause, {
        cause,
      });
    }
  },
  wasm: (build) => readFile(WASM[build]),
};
