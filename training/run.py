"""From the committed corpus to the model in models/stories; the same line goes on where it was stopped.

usage: run.py [--from generate] [--minutes M] [--threads N] [--model DIR] [--out DIR] [options of train.py]

The corpus is checked, the tokenizer made, the model trained, evaluated (float, and rounded as the engine rounds) and
exported. A step is skipped when what it makes is there, made by the same code from the same inputs (SHA-256, kept in
OUT/steps.json). `--from generate` first writes stories and puts the corpus made of them in the place of the committed
one; that takes SmolLM2 (node scripts/fetch-smollm2.mjs).
"""

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
CORPUS = HERE / "corpus"
PARTS = [CORPUS / f"{part}.txt.gz" for part in ("train", "dev", "test")]
MANIFEST = CORPUS / "manifest.json"
WAVES, PLAIN = {0: 1, 1: 1}, {0: 500, 1: 14_000}  # by seed; 0 is held out
EXITS = "4"  # after which layers the engine asks, where nothing else is said: the middle, which always pays
STOPPED = 75  # train.py's status when --minutes are over


@dataclass
class Step:
    name: str
    what: str
    seconds: float  # about, on two cores
    command: list  # a program of this folder, and what decides its result
    code: tuple[str, ...] = ()  # other files of this folder that it uses
    inputs: tuple[Path, ...] = ()
    makes: tuple[Path, ...] = ()  # what no other step writes
    adds_to: tuple[Path, ...] = ()
    more: tuple = ()  # arguments that do not decide the result

    def key(self) -> str:
        digest = hashlib.sha256("\0".join(map(str, self.command)).encode())
        for path in (HERE / self.command[0], *(HERE / name for name in self.code), *self.inputs):
            digest.update(hashlib.sha256(path.read_bytes()).digest())
        return digest.hexdigest()

    def made(self) -> list[str]:
        return [hashlib.sha256(path.read_bytes()).hexdigest() for path in self.makes]

    def done(self, known: dict) -> bool:
        there = all(path.exists() for path in (*self.inputs, *self.makes, *self.adds_to))
        return there and known.get("key") == self.key() and known["made"] == self.made()


def story_steps(out: Path, threads: int) -> list[Step]:
    from generate import version

    folder = out / f"stories-{version()}"
    code = ("tables.json", "words.txt", "stories.py", "sentences.py", "smollm2.py")
    code += tuple(f"plots/{path.name}" for path in sorted((HERE / "plots").glob("*.txt")))
    steps: list[Step] = []
    written: tuple[Path, ...] = ()  # their 8-grams are kept out of what comes later
    for seed, count in WAVES.items():
        command = ["generate.py", "--out", folder, "--seed", seed]
        waves = tuple(folder / f"wave-{seed}-{wave:05d}.jsonl" for wave in range(count))
        what, filled = f"seed {seed}: {count} waves of stories with SmolLM2", [*command, "--waves", count]
        more = ("--threads", threads)
        steps.append(Step(f"waves {seed}", what, 120 * count, filled, code, written, waves, more=more))
        written += waves
        file = folder / f"plain-{seed}.jsonl"
        what, plain = f"seed {seed}: {PLAIN[seed]} stories without it", [*command, "--plain", PLAIN[seed]]
        steps.append(Step(f"plain {seed}", what, 60, plain, code, written, (file,)))
        written += (file,)
    return [*steps, Step("corpus", "split by document", 10, ["corpus.py", folder], (), written, (*PARTS, MANIFEST))]


def model_steps(options: argparse.Namespace, rest: list[str]) -> list[Step]:
    model, checkpoint = options.model, options.out / "model.pt"
    tokenizer = tuple(model / name for name in ("tokenizer.json", "tokenizer_config.json"))
    given = ["--corpus", CORPUS, "--tokenizer", tokenizer[0]]
    figures = ["evaluate.py", checkpoint, *given, "--json", model / "evaluation.json"]
    held = {"inputs": (checkpoint, tokenizer[0], *PARTS[1:]), "adds_to": (model / "evaluation.json",)}
    code = ("model.py", "data.py", "workers.py")
    return [
        Step("check", "hashes, counts and shared words", 5, ["corpus.py", "--check"], (), (*PARTS, MANIFEST)),
        Step("tokenizer", "BPE on train", 15, ["tokenizer.py", "--out", model], ("data.py",), tuple(PARTS), tokenizer),
        Step(
            "train",
            "says every two minutes how long is left",
            3600,
            ["train.py", *given, "--out", options.out, *rest],
            code,
            (tokenizer[0], *PARTS[:2]),
            (checkpoint,),
            more=("--minutes", options.minutes),
        ),
        Step("evaluate", "bits per byte by exit", 60, figures, code, **held),
        Step("rounded", "the same with int8 rounding", 90, [*figures, "--int8"], code, **held),
        Step(
            "export",
            str(model),
            5,
            ["export.py", checkpoint, "--out", model, "--exit-layers", EXITS],
            ("evaluate.py", "model.py"),
            (checkpoint,),
            (model / "config.json", model / "model.safetensors"),
        ),
    ]


def about(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def main() -> None:
    # subprocess.run ends what it started when it is left so.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    parser = argparse.ArgumentParser()
    cached = Path(os.environ.get("MGT_CACHE") or Path.home() / ".cache" / "mincut-gated-transformer")
    parser.add_argument("--from", dest="first", choices=("corpus", "generate"), default="corpus")
    parser.add_argument("--model", type=Path, default=HERE.parent / "models" / "stories")
    parser.add_argument("--out", type=Path, default=cached / "training", help="checkpoints, stories and steps.json")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of the story generator")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="of training, then stop")
    options, rest = parser.parse_known_args()
    options.model, options.out = options.model.resolve(), options.out.resolve()
    options.out.mkdir(parents=True, exist_ok=True)
    steps = story_steps(options.out, options.threads) if options.first == "generate" else []
    steps += model_steps(options, rest)
    stamps = options.out / "steps.json"
    for i, step in enumerate(steps):
        known = json.loads(stamps.read_text()) if stamps.exists() else {}
        title = f"[{i + 1}/{len(steps)}] {step.name}"
        if step.done(known.get(step.name, {})):
            print(f"{title}: nothing has changed", flush=True)
            continue
        seconds = [known.get(s.name, {}).get("seconds", s.seconds) for s in steps[i:]]
        left = f"about {about(seconds[0])}, with all that follows {about(sum(seconds))}"
        print(f"{title}: {step.what}; {left}", flush=True)
        start = time.time()
        command = [sys.executable, HERE / step.command[0], *step.command[1:], *step.more]
        status = subprocess.run(list(map(str, command))).returncode
        if status == STOPPED:
            print("run: stopped; the same line goes on")
            sys.exit(STOPPED)
        if status:
            raise SystemExit(f"run: {step.name} failed; when it is mended, the same line goes on")
        stamp = {"key": step.key(), "made": step.made(), "seconds": round(time.time() - start)}
        partial = stamps.with_suffix(".part")
        partial.write_text(json.dumps({**known, step.name: stamp}, indent=2) + "\n")
        partial.replace(stamps)
    print("done; npm run build:model packs it, node scripts/story-model.mjs --write measures it in the engine")


if __name__ == "__main__":
    main()
