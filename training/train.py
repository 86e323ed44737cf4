"""Trains the decoder whose every layer can be an exit; the same line goes on where it was stopped.

usage: train.py [--tokens N] [--minutes M] [--workers N] [--out DIR] …    (run.py runs it)

A checkpoint every ten minutes goes to OUT/run-HASH (of code, options, texts and tokenizer), the model, when it is done,
to OUT/model.pt.

How (docs/stories.md has what came of it):
- Half of the documents run with random depths: a token leaves after a layer of its own, the deeper a layer the more
  tokens skip it, and the layers it skips take keys and values from the state it left with. That is LayerSkip's rising
  layer dropout (Elhoushi et al. 2024, section 4.1) by token, and what the engine does at an exit. Their loss is taken
  where each token left.
- All documents also pay at the middle exit and at a random one (LayerSkip's early-exit loss, section 4.1.2), through
  the one shared head.
- Muon for the matrices (Jordan et al. 2024), AdamW for embedding and norms; the rate is constant, then falls linearly
  to zero. In the last part weights, activations, keys and values are rounded as the engine's int8 rounds them.
"""

import argparse
import hashlib
import json
import math
import os
import random
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer

from data import IGNORED, batches, encode, pad, read_documents
from evaluate import bits_per_byte
from model import Decoder, Shape
from workers import Team, together

HERE = Path(__file__).parent
WARM_UP = 0.02  # shares of the whole
FALL = 0.5
INT8 = 0.05
CLEAN = 0.5  # of the documents, at full depth
LEAVE = 0.5  # of the tokens of the others, half of them in the middle
MIDDLE_WEIGHT, RANDOM_WEIGHT = 1.0, 0.25  # of the losses at the middle exit and at a random one
CHECKPOINT_SECONDS = 600
FIRST_REPORT, REPORT = 30, 120  # seconds
STOPPED = 75  # the exit status when the minutes are over


def depths(count: int, length: int, layers: int, generator: torch.Generator) -> torch.Tensor:
    """Layers each token runs [count, length]."""
    leaves = torch.rand(count, length, generator=generator) < LEAVE
    leaves &= torch.rand(count, 1, generator=generator) >= CLEAN
    exits = torch.randint(1, layers, (count, length), generator=generator)
    exits = torch.where(torch.rand(count, length, generator=generator) < 0.5, layers // 2, exits)
    return torch.where(leaves, exits, layers)


def rate(done: float) -> float:
    """Of the highest learning rate, when `done` (0 … 1) of the training is done."""
    return min(1.0, done / WARM_UP + 1e-3, (1 - done) / FALL)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    cached = Path(os.environ.get("MGT_CACHE") or Path.home() / ".cache" / "mincut-gated-transformer")
    parser.add_argument("--corpus", type=Path, default=HERE / "corpus")
    parser.add_argument("--tokenizer", type=Path, default=HERE.parent / "models" / "stories" / "tokenizer.json")
    parser.add_argument("--out", type=Path, default=cached / "training")
    parser.add_argument("--tokens", type=float, default=24e6, help="to train on, all epochs together")
    parser.add_argument("--batch", type=int, default=3072, help="tokens")
    parser.add_argument("--rate", type=float, default=4e-3)
    parser.add_argument("--decay", type=float, default=0.1)
    parser.add_argument("--dropout", type=float, default=0.05, help="of the embedding")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2, help="processes of one thread each; one where there is a GPU")
    parser.add_argument("--minutes", type=float, default=math.inf, help="then stop, to go on another time")
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--hidden", type=int, default=192)
    return parser.parse_args()


def run_name(options: argparse.Namespace, texts: dict[str, list[str]]) -> str:
    """Of all that decides the result; neither of where it lies nor of how it is packed."""
    elsewhere = ("minutes", "out", "corpus", "tokenizer")
    settings = {key: value for key, value in vars(options).items() if key not in elsewhere}
    digest = hashlib.sha256(json.dumps([settings, texts], sort_keys=True).encode())
    for path in (*(HERE / name for name in ("model.py", "train.py", "data.py", "workers.py")), options.tokenizer):
        digest.update(path.read_bytes())
    return f"run-{digest.hexdigest()[:8]}"


