"""Bits per byte of a checkpoint at every exit, and what a rule of exits would give.

usage: evaluate.py CHECKPOINT [--part dev|test] [--int8]

Bits are summed over a document's tokens and the END after it, and divided by the document's bytes of UTF-8.
"""

import argparse
import math
from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer

from data import IGNORED, encode, pad, read_documents
from model import Decoder, Shape

HERE = Path(__file__).parent


@torch.inference_mode()
def bits_per_byte(
    model: Decoder,
    rows: list[list[int]],
    texts: list[str],
    *,
    dtype: torch.dtype = torch.float32,
    int8: bool = False,
    batch: int = 32,
) -> dict[int, float]:
    """At every exit 1 … layers, each with all tokens leaving there."""
    model.eval()
    device = model.embedding.device
    layers = model.shape.layers
    nats = dict.fromkeys(range(1, layers + 1), 0.0)
    order = sorted(rows, key=len)
    for first in range(0, len(order), batch):
        inputs, targets = (t.to(device) for t in pad(order[first : first + batch]))
        wanted = targets != IGNORED
        for layer, x in model(inputs, set(nats), dtype=dtype, int8=int8).items():
            logits = model.logits(x[wanted], dtype=dtype, int8=int8).float()
            nats[layer] += F.cross_entropy(logits, targets[wanted], reduction="sum").item()
    size = sum(len(text.encode()) for text in texts)
    return {layer: n / math.log(2) / size for layer, n in nats.items()}


def load(path: Path, device: str = "cpu") -> Decoder:
    saved = torch.load(path, map_location=device, weights_only=True)
    model = Decoder(Shape(**saved["shape"]))
    model.load_state_dict(saved["model"])
    return model.to(device).eval()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--part", choices=("dev", "test"), default="dev")
    parser.add_argument("--corpus", type=Path, default=HERE / "corpus")
    parser.add_argument("--tokenizer", type=Path, default=HERE.parent / "models" / "stories" / "tokenizer.json")
    parser.add_argument("--int8", action="store_true", help="rounded as the engine rounds")
    options = parser.parse_args()
    model = load(options.checkpoint)
    tokenizer = Tokenizer.from_file(str(options.tokenizer))
    texts = read_documents(options.corpus / f"{options.part}.txt.gz")
    rows = encode(texts, tokenizer, model.shape.context)
    for layer, bits in bits_per_byte(model, rows, texts, int8=options.int8).items():
        print(f"exit {layer}: {bits:.4f} bits/byte")


if __name__ == "__main__":
    main()
