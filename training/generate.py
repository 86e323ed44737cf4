"""Writes the story corpus: plots and tables make it, SmolLM2-135M-Instruct embellishes it, many stories side by side.

usage: generate.py [MODEL.gguf] [--out DIR] [--waves N] [--first WAVE] [--rows B] [--threads N] [--seed S] [--print N]
       generate.py --plain N [--out DIR] [--seed S] [--print N]   N stories without embellishments; needs no model

MODEL.gguf is what `node scripts/fetch-smollm2.mjs` fetches. Wave W writes DIR/wave-SEED-W.jsonl once it is complete, so
that the same command goes on where it was stopped, at any time and in any way; processes of different seeds may share
DIR. Plain stories go to DIR/plain-SEED.jsonl. Seed 0 is to be held out: make its stories first, the plain ones last,
and no story of another seed shares eight words of a sentence with them.
"""

import argparse
import hashlib
import json
import os
import re
import time
from collections import Counter
from pathlib import Path

import torch

from sentences import NOT_IN_TEXT, Seen, Sentences, sentences
from smollm2 import Cache, SmolLM2
from stories import PLOTS, TABLES, Story, make_story

LIMIT = 480  # columns of a wave: the longest story and its prompt, with the sentences taken back
TRIES = 7  # of one sentence
SEEDS = 10_000_000  # of one corpus are for filled stories, the next ones for plain stories
SAMPLE = 120  # stories of a plot to see what it often says
TEMPERATURE, TOP_P, MIN_P, TOP_K = 0.6, 0.92, 0.04, 64
# What a token, and the mean token of a sentence, must have as log-probability before names and moods are ruled out.
LEAST, MEAN = -4.5, -1.6


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
        self.queue: list[int] = model.tokenizer.encode(story.prompt).ids
        self.prompt = len(self.queue)
        self.history: list[int] = []
        self.beats, self.segments = list(story.beats), []
        self.segment = None
        self.tries = self.written = self.lost = 0
        self.before: tuple | None = None  # the state in front of the embellishment at work
        self.state = "set"  # set: tokens of the tables; free: the model's; done

    def next_segment(self) -> None:
        if not self.segments:
            if not any(beat.extra for beat in self.beats):
                # Nothing more to write: the rest need not be fed.
                self.text = " ".join([self.text, *(beat.segments[0].text for beat in self.beats)]).strip()
                self.state = "done"
                return
            beat = self.beats.pop(0)
            self.segments, self.segment = list(beat.segments), None
            self.before = (self.text, len(self.history), self.written) if beat.extra else None
        spoke = self.segment is not None and self.segment.speech
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

    def fed(self, token: int) -> None:
        """A set token is on its way to the model."""
        if self.prompt:
            self.prompt -= 1
        else:
            self.history.append(token)
        if not self.queue:
            self.next_segment()

    def lose(self) -> int:
        """Leaves out the embellishment at work; returns how many of its tokens were in the text."""
        text, fed, self.written = self.before
        taken = len(self.history) - fed
        self.text, self.history = text, self.history[:fed]
        self.segments, self.sentence = [], []
        self.lost += 1
        self.next_segment()
        return taken

    def finish(self) -> None:
        """Nothing more is written; the text that is set stays."""
        if self.state != "done" and self.prompt == 0 and self.segment is not None:
            if self.before:
                self.text = self.before[0]
            rest = [beat.segments[0].text for beat in self.beats if not beat.extra]
            self.text, self.state = " ".join([self.text, *rest]).strip(), "done"

    def chosen(self, token: int, score: float) -> str:
        """Takes the model's token: 'on', 'kept' (the sentence ended and is good) or 'back' (it is not)."""
        self.sentence.append(token)
        self.scores = [score] if len(self.sentence) == 1 else [*self.scores, score]
        piece = self.model.tokenizer.decode([token])
        if score < LEAST:
            return "back"
        if piece[-1] not in ".!?":
            longest = self.rules.longest_said if self.segment.speech else self.rules.longest
            return "on" if len(self.sentence) < longest else "back"
        said = self.model.tokenizer.decode(self.sentence)
        if sum(self.scores) < MEAN * len(self.scores):
            return "back"
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
    """Returns the stories' rows, and how many tokens were fed for all of them."""
    count, device = len(stories), model.device
    cache = Cache(model, count, LIMIT, shared)
    states = torch.zeros(count, 1, model.width, device=device, dtype=model.dtype)
    place = [shared.length] * count
    rows = [Row(story, model, rules) for story in stories]
    bans = torch.stack([rules.bans(story) for story in stories])
    used = torch.zeros(count, len(model.allowed))
    saved: dict[int, torch.Tensor] = {}
    started: dict[int, int] = {}  # the column where a row's embellishment begins
    back: set[int] = set()
    results, steps = [], 0
    for _ in range(LIMIT):
        free = [i for i, row in enumerate(rows) if row.state == "free"]
        picks: dict[int, tuple[int, float]] = {}
        if free:
            logits = model.logits(states[free, 0]).cpu()
            for r, i in enumerate(free):
                if i in back:
                    logits[r] = saved[i]
                elif not rows[i].sentence:
                    saved[i] = logits[r].clone()
            scores = logits.log_softmax(-1)
            places = [rules.place(r.segment, r.text, r.after, len(r.sentence)) for r in (rows[i] for i in free)]
            kinds, ends, moods = zip(*places)
            picked = logits + bans[free] - rules.hush * used[free]
            picked += rules.kinds[list(kinds)] + rules.ends[list(ends)] + rules.moods[list(moods)]
            picked[:, rules.stops] += torch.tensor([rules.ending(len(rows[i].sentence)) for i in free])[:, None]
            for r, row in enumerate(rows[i] for i in free):
                if row.banned and (row.segment.speech or not row.sentence):
                    picked[r, row.banned] = NOT_IN_TEXT
            rules.block_repeats(picked, [rows[i].history + rows[i].sentence for i in free])
            best = pick(picked, generator)
            values = scores.gather(-1, best[:, None])[:, 0].tolist()
            picks = dict(zip(free, zip(model.allowed.cpu()[best].tolist(), values)))
        tokens = [0] * len(rows)
        for i, row in enumerate(rows):
            hide = row.state == "done"
            if row.state == "set":
                if row.before and len(row.history) == row.before[1]:
                    started[i] = cache.length
                tokens[i] = row.queue.pop(0)
                row.fed(tokens[i])
            elif row.state == "free":
                back.discard(i)
                outcome = row.chosen(*picks[i])
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
                        # So are those of the whole embellishment.
                        back.discard(i)
                        cache.hidden[i, started[i] : cache.length] = -1e9
                        place[i] -= row.lose()
            if hide:
                cache.hidden[i, cache.length] = -1e9
            else:
                place[i] += 1
        steps += len(rows)
        living = [i for i, row in enumerate(rows) if row.state != "done"]
        if not living:
            break
        if len(living) <= len(rows) * 7 // 8:
            results += [row for row in rows if row.state == "done"]
            keep = torch.tensor(living)
            cache.keep(keep.to(device))
            bans, used = bans[keep], used[keep]
            renamed = {old: new for new, old in enumerate(living)}
            saved = {renamed[i]: s for i, s in saved.items() if i in renamed}
            started = {renamed[i]: s for i, s in started.items() if i in renamed}
            back = {renamed[i] for i in back if i in renamed}
            place, rows, tokens = ([values[i] for i in living] for values in (place, rows, tokens))
        fed_at = [p - (0 if cache.hidden[i, cache.length] < 0 else 1) for i, p in enumerate(place)]
        states = model.forward(
            torch.tensor(tokens, device=device)[:, None], torch.tensor(fed_at, device=device)[:, None], cache
        )
    for row in rows:
        row.finish()
    return results + rows, steps


