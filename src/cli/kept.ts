import { stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { checkSignal } from '../check.js';
import { MgtError } from '../errors.js';
import { beginBeside, readWhole, targetOf, type PendingFile } from './files.js';

/** Files that a call reads, adds to and writes back: sessions and logs. One process at a time has one. */

export interface KeptFile {
  /** What stands in it; nothing where there is no file yet. */
  readonly bytes: Uint8Array | undefined;
  /** What takes its place. */
  readonly next: PendingFile;
}

/** How long a call waits for another one that has the file, and how often it looks; ms. */
const PATIENCE = 10_000;
const LOOK = 20;

/**
 * Takes a file until `next` is committed or discarded. The next content is the lock, as git's index.lock: `.NAME.lock` beside the
 * file is created only where there is none.
 * @throws MgtError `FileNotFound` where the path cannot be read or written, or another process has it for `patience` ms; `Aborted`
 */
export async function openKept(
  option: string,
  path: string,
  signal: AbortSignal,
  patience = PATIENCE,
): Promise<KeptFile> {
  const target = await targetOf(option, path);
  const found = await stat(target).catch(() => undefined);
  // A device or pipe does not give back what was written.
  if (found && !found.isFile()) {
    const kind = found.isDirectory() ? 'a directory' : 'a device or pipe';
    throw new MgtError('FileNotFound', option, 'a file to read and write', kind);
  }
  const lock = join(dirname(target), `.${basename(target)}.lock`);
  const next = await locked(option, target, lock, signal, patience);
  try {
    return { bytes: (await exists(target)) ? await readWhole(option, target, signal) : undefined, next };
  } catch (error) {
    await next.discard();
    throw error;
  }
}

async function locked(
  option: string,
  target: string,
  lock: string,
  signal: AbortSignal,
  patience: number,
): Promise<PendingFile> {
  const end = performance.now() + patience;
  for (;;) {
    checkSignal(signal, option);
    try {
      return await beginBeside(option, target, lock);
    } catch (error) {
      const { code } = (error as MgtError).cause as NodeJS.ErrnoException;
      if (code !== 'EEXIST') throw error;
      if (performance.now() >= end) {
        throw new MgtError('FileNotFound', option, `no ${lock}: delete it if no other mgt runs`, 'a locked file');
      }
    }
    await setTimeout(LOOK);
  }
}

const exists = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    (error: NodeJS.ErrnoException) => error.code !== 'ENOENT',
  );

/** @throws MgtError `Usage` where two of the options name one file */
export async function checkDistinct(
  paths: readonly (readonly [option: string, path: string | undefined])[],
): Promise<void> {
  const seen = new Map<string, string>();
  for (const [option, path] of paths) {
    if (!path) continue;
    const real = resolve(await targetOf(option, path));
    const folder = await targetOf(option, dirname(real)).catch(() => dirname(real));
    const place = join(folder, basename(real));
    const other = seen.get(place);
    if (other) throw new MgtError('Usage', option, `another file than ${other}`, path);
    seen.set(place, option);
  }
}
