"""The corpus as token ids: one document after another, `<|endoftext|>` before and after each."""

import gzip
import random
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor

END = "<|endoftext|>"
IGNORED = -100


def read_documents(path: Path) -> list[str]:
    """Documents are separated by a blank line."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return file.read().rstrip("\n").split("\n\n")


def encode(documents: list[str], tokenizer: Tokenizer, context: int) -> list[list[int]]:
    """Ids of each document between two END, cut where the context ends."""
    end = tokenizer.token_to_id(END)
    return [[end, *e.ids, end][: context + 1] for e in tokenizer.encode_batch(documents, add_special_tokens=False)]


def pad(rows: list[list[int]], least: int = 1) -> tuple[Tensor, Tensor]:
    """Inputs and targets [B, N], N the longest of them, B `least` or more; targets of the padding are IGNORED."""
    count, length = max(len(rows), least), max(map(len, rows)) - 1
    inputs = torch.zeros(count, length, dtype=torch.long)
    targets = torch.full((count, length), IGNORED)
    for i, row in enumerate(rows):
        inputs[i, : len(row) - 1] = torch.tensor(row[:-1])
        targets[i, : len(row) - 1] = torch.tensor(row[1:])
    return inputs, targets


def batches(rows: list[list[int]], tokens: int, choose: random.Random) -> list[list[list[int]]]:
    """One epoch: batches of about `tokens` tokens, of documents of like length, in random order."""
    keyed = sorted(rows, key=lambda row: len(row) + choose.uniform(-8, 8))
    out: list[list[list[int]]] = [[]]
    longest = 0
    for row in keyed:
        longest = max(longest, len(row))
        if (len(out[-1]) + 1) * longest > tokens:
            out.append([])
            longest = len(row)
        out[-1].append(row)
    choose.shuffle(out)
    return out
