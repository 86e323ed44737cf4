"""Builds the committed corpus from stories: training/corpus/{train,dev,test}.txt.gz and manifest.json.

usage: corpus.py PATH …                PATH: a folder of .jsonl files, or one
       corpus.py --check               recomputes counts, hashes and shared 8-grams from the committed files alone

A line of the .jsonl files is a story, as generate.py writes it; how a file's name begins says what kind (SOURCES). The
manifest names the folders, which generate.py calls after what made them. In the .txt files documents are separated by a
blank line. The parts are split by document. No sentence of dev or test has eight words in a row (lower
case, no punctuation) that a sentence of train, or of the other of the two, has: held-out documents are drawn at random
from the stories that generate.py kept apart (its seed 0; without such, from all) if they have such words, or their
seed, in common with at most `--limit` others, and these others are left out of train.
"""

import argparse
import gzip
import hashlib
import json
import random
import re
import string
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SOURCES = {  # by how their files' names begin
    "plain": {
        "what": "stories that the plots and tables of training/ tell alone (generate.py --plain)",
        "licence": "MIT",
    },
    "wave": {
        "what": "stories from the plots and tables of training/, embellished by SmolLM2-135M-Instruct (generate.py)",
        "licence": "Apache-2.0 (the model), MIT (plots and tables)",
    },
}
FOLDER = Path(__file__).parent / "corpus"
PARTS = ("train", "dev", "test")
GRAM = 8
APART = 1_000_000_000  # below it are the seeds of stories that generate.py made to be held out
SHARE, LEAST, MOST = 0.03, 250, 500  # documents of dev, and of test
WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")
# `"Is it?" asked Tom.` is one sentence.
BOUNDARY = re.compile(r"""(?<=[.!?])["']*\s+(?!["']?[a-z])""")


@dataclass(frozen=True)
class Document:
    source: str
    seed: int
    text: str
    tokens: int  # SmolLM2's; 0 in a story that it took no part in
    written: int  # of these, by SmolLM2


def sentences(text: str) -> list[str]:
    return BOUNDARY.split(text)


def words(text: str) -> list[str]:
    return WORD.findall(text.lower())


def marks(document: Document) -> Iterator[tuple]:
    """What no document of another part may have too: its 8-grams, and its seed, which gave it names, place and plot."""
    yield (document.seed,)
    for sentence in sentences(document.text):
        row = words(sentence)
        yield from zip(*(row[i:] for i in range(GRAM)))


def read(path: Path) -> Iterator[Document]:
    files = sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
    if not files:
        raise SystemExit(f"corpus: no .jsonl in {path}")
    for file in files:
        source = file.name.split("-")[0]
        if source not in SOURCES:
            raise SystemExit(f"corpus: {file}: names begin with {', '.join(name + '-' for name in SOURCES)}")
        for line in file.read_text(encoding="utf-8").splitlines():
            story = json.loads(line)
            rows = (" ".join(row.split()) for row in story["text"].splitlines())
            text = "\n".join(row for row in rows if row)  # a blank line would end the document
            if text:
                yield Document(source, story["seed"], text, story.get("tokens", 0), story["written"])


def in_common(documents: list[Document], tried: list[int]) -> dict[int, set[int]]:
    """Of each tried document the others that have a mark of it."""
    owners = defaultdict(set)
    for i in tried:
        for mark in marks(documents[i]):
            owners[mark].add(i)
    others: dict[int, set[int]] = {i: set() for i in tried}
    for j, document in enumerate(documents):
        for mark in marks(document):
            for i in owners.get(mark, ()):
                if i != j:
                    others[i].add(j)
    return others


def split(documents: list[Document], seed: int, limit: int) -> tuple[dict[str, list[Document]], dict]:
    """Returns the parts and how they came about."""
    size = min(max(round(SHARE * len(documents)), LEAST), MOST)
    order = list(range(len(documents)))
    random.Random(seed).shuffle(order)
    apart = [i for i in order if documents[i].seed < APART]
    tried = (apart or order)[: 8 * size]
    others = in_common(documents, tried)
    within = [i for i in tried if len(others[i]) <= limit]
    held: dict[str, set[int]] = {"dev": set(), "test": set()}
    for i in within:
        # It goes where what it has words in common with is.
        near = [part for part in held if held[part] & others[i]]
        part = near[0] if near else min(held, key=lambda name: len(held[name]))
        if len(near) < 2 and len(held[part]) < size:
            held[part].add(i)
    if min(map(len, held.values())) < LEAST:
        counts = {part: len(chosen) for part, chosen in held.items()}
        raise SystemExit(
            f"corpus: of {len(tried)} documents tried {len(within)} have words in common with at most {limit} others; "
            f"parts of at least {LEAST} are to be had, got {counts}"
        )
    out = held["dev"] | held["test"]
    dropped = set().union(*(others[i] for i in out)) - out
    chosen = {part: [i for i in order if i in held[part]] for part in held}
    chosen["train"] = [i for i in order if i not in out | dropped]
    report = {
        "seed": seed,
        "words": GRAM,
        "limit": limit,
        "heldFrom": len(apart) or len(documents),
        "tried": len(tried),
        "triedWithinLimit": len(within),
        "leftOutOfTrain": dict(sorted(Counter(documents[i].source for i in dropped).items())),
    }
    return {part: [documents[i] for i in chosen[part]] for part in PARTS}, report


