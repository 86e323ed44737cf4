import { MgtError } from '../../errors.js';
import { TokenBytes } from '../../generate/bytes.js';
import { Detokenizer } from '../../generate/detokenize.js';
import type { TokenParts } from '../../generate/bytes.js';
import { oneLine, print } from '../output.js';
import type { Run } from '../specs.js';
import { encodeAll, openTokenizer } from '../text.js';

/** `mgt tokenize`: a text as tokens. */
export const run: Run = async ({ operands, flags }, { json, signal }) => {
  const [path, text] = [operands[0]!, operands[1]!];
  const tokenizer = await openTokenizer(path, signal);
  const tokens = encodeAll(tokenizer, text, !flags.has('no-special'));
  const pieces = piecesOf(tokenizer.parts, tokens);
  if (json) return print(`${JSON.stringify({ tokens, pieces })}\n`);
  const width = String(Math.max(0, ...tokens.slice(0, 1000))).length;
  for (const [i, id] of tokens.entries()) {
    await print(`${oneLine(`${String(id).padStart(width)}  ${JSON.stringify(pieces[i])}`)}\n`);
  }
};

/** The text that each token completes; tokens as the vocabulary writes them where it does not say which bytes they are. */
function piecesOf(parts: TokenParts, ids: readonly number[]): string[] {
  let bytes: TokenBytes;
  try {
    bytes = new TokenBytes(parts);
  } catch (error) {
    if (!(error instanceof MgtError)) throw error;
    return ids.map((id) => parts.tokens[id] ?? '');
  }
  const detokenizer = new Detokenizer(bytes, { special: true, atStart: true });
  return ids.map((id, i) => detokenizer.push(id) + (i === ids.length - 1 ? detokenizer.flush() : ''));
}
