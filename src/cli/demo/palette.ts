import { letterOf } from './trace.js';
import type { Witness } from '../../packets/witness.js';

/** How a token came about: what its colour and the bar below it say. */
export interface Mark {
  readonly witness: Witness;
  readonly layers: number;
}

/** SGR codes by what they mean; empty where there are no colours. */
export interface Palette {
  /** Of a token's text. */
  text(mark: Mark): string;
  /** Of its bar. */
  bar(mark: Mark): string;
  readonly bold: string;
  readonly dim: string;
}

/** Bits per colour as Node counts them; NO_COLOR and TERM=dumb give 1. */
export type ColorDepth = 1 | 4 | 8 | 24;

/** Hues of one lightness, some 4:1 against black and white: the terminal's background is not known. */
const HUES: Readonly<Record<string, string>> = {
  R: '38;5;172',
  F: '38;5;160',
  W: '38;5;32',
  Q: '38;5;163',
  S: '38;5;245',
};
const HUES_16: Readonly<Record<string, string>> = { R: '33', F: '31', W: '34', Q: '35', S: '90' };
/** The fewer layers, the greener. */
const GREENS = ['38;5;34', '38;5;71', '38;5;65'];
const GREY = '38;5;245';

/** @param layers of the model */
export function paletteOf(depth: ColorDepth, layers: number): Palette {
  if (depth < 4) return { text: () => '', bar: () => '', bold: '', dim: '' };
  const rich = depth >= 8;
  const [hues, grey] = rich ? [HUES, GREY] : [HUES_16, '90'];
  const color = (mark: Mark, full: string): string => {
    const letter = letterOf(mark.witness);
    if (letter !== '') return hues[letter]!;
    if (mark.layers >= layers) return full;
    return rich ? GREENS[Math.min(GREENS.length - 1, Math.floor((4 * mark.layers) / layers))]! : '32';
  };
  return { text: (mark) => color(mark, ''), bar: (mark) => color(mark, grey), bold: '1', dim: rich ? GREY : '90' };
}

/** A text in a colour. */
export const painted = (text: string, code: string): string =>
  code === '' || text === '' ? text : `\x1b[${code}m${text}\x1b[0m`;

const BARS = '▁▂▃▄▅▆▇█';

/** The bar of so many layers of all, 1/8 the least; a dot where none ran. */
export const barOf = (layers: number, all: number): string =>
  layers === 0 ? '·' : BARS[Math.min(BARS.length, Math.ceil((BARS.length * layers) / all)) - 1]!;