def measure(content: bytes) -> dict:
    """Of a part's text: what the manifest says and `--check` recomputes."""
    texts = content.decode("utf-8").rstrip("\n").split("\n\n")
    return {
        "documents": len(texts),
        "sentences": sum(len(sentences(text)) for text in texts),
        "words": sum(len(words(text)) for text in texts),
        "bytes": sum(len(text.encode()) for text in texts),
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def runs(text: str) -> Iterator[str]:
    """The 8-grams of a document a second time, by other code: it walks the text's pieces and knows no pattern."""
    row: list[str] = []
    pieces = text.split()
    for piece, following in zip(pieces, [*pieces[1:], "."]):
        bare = piece.rstrip("\"'")
        word = "".join(c for c in piece if c not in string.punctuation).lower()
        if word:
            row.append(word)
            if len(row) >= GRAM:
                yield " ".join(row[-GRAM:])
        if bare and bare[-1] in ".!?" and not following.lstrip("\"'")[:1].islower():
            row = []


def verify(texts: dict[str, list[str]]) -> int:
    """Returns how many 8-grams the held-out parts have; exits where one of them is not theirs alone."""
    held = {part: {run for text in texts[part] for run in runs(text)} for part in ("dev", "test")}
    shared = [("dev and test", run) for run in held["dev"] & held["test"]]
    for text in texts["train"]:
        for run in runs(text):
            shared += [(f"train and {part}", run) for part in held if run in held[part]]
    if shared:
        lines = [f"{where}: {run}" for where, run in shared[:20]]
        raise SystemExit(f"corpus: {len(shared)} runs of {GRAM} words are in two parts\n" + "\n".join(lines))
    return sum(map(len, held.values()))


def check(folder: Path) -> dict:
    manifest = json.loads((folder / "manifest.json").read_text())
    texts = {}
    for part in PARTS:
        content = gzip.decompress((folder / f"{part}.txt.gz").read_bytes())
        found = measure(content)
        for key, value in found.items():
            if manifest["parts"][part][key] != value:
                said = manifest["parts"][part][key]
                raise SystemExit(f"corpus: {part}: the manifest has {key} {said}, the file {value}")
        if sum(manifest["parts"][part]["sources"].values()) != found["documents"]:
            raise SystemExit(f"corpus: {part}: the sources do not add up to {found['documents']} documents")
        texts[part] = content.decode().rstrip("\n").split("\n\n")
    every = [text for part in PARTS for text in texts[part]]
    if len(set(every)) < len(every):
        raise SystemExit(f"corpus: {len(every) - len(set(every))} documents are there twice")
    print(f"{verify(texts)} {GRAM}-grams of dev and test are in no other part; counts and hashes are the manifest's")
    return manifest


def build(paths: list[Path], folder: Path, seed: int, limit: int) -> None:
    documents: list[Document] = []
    seen: set[str] = set()
    sources: dict[str, dict] = {}
    for path in paths:
        for document in read(path):
            counts = {"read": 0, "duplicates": 0, "tokens": 0, "written": 0}
            entry = sources.setdefault(document.source, {**SOURCES[document.source], **counts})
            entry["read"] += 1
            entry["tokens"] += document.tokens
            entry["written"] += document.written
            if document.text in seen:
                entry["duplicates"] += 1
            else:
                seen.add(document.text)
                documents.append(document)
    parts, report = split(documents, seed, limit)
    folder.mkdir(parents=True, exist_ok=True)
    manifest = {"from": [path.name for path in paths], "sources": sources, "split": report, "parts": {}}
    for part in PARTS:
        content = ("\n\n".join(document.text for document in parts[part]) + "\n").encode()
        (folder / f"{part}.txt.gz").write_bytes(gzip.compress(content, 9, mtime=0))
        manifest["parts"][part] = {
            **measure(content),
            "sources": dict(sorted(Counter(document.source for document in parts[part]).items())),
        }
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("paths", nargs="*", type=Path)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--out", type=Path, default=FOLDER)
    parser.add_argument("--seed", type=int, default=6)
    parser.add_argument("--limit", type=int, default=3, help="documents that a held-out one may cost the training part")
    options = parser.parse_args()
    if options.check == bool(options.paths):
        raise SystemExit("corpus: either PATH … or --check")
    if options.paths:
        build(options.paths, options.out, options.seed, options.limit)
    manifest = check(options.out)
    for source, entry in manifest["sources"].items():
        share = entry["written"] / entry["tokens"] if entry["tokens"] else 0
        print(f"{source}: {entry['read']} documents read, {entry['duplicates']} duplicates, {share:.1%} SmolLM2's")
    print(f"left out of train: {manifest['split']['leftOutOfTrain'] or 'none'}")
    for part, p in manifest["parts"].items():
        shares = ", ".join(f"{name} {count / p['documents']:.1%}" for name, count in p["sources"].items())
        print(
            f"{part}: {p['documents']} documents ({shares}), {p['sentences']} sentences, {p['words']} words, "
            f"{p['bytes']} bytes, {(options.out / f'{part}.txt.gz').stat().st_size} packed"
        )


if __name__ == "__main__":
    main()
