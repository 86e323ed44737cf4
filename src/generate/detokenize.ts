import type { TokenBytes } from './bytes.js';

export interface DetokenizeOptions {
  /** Show special tokens as text (default: they are left out). */
  readonly special?: boolean | undefined;
  /** The first token begins a text, so the decoder's leading spaces go (default: it continues one). */
  readonly atStart?: boolean | undefined;
}

/** Bytes of the character that begins with this one. */
const length = (lead: number): number => (lead < 0xc0 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4);

/**
 * Tokens to text as they come, whole characters only: the pieces joined are what decoding all the bytes at once gives,
 * with U+FFFD for what is no UTF-8 and a byte order mark kept.
 */
export class Detokenizer {
  readonly #tokens: TokenBytes;
  readonly #special: boolean;
  readonly #decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  #spaces: number;
  /** The last bytes, 3 at most: what can be of a character that is not whole. */
  #tail: number[] = [];

  constructor(tokens: TokenBytes, { special = false, atStart = false }: DetokenizeOptions = {}) {
    this.#tokens = tokens;
    this.#special = special;
    this.#spaces = atStart ? tokens.leadingSpaces : 0;
  }

  /** Text that this token completes; empty where it ends inside a character. */
  push(id: number): string {
    if (!this.#special && this.#tokens.isSpecial(id)) return '';
    let bytes = this.#tokens.of(id);
    while (this.#spaces > 0 && bytes.length > 0) {
      const isSpace = bytes[0] === 0x20;
      this.#spaces = isSpace ? this.#spaces - 1 : 0;
      if (isSpace) bytes = bytes.subarray(1);
    }
    this.#tail = [...this.#tail, ...bytes.subarray(-3)].slice(-3);
    return this.#decoder.decode(bytes, { stream: true });
  }

  /** A character may be incomplete; where not, `flush` gives nothing. */
  get holds(): boolean {
    let n = 1;
    while (n < this.#tail.length && this.#tail.at(-n)! < 0xc0) n++;
    return n < length(this.#tail.at(-n) ?? 0);
  }

  /** The end: U+FFFD where a character was left incomplete. */
  flush(): string {
    return this.#decoder.decode();
  }
}
