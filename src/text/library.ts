import * as package_ from '@huggingface/tokenizers';

/**
 * The parts of @huggingface/tokenizers 0.2.0 that are used here, typed by hand: the package's own declarations import
 * each other without file extensions, which TypeScript does not resolve under NodeNext.
 */

/** One object of tokenizer.json; its `type` names the kind. */
export type Kind = Readonly<Record<string, unknown>>;

/** Text to normalised text. */
export type Normalize = (text: string) => string;

/** Where a piece stands: `section_index` counts the stretches of text between added tokens, from 0. */
export interface Section {
  readonly section_index?: number | undefined;
}

/** Normalised text to words, each of which the model then cuts into tokens. */
export type Split = (text: string, section?: Section) => string[];

export interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly special?: boolean;
  readonly single_word?: boolean;
  /** Found in normalised text, in its normalised form, which is also what it decodes to. */
  readonly normalized?: boolean;
}

export interface TokenizerJson {
  readonly normalizer: Kind | null;
  readonly pre_tokenizer: Kind | null;
  readonly model: Kind;
  readonly post_processor: Kind | null;
  readonly decoder: Kind | null;
  readonly added_tokens: readonly AddedToken[];
}

interface MergeNode {
  readonly token: string;
  readonly next: MergeNode;
  /** Of earlier places among equal ranks. */
  readonly bias: number;
  score: number;
}

export interface LibraryTokenizer {
  normalizer: Normalize | null;
  pre_tokenizer: Split | null;
  readonly post_processor: ((tokens: string[], pair: null, addSpecials: boolean) => { tokens: string[] }) | null;
  readonly model: {
    tokens_to_ids: Map<string, number>;
    /** Token of each id; holes where an id is not used. */
    vocab: (string | undefined)[];
    unk_token_id?: number | undefined;
    unk_token?: string | undefined;
    /** Words to tokens. */
    encode: (words: readonly string[]) => string[];
    /** In BPE models: a pair of neighbours joins the queue by its merge's rank. */
    add_node?: (queue: { push(node: MergeNode): void }, node: MergeNode) => void;
    /** One word to tokens; in Unigram models. */
    readonly tokenize?: (word: string) => string[];
  };
  encode(text: string, options: { add_special_tokens: boolean }): { ids: (number | undefined)[]; tokens: string[] };
  decode(ids: number[], options: { skip_special_tokens: boolean; clean_up_tokenization_spaces: boolean }): string;
  token_to_id(token: string): number | undefined;
  id_to_token(id: number): string | undefined;
}

const { Tokenizer, SequenceNormalizer, SequencePreTokenizer } = package_ as unknown as {
  readonly Tokenizer: new (json: TokenizerJson, config: object) => LibraryTokenizer;
  readonly SequenceNormalizer: new (config: { normalizers: readonly Kind[] }) => Normalize;
  readonly SequencePreTokenizer: new (config: { pretokenizers: readonly Kind[] }) => Split;
};

/** The library's tokenizer. Its second argument holds settings of slow tokenizers, none of which changes ids here. */
export const libraryTokenizer = (json: TokenizerJson): LibraryTokenizer => new Tokenizer(json, {});

/** The library's normaliser of one kind (a sequence of one: the only way in that takes any kind). */
export const libraryNormalizer = (kind: Kind): Normalize => new SequenceNormalizer({ normalizers: [kind] });

/** The library's pre-tokenizer of one kind. */
export const libraryPreTokenizer = (kind: Kind): Split => new SequencePreTokenizer({ pretokenizers: [kind] });
