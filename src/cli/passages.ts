import { MgtError } from '../errors.js';
import { TokenBytes } from '../generate/bytes.js';
import type { TextTokenizer } from '../text/tokenizer.js';
import { encodeAll } from './text.js';

/** A text to be scored. */
export interface Passages {
  /** Ids that follow one another, two at least: each but the first is scored, on all before it in its row. */
  readonly rows: readonly (readonly number[])[];
  /** UTF-8 bytes of the text that the scored ids stand for. */
  readonly bytes: number;
  /** Where each document is scored on its own: how many there are. */
  readonly documents?: number;
}

/**
 * Windows of `context` ids that do not overlap.
 * @throws MgtError `BadInput`: a text too short; `UnsupportedMode`: a tokenizer that does not say what its tokens stand for
 */
export function windowsOf(tokenizer: TextTokenizer, text: string, context: number): Passages {
  const ids = encodeAll(tokenizer, text);
  const { opening, closing } = tokenizer.specials;
  const tokens = new TokenBytes(tokenizer.parts);
  const rows: number[][] = [];
  let bytes = Buffer.byteLength(text);
  for (let start = 0; start < ids.length; start += context) {
    const row = ids.slice(start, start + context);
    if (row.length > 1) rows.push(row);
    // The first of a window is not scored; what the tokenizer puts around a text is none of it.
    if (start >= opening.length && start < ids.length - closing.length) {
      const first = tokens.of(row[0]!);
      const lead = start === opening.length ? leading(first, tokens.leadingSpaces) : 0;
      bytes -= first.length - lead;
    }
  }
  if (rows.length === 0)
    throw new MgtError(
      'BadInput',
      '--file',
      'at least two tokens in a window',
      `${ids.length} in windows of ${context}`,
    );
  return { rows, bytes };
}

/** Spaces at the start that the tokenizer has put there. */
function leading(bytes: Uint8Array, most: number): number {
  let n = 0;
  while (n < most && bytes[n] === 0x20) n++;
  return n;
}

/** Lines of white space only are between documents. */
const BLANK_LINES = /(?:\r?\n[ \t]*)+\r?\n/;

/**
 * Each document from a start token to an end token, which is scored too: `bos_token` and `eos_token` of the tokenizer's config. One
 * without a start token begins with the end token (as lm-evaluation-harness has it). A document longer than the context goes on in
 * another row, whose first id is the last of the one before.
 * @throws MgtError `BadInput`: no document; `UnsupportedMode`: a tokenizer without an end token
 */
export function documentsOf(tokenizer: TextTokenizer, text: string, context: number): Passages {
  const { bosToken, eosToken } = tokenizer.chat;
  const end = idOf(tokenizer, eosToken);
  if (end === undefined)
    throw new MgtError('UnsupportedMode', '--documents', 'a tokenizer with an end token', eosToken);
  const start = idOf(tokenizer, bosToken) ?? tokenizer.specials.opening[0] ?? end;
  const documents = text
    .split(BLANK_LINES)
    .map((document) => document.replace(/^[\r\n]+|[\r\n]+$/g, ''))
    .filter((document) => document !== '');
  if (documents.length === 0) throw new MgtError('BadInput', '--file', 'at least one document', 'none');
  const rows = documents.flatMap((document) => {
    const ids = [start, ...encodeAll(tokenizer, document, false), end];
    const count = Math.ceil((ids.length - 1) / context);
    return Array.from({ length: count }, (_, i) => ids.slice(i * context, (i + 1) * context + 1));
  });
  const bytes = documents.reduce((sum, document) => sum + Buffer.byteLength(document), 0);
  return { rows, bytes, documents: documents.length };
}

function idOf({ parts: { tokens, added } }: TextTokenizer, content: string | undefined): number | undefined {
  if (content === undefined) return undefined;
  const id = added.find((token) => token.content === content)?.id ?? tokens.indexOf(content);
  return id < 0 ? undefined : id;
}
