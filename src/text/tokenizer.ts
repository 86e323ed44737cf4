import { checkInteger } from '../check.js';
import { MgtError } from '../errors.js';
import type { TokenParts } from '../generate/bytes.js';
import type { ChatTemplate } from '../platform/platform.js';
import { parseObject, parseTokenizer } from './kinds.js';
import type { LibraryTokenizer } from './library.js';
import { openTokenizer, readable } from './open.js';
import { cutPoints, slices } from './slices.js';
import { specialIds } from './specials.js';

/** Token ids of a text. */
export interface Encoded {
  /** Ids, special tokens included, `limit` at most. */
  readonly tokens: number[];
  /** True where the text had more tokens than fit. */
  readonly truncated: boolean;
}

/**
 * A Hugging Face tokenizer (tokenizer.json) that gives the ids of Python's `tokenizers`: @huggingface/tokenizers with
 * the repairs of repair.ts. Not taken from the file: its `truncation` and `padding`; the model's own length is `limit`.
 * What is repaired, what is refused and what still differs: docs/tokenizer.md.
 */
export class TextTokenizer {
  /** Largest id the tokenizer can give; a model's vocabulary must be longer. */
  readonly largestId: number;
  readonly #library: LibraryTokenizer;
  readonly #opening: readonly number[];
  readonly #closing: readonly number[];
  readonly #cutPoint: RegExp | undefined;
  readonly #decoder: TokenParts['decoder'];
  readonly #added: TokenParts['added'];
  readonly #config: Readonly<Record<string, unknown>>;

  /**
   * @param json text of tokenizer.json
   * @param config text of tokenizer_config.json, or empty. Must be JSON but changes nothing: what it repeats of
   * tokenizer.json (lower case, special tokens) is read there, as the original does.
   * @throws MgtError `BadFile` (not a tokenizer), `UnsupportedMode` (a kind that would give other ids, by name)
   */
  constructor(json: string, config: string) {
    const { file, ...parts } = parseTokenizer(json);
    this.#decoder = file.decoder;
    this.#added = file.added_tokens;
    this.#config = config.trim() === '' ? {} : parseObject('tokenizer_config.json', config);
    this.#cutPoint = cutPoints(file);
    this.#library = readable(() => openTokenizer(file, parts, this.#cutPoint !== undefined));
    const { opening, closing } = readable(() => specialIds(this.#library, file));
    this.#opening = opening;
    this.#closing = closing;
    this.largestId = this.#library.model.vocab.length - 1;
  }

  /**
   * Ids of a text. Lone surrogates count as U+FFFD, which is what UTF-8 makes of them.
   * @param text any string, empty and blank ones included
   * @param limit most ids wanted, special tokens included; a longer text loses its last content, never the closing
   * special tokens
   * @param special false: without the post-processor's special tokens; those written in the text count all the same
   * @throws MgtError `BadInput`: not a string, or a limit below the number of special tokens; `UnsupportedMode`: unknown
   * text in a tokenizer without an unknown token
   */
  encode(text: string, limit: number, special = true): Encoded {
    if (typeof text !== 'string') throw new MgtError('BadInput', 'text', 'a string', text);
    const [opening, closing] = special ? [this.#opening, this.#closing] : [[], []];
    const specials = opening.length + closing.length;
    const room = checkInteger('limit', limit, specials, Number.MAX_SAFE_INTEGER) - specials;
    const content: number[] = [];
    for (const slice of slices(text, this.#cutPoint)) {
      for (const id of this.#content(slice)) content.push(id);
      if (content.length > room) break;
    }
    const truncated = content.length > room;
    if (truncated) content.length = room;
    return { tokens: [...opening, ...content, ...closing], truncated };
  }

  /**
   * Text of ids as the tokenizer's own decoder joins them. Special tokens are left out, and so are ids that the
   * tokenizer has no token for (a padded vocabulary's).
   * @throws MgtError `BadInput`: an id that is negative or not an integer
   */
  decode(ids: ArrayLike<number>): string {
    const known: number[] = [];
    for (let i = 0; i < ids.length; i++) {
      const id = checkInteger(`tokens[${i}]`, ids[i], 0, Number.MAX_SAFE_INTEGER);
      if (this.#library.id_to_token(id) !== undefined) known.push(id);
    }
    if (known.length === 0) return '';
    return this.#library.decode(known, { skip_special_tokens: true, clean_up_tokenization_spaces: false });
  }

  /** Ids that `encode` puts before and after a text. */
  get specials(): { readonly opening: readonly number[]; readonly closing: readonly number[] } {
    return { opening: this.#opening, closing: this.#closing };
  }

  /** What says which bytes each token stands for. */
  get parts(): TokenParts {
    return { tokens: this.#library.model.vocab, added: this.#added, decoder: this.#decoder };
  }

  /** What tokenizer_config.json says of conversations. */
  get chat(): ChatTemplate {
    const { chat_template: template, bos_token: bos, eos_token: eos } = this.#config;
    const text = (token: unknown): string | undefined =>
      typeof token === 'string' ? token : (token as { content?: string } | undefined)?.content;
    // Some have several: [{ name, template }].
    const named = Array.isArray(template) ? (template as { name?: unknown; template?: unknown }[]) : [{ template }];
    const chosen = (named.find((one) => one?.name === 'default') ?? named[0])?.template;
    return {
      template: typeof chosen === 'string' ? chosen : undefined,
      bosToken: text(bos),
      eosToken: text(eos),
    };
  }

  /** Ids of one stretch of text, without the post-processor's special tokens. */
  #content(text: string): number[] {
    const wellFormed = text.replace(/\p{Surrogate}/gu, '\ufffd');
    const { ids, tokens } = this.#library.encode(wellFormed, { add_special_tokens: false });
    return ids.map((id, i) => {
      if (id !== undefined) return id;
      throw new MgtError('UnsupportedMode', 'tokenizer.model.unk_token', 'a token for unknown text', tokens[i]);
    });
  }
}
