// A WordPiece tokenizer of letters, small enough to read: what the text path needs to run in a browser.
const letters = [...'abcdefghijklmnopqrstuvwxyz0123456789'];
const words = [
  '[PAD]',
  '[UNK]',
  '[CLS]',
  '[SEP]',
  ...letters,
  ...letters.map((c) => `##${c}`),
  'the',
  'cat',
  '##ing',
  '.',
  ',',
];
const vocab = Object.fromEntries(words.map((word, id) => [word, id]));
const special = (content, id) => ({
  ...{ id, content, single_word: false, lstrip: false, rstrip: false },
  normalized: false,
  special: true,
});
const piece = (id) => ({ SpecialToken: { id, type_id: 0 } });

export const TOKENIZER = {
  json: JSON.stringify({
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: words.slice(0, 4).map(special),
    normalizer: {
      type: 'BertNormalizer',
      clean_text: true,
      handle_chinese_chars: true,
      strip_accents: null,
      lowercase: true,
    },
    pre_tokenizer: { type: 'BertPreTokenizer' },
    post_processor: {
      type: 'TemplateProcessing',
      single: [piece('[CLS]'), { Sequence: { id: 'A', type_id: 0 } }, piece('[SEP]')],
      pair: [],
      special_tokens: {
        '[CLS]': { id: '[CLS]', ids: [vocab['[CLS]']], tokens: ['[CLS]'] },
        '[SEP]': { id: '[SEP]', ids: [vocab['[SEP]']], tokens: ['[SEP]'] },
      },
    },
    decoder: { type: 'WordPiece', prefix: '##', cleanup: true },
    model: {
      type: 'WordPiece',
      unk_token: '[UNK]',
      continuing_subword_prefix: '##',
      max_input_chars_per_word: 100,
      vocab,
    },
  }),
  config: JSON.stringify({
    tokenizer_class: 'BertTokenizer',
    do_lower_case: true,
    unk_token: '[UNK]',
    cls_token: '[CLS]',
  }),
};
