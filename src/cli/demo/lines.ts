/**
 * Text in columns, each character with a mark below it: lines of a width, broken between words. Nothing here knows
 * colours or terminals.
 */

/** One character as a terminal shows it. */
export interface Cell<T> {
  readonly text: string;
  /** Columns, 0..2. */
  readonly width: number;
  readonly mark: T;
  /** The first visible character of what was pushed at once. */
  readonly starts: boolean;
}

const WIDE =
  /^[\p{Emoji_Presentation}\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]/u;
const HIDDEN = /^[\p{Cc}\p{Cf}\p{Mn}\p{Me}]/u;
const segmenter = new Intl.Segmenter('en', { granularity: 'grapheme' });

/** Columns of one grapheme. */
const widthOf = (text: string): number => (HIDDEN.test(text) ? 0 : WIDE.test(text) ? 2 : 1);

/** Columns of a text. */
export const columnsOf = (text: string): number =>
  Array.from(segmenter.segment(text), ({ segment }) => widthOf(segment)).reduce((sum, width) => sum + width, 0);

/** Lines being filled: whole ones go to `full` as they come about, the last is `open`. */
export class Lines<T> {
  readonly #width: () => number;
  readonly #full: (line: readonly Cell<T>[]) => void;
  #open: Cell<T>[] = [];

  constructor(width: () => number, full: (line: readonly Cell<T>[]) => void) {
    this.#width = width;
    this.#full = full;
  }

  get open(): readonly Cell<T>[] {
    return this.#open;
  }

  push(text: string, mark: T): void {
    let starts = true;
    for (const { segment } of segmenter.segment(text)) {
      if (/^\r?\n$/.test(segment)) {
        this.end();
        continue;
      }
      const shown = segment === '\t' ? ' ' : segment;
      const width = widthOf(shown);
      // Control characters would reach the terminal.
      if (width === 0 && /\p{Cc}/u.test(shown)) continue;
      this.#open.push({ text: shown, width, mark, starts: starts && shown !== ' ' });
      if (shown !== ' ') starts = false;
      this.#wrap();
    }
  }

  /** Ends the open line, if there is anything on it. */
  end(): void {
    if (this.#open.length > 0) this.#full(this.#open);
    this.#open = [];
  }

  /** Moves the last word to a line of its own where the line is too long; a longer word than a line is cut. */
  #wrap(): void {
    const columns = this.#open.reduce((sum, { width }) => sum + width, 0);
    const isSpace = this.#open.at(-1)?.text === ' ';
    // A space at the end of a line takes no room.
    if (columns <= this.#width() || isSpace) return;
    const space = this.#open.map(({ text }) => text).lastIndexOf(' ');
    const keep = space < 0 ? this.#open.length - 1 : space + 1;
    const rest = this.#open.slice(keep);
    this.#full(this.#open.slice(0, space < 0 ? keep : space));
    this.#open = rest;
  }
}

/** Words on lines of at most `width` columns, the further ones indented; a longer word is not cut. */
export function wrapped(text: string, width: number, indent = ''): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && columnsOf(line) + 1 + columnsOf(word) > width) {
      lines.push(line);
      line = `${indent}${word}`;
    } else line += line === '' || line === indent ? word : ` ${word}`;
  }
  return [...lines, line];
}
