import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';

/** Fixtures written by scripts/goldens/tokens.py with Python's `tokenizers`. */

const fixture = (path: string): Buffer => readFileSync(new URL(`../fixtures/${path}`, import.meta.url));
const unpacked = (path: string): string => gunzipSync(fixture(path)).toString('utf8');

export const tokenizerJson = unpacked('minilm/tokenizer.json.gz');

export interface Tokens {
  tokenizerSha256: string;
  specials: [number, number];
  joined: { tokens: number; fnv1a: number };
  /** Script, text, ids, text of the ids. */
  natural: [string, string, number[], string][];
  tricky: [string, number[], string][];
  /** Text, limit, ids. */
  cuts: [string, number, number[]][];
}
export const tokens = JSON.parse(fixture('text/tokens.json').toString('utf8')) as Tokens;

export const fuzz = JSON.parse(unpacked('text/fuzz.json.gz')) as { texts: string[]; ids: number[][] };

/** First code point of a block of 256 in hexadecimal, and the hash of its text's ids. */
export const blocks = (JSON.parse(fixture('text/codepoints.json').toString('utf8')) as { blocks: [string, number][] })
  .blocks;

export interface Other {
  json: { [part: string]: unknown };
  ids: number[][];
  decoded: string[];
}
export const others = JSON.parse(unpacked('text/others.json.gz')) as {
  texts: string[];
  tokenizers: Record<string, Other>;
  partTexts: string[];
  /** A normalizer or pre-tokenizer of tokenizer.json, and what it makes of each of `partTexts`. */
  normalizers: [{ [option: string]: unknown }, string[]][];
  splitters: [{ [option: string]: unknown }, string[][]][];
};

/** FNV-1a, 32 bits, over each number's four little-endian bytes. */
export function fnv1a(numbers: readonly number[]): number {
  let h = 0x811c9dc5;
  for (const n of numbers) {
    for (let shift = 0; shift < 32; shift += 8) h = Math.imul(h ^ ((n >>> shift) & 255), 0x01000193);
  }
  return h >>> 0;
}

/** Every code point of one block of 256 between letters and alone. */
export function blockText(first: number): string {
  const parts: string[] = [];
  for (let c = first; c < first + 256; c++) {
    const character = String.fromCodePoint(c);
    parts.push(`a${character}b ${character} `);
  }
  return parts.join(' ');
}
