import { writeSync } from 'node:fs';

/** Tells the parent at once that the embedding is there, then leaves. Times are ms since this process started. */
export function report({ imported, loaded, embedding }) {
  const embedded = performance.now();
  const line = { imported, loaded, embedded, rss: process.memoryUsage.rss(), embedding: [...embedding] };
  writeSync(1, `${JSON.stringify(line)}\n`);
  process.exit(0);
}
