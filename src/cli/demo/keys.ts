import type { ReadStream } from 'node:tty';

/** Hands each key to `pressed` until `stop`; the terminal is as it was then, also where the process ends. */
export function listen(stdin: ReadStream, pressed: (key: string) => void): { stop(): void } {
  const hear = (keys: string): void => {
    // An escape sequence (an arrow, say) is one key that means nothing here.
    if (keys.startsWith('\x1b') && keys.length > 1) return;
    for (const key of keys) pressed(key);
  };
  stdin.setRawMode(true).setEncoding('utf8').on('data', hear).resume();
  return {
    stop() {
      stdin.off('data', hear).pause().setRawMode(false);
    },
  };
}
