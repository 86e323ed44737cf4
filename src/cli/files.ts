import { createHash } from 'node:crypto';
import { constants, createReadStream, rmSync } from 'node:fs';
import { access, lstat, open, readFile, realpath, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { FileTarget } from '../convert/target.js';
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
  /** Puts all bytes on the disk, under another name still; what can fail of a write fails here. */
  write(bytes: Uint8Array): Promise<void>;
  /** Instead of `write`: part by part, and then `finish`. A device or pipe has no places to write at. */
  readonly parts?: FileTarget & { finish(): Promise<void> };
  /** Gives what was written its name. */
  commit(): Promise<void>;
  /** Removes what was begun; does nothing after `commit`. */
  discard(): Promise<void>;
}

/** What ends with the process where nothing else removed it: a second Ctrl-C, a defect. */
const begun = new Set<string>();
process.on('exit', () => begun.forEach((path) => rmSync(path, { force: true })));

/**
 * Begins a file beside its final place, so that a path that cannot be written is known before any work is done.
 * A device or pipe has no whole to wait for and is written directly.
 * @throws MgtError `FileNotFound` where the path cannot be written
 */
export async function beginFile(field: string, path: string): Promise<PendingFile> {
  const found = await stat(path).catch(() => undefined);
  if (found?.isDirectory()) throw new MgtError('FileNotFound', field, 'a file to write', `the directory ${path}`);
  if (found && !found.isFile()) {
    return {
      write: (bytes) =>
        writable(field, async () => {
          const handle = await open(path, 'w');
          await handle.writeFile(bytes).finally(() => handle.close());
        }),
      commit: async () => {},
      discard: async () => {},
    };
  }
  const target = await targetOf(field, path);
  return beginBeside(field, target, join(dirname(target), `.${basename(target)}.${process.pid}.tmp`));
}

/** Where a write ends up: a link keeps pointing where it did, the file behind it is what is replaced. */
export async function targetOf(field: string, path: string): Promise<string> {
  if (path === '') throw new MgtError('FileNotFound', field, 'a path to write', 'an empty one');
  return (await lstat(path).catch(() => undefined)) ? writable(field, () => realpath(path)) : path;
}

/** A file under the name `temporary`, which must be free, until it takes the place of `target` and its permissions. */
export async function beginBeside(field: string, target: string, temporary: string): Promise<PendingFile> {
  const found = await stat(target).catch(() => undefined);
  const handle = await writable(field, async () => {
    if (found) await access(target, constants.W_OK);
    return open(temporary, 'wx');
  });
  begun.add(temporary);
  let settled = false;
  const settle = (): void => {
    settled = true;
    begun.delete(temporary);
  };
  const finish = (): Promise<void> =>
    writable(field, async () => {
      if (found) await handle.chmod(found.mode & 0o777);
      await handle.sync();
      await handle.close();
    });
  const place = (at: number, bytes: Uint8Array): Promise<void> =>
    writable(field, async () => {
      for (let done = 0; done < bytes.length;) {
        done += (await handle.write(bytes, done, bytes.length - done, at + done)).bytesWritten;
      }
    });
  return {
    async write(bytes) {
      await place(0, bytes);
      await finish();
    },
    parts: {
      finish,
      begin: (bytes) => writable(field, () => handle.truncate(bytes)),
      write: place,
      async sha256(at) {
        const hash = createHash('sha256');
        for await (const chunk of createReadStream(temporary, { start: at })) hash.update(chunk as Uint8Array);
        return hash.digest();
      },
      content: temporary,
    },
    async commit() {
      await writable(field, () => rename(temporary, target));
      settle();
    },
    async discard() {
      if (settled) return;
      await handle.close().catch(() => {});
      await rm(temporary, { force: true });
      settle();
    },
  };
}

/** What a failed write is to the user. */
async function writable<T>(field: string, step: () => Promise<T>): Promise<T> {
  try {
    return await step();
  } catch (cause) {
    throw new MgtError('FileNotFound', field, 'a path to write', cause, { cause });
  }
}

/** Writes `bytes` at `path`, all or nothing. @throws MgtError `FileNotFound` */
export async function writeWhole(field: string, path: string, bytes: Uint8Array): Promise<void> {
  const file = await beginFile(field, path);
  try {
    await file.write(bytes);
    await file.commit();
  } finally {
    await file.discard();
  }
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

/** A pipe that says nothing for this long is taken for one that never will. */
const SILENCE_MS = 2000;

/** The text on stdin, where something has been piped into it; empty where nothing is. `onSilence`: a pipe that said nothing. @throws MgtError `Aborted`, `BadFile` */
export async function readPiped(signal: AbortSignal, onSilence: () => void): Promise<string> {
  const { stdin } = process;
  let silent = false;
  const patience = setTimeout(() => {
    silent = true;
    stdin.destroy();
  }, SILENCE_MS);
  stdin.once('readable', () => clearTimeout(patience));
  try {
    return toText('stdin', await readStdin(signal));
  } catch (error) {
    if (!silent || signal.aborted) throw error;
    onSilence();
    return '';
  } finally {
    clearTimeout(patience);
  }
}

/** @throws MgtError `BadFile` where the bytes are not UTF-8 */
export function toText(field: string, bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new MgtError('BadFile', field, 'UTF-8 text', 'bytes that are not', { cause });
  }
}

/**
 * Bytes as lines: ended by LF or CRLF, a blank line is an empty text, what follows the last line end counts only
 * if it is not empty.
 * @throws MgtError `BadFile` where the bytes are not UTF-8
 */
export function toLines(field: string, bytes: Uint8Array): string[] {
  const lines = toText(field, bytes).split('\n');
  if (lines.at(-1) === '') lines.pop();
  return lines.map((line) => (line.endsWith('\r') ? line.slice(0, -1) : line));
}
