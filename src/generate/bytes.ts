import { MgtError } from '../errors.js';
import type { AddedToken, Kind } from '../text/library.js';

/** The parts of a tokenizer that say what its tokens stand for. */
export interface TokenParts {
  /** Token of each id as the vocabulary writes it; holes where an id is not used. */
  readonly tokens: readonly (string | undefined)[];
  /** Tokens found in text as they stand; they stand for their content. */
  readonly added: readonly AddedToken[];
  /** `decoder` of tokenizer.json. */
  readonly decoder: Kind | null;
}

const utf8 = new TextEncoder();

/** GPT-2's alphabet (bytes_to_unicode): printable bytes stand for themselves, the others for U+0100 onwards. */
function byteAlphabet(): Map<string, number> {
  const bytes = new Map<string, number>();
  let next = 256;
  for (let byte = 0; byte < 256; byte++) {
    const printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    bytes.set(String.fromCharCode(printable ? byte : next++), byte);
  }
  return bytes;
}

/**
 * The exact bytes of each token: byte-level BPE, and SentencePiece's pieces with their byte tokens. Together they are the
 * text's UTF-8; alone they may be parts of a character.
 */
export class TokenBytes {
  /** Spaces that decoding leaves out at the start of a text. */
  readonly leadingSpaces: number;
  readonly #tokens: readonly (string | undefined)[];
  readonly #added: ReadonlyMap<number, AddedToken>;
  readonly #alphabet: ReadonlyMap<string, number> | undefined;
  readonly #byteTokens: boolean;
  readonly #replaced: readonly (readonly [from: string, to: string])[];

  /** @throws MgtError `UnsupportedMode`: a decoder that is not one of bytes or SentencePiece, by name */
  constructor({ tokens, added, decoder }: TokenParts) {
    this.#tokens = tokens;
    this.#added = new Map(added.map((token) => [token.id, token]));
    const steps = decoder?.['type'] === 'Sequence' ? (decoder['decoders'] as Kind[]) : [decoder];
    const replaced: [string, string][] = [];
    const kinds = new Set<unknown>();
    let leading = 0;
    for (const step of steps) {
      const { type, pattern, content, replacement = '▁', start, stop, prepend_scheme, add_prefix_space } = step ?? {};
      const from = (pattern as Kind | undefined)?.['String'];
      if (type === 'Replace' && typeof from === 'string' && from !== '') replaced.push([from, String(content)]);
      else if (type === 'Metaspace') {
        replaced.push([String(replacement), ' ']);
        leading = prepend_scheme === 'never' || add_prefix_space === false ? 0 : 1;
      } else if (type === 'Strip' && content === ' ' && stop === 0 && kinds.has('Fuse')) leading = Number(start);
      else if (type !== 'ByteLevel' && type !== 'ByteFallback' && type !== 'Fuse') {
        throw new MgtError('UnsupportedMode', 'tokenizer.decoder', 'one of bytes or SentencePiece pieces', step);
      }
      kinds.add(type);
    }
    this.leadingSpaces = leading;
    this.#replaced = replaced;
    this.#byteTokens = kinds.has('ByteFallback');
    this.#alphabet = kinds.has('ByteLevel') ? byteAlphabet() : undefined;
  }

  /** True for a token that is a mark for the model and no text. */
  isSpecial(id: number): boolean {
    return this.#added.get(id)?.special === true;
  }

  /** Bytes of a token; none for an id that has no token (a padded vocabulary's). */
  of(id: number): Uint8Array {
    const added = this.#added.get(id);
    if (added) return utf8.encode(added.content);
    const token = this.#tokens[id] ?? '';
    const alphabet = this.#alphabet;
    if (alphabet) {
      const bytes = Array.from(token, (character) => alphabet.get(character));
      if (bytes.every((byte) => byte !== undefined)) return Uint8Array.from(bytes);
    }
    const byte = this.#byteTokens ? /^<0x([0-9A-Fa-f]{2})>$/.exec(token)?.[1] : undefined;
    if (byte !== undefined) return Uint8Array.of(Number.parseInt(byte, 16));
    return utf8.encode(this.#replaced.reduce((text, [from, to]) => text.replaceAll(from, to), token));
  }
}
