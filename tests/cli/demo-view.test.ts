import { describe, expect, test } from '@jest/globals';
import { EVENTS, parseInjections, Signal } from '../../src/cli/demo/events.js';
import { columnsOf, Lines, wrapped, type Cell } from '../../src/cli/demo/lines.js';
import { barOf, paletteOf, type Mark } from '../../src/cli/demo/palette.js';
import { traceTable } from '../../src/cli/demo/report.js';
import type { Told } from '../../src/cli/demo/story.js';
import { layersText, Trace } from '../../src/cli/demo/trace.js';
import { View } from '../../src/cli/demo/view.js';
import type { ModelConfig } from '../../src/config.js';
import type { GeneratedToken } from '../../src/engine/generate.js';
import { fullMacs } from '../../src/cli/macs.js';
import type { Witness } from '../../src/packets/witness.js';
import { loadRandom } from '../session/support.js';
import { decoder } from './generate-models.js';

const allow = { decision: 'Allow', reason: 'None', tier: 0, kvWritesEnabled: 1 } as Witness;
const frozen = { decision: 'FreezeWrites', reason: 'SpikeStorm', tier: 2, kvWritesEnabled: 0 } as Witness;
const mark = (layers: number, witness = allow): Mark => ({ witness, layers });
const textOf = (line: readonly Cell<unknown>[]): string => line.map(({ text }) => text).join('');

const ESC = '\x1b';
/** A control sequence, or a character. */
const PARTS = new RegExp(`${ESC}\\[[?\\d;]*[A-Za-z]|[^${ESC}]`, 'gu');
const CODE = new RegExp(`^${ESC}\\[([?\\d;]*)([A-Za-z])$`);

/** A terminal of so many columns that knows what the view uses: what stands on it at the end. */
class Terminal {
  written = '';
  readonly #rows: string[] = [''];
  #row = 0;
  #column = 0;

  constructor(readonly columns: number) {}

  write(text: string): void {
    this.written += text;
    for (const [part] of text.matchAll(PARTS)) this.#take(part);
  }

  get rows(): string[] {
    return this.#rows.map((row) => row.trimEnd());
  }

  #take(part: string): void {
    const code = CODE.exec(part);
    if (part === '\r') this.#column = 0;
    else if (part === '\n') {
      this.#column = 0;
      this.#rows[++this.#row] ??= '';
    } else if (!code) {
      const row = this.#rows[this.#row]!.padEnd(this.#column);
      this.#rows[this.#row] = row.slice(0, this.#column) + part + row.slice(this.#column + 1);
      this.#column++;
      // A full row would wrap: nothing that is drawn anew may fill one.
      expect(this.#column).toBeLessThan(this.columns);
    } else if (code[2] === 'A') this.#row -= Number(code[1]);
    else if (code[2] === 'K') this.#rows[this.#row] = this.#rows[this.#row]!.slice(0, this.#column);
    else if (code[2] === 'J') {
      this.#rows[this.#row] = this.#rows[this.#row]!.slice(0, this.#column);
      this.#rows.length = this.#row + 1;
    }
  }
}

describe('lines', () => {
  const lines = (width: number, ...pieces: string[]): string[] => {
    const all: string[] = [];
    const made = new Lines<number>(
      () => width,
      (line) => all.push(textOf(line)),
    );
    pieces.forEach((piece, i) => made.push(piece, i));
    made.end();
    return all;
  };

  test('break between words, wherever the pieces are cut', () => {
    expect(lines(10, 'one two three four')).toEqual(['one two', 'three four']);
    expect(lines(10, 'one t', 'wo th', 'ree', ' f', 'our')).toEqual(['one two', 'three four']);
    expect(lines(10, 'one two th', ' e')).toEqual(['one two th', 'e']);
  });

  test('cut a word that no line holds; keep line ends; drop control characters', () => {
    expect(lines(4, 'abcdefghij k')).toEqual(['abcd', 'efgh', 'ij k']);
    expect(lines(10, 'a\nb\r\n\nc')).toEqual(['a', 'b', 'c']);
    expect(lines(10, 'a\x1b[31m\x07b\tc')).toEqual(['a[31mb c']);
  });

  test('know wide characters and combining ones', () => {
    expect(columnsOf('日本🌊e\u0301')).toBe(7);
    expect(lines(6, '日本語 海')).toEqual(['日本語', '海']);
  });

  test('wrapped text is at most as wide as asked, but for a word that is longer', () => {
    expect(wrapped('one two three incomprehensible', 9, '  ')).toEqual(['one two', '  three', '  incomprehensible']);
  });
});

