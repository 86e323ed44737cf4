import { Lines, wrapped, type Cell } from './lines.js';
import { barOf, painted, type Mark, type Palette } from './palette.js';
import { letterOf, stretchText, type Stretch } from './trace.js';

/** Where it is shown: a terminal, or what a test gives. */
export interface Screen {
  write(text: string): unknown;
  readonly columns?: number | undefined;
}

/** Longest line of a story: what the eye finds back from. */
const MOST_COLUMNS = 88;

type Marked = Mark | undefined;

/** A line of text, and below it a bar for each token: how many layers it took, with the decision's letter first. */
export function rows(line: readonly Cell<Marked>[], palette: Palette, layers: number): string[] {
  const text = line.map(({ text: shown, mark }): Piece => [shown, mark ? palette.text(mark) : palette.bold]);
  const bars = line.map(({ text: shown, width, mark, starts }): Piece => {
    if (!mark || shown === ' ') return [' '.repeat(width), ''];
    const bar = barOf(mark.layers, layers).repeat(width);
    const letter = starts ? letterOf(mark.witness) : '';
    return [letter === '' ? bar : letter.padEnd(width, bar), palette.bar(mark)];
  });
  const below = joined(bars).trimEnd();
  return below === '' ? [joined(text)] : [joined(text), below];
}

/** Text and its colour. */
type Piece = readonly [text: string, code: string];

/** Pieces as one text; neighbours of one colour share its code. */
function joined(pieces: readonly Piece[]): string {
  let all = '';
  let run = '';
  let of = '';
  for (const [text, code] of pieces) {
    if (code !== of) {
      all += painted(run, of);
      [run, of] = ['', code];
    }
    run += text;
  }
  return all + painted(run, of);
}

/**
 * A story as it comes about: whole lines scroll away, below them the line being written and a footer are drawn anew
 * with each token.
 */
export class View {
  readonly #screen: Screen;
  readonly #palette: Palette;
  readonly #layers: number;
  readonly #lines: Lines<Marked>;
  #footer: () => readonly string[];
  #notes: string[] = [];
  /** Rows below the last whole line. */
  #drawn = 0;

  constructor(screen: Screen, palette: Palette, layers: number, footer: () => readonly string[]) {
    this.#screen = screen;
    this.#palette = palette;
    this.#layers = layers;
    this.#footer = footer;
    this.#lines = new Lines(
      () => Math.min(this.#columns, MOST_COLUMNS),
      (line) => this.#scroll([...rows(line, palette, layers), ...this.#takeNotes()]),
    );
    screen.write('\x1b[?25l');
  }

  /** One less than the terminal's: a row that fills it would wrap. */
  get #columns(): number {
    return Math.max(10, (this.#screen.columns || 80) - 1);
  }

  /** What the story begins with. */
  start(text: string): void {
    this.#lines.push(text, undefined);
    this.draw();
  }

  token(text: string, mark: Mark): void {
    this.#lines.push(text, mark);
    this.draw();
  }

  /** Says of a stretch that the gate stepped in, below the line it ends on. */
  note(stretch: Stretch): void {
    const letter = letterOf(stretch.witness);
    const mark = { witness: stretch.witness, layers: stretch.layers[0]! };
    const lines = wrapped(
      `${letter} ${stretchText(stretch, this.#layers)}`,
      Math.min(this.#columns, MOST_COLUMNS),
      '  ',
    );
    this.#notes.push(...lines.map((line) => painted(line, this.#palette.bar(mark))));
  }

  /** Draws the open line and the footer over what was drawn of them. */
  draw(): void {
    const open = this.#lines.open.length > 0 ? rows(this.#lines.open, this.#palette, this.#layers) : [];
    const footer = this.#footer().flatMap((line) => wrapped(line, this.#columns));
    const below = [
      ...open,
      ...(footer.length > 0 ? ['', ...footer.map((line) => painted(line, this.#palette.dim))] : []),
    ];
    this.#screen.write(`${this.#home()}${below.map((row) => `${row}\x1b[K`).join('\n')}\x1b[J`);
    this.#drawn = below.length;
  }

  /** Ends the story: its last line stays, the footer goes. */
  end(): void {
    this.#lines.end();
    this.#scroll(this.#takeNotes());
    this.#footer = () => [];
    this.#screen.write('\x1b[?25h');
  }

  #takeNotes(): string[] {
    const notes = this.#notes;
    this.#notes = [];
    return notes;
  }

  /** Writes whole rows where the drawn ones begin. */
  #scroll(whole: readonly string[]): void {
    this.#screen.write(`${this.#home()}\x1b[J${whole.map((row) => `${row}\n`).join('')}`);
    this.#drawn = 0;
  }

  #home(): string {
    return `\r${this.#drawn > 1 ? `\x1b[${this.#drawn - 1}A` : ''}`;
  }
}
