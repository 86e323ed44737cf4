"""Small tokenizers of other kinds than MiniLM's, over the natural texts: what a BERT directory may hold.

Vocabularies are counted here, not trained by the library, whose trainers break ties at random.
"""

import itertools
import json
import math
from collections import Counter

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

BERT = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def words(normalizer, pre_tokenizer, texts):
    counts = Counter()
    for text in texts:
        clean = normalizer.normalize_str(text) if normalizer else text
        counts.update(word for word, _ in pre_tokenizer.pre_tokenize_str(clean))
    return counts


def best(counts, size):
    """The `size` entries that cover most characters; ties in the order of code points."""
    return sorted(counts, key=lambda piece: (-counts[piece] * len(piece), piece))[:size]


def wordpiece(normalizer, pre_tokenizer, texts, size=900):
    counts, letters, pieces = words(normalizer, pre_tokenizer, texts), set(), Counter()
    for word, n in counts.items():
        letters |= {word[0]} | {"##" + c for c in word[1:]}
        for start in range(len(word)):
            for end in range(start + 2, min(len(word), start + 7) + 1):
                pieces[("##" if start else "") + word[start:end]] += n
    tokens = BERT + sorted(letters) + best(pieces, size)
    vocab = {token: i for i, token in enumerate(dict.fromkeys(tokens))}
    t = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]", max_input_chars_per_word=100))
    if normalizer:
        t.normalizer = normalizer
    t.pre_tokenizer, t.decoder = pre_tokenizer, decoders.WordPiece()
    t.add_special_tokens(BERT)
    return t


def bpe(pre_tokenizer, texts, specials, alphabet, count):
    corpus = {tuple(word): n for word, n in words(None, pre_tokenizer, texts).items()}
    vocab, merges = specials + sorted(alphabet), []
    while len(merges) < count:
        pairs = Counter()
        for word, n in corpus.items():
            for pair in zip(word, word[1:]):
                pairs[pair] += n
        a, b = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append((a, b))
        vocab.append(a + b)
        merged = {}
        for word, n in corpus.items():
            out, i = [], 0
            while i < len(word):
                pair = word[i : i + 2] == (a, b)
                out.append(a + b if pair else word[i])
                i += 2 if pair else 1
            merged[tuple(out)] = merged.get(tuple(out), 0) + n
        corpus = merged
    t = Tokenizer(models.BPE({token: i for i, token in enumerate(dict.fromkeys(vocab))}, merges))
    t.pre_tokenizer = pre_tokenizer
    t.add_special_tokens(specials)
    return t


def unigram(normalizer, pre_tokenizer, texts, specials, size=900):
    pieces = Counter()
    for word, n in words(normalizer, pre_tokenizer, texts).items():
        for start in range(len(word)):
            for end in range(start + 1, min(len(word), start + 6) + 1):
                pieces[word[start:end]] += n
    chosen = sorted({p for p in pieces if len(p) == 1 and pieces[p] > 1} | set(best(pieces, size)))
    total = sum(pieces[p] for p in chosen)
    scored = [(p, round(math.log(pieces[p] / total), 6)) for p in chosen]
    t = Tokenizer(models.Unigram([(s, 0.0) for s in specials] + scored, unk_id=specials.index("<unk>")))
    t.normalizer, t.pre_tokenizer = normalizer, pre_tokenizer
    t.add_special_tokens(specials)
    return t


def template(t, single, *names):
    specials = [(name, t.token_to_id(name)) for name in names]
    t.post_processor = processors.TemplateProcessing(single=single, special_tokens=specials)
    return t


