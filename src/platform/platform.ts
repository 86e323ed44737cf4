import type { ByteSource } from '../arena/source.js';
import type { TokenParts } from '../generate/bytes.js';
import type { ChatMessage, ChatOptions } from '../generate/chat.js';

export type BuildName = 'plain' | 'relaxed';

/** Text to ids and back; injected, so that `/core` carries no tokenizer. */
export interface Tokenizer {
  /** Ids, cut to `limit`; with the special tokens of its post-processor, which are kept, unless `specials` is false. */
  encode(text: string, limit: number, specials?: boolean): { tokens: number[]; truncated: boolean };
  decode(ids: ArrayLike<number>): string;
  /** What says which bytes each token stands for. */
  readonly parts: TokenParts;
  /** What its config says of conversations. */
  readonly chat: ChatTemplate;
}

export interface ChatTemplate {
  /** Jinja. */
  readonly template: string | undefined;
  readonly bosToken: string | undefined;
  readonly eosToken: string | undefined;
}

/** What differs between Node and browsers, and between `.` and `/core`. */
export interface Platform {
  /** Opens a path (Node) or relative URL (browsers). */
  open(path: string, signal?: AbortSignal): Promise<ByteSource>;
  /** The bytes of a committed build: all kernels, or those of its own that the relaxed one has. */
  wasm(build: BuildName): Promise<BufferSource>;
  /** Makes the tokenizer of a model file; absent in `/core`. */
  readonly tokenizer?: (json: string, config: string) => Tokenizer;
  /** The prompt of a conversation by a model's template; absent in `/core`. */
  readonly chatPrompt?: (template: string, messages: readonly ChatMessage[], options: ChatOptions) => Promise<string>;
}
