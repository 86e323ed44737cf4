"""Bits per byte of an unpruned, interpolated modified Kneser-Ney n-gram over the BPE tokens, estimated by KenLM.

usage: kneser_ney.py [--orders 2,3,4,5,6,8,10] [--tokenizer FILE] [--corpus DIR] [--json FILE]

The streams are those of the neural model (data.py): each document is END, its tokens, END. The n-gram sees the first
END as its `<s>`, predicts every token and the last END, its `</s>`, and begins anew with the next document; its bits
over tokens and last END are summed and divided by the documents' bytes of UTF-8. Train is train.txt.gz, every document
whole.

The vocabulary is closed: what comes next is one of V, the tokenizer's V - 1 tokens or the end. Tokens that train does
not have get 1 / V of the unigrams' discounted mass each (`--vocab_pad V`). KenLM's discounts are Chen and Goodman's
closed form, D1, D2 and D3+ of each order; where it has none (no unigram has but one or two left neighbours), 0.5, 1 and
1.5 are taken. Both are printed, and that the probabilities of all V sum to 1 after histories of test.

KenLM's lmplz and query are built once, from the source package on PyPI (LGPL), into the cache. The build takes a C++
compiler, cmake and Debian's libboost-program-options-dev libboost-system-dev libboost-thread-dev libboost-test-dev.
"""

import argparse
import hashlib
import json
import math
import os
import random
import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from tokenizers import Tokenizer

from data import END, read_documents

HERE = Path(__file__).parent
KENLM = "0.3.0"
SHA256 = "c4628bb9fb63c8a6f9240035b8b037385cfc404cb72e933cf48878291edac1e8"  # of kenlm-0.3.0.tar.gz
BUILD = ("-DCMAKE_BUILD_TYPE=Release", "-DKENLM_MAX_ORDER=10")
CACHE = Path(os.environ.get("MGT_CACHE") or Path.home() / ".cache" / "mincut-gated-transformer")
FALLBACK = (0.5, 1.0, 1.5)
HISTORIES = 12  # whose V continuations are summed


def kenlm() -> Path:
    """The folder of lmplz and query; builds them where they are not."""
    folder = CACHE / f"kenlm-{KENLM}"
    programs = folder / "bin"
    if (programs / "lmplz").exists() and (programs / "query").exists():
        return programs
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        fetch = ("download", "--quiet", "--no-deps", "--no-binary", "kenlm", "--dest", name, f"kenlm=={KENLM}")
        subprocess.run([sys.executable, "-m", "pip", *fetch], check=True)
        archive = Path(name) / f"kenlm-{KENLM}.tar.gz"
        found = hashlib.sha256(archive.read_bytes()).hexdigest()
        if found != SHA256:
            raise SystemExit(f"kneser_ney: {archive.name} has sha256 {found}, expected {SHA256}")
        with tarfile.open(archive) as tar:
            tar.extractall(name, filter="data")
        log = folder / "build.log"
        with log.open("w") as out:
            for command in (
                ["cmake", "-S", f"{name}/kenlm-{KENLM}", "-B", f"{name}/build", *BUILD],
                ["cmake", "--build", f"{name}/build", "--target", "lmplz", "query"],
            ):
                if subprocess.run(command, stdout=out, stderr=out).returncode:
                    raise SystemExit(f"kneser_ney: KenLM could not be built, see {log}; what it takes: --help")
        programs.mkdir(exist_ok=True)
        for program in ("lmplz", "query"):
            (Path(name) / "build" / "bin" / program).rename(programs / program)
    return programs


def lines(tokenizer: Tokenizer, documents: list[str]) -> list[list[str]]:
    """Token ids as words, a document a line; KenLM puts <s> and </s> around."""
    encoded = tokenizer.encode_batch(documents, add_special_tokens=False)
    return [[f"t{i}" for i in e.ids] for e in encoded]


def estimate(programs: Path, text: Path, order: int, vocabulary: int, folder: Path) -> tuple[Path, list[dict]]:
    """Returns the model and for each order up to `order` how many n-grams there are, and their discounts."""
    arpa = folder / f"{order}.arpa"
    command = [programs / "lmplz", "--order", str(order), "--text", text, "--arpa", arpa, "--temp_prefix", f"{folder}/"]
    command += ["--vocab_pad", str(vocabulary), "--memory", "2G", "--discount_fallback", *map(str, FALLBACK)]
    run = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    if run.returncode:
        raise SystemExit(f"kneser_ney: lmplz failed\n{run.stderr}")
    found = re.findall(r"^(\d+) (\d+) D1=(\S+) D2=(\S+) D3\+=(\S+)$", run.stderr, re.M)
    if [int(row[0]) for row in found] != list(range(1, order + 1)):
        raise SystemExit(f"kneser_ney: no discounts of {order} orders in\n{run.stderr}")
    counts = [{"ngrams": int(row[1]), "D1": float(row[2]), "D2": float(row[3]), "D3+": float(row[4])} for row in found]
    return arpa, counts


