"""Small tokenizers of other kinds than MiniLM's, trained on the natural texts: what a BERT directory may hold."""

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

BERT = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def wordpiece(normalizer, pre_tokenizer, texts, **trainer):
    t = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    t.normalizer, t.pre_tokenizer, t.decoder = normalizer, pre_tokenizer, decoders.WordPiece()
    t.train_from_iterator(texts, trainers.WordPieceTrainer(special_tokens=BERT, show_progress=False, **trainer))
    return t


def template(t, single, *names):
    specials = [(name, t.token_to_id(name)) for name in names]
    t.post_processor = processors.TemplateProcessing(single=single, special_tokens=specials)
    return t


def build(texts):
    out = {}

    t = wordpiece(normalizers.BertNormalizer(lowercase=False), pre_tokenizers.BertPreTokenizer(), texts, vocab_size=900)
    t.post_processor = processors.BertProcessing(("[SEP]", t.token_to_id("[SEP]")), ("[CLS]", t.token_to_id("[CLS]")))
    out["cased WordPiece, BertProcessing"] = t

    t = wordpiece(normalizers.BertNormalizer(strip_accents=False), pre_tokenizers.BertPreTokenizer(), texts, vocab_size=900)
    t.add_tokens([AddedToken("coFFee", normalized=True), AddedToken("bread", normalized=False)])
    out["accents kept, two closing tokens"] = template(t, "[CLS] $A [SEP] [MASK]", "[CLS]", "[SEP]", "[MASK]")

    t = wordpiece(None, pre_tokenizers.Whitespace(), texts, vocab_size=900)
    out["no normalizer, Whitespace, no post-processor"] = t

    steps = [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation(), pre_tokenizers.Digits(individual_digits=True)]
    t = wordpiece(normalizers.Sequence([normalizers.Strip(), normalizers.Lowercase()]), pre_tokenizers.Sequence(steps), texts, vocab_size=900)
    out["sequences of steps, closing token only"] = template(t, "$A [SEP]", "[SEP]")

    t = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    t.normalizer = normalizers.Sequence([normalizers.NFD(), normalizers.Lowercase(), normalizers.StripAccents()])
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), pre_tokenizers.Digits()])
    t.train_from_iterator(texts, trainers.WordLevelTrainer(special_tokens=BERT, show_progress=False))
    out["WordLevel, opening token only"] = template(t, "[CLS] $A", "[CLS]")

    t = Tokenizer(models.BPE())
    t.pre_tokenizer, t.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    names = ["<s>", "</s>", "<unk>", "<mask>"]
    trainer = trainers.BpeTrainer(vocab_size=700, special_tokens=names, initial_alphabet=alphabet, show_progress=False)
    t.train_from_iterator(texts, trainer)
    t.post_processor = processors.RobertaProcessing(("</s>", t.token_to_id("</s>")), ("<s>", t.token_to_id("<s>")))
    out["byte-level BPE, RobertaProcessing"] = t

    t = Tokenizer(models.Unigram())
    t.normalizer = normalizers.NFKC()
    t.pre_tokenizer, t.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    names = ["<s>", "</s>", "<unk>"]
    trainer = trainers.UnigramTrainer(vocab_size=900, special_tokens=names, unk_token="<unk>", show_progress=False)
    t.train_from_iterator(texts, trainer)
    out["Unigram, Metaspace"] = template(t, "<s> $A </s>", "<s>", "</s>")
    return out
