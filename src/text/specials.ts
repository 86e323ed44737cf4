import { MgtError } from '../errors.js';
import type { Kind, LibraryTokenizer, TokenizerJson } from './library.js';

/** A string no text can be: post-processing it alone shows what goes before and after any text. */
const CONTENT = '\ud800content';

/** Ids that the post-processor, whatever its kind, sets before and after a text. */
export function specialIds(library: LibraryTokenizer, file: TokenizerJson): { opening: number[]; closing: number[] } {
  const tokens = library.post_processor?.([CONTENT], null, true).tokens ?? [CONTENT];
  const at = tokens.indexOf(CONTENT);
  if (at < 0 || tokens.lastIndexOf(CONTENT) !== at) {
    throw new MgtError('UnsupportedMode', 'tokenizer.post_processor', 'the text once', tokens.join(' '));
  }
  const stated = statedIds(file.post_processor);
  const idsOf = (names: string[]): number[] =>
    names.flatMap((name) => {
      const ids = stated.get(name) ?? file.added_tokens.find((token) => token.content === name)?.id;
      const known = ids ?? library.token_to_id(name);
      if (known !== undefined) return known;
      throw new MgtError('BadFile', 'tokenizer.post_processor', 'tokens of the vocabulary', name);
    });
  return { opening: idsOf(tokens.slice(0, at)), closing: idsOf(tokens.slice(at + 1)) };
}

/** Ids that a post-processor states beside its special tokens; the original takes these, the library looks them up. */
function statedIds(kind: Kind | null): Map<string, number[]> {
  const stated = new Map<string, number[]>();
  const numbers = (value: unknown): value is number[] =>
    Array.isArray(value) && value.every((id) => Number.isInteger(id) && id >= 0);
  const pair = (value: unknown): void => {
    if (Array.isArray(value) && typeof value[0] === 'string' && numbers([value[1]])) {
      stated.set(value[0], [value[1] as number]);
    }
  };
  if (kind?.['type'] === 'Sequence' && Array.isArray(kind['processors'])) {
    for (const step of kind['processors'] as Kind[]) for (const [name, ids] of statedIds(step)) stated.set(name, ids);
  }
  pair(kind?.['cls']);
  pair(kind?.['sep']);
  const template = kind?.['special_tokens'];
  if (kind?.['type'] === 'TemplateProcessing' && typeof template === 'object' && template !== null) {
    for (const [name, token] of Object.entries(template as Record<string, Kind | null>)) {
      const ids = token?.['ids'];
      if (numbers(ids)) stated.set(name, ids);
    }
  }
  return stated;
}
