import type { ByteSource } from '../arena/source.js';

export type BuildName = 'plain' | 'relaxed';

/** Text to ids and back; injected, so that `/core` carries no tokenizer. */
export interface Tokenizer {
  /** Ids with special tokens, cut to `limit` with the closing specials kept. */
  encode(text: string, limit: number): { tokens: number[]; truncated: boolean };
  decode(ids: ArrayLike<number>): string;
}

/** What differs between Node and browsers, and between `.` and `/core`. */
export interface Platform {
  /** Opens a path (Node) or relative URL (browsers). */
  open(path: string, signal?: AbortSignal): Promise<ByteSource>;
  /** The bytes of a committed build. */
  wasm(build: BuildName): Promise<BufferSource>;
  /** Makes the tokenizer of a model file; absent in `/core`. */
  readonly tokenizer?: (json: string, config: string) => Tokenizer;
}
