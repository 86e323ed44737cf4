import { oneLine } from './output.js';

/**
 * Progress for whoever waits: one line of stderr that rewrites itself, from the first tenth of a second on.
 * Only in a terminal: elsewhere stderr carries nothing but the one line of an error.
 */
export interface Progress {
  /** `total` 0 or absent: not known. */
  update(phase: string, loaded?: number, total?: number): void;
  /** Clears the line; call before anything else is printed. */
  done(): void;
}

const FIRST_MS = 100;
const EVERY_MS = 80;

export function createProgress(): Progress {
  const { stderr } = process;
  if (!stderr.isTTY) return { update: () => {}, done: () => {} };
  let due = performance.now() + FIRST_MS;
  let drawn = false;
  return {
    update(phase, loaded = 0, total = 0) {
      if (performance.now() < due) return;
      due = performance.now() + EVERY_MS;
      const share = total > 0 ? ` ${Math.min(100, Math.floor((100 * loaded) / total))} %` : '';
      // Cut to the terminal's width: a line that wraps cannot be rewritten.
      stderr.write(`\r\x1b[2K${oneLine(`${phase}${share}`).slice(0, (stderr.columns || 80) - 1)}`);
      drawn = true;
    },
    done() {
      if (drawn) stderr.write('\r\x1b[2K');
      drawn = false;
    },
  };
}
