import { oneLine } from './output.js';

/**
 * Progress on stderr for whoever waits. In a terminal one line that rewrites itself, from the first tenth of a second;
 * elsewhere a line every few seconds once a second has passed, and nothing at all with `--json`.
 */
export interface Progress {
  /** `total` 0 or absent: not known. */
  update(phase: string, loaded?: number, total?: number): void;
  /** Clears the line; call before anything else is printed. */
  done(): void;
}

const TERMINAL = { first: 100, every: 80 };
const LOG = { first: 1000, every: 5000 };

export function createProgress(options: { json: boolean; now?: () => number }): Progress {
  const terminal = process.stderr.isTTY === true;
  if (options.json && !terminal) return { update: () => {}, done: () => {} };
  const now = options.now ?? (() => performance.now());
  const pace = terminal ? TERMINAL : LOG;
  let due = now() + pace.first;
  let drawn = false;
  return {
    update(phase, loaded = 0, total = 0) {
      if (now() < due) return;
      due = now() + pace.every;
      const share = total > 0 ? ` ${Math.min(100, Math.floor((100 * loaded) / total))} %` : '';
      const line = oneLine(`${phase}${share}`);
      process.stderr.write(terminal ? `\r\x1b[2K${line.slice(0, (process.stderr.columns || 80) - 1)}` : `${line}\n`);
      drawn = true;
    },
    done() {
      if (terminal && drawn) process.stderr.write('\r\x1b[2K');
      drawn = false;
    },
  };
}
