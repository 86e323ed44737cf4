import { lstat, open, readFile, realpath, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { MgtError } from '../errors.js';

/** Files of the command line: whole reads, and writes that appear only when they are whole. */

/** @throws MgtError `FileNotFound` where the path cannot be read */
export async function readWhole(field: string, path: string, signal?: AbortSignal): Promise<Uint8Array> {
  try {
    return await readFile(path, { signal });
  } catch (cause) {
    if (signal?.aborted) throw new MgtError('Aborted', field, 'to be read', 'an abort', { cause });
    throw new MgtError('FileNotFound', field, 'a readable file', cause, { cause });
  }
}

/** A file being written: the name is its own only after `commit`. */
export interface PendingFile {
  commit(bytes: Uint8Array): Promise<void>;
  /** Removes what was begun; does nothing after `commit`. */
  discard(): Promise<void>;
}

/**
 * Begins a file beside its final place, so that a path that cannot be written is known before any work is done.
 * A device or pipe has no whole to wait for and is written directly.
 * @throws MgtError `FileNotFound` where the path cannot be written
 */
export async function beginFile(field: string, path: string): Promise<PendingFile> {
  const guard = async <T>(step: () => Promise<T>): Promise<T> => {
    try {
      return await step();
    } catch (cause) {
      throw new MgtError('FileNotFound', field, 'a path to write', cause, { cause });
    }
  };
  const found = await stat(path).catch(() => undefined);
  if (found?.isDirectory()) throw new MgtError('FileNotFound', field, 'a file to write', `the directory ${path}`);
  if (found && !found.isFile()) {
    return {
      commit: (bytes) =>
        guard(async () => {
          const handle = await open(path, 'w');
          await handle.writeFile(bytes).finally(() => handle.close());
        }),
      discard: async () => {},
    };
  }
  // A link keeps pointing where it did: the file behind it is what is replaced.
  const target = (await lstat(path).catch(() => undefined)) ? await guard(() => realpath(path)) : path;
  const temporary = join(dirname(target), `.${basename(target)}.${process.pid}.tmp`);
  const handle = await guard(() => open(temporary, 'wx'));
  let settled = false;
  const discard = async (): Promise<void> => {
    if (settled) return;
    settled = true;
    await handle.close().catch(() => {});
    await rm(temporary, { force: true });
  };
  return {
    discard,
    commit: async (bytes) => {
      try {
        await guard(async () => {
          await handle.writeFile(bytes);
          await handle.close();
          await rename(temporary, target);
        });
        settled = true;
      } finally {
        await discard();
      }
    },
  };
}

/** Writes `bytes` at `path`, all or nothing. @throws MgtError `FileNotFound` */
export async function writeWhole(field: string, path: string, bytes: Uint8Array): Promise<void> {
  const file = await beginFile(field, path);
  await file.commit(bytes);
}

/** Everything that stands on stdin. @throws MgtError `Aborted` */
export async function readStdin(signal: AbortSignal): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  const stop = (): void => void process.stdin.destroy();
  signal.addEventListener('abort', stop, { once: true });
  try {
    for await (const chunk of process.stdin) chunks.push(chunk as Uint8Array);
  } catch (cause) {
    if (!signal.aborted) throw new MgtError('FileNotFound', 'stdin', 'to be readable', cause, { cause });
  } finally {
    signal.removeEventListener('abort', stop);
  }
  if (signal.aborted) throw new MgtError('Aborted', 'stdin', 'to be read to its end', 'an interrupt');
  return Buffer.concat(chunks);
}

/**
 * Bytes as lines: ended by LF or CRLF, a blank line is an empty text, what follows the last line end counts only
 * if it is not empty.
 * @throws MgtError `BadFile` where the bytes are not UTF-8
 */
export function toLines(field: string, bytes: Uint8Array): string[] {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new MgtError('BadFile', field, 'UTF-8 text', 'bytes that are not', { cause });
  }
  const lines = text.split('\n');
  if (lines.at(-1) === '') lines.pop();
  return lines.map((line) => (line.endsWith('\r') ? line.slice(0, -1) : line));
}
