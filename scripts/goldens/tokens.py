"""Writes tests/fixtures/text/: token ids by Python's `tokenizers` for natural, tricky, fuzzed and exhaustive text.

    python scripts/goldens/tokens.py [MiniLM directory]
"""

import gzip
import hashlib
import json
import os
import pathlib
import sys

import tokenizers

from fuzz import SEED, corpus
from natural import NATURAL, TRICKY
from others import build, parts

CACHE = os.environ.get("MGT_CACHE") or os.path.expanduser("~/.cache/mincut-gated-transformer")
MODEL = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else f"{CACHE}/all-MiniLM-L6-v2")
OUT = pathlib.Path(__file__).resolve().parents[2] / "tests/fixtures/text"
OUT.mkdir(parents=True, exist_ok=True)

SOURCE = (MODEL / "tokenizer.json").read_bytes()
tokenizer = tokenizers.Tokenizer.from_str(SOURCE.decode())
tokenizer.no_truncation()
tokenizer.no_padding()


def ids(text):
    return tokenizer.encode(text).ids


def lines(head, **lists):
    """JSON with one list entry a line: small diffs, short files."""
    text = json.dumps(head, indent=2)[:-2]
    for name, entries in lists.items():
        body = ",\n".join(f"    {json.dumps(entry, ensure_ascii=False, separators=(',', ':'))}" for entry in entries)
        text += f',\n  "{name}": [\n{body}\n  ]'
    return text + "\n}\n"


def packed(value):
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":")).encode()
    return gzip.compress(text, 9, mtime=0)


def fnv1a(numbers):
    """FNV-1a, 32 bits, over each number's four little-endian bytes."""
    h = 0x811C9DC5
    for n in numbers:
        for byte in n.to_bytes(4, "little"):
            h = (h ^ byte) * 0x01000193 & 0xFFFFFFFF
    return h


def block(first):
    """Every code point of one block of 256 between letters and alone."""
    points = (chr(c) for c in range(first, first + 256) if not 0xD800 <= c < 0xE000)
    return " ".join(f"a{c}b {c} " for c in points)


def cut(text, limit):
    tokenizer.enable_truncation(limit)
    found = ids(text)
    tokenizer.no_truncation()
    return found


head = {
    "tokenizers": tokenizers.__version__,
    "tokenizerSha256": hashlib.sha256(SOURCE).hexdigest(),
    "specials": [tokenizer.token_to_id(t) for t in ("[CLS]", "[SEP]")],
}
natural = [[name, text, ids(text), tokenizer.decode(ids(text))] for name, text in NATURAL]
tricky = [[text, ids(text), tokenizer.decode(ids(text))] for text in TRICKY]
cuts = [[text, n, cut(text, n)] for text in (NATURAL[0][1], NATURAL[46][1], "x " * 40) for n in (2, 3, 8, 16, 17)]
fuzz = corpus()
joined = ids(" ".join([text for _, text in NATURAL] + TRICKY + fuzz))  # some 60,000 characters in one text
head["joined"] = {"tokens": len(joined), "fnv1a": fnv1a(joined)}
(OUT / "tokens.json").write_text(lines(head, natural=natural, tricky=tricky, cuts=cuts))
(OUT / "fuzz.json.gz").write_bytes(
    packed({"seed": SEED, "tokenizers": tokenizers.__version__, "texts": fuzz, "ids": [ids(t) for t in fuzz]})
)

blocks = [b for b in range(0, 0x33400, 256) if not 0xD800 <= b < 0xE000] + [0xE0000, 0xE0100, 0xF0000, 0x10FF00]
(OUT / "codepoints.json").write_text(
    lines({"tokenizers": tokenizers.__version__}, blocks=[[hex(b)[2:], fnv1a(ids(block(b)))] for b in blocks])
)

texts = [text for _, text in NATURAL] + TRICKY + fuzz[:200]
others = {}
for name, small in build([text for _, text in NATURAL]).items():
    encoded = [small.encode(text).ids for text in texts]
    decoded = [small.decode(e) for e in encoded]
    others[name] = {"json": json.loads(small.to_str()), "ids": encoded, "decoded": decoded}
normalizers, splitters = parts(TRICKY + fuzz[:60])
every = {"texts": texts, "tokenizers": others, "normalizers": normalizers, "splitters": splitters}
(OUT / "others.json.gz").write_bytes(packed({**every, "partTexts": TRICKY + fuzz[:60]}))

copy = OUT.parent / "minilm" / "tokenizer.json.gz"  # verbatim, so that the tests of text need no download
copy.parent.mkdir(exist_ok=True)
copy.write_bytes(gzip.compress(SOURCE, 9, mtime=0))

for path in sorted(OUT.iterdir()):
    print(f"{path.name}: {path.stat().st_size} bytes")