def version() -> str:
    """Of the tables and rules that decide what a seed becomes: other tables or rules go into another folder."""
    here = Path(__file__).parent
    names = ("tables.json", "words.txt", "stories.py", "sentences.py", "generate.py")
    paths = sorted((here / "plots").glob("*.txt")) + [here / name for name in names]
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()[:8]


def write_lines(path: Path, stories: list[dict]) -> None:
    partial = path.with_suffix(".part")
    partial.write_text("".join(json.dumps(story) + "\n" for story in stories))
    partial.rename(path)


def learn(seen: Seen, out: Path, pattern: str) -> None:
    for path in sorted(out.glob(pattern)):
        for line in path.read_text().splitlines():
            seen.learn(json.loads(line)["text"])


def held_out(options: argparse.Namespace) -> Seen:
    """Eight words that no new story may have: those of the held-out stories; for these, those a plot often has."""
    held = Seen(sentences)
    if options.seed:
        learn(held, options.out, "wave-0-*.jsonl")
        learn(held, options.out, "plain-0.jsonl")
        return held
    for plot in PLOTS.values():
        texts = (make_story(seed, plot=plot).plain() for seed in range(SAMPLE))
        often = Counter(gram for text in texts for gram in set(held.of(text)))
        held.grams |= {gram for gram, count in often.items() if count >= SAMPLE // 24}
    return held


def write_plain(options: argparse.Namespace) -> None:
    start, seen, held, stories, words, doubles = time.time(), Seen(sentences), held_out(options), [], 0, 0
    if options.seed == 0:
        learn(seen, options.out, "wave-0-*.jsonl")
    known = seen.total
    stale = lambda text: held.stale(text) or seen.stale(text)
    seed = options.seed * 1_000_000_000 + SEEDS
    while len(stories) < options.plain:
        seed += 1
        story = make_story(seed, stale)
        text = story.plain()
        if (stale if options.seed == 0 else held.stale)(text):
            continue
        doubles += seen.learn(text)
        words += len(text.split())
        stories.append({"seed": seed, "plot": story.plot, "written": 0, "text": text})
    write_lines(options.out / f"plain-{options.seed}.jsonl", stories)
    print(
        f"{len(stories)} plain stories, {words} words, {time.time() - start:.1f} s; "
        f"of {seen.total - known} 8-grams {100 * doubles / (seen.total - known):.2f} % not new"
    )
    for story in stories[: options.print]:
        print("*", story["plot"], "|", story["text"])


def write_filled(options: argparse.Namespace) -> None:
    if not options.model.exists():
        raise SystemExit(f"generate: no {options.model}; node scripts/fetch-smollm2.mjs fetches it")
    torch.set_num_threads(options.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = SmolLM2(options.model, options.rows, device)
    rules = Sentences(model.tokenizer)
    model.allow(rules.allowed)
    # The two stories of the prompt are not to be told again.
    rules.seen.learn(TABLES["system"])
    rules.held = held_out(options)
    head = model.tokenizer.encode(TABLES["system"]).ids
    shared = Cache(model, 1, len(head))
    with torch.inference_mode():
        model.forward(torch.tensor([head], device=device), torch.arange(len(head), device=device)[None], shared)
    for wave in range(options.first, options.first + options.waves):
        path = options.out / f"wave-{options.seed}-{wave:05d}.jsonl"
        if path.exists():
            learn(rules.seen, options.out, path.name)
            continue
        start, cpu = time.time(), time.process_time()
        rules.wave = Seen()
        base = options.seed * 1_000_000_000 + wave * options.rows * 4
        stories = []
        for seed in range(base, base + options.rows * 4):
            story = make_story(seed, rules.stale)
            if not (rules.stale if options.seed == 0 else rules.held.stale)(story.plain()):
                rules.wave.learn(story.plain())
                stories.append(story)
            if len(stories) == options.rows:
                break
        generator = torch.Generator().manual_seed(base)
        rows, steps = write_wave(model, shared, rules, stories, generator)
        kept = [row for row in rows if row.state == "done" and rules.whole(row.text) and not rules.held.stale(row.text)]
        lines, total, grams, doubles = [], 0, -rules.seen.total, 0
        for row in kept:
            doubles += rules.seen.learn(row.text)
            tokens = len(model.tokenizer.encode(row.text).ids)
            total += tokens
            story = {"seed": row.story.seed, "plot": row.story.plot, "tokens": tokens, "written": row.written}
            lines.append({**story, "text": row.text})
        grams += rules.seen.total
        write_lines(path, lines)
        written, lost = sum(row.written for row in kept), sum(row.lost for row in kept)
        seconds, busy = time.time() - start, time.process_time() - cpu
        print(
            f"wave {wave}: {len(kept)}/{len(stories)} stories, {total} tokens ({written} the model's), {lost} lines "
            f"left out, 8-grams not new {100 * doubles / grams:.2f} %, {steps} fed, {seconds:.0f} s "
            f"({busy:.0f} s CPU): {steps / busy:.0f} fed/s, {total / busy:.0f} kept/s of CPU",
            flush=True,
        )
        for row in kept[: options.print]:
            print("*", row.story.plot, "|", row.text, flush=True)


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
    parser.add_argument("--plain", type=int, default=0, help="so many stories without embellishments, and no model")
    parser.add_argument("--print", type=int, default=0, help="so many stories of each wave, unedited")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    (write_plain if options.plain else write_filled)(options)


if __name__ == "__main__":
    main()