describe('marks', () => {
  test('the bar is as high as the layers are many', () => {
    expect(Array.from({ length: 9 }, (_, n) => barOf(n, 8)).join('')).toBe('·▁▂▃▄▅▆▇█');
    expect(Array.from({ length: 4 }, (_, n) => barOf(n, 3)).join('')).toBe('·▃▆█');
  });

  test('colours by depth and decision, none where there are none', () => {
    for (const depth of [4, 8, 24] as const) {
      const { text, bar } = paletteOf(depth, 8);
      expect(text(mark(8))).toBe('');
      expect(new Set([text(mark(2)), text(mark(1, frozen)), bar(mark(8))]).size).toBe(3);
    }
    const none = paletteOf(1, 8);
    expect([none.text(mark(2)), none.bar(mark(1, frozen)), none.bold, none.dim]).toEqual(['', '', '', '']);
  });

  test('the table of decisions: in few columns a paragraph for each row', () => {
    const trace = new Trace();
    for (const witness of [allow, allow, frozen])
      trace.add({ witness: { ...witness, lambda: 100 }, layers: 8 } as GeneratedToken);
    const [told, config] = [{ trace } as Told, { layers: 8 } as ModelConfig];
    expect(traceTable(told, config, 80)).toHaveLength(3);
    const narrow = traceTable(told, config, 29);
    expect(Math.max(...narrow.map(columnsOf))).toBeLessThan(30);
    expect(narrow.join(' ').replace(/ +/g, ' ')).toBe(
      '0–1: Allow · None · tier 0, 8 of 8 layers · 2 tokens, kept 2: FreezeWrites · SpikeStorm · tier 2, 8 of 8 layers · 1 token, not kept',
    );
  });

  test('layers of a stretch', () => {
    expect(layersText([8, 8])).toBe('8');
    expect(layersText([2, 8, 8])).toBe('2–8, mean 6.0');
  });
});

describe('the view', () => {
  const tell = (columns: number, depth: 1 | 8): Terminal => {
    const terminal = new Terminal(columns);
    const trace = new Trace();
    const view = new View(terminal, paletteOf(depth, 8), 8, () => ['λ 100 · Allow', 'd drop  s storm']);
    view.start('Once upon a time');
    const tokens: [string, Mark][] = [
      [' there', mark(8)],
      [' was', mark(2)],
      [' a', mark(1, frozen)],
      [' f', mark(1, frozen)],
      ['ox', mark(4)],
      [' named', mark(8)],
      [' Pip.', mark(8)],
    ];
    for (const [text, { witness, layers }] of tokens) {
      trace.add({ token: 0, text, witness, layers });
      if (text === 'ox') view.note(trace.stretches.at(-2)!);
      view.token(text, { witness, layers });
    }
    view.end();
    return terminal;
  };

  test('text, below it a bar per token with the letter of a decision, then what the gate did', () => {
    expect(tell(80, 1).rows).toEqual([
      'Once upon a time there was a fox named Pip.',
      '                 █████ ▂▂▂ W W▄▄ █████ ████',
      'W FreezeWrites · SpikeStorm · tier 2, 1 of 8 layers · 2 tokens, not kept',
      '',
    ]);
  });

  test('in twenty columns', () => {
    expect(tell(20, 1).rows).toEqual([
      'Once upon a time',
      'there was a fox',
      '█████ ▂▂▂ W W▄▄',
      'W FreezeWrites ·',
      '  SpikeStorm · tier',
      '  2, 1 of 8 layers',
      '  · 2 tokens, not',
      '  kept',
      'named Pip.',
      '█████ ████',
      '',
    ]);
  });

  test('colours change no character; the cursor comes back', () => {
    const [plain, coloured] = [tell(40, 1), tell(40, 8)];
    expect(coloured.rows).toEqual(plain.rows);
    expect(new RegExp(`${ESC}\\[[\\d;]*m`).test(plain.written)).toBe(false);
    expect(coloured.written).toContain('\x1b[38;5;32m');
    expect(coloured.written.lastIndexOf('\x1b[?25h')).toBeGreaterThan(coloured.written.lastIndexOf('\x1b[?25l'));
  });
});

describe('events', () => {
  test('have names, keys and moments of their own', () => {
    for (const field of ['name', 'key'] as const) {
      expect(new Set(EVENTS.map((event) => event[field])).size).toBe(EVENTS.length);
    }
    expect(EVENTS.filter(({ key }) => [' ', 'q'].includes(key))).toEqual([]);
  });

  test('a signal rests at neutral packets, tells λ before, and gives way to a newer event', () => {
    const signal = new Signal(parseInjections('--inject', 'flush@1'));
    const rest = { gate: { lambda: 100, lambdaPrev: 100, boundaryEdges: 0 } };
    expect(signal.packets(0)).toEqual(rest);
    expect(signal.packets(1)).toEqual({ gate: { lambda: 58, lambdaPrev: 100, boundaryEdges: 0 } });
    signal.begin(EVENTS.find(({ name }) => name === 'skip')!);
    const skip = { spikes: { rateQ15: 0, fired: 0 } };
    expect(signal.packets(2)).toEqual({ gate: { lambda: 100, lambdaPrev: 58, boundaryEdges: 0 }, ...skip });
    expect(signal.packets(3)).toEqual({ ...rest, ...skip });
    expect(signal.packets(4)).toEqual(rest);
  });
});

test('full compute is what a call without a gate counts', async () => {
  const { model } = await loadRandom(decoder);
  const session = model.createSession();
  const { linear, head, attention } = fullMacs(decoder);
  for (const [tokens, first] of [
    [[1, 2, 3, 4, 5], 0],
    [[6], 5],
  ] as const) {
    const { macs } = session.infer({ tokens }).stats;
    expect(macs).toMatchObject({ linear: tokens.length * linear, attention: attention(tokens.length, first), head });
  }
});

test('full compute sees all before it, beyond the context that the model was made for too', () => {
  const { context, layers, heads, headDim } = decoder;
  expect(fullMacs(decoder).attention(1, 2 * context)).toBe(2 * layers * heads * headDim * (2 * context + 1));
});
