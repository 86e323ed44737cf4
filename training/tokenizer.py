"""Trains the byte-level BPE on train.txt.gz and writes it as a Hugging Face directory has it.

usage: tokenizer.py [--size 1024] [--out models/stories] [--corpus training/corpus]
       tokenizer.py --fertility        bytes per token of dev at several sizes; writes nothing
       tokenizer.py --engine FILE.mgt  compares the ids of FILE.mgt (mgt tokenize) with those of the directory, on
                                       documents of dev and test and on odd Unicode

Words are GPT-2's (ByteLevel with its pattern, no space put in front), `<|endoftext|>` is token 0: before a document and
after it. All 256 bytes are tokens, so that every text has ids. The same corpus and size give the same bytes.
"""

import argparse
import json
import os
import subprocess
from pathlib import Path

os.environ["TOKENIZERS_PARALLELISM"] = "false"

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers  # noqa: E402

from data import END, read_documents  # noqa: E402

HERE = Path(__file__).parent
SIZES = (512, 768, 1024, 1536, 2048)
CONTEXT = 512  # of the model: a document and END before it must fit
ODD = [
    "",
    " ",
    "  two  spaces ",
    "tab\tnew\nline\r\n\n\nlines",
    "I'll don't WE'RE 'tis o'clock's",
    "café naïve cafe\u0301 \ufb01n Ⅷ ²",
    "日本語のテキスト 한국어 العربية עברית ไทย",
    "🌊 👩‍👩‍👧‍👦 🇫🇷 👍🏽 \u200b\u200d\ufeff",
    "\u00a0\u2003\u3000nbsp\u2028line\u2029par\u0085nel",
    "\x01\x1f\x7f\x80",
    "𝔘𝔫𝔦 𐍈 \U000e0041 \ufffd \uffff",
    "12345 ½ ٣٤ 3.14,15 %$#@!?…—“quotes”",
    f"{END}One day{END} {END}",
    "<|endoftext| > <|ENDOFTEXT|>",
]


def train(documents: list[str], size: int) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[AddedToken(END, special=True, normalized=False)],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(documents, trainer)
    end = tokenizer.token_to_id(END)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{END} $A", pair=f"{END} $A {END} $B:1", special_tokens=[(END, end)]
    )
    if end != 0 or tokenizer.get_vocab_size() != size:
        raise SystemExit(f"tokenizer: {tokenizer.get_vocab_size()} tokens could be had of {size}; {END} is {end}")
    return tokenizer


def ids(tokenizer: Tokenizer, documents: list[str]) -> list[list[int]]:
    return [e.ids for e in tokenizer.encode_batch(documents, add_special_tokens=False)]


def fertility(tokenizer: Tokenizer, documents: list[str]) -> str:
    rows = ids(tokenizer, documents)
    size, tokens = sum(len(text.encode()) for text in documents), sum(map(len, rows))
    used = len({i for row in rows for i in row})
    longest = max(map(len, rows))
    return f"{size / tokens:.3f} bytes/token; {tokens} tokens, {used} kinds of them; longest document {longest} tokens"


def same_as_engine(tokenizer: Tokenizer, model: Path, documents: list[str]) -> None:
    program = HERE.parent / "dist" / "cli" / "main.js"
    for text in documents:
        run = ["node", str(program), "tokenize", str(model), text, "--json"]
        said = subprocess.run(run, check=True, capture_output=True, text=True, encoding="utf-8").stdout
        theirs, ours = json.loads(said)["tokens"], tokenizer.encode(text).ids
        if theirs != ours:
            raise SystemExit(f"tokenizer: {text!r}\nPython {ours}\nengine {theirs}")
    size = sum(len(text.encode()) for text in documents)
    print(f"{len(documents)} texts, {size} bytes: the engine's ids are the same")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--out", type=Path, default=HERE.parent / "models" / "stories")
    parser.add_argument("--corpus", type=Path, default=HERE / "corpus")
    parser.add_argument("--fertility", action="store_true")
    parser.add_argument("--engine", type=Path, metavar="FILE.mgt")
    options = parser.parse_args()
    parts = {part: read_documents(options.corpus / f"{part}.txt.gz") for part in ("train", "dev", "test")}
    if options.engine:
        tokenizer = Tokenizer.from_file(str(options.out / "tokenizer.json"))
        texts = [*parts["dev"][:20], *parts["test"][:20], "\n\n".join(parts["dev"][:100]), *ODD]
        same_as_engine(tokenizer, options.engine, texts)
        return
    if options.fertility:
        for size in SIZES:
            print(f"{size}: {fertility(train(parts['train'], size), parts['dev'])}")
        return
    tokenizer = train(parts["train"], options.size)
    options.out.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(options.out / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": END,
        "eos_token": END,
        "add_prefix_space": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": CONTEXT,
    }
    (options.out / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")
    for part, documents in parts.items():
        if any(tokenizer.decode(row) != text for row, text in zip(ids(tokenizer, documents), documents)):
            raise SystemExit(f"tokenizer: a document of {part} is not its tokens' text")
        print(f"{part}: {fertility(tokenizer, documents)}")
        long = sum(len(row) >= CONTEXT for row in ids(tokenizer, documents))
        if long:
            print(f"{part}: {long} documents do not fit into a context of {CONTEXT}")


if __name__ == "__main__":
    main()
