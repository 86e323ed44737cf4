"""Bits per byte of a checkpoint at every exit, in float or rounded as the engine rounds.

usage: evaluate.py CHECKPOINT [--part dev|test] [--int8] [--json FILE]

Bits are summed over a document's tokens and the END after it, and divided by the document's bytes of UTF-8. --json: of
both parts, put into FILE (models/stories/evaluation.json) as `float`, or `rounded` with --int8; what else stands there
stays. `training` is what the checkpoint says it took.
"""

import argparse
import json
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
    parser.add_argument("--json", type=Path, metavar="FILE", help="both parts, put into FILE")
    options = parser.parse_args()
    model = load(options.checkpoint)
    tokenizer = Tokenizer.from_file(str(options.tokenizer))
    figures = {}
    for part in ("dev", "test") if options.json else (options.part,):
        texts = read_documents(options.corpus / f"{part}.txt.gz")
        rows = encode(texts, tokenizer, model.shape.context)
        figures[part] = bits_per_byte(model, rows, texts, int8=options.int8)
        for layer, bits in figures[part].items():
            print(f"{part}, exit {layer}: {bits:.4f} bits/byte", flush=True)
    if options.json:
        known = json.loads(options.json.read_text()) if options.json.exists() else {}
        state = torch.load(options.checkpoint, map_location="cpu", weights_only=True)["state"]
        known["training"] = {key: state[key] for key in ("tokens", "seconds")}
        rounded = {p: {str(n): round(b, 6) for n, b in bits.items()} for p, bits in figures.items()}
        known["rounded" if options.int8 else "float"] = rounded
        options.json.write_text(json.dumps(known, indent=2) + "\n")


if __name__ == "__main__":
    main()
