import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';

/** Time of the newest of these files, and of those below these folders, in ms. */
export function newest(root, paths) {
  return Math.max(...paths.map((path) => newestOf(join(root, path))));
}

function newestOf(path) {
  const info = statSync(path);
  if (!info.isDirectory()) return info.mtimeMs;
  // The folder's own time counts: it moves when a file is added or deleted.
  return readdirSync(path).reduce((t, name) => Math.max(t, newestOf(join(path, name))), info.mtimeMs);
}