def train(team: Team, options: argparse.Namespace) -> None:
    """One worker's part of all; the first one reports and saves."""
    torch.set_num_threads(1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(options.seed)
    say = print if team.leads else lambda *_, **__: None

    tokenizer = Tokenizer.from_file(str(options.tokenizer))
    shape = shape_of(options, tokenizer)
    texts = {part: read_documents(options.corpus / f"{part}.txt.gz") for part in ("train", "dev")}
    rows = {part: encode(documents, tokenizer, shape.context) for part, documents in texts.items()}
    size = sum(len(row) - 1 for row in rows["train"])
    say(f"{len(rows['train'])} documents, {size} tokens; {options.tokens / size:.1f} epochs", flush=True)

    model = Decoder(shape).to(device)
    matrices = [p for p in model.blocks.parameters() if p.ndim == 2]
    others = [p for p in model.parameters() if not any(p is m for m in matrices)]
    muon = torch.optim.Muon(
        matrices, lr=options.rate, weight_decay=options.decay, momentum=0.95, adjust_lr_fn="match_rms_adamw"
    )
    adam = torch.optim.AdamW(others, lr=options.rate, betas=(0.9, 0.95), weight_decay=0.0)
    optimizers = (muon, adam)

    folder = options.out / run_name(options, texts)
    folder.mkdir(parents=True, exist_ok=True)
    latest = folder / "checkpoint.pt"
    state = {"epoch": 0, "batch": 0, "tokens": 0, "seconds": 0.0}
    if latest.exists():
        saved = torch.load(latest, map_location=device, weights_only=True)
        model.load_state_dict(saved["model"])
        for optimizer, stored in zip(optimizers, saved["optimizers"]):
            optimizer.load_state_dict(stored)
        state = saved["state"]
        say(f"goes on after {state['tokens']} tokens", flush=True)

    def save(path: Path, **more) -> None:
        if not team.leads:
            return
        partial = path.with_suffix(".part")
        torch.save({"model": model.state_dict(), "state": state, "shape": shape.to_json(), **more}, partial)
        partial.replace(path)

    def checkpoint() -> None:
        nonlocal last_save
        team.share([muon.state.setdefault(p, {}).setdefault("momentum_buffer", torch.zeros_like(p)) for p in matrices])
        state["seconds"] += time.time() - last_save
        last_save = time.time()
        save(latest, optimizers=[optimizer.state_dict() for optimizer in optimizers])

    began = last_save = time.time()
    next_report = began + FIRST_REPORT
    loss_sum = loss_count = 0.0
    since = state["tokens"], time.time()
    while state["tokens"] < options.tokens:
        epoch = batches(rows["train"], options.batch, random.Random(options.seed * 1000 + state["epoch"]))
        for index in range(state["batch"], len(epoch)):
            done = state["tokens"] / options.tokens
            if done >= 1:
                break
            generator = torch.Generator().manual_seed((options.seed * 1000 + state["epoch"]) * 100_000 + index)
            torch.manual_seed(generator.initial_seed() * 100 + team.rank)
            for optimizer in optimizers:
                for group in optimizer.param_groups:
                    group["lr"] = options.rate * rate(done)
            inputs, targets = (t.to(device) for t in pad(epoch[index], least=team.size))
            depth = depths(*inputs.shape, shape.layers, generator).to(device)
            middle = shape.layers // 2
            other = int(torch.randint(1, shape.layers, (), generator=generator))
            weights = {shape.layers: 1.0, middle: MIDDLE_WEIGHT}
            weights[other] = weights.get(other, 0.0) + RANDOM_WEIGHT
            count = int((targets != IGNORED).sum())
            inputs, targets, depth = (t[team.rank :: team.size] for t in (inputs, targets, depth))
            int8 = done >= 1 - INT8
            # bf16 would round on top of the int8 rounding, by nearly as much.
            dtype = torch.float32 if int8 else torch.bfloat16
            model.train()
            states = model(inputs, set(weights), depth, dtype=dtype, int8=int8, dropout=options.dropout)
            wanted = targets != IGNORED
            losses = {
                i: F.cross_entropy(
                    model.logits(x[wanted], dtype=dtype, int8=int8).float(), targets[wanted], reduction="sum"
                )
                for i, x in states.items()
            }
            (sum(weight * losses[i] for i, weight in weights.items()) / count).backward()
            over = torch.tensor(float(team.leads and time.time() - began > options.minutes * 60))
            due = torch.tensor(float(team.leads and time.time() - last_save > CHECKPOINT_SECONDS))
            nats = losses[shape.layers].detach().cpu()
            team.sum([*(p.grad for p in model.parameters()), nats, over, due])
            torch.nn.utils.clip_grad_norm_(others, 1.0)
            for i, p in enumerate(matrices):
                if not team.owns(i):
                    p.grad = None  # Muon leaves it alone
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            team.share(matrices)
            state["tokens"] += count
            state["batch"] = index + 1
            loss_sum += nats.item()
            loss_count += count
            now = time.time()
            if team.leads and now > next_report:
                speed = (state["tokens"] - since[0]) / (now - since[1])
                left = (options.tokens - state["tokens"]) / speed / 60
                some = bits_per_byte(model, rows["dev"][:64], texts["dev"][:64], dtype=dtype, int8=int8)
                exits_text = " ".join(f"{b:.3f}" for b in some.values())
                say(
                    f"{100 * done:.1f} % epoch {state['epoch']} loss {loss_sum / loss_count:.4f} "
                    f"dev bits/byte by exit {exits_text} · {speed:.0f} tokens/s · {left:.0f} min left",
                    flush=True,
                )
                loss_sum = loss_count = 0.0
                next_report, since = time.time() + REPORT, (state["tokens"], time.time())
            if due > 0:
                checkpoint()
            if over > 0:
                checkpoint()
                say(f"stopped; {folder}", flush=True)
                team.status[0] = STOPPED
                return
        state["epoch"] += 1
        state["batch"] = 0
        checkpoint()
    save(options.out / "model.pt")
    say(f"done in {state['seconds'] / 60:.0f} min; {options.out / 'model.pt'}", flush=True)


def shape_of(options: argparse.Namespace, tokenizer: Tokenizer) -> Shape:
    return Shape(tokenizer.get_vocab_size(), layers=options.layers, hidden=options.hidden)


def main() -> None:
    options = arguments()
    if torch.cuda.is_available():
        options.workers = 1
    shape = shape_of(options, Tokenizer.from_file(str(options.tokenizer)))
    parameters = sum(p.numel() for p in Decoder(shape).parameters())
    raise SystemExit(together(train, options.workers, parameters + 3, options))


if __name__ == "__main__":
    main()