def log2s(programs: Path, arpa: Path, rows: list[list[str]], whole: bool = True) -> list[list[float]]:
    """log2 of each word's probability (and of </s>); not `whole`: rows that begin and end inside a document."""
    command = [programs / "query", "-v", "word", *([] if whole else ["-n"]), arpa]
    said = subprocess.run(command, input="".join(" ".join(row) + "\n" for row in rows), capture_output=True, text=True)
    if said.returncode:
        raise SystemExit(f"kneser_ney: query failed\n{said.stderr}")
    values = re.findall(r"=\d+ \d+ (\S+)\t", said.stdout)
    out, at = [], 0
    for row in rows:
        size = len(row) + whole
        out.append([float(value) / math.log10(2) for value in values[at : at + size]])
        at += size
    if at != len(values):
        raise SystemExit(f"kneser_ney: {at} words asked for, {len(values)} answered")
    return out


def worst_sum(programs: Path, arpa: Path, order: int, rows: list[list[str]], vocabulary: int) -> float:
    """How far from 1 the V continuations of histories inside test are, at most."""
    choose = random.Random(1)
    words = [*(f"t{i}" for i in range(1, vocabulary)), "</s>"]
    asked = []
    for _ in range(HISTORIES):
        row = choose.choice(rows)
        start = choose.randrange(len(row) - order)
        asked += [[*row[start : start + order - 1], word] for word in words]
    last = [2 ** row[-1] for row in log2s(programs, arpa, asked, whole=False)]
    sums = [sum(last[i : i + vocabulary]) for i in range(0, len(last), vocabulary)]
    return max(abs(1 - total) for total in sums)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--orders", default="2,3,4,5,6,8,10", help="10 at most")
    parser.add_argument("--tokenizer", type=Path, default=HERE.parent / "models" / "stories" / "tokenizer.json")
    parser.add_argument("--corpus", type=Path, default=HERE / "corpus")
    parser.add_argument("--json", type=Path, metavar="FILE", help="writes discounts and bits per byte there")
    options = parser.parse_args()
    programs = kenlm()
    tokenizer = Tokenizer.from_file(str(options.tokenizer))
    vocabulary = tokenizer.get_vocab_size()
    if tokenizer.token_to_id(END) != 0:
        raise SystemExit(f"kneser_ney: {END} is not token 0 of {options.tokenizer}")
    texts = {part: read_documents(options.corpus / f"{part}.txt.gz") for part in ("train", "dev", "test")}
    rows = {part: lines(tokenizer, documents) for part, documents in texts.items()}
    for part, documents in rows.items():
        kinds = len({word for row in documents for word in row})
        tokens = sum(map(len, documents))
        print(f"{part}: {len(documents)} documents, {tokens} tokens, {kinds} kinds of {vocabulary - 1}")
    toolkit = f"KenLM {KENLM}, lmplz --vocab_pad {vocabulary}: interpolated modified Kneser-Ney, unpruned"
    report: dict = {"toolkit": toolkit, "discounts": {}, "dev": {}, "test": {}}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        text = folder / "train"
        text.write_text("".join(" ".join(row) + "\n" for row in rows["train"]))
        for order in map(int, options.orders.split(",")):
            arpa, counts = estimate(programs, text, order, vocabulary, folder)
            bits = {}
            for part in ("dev", "test"):
                total = -sum(sum(row) for row in log2s(programs, arpa, rows[part]))
                bits[part] = total / sum(len(document.encode()) for document in texts[part])
            off = worst_sum(programs, arpa, order, rows["test"], vocabulary)
            print(f"order {order}: dev {bits['dev']:.4f}, test {bits['test']:.4f} bits/byte; sums off by {off:.1e}")
            for n, row in enumerate(counts, 1):
                discounts = {key: row[key] for key in ("D1", "D2", "D3+")}
                note = "" if tuple(discounts.values()) != FALLBACK else " (no closed form)"
                said = ", ".join(f"{key} {value:.4f}" for key, value in discounts.items())
                print(f"  {n}-grams {row['ngrams']}, {said}{note}", flush=True)
            arpa.unlink()
            report["discounts"][order] = counts
            for part, value in bits.items():
                report[part][order] = round(value, 6)
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