def build(texts):
    out = {}
    bert = pre_tokenizers.BertPreTokenizer()

    t = wordpiece(normalizers.BertNormalizer(lowercase=False), bert, texts)
    t.post_processor = processors.BertProcessing(("[SEP]", t.token_to_id("[SEP]")), ("[CLS]", t.token_to_id("[CLS]")))
    out["cased WordPiece, BertProcessing"] = t

    t = wordpiece(normalizers.BertNormalizer(strip_accents=False), bert, texts)
    t.add_tokens([AddedToken("coFFee", normalized=True), AddedToken("bread", normalized=False)])
    out["accents kept, two closing tokens"] = template(t, "[CLS] $A [SEP] [MASK]", "[CLS]", "[SEP]", "[MASK]")

    out["no normalizer, Whitespace, no post-processor"] = wordpiece(None, pre_tokenizers.Whitespace(), texts)

    digits = pre_tokenizers.Digits(individual_digits=True)
    steps = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation(), digits])
    t = wordpiece(normalizers.Sequence([normalizers.Strip(), normalizers.Lowercase()]), steps, texts)
    out["sequences of steps, closing token only"] = template(t, "$A [SEP]", "[SEP]")

    normalizer = normalizers.Sequence([normalizers.NFD(), normalizers.Lowercase(), normalizers.StripAccents()])
    splitter = pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), pre_tokenizers.Digits()])
    counts = words(normalizer, splitter, texts)
    tokens = dict.fromkeys(BERT + sorted(counts, key=lambda word: (-counts[word], word)))
    t = Tokenizer(models.WordLevel({token: i for i, token in enumerate(tokens)}, unk_token="[UNK]"))
    t.normalizer, t.pre_tokenizer = normalizer, splitter
    t.add_special_tokens(BERT)
    out["WordLevel, opening token only"] = template(t, "[CLS] $A", "[CLS]")

    splitter = pre_tokenizers.ByteLevel(add_prefix_space=False)
    t = bpe(splitter, texts, ["<s>", "</s>", "<unk>", "<mask>"], pre_tokenizers.ByteLevel.alphabet(), 440)
    t.decoder = decoders.ByteLevel()
    t.post_processor = processors.RobertaProcessing(("</s>", t.token_to_id("</s>")), ("<s>", t.token_to_id("<s>")))
    out["byte-level BPE, RobertaProcessing"] = t

    t = unigram(normalizers.NFKC(), pre_tokenizers.Metaspace(), texts, ["<s>", "</s>", "<unk>"])
    t.decoder = decoders.Metaspace()
    out["Unigram, Metaspace"] = template(t, "<s> $A </s>", "<s>", "</s>")
    return out


def parts(texts):
    """Each normalizer and pre-tokenizer by itself: its JSON, and what it makes of the texts."""
    flags = ("clean_text", "handle_chinese_chars", "strip_accents", "lowercase")
    norms = [normalizers.BertNormalizer(**dict(zip(flags, on))) for on in itertools.product((False, True), repeat=4)]
    norms += [normalizers.BertNormalizer(lowercase=on) for on in (False, True)]
    norms += [normalizers.Strip(), normalizers.Strip(left=False), normalizers.Strip(right=False)]
    norms += [normalizers.Lowercase(), normalizers.NFD(), normalizers.StripAccents(), normalizers.Replace("e", "$&")]
    metaspace, behaviors = pre_tokenizers.Metaspace, ("isolated", "removed", "contiguous")
    splits = [metaspace(prepend_scheme=scheme) for scheme in ("first", "always", "never")] + [metaspace(split=False)]
    splits += [pre_tokenizers.ByteLevel(False), pre_tokenizers.ByteLevel(True), pre_tokenizers.ByteLevel(False, use_regex=False)]
    splits += [pre_tokenizers.Punctuation(behavior) for behavior in behaviors]
    splits += [pre_tokenizers.Digits(on) for on in (False, True)]
    splits += [pre_tokenizers.Whitespace(), pre_tokenizers.WhitespaceSplit(), pre_tokenizers.BertPreTokenizer()]
    splits += [pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), metaspace(prepend_scheme="first")])]
    out = [[json.loads(n.__getstate__()), [n.normalize_str(text) for text in texts]] for n in norms]
    return out, [[json.loads(s.__getstate__()), [[w for w, _ in s.pre_tokenize_str(t)] for t in texts]] for s in splits]
