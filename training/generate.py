"""Writes the story corpus: seeds from the tables, words from SmolLM2-135M-Instruct, many stories side by side.

usage: generate.py [MODEL.gguf] [--out DIR] [--waves N] [--first WAVE] [--rows B] [--threads N] [--seed S] [--print N]

MODEL.gguf is what `node scripts/fetch-smollm2.mjs` fetches. Wave W writes DIR/wave-SEED-W.jsonl once it is complete, so
that the same command goes on where it was stopped, at any time and in any way.
"""

import argparse
import hashlib
import json
import os
import re
import time
from itertools import islice
from pathlib import Path

import torch

from sentences import NOT_IN_TEXT, Sentences
from smollm2 import Cache, SmolLM2
from stories import TABLES, Story, make_story

LIMIT = 320  # columns of a wave: the longest story, with the sentences taken back
TRIES = 5  # of one sentence
SEEDS = 1000  # that a wave may draw its stories from
TEMPERATURE, TOP_P, MIN_P, TOP_K = 0.7, 0.92, 0.04, 64


def pick(logits: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """logits [B, V] to indices [B]: temperature, then the best `TOP_K`, then top-p, then min-p."""
    best, indices = logits.topk(TOP_K, -1)
    p = (best / TEMPERATURE).softmax(-1)
    before = p.cumsum(-1) - p
    p = p.masked_fill((before >= TOP_P) | (p < MIN_P * p[:, :1]), 0)
    return indices.gather(-1, torch.multinomial(p, 1, generator=generator))[:, 0]


class Row:
    """One story on its way: what is set, what is written, and the sentence the model is at."""

    def __init__(self, story: Story, model: SmolLM2, rules: Sentences):
        self.story, self.model, self.rules = story, model, rules
        self.text, self.sentence = "", []
        self.queue: list[int] = []
        self.history: list[int] = []
        self.segments = list(story.segments)
        self.tries = self.written = 0
        self.state = "set"  # set: tokens of the tables; free: the model's; done; dropped
        self.next_segment()

    def next_segment(self) -> None:
        if not self.segments:
            self.state = "done"
            return
        spoke = bool(self.text) and self.segment.speech
        self.segment = self.segments.pop(0)
        text, self.tries = self.segment.text, 0
        self.after = self.segments[0].text or "" if self.segments else ""
        if text is None:
            self.state, self.sentence = "free", []
            self.banned = self.rules.out_of_place(self.segment, self.text, self.after)
        else:
            self.state = "set"
            # The text after a speech starts with its closing quote.
            joined = text if spoke or not self.text else " " + text
            self.queue = self.model.tokenizer.encode(joined).ids
            self.text += joined

    def chosen(self, token: int) -> str:
        """Takes the model's token: 'on', 'kept' (the sentence ended and is good) or 'back' (it is not)."""
        self.sentence.append(token)
        piece = self.model.tokenizer.decode([token])
        if piece[-1] not in ".!?":
            return "on" if len(self.sentence) < self.rules.longest else "back"
        said = self.model.tokenizer.decode(self.sentence)
        if not self.rules.accept(self.story, self.segment, self.text, said, self.after):
            return "back"
        if said[-1] == "." and re.match('" [a-z]', self.after):
            # "…," said Tom.
            said = said[:-1] + ","
            self.sentence[-1] = self.rules.comma
        self.rules.take(self.text, said)
        self.text += said
        self.history += self.sentence
        self.written += len(self.sentence)
        return "kept"


@torch.inference_mode()
def write_wave(model: SmolLM2, shared: Cache, rules: Sentences, stories: list[Story], generator: torch.Generator):
    """Returns the rows of the stories that came to their end, and how many tokens were fed for all of them."""
    prompts = [model.tokenizer.encode(story.prompt).ids for story in stories]
    longest = max(map(len, prompts))
    count = len(stories)
    ids = torch.zeros(count, longest, dtype=torch.long)
    cache = Cache(model, count, longest + LIMIT, shared)
    for i, prompt in enumerate(prompts):
        ids[i, longest - len(prompt) :] = torch.tensor(prompt)
        cache.hidden[i, : longest - len(prompt)] = -1e9
    lengths = torch.tensor([len(prompt) for prompt in prompts])
    positions = shared.length + (torch.arange(longest) - (longest - lengths)[:, None]).clamp(min=0)
    device = model.device
    states = model.forward(ids.to(device), positions.to(device), cache)[:, -1:]
    place = (shared.length + lengths).tolist()
    rows = [Row(story, model, rules) for story in stories]
    bans = torch.stack([rules.bans(story) for story in stories])
    used = torch.zeros(count, len(model.allowed))
    saved: dict[int, torch.Tensor] = {}
    back: set[int] = set()
    results, steps = [], 0
    for _ in range(LIMIT):
        logits = model.logits(states[:, 0]).cpu()
        free = [i for i, row in enumerate(rows) if row.state == "free"]
        picks: dict[int, int] = {}
        if free:
            for i in free:
                if i in back:
                    logits[i] = saved[i]
                elif not rows[i].sentence:
                    saved[i] = logits[i].clone()
            places = [rules.place(r.segment, r.text, r.after, len(r.sentence)) for r in (rows[i] for i in free)]
            kinds, ends, moods = zip(*places)
            picked = logits[free] + bans[free] - rules.hush * used[free]
            picked += rules.kinds[list(kinds)] + rules.ends[list(ends)] + rules.moods[list(moods)]
            picked[:, rules.stops] += torch.tensor([rules.ending(len(rows[i].sentence)) for i in free])[:, None]
            for r, row in enumerate(rows[i] for i in free):
                if row.banned and (row.segment.speech or not row.sentence):
                    picked[r, row.banned] = NOT_IN_TEXT
            rules.block_repeats(picked, [rows[i].history + rows[i].sentence for i in free])
            picks = dict(zip(free, model.allowed[pick(picked, generator)].tolist()))
        tokens = [0] * len(rows)
        for i, row in enumerate(rows):
            hide = False
            if row.state == "set":
                tokens[i] = row.queue.pop(0)
                row.history.append(tokens[i])
                if not row.queue:
                    row.next_segment()
            elif row.state == "free":
                back.discard(i)
                outcome = row.chosen(picks[i])
                tokens[i] = row.sentence[-1]
                if outcome == "kept":
                    rules.count(used[i], row.sentence)
                    row.next_segment()
                elif outcome == "back":
                    # The columns of this sentence are hidden, and it starts again from the same logits.
                    fed = len(row.sentence) - 1
                    cache.hidden[i, cache.length - fed : cache.length] = -1e9
                    place[i] -= fed
                    row.sentence, hide = [], True
                    row.tries += 1
                    back.add(i)
                    if row.tries == TRIES:
                        row.state = "dropped"
            else:
                hide = True
            if hide:
                cache.hidden[i, cache.length] = -1e9
            else:
                place[i] += 1
        steps += len(rows)
        living = [i for i, row in enumerate(rows) if row.state in ("set", "free")]
        if not living:
            break
        if len(living) <= len(rows) * 7 // 8:
            results += [row for row in rows if row.state == "done"]
            keep = torch.tensor(living)
            cache.keep(keep.to(device))
            bans, used = bans[keep], used[keep]
            renamed = {old: new for new, old in enumerate(living)}
            saved = {renamed[i]: s for i, s in saved.items() if i in renamed}
            back = {renamed[i] for i in back if i in renamed}
            place, rows, tokens = ([values[i] for i in living] for values in (place, rows, tokens))
        fed_at = [p - (0 if cache.hidden[i, cache.length] < 0 else 1) for i, p in enumerate(place)]
        states = model.forward(
            torch.tensor(tokens, device=device)[:, None], torch.tensor(fed_at, device=device)[:, None], cache
        )
    results += [row for row in rows if row.state == "done"]
    return results, steps


def version() -> str:
    """Of the tables and rules that decide what a seed becomes: other tables or rules go into another folder."""
    here = Path(__file__).parent
    names = ("plots.txt", "tables.json", "words.txt", "stories.py", "sentences.py", "generate.py")
    return hashlib.sha256(b"".join((here / name).read_bytes() for name in names)).hexdigest()[:8]


def main() -> None:
    parser = argparse.ArgumentParser()
    cached = Path(os.environ.get("MGT_CACHE") or Path.home() / ".cache" / "mincut-gated-transformer")
    model_path = cached / "smollm2" / "SmolLM2-135M-Instruct.Q4_1.gguf"
    parser.add_argument("model", type=Path, nargs="?", default=model_path)
    parser.add_argument("--out", type=Path, default=cached / "training" / f"stories-{version()}")
    parser.add_argument("--waves", type=int, default=1_000_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--rows", type=int, default=96)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--print", type=int, default=0, help="so many stories of each wave, unedited")
    options = parser.parse_args()
    if not options.model.exists():
        raise SystemExit(f"generate: no {options.model}; node scripts/fetch-smollm2.mjs fetches it")
    torch.set_num_threads(options.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    options.out.mkdir(parents=True, exist_ok=True)
    model = SmolLM2(options.model, options.rows, device)
    rules = Sentences(model.tokenizer)
    model.allow(rules.allowed)
    # The two stories of the prompt are not to be told again.
    rules.learn(TABLES["system"])
    head = model.tokenizer.encode(TABLES["system"]).ids
    shared = Cache(model, 1, len(head))
    with torch.inference_mode():
        model.forward(torch.tensor([head], device=device), torch.arange(len(head), device=device)[None], shared)
    for wave in range(options.first, options.first + options.waves):
        path = options.out / f"wave-{options.seed}-{wave:05d}.jsonl"
        if path.exists():
            for line in path.read_text().splitlines():
                rules.learn(json.loads(line)["text"])
            continue
        start, cpu = time.time(), time.process_time()
        # Of as many seeds as there may be, the first whose tables' sentences are new.
        rules.wave = set()
        base = options.seed * 1_000_000_000 + wave * SEEDS
        fresh = (story for story in map(make_story, range(base, base + SEEDS)) if rules.fresh(story))
        stories = list(islice(fresh, options.rows))
        generator = torch.Generator().manual_seed(base)
        rows, steps = write_wave(model, shared, rules, stories, generator)
        kept = [row for row in rows if rules.whole(row.text)]
        lines = []
        for row in kept:
            rules.learn(row.text)
            tokens = len(row.history)
            story = {"seed": row.story.seed, "plot": row.story.plot, "tokens": tokens, "written": row.written}
            lines.append(json.dumps({**story, "text": row.text}))
        partial = path.with_suffix(".part")
        partial.write_text("".join(line + "\n" for line in lines))
        partial.rename(path)
        total, written = sum(len(row.history) for row in kept), sum(row.written for row in kept)
        seconds, busy = time.time() - start, time.process_time() - cpu
        print(
            f"wave {wave}: {len(kept)}/{len(stories)} stories, {total} tokens ({written} the model's), {steps} fed, "
            f"{seconds:.0f} s ({busy:.0f} s CPU): {steps / busy:.0f} fed/s, {total / busy:.0f} kept/s of CPU",
            flush=True,
        )
        for row in kept[: options.print]:
            print("*", row.story.plot, "|", row.text, flush=True)


main()
