import { describe, expect, test } from '@jest/globals';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';

/**
 * The committed corpus, without Python: what the manifest says of it, and that the parts share no eight words in a row
 * (training/corpus.py has its own two ways to find them).
 *
 * Seen red with test changed: "The queen of this land had lost her smile." of train put at its end (hash, counts, shared
 * run), a blank line put into a document (number of documents), é put for an e (ASCII).
 */
interface Part {
  readonly documents: number;
  readonly sentences: number;
  readonly words: number;
  readonly bytes: number;
  readonly sha256: string;
  readonly sources: Record<string, number>;
}
interface Manifest {
  readonly sources: Record<string, { read: number; duplicates: number; tokens: number; written: number }>;
  readonly split: { words: number; leftOutOfTrain: Record<string, number> };
  readonly parts: Record<string, Part>;
}

const folder = new URL('../../training/corpus/', import.meta.url);
const manifest = JSON.parse(readFileSync(new URL('manifest.json', folder), 'utf8')) as Manifest;
const PARTS = ['train', 'dev', 'test'];
const RUN = manifest.split.words;
const contents = new Map(PARTS.map((part) => [part, gunzipSync(readFileSync(new URL(`${part}.txt.gz`, folder)))]));
const documentsOf = (part: string): string[] => contents.get(part)!.toString('latin1').slice(0, -1).split('\n\n');
const documents = new Map(PARTS.map((part) => [part, documentsOf(part)]));

/** The sentences of a document as rows of words. One that goes on in lower case after a quote ("Is it?" asked Tom.) is one. */
function sentencesOf(document: string): string[][] {
  const rows: string[][] = [[]];
  for (const [, word] of document.matchAll(/([A-Za-z0-9]+(?:'[A-Za-z0-9]+)*)|[.!?]["']*\s+(?!["']?[a-z])/g)) {
    if (word === undefined) rows.push([]);
    else rows[rows.length - 1]!.push(word.toLowerCase());
  }
  return rows;
}

/** Of each part: 1.7 million words, which are parted once. */
const sentences = new Map(PARTS.map((part) => [part, documents.get(part)!.flatMap(sentencesOf)]));

function runsOf(rows: readonly string[][]): string[] {
  const runs: string[] = [];
  for (const row of rows) {
    for (let end = RUN; end <= row.length; end++) runs.push(row.slice(end - RUN, end).join(' '));
  }
  return runs;
}

/** The runs of words that a sentence of `some` and one of `others` have. */
function shared(some: readonly string[][], others: readonly string[][]): string[] {
  const known = new Set(runsOf(some));
  return runsOf(others).filter((run) => known.has(run));
}

describe('the corpus is what its manifest says', () => {
  test.each(PARTS)('%s', (part) => {
    const said = manifest.parts[part]!;
    const texts = documents.get(part)!;
    const rows = sentences.get(part)!;
    const found = {
      documents: texts.length,
      sentences: rows.length,
      words: rows.reduce((sum, row) => sum + row.length, 0),
      bytes: texts.reduce((sum, text) => sum + text.length, 0),
      sha256: createHash('sha256').update(contents.get(part)!).digest('hex'),
    };
    const { sources, ...counts } = said;
    expect(found).toEqual(counts);
    expect(Object.values(sources).reduce((a, b) => a + b)).toBe(texts.length);
  });

  test('every story read is in a part, left out of train, or a duplicate', () => {
    for (const [name, { read, duplicates }] of Object.entries(manifest.sources)) {
      const used = PARTS.reduce((sum, part) => sum + (manifest.parts[part]!.sources[name] ?? 0), 0);
      expect([name, used + (manifest.split.leftOutOfTrain[name] ?? 0) + duplicates]).toEqual([name, read]);
    }
  });
});

describe('documents', () => {
  test.each(PARTS)('of %s are ASCII, a blank line apart, without blanks around their lines', (part) => {
    const text = contents.get(part)!.toString('latin1');
    expect(text.match(/[^\n\x20-\x7e]/g)).toBeNull();
    expect(text).toMatch(/\S\n$/);
    expect(text.match(/\n{3}|^\s|[ ]\n|\n /g)).toBeNull();
    expect(documents.get(part)!.filter((document) => !/[.!?]["']?$/.test(document))).toEqual([]);
  });

  test('none is there twice', () => {
    const every = PARTS.flatMap((part) => documents.get(part)!);
    expect(new Set(every).size).toBe(every.length);
  });
});

describe(`no ${RUN} words in a row of a sentence are in two parts`, () => {
  test.each([
    ['dev', 'train'],
    ['test', 'train'],
    ['dev', 'test'],
  ])('%s and %s', (one, other) => {
    expect(runsOf(sentences.get(one)!).length).toBeGreaterThan(1000);
    expect(shared(sentences.get(one)!, sentences.get(other)!)).toEqual([]);
  });

  test('a sentence of train put into test is found', () => {
    const train = sentences.get('train')!;
    const planted = train.find((row) => row.length >= RUN)!;
    const document = `${documents.get('test')!.at(-1)!} "${planted.join(', ').toUpperCase()}!"`;
    expect(shared(sentencesOf(document), train)).toContain(planted.slice(0, RUN).join(' '));
  });
});
