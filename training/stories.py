"""Seeds into stories-to-be: plots with their slots filled from the tables, as beats of set text and places to write.

plots/*.txt hold plots, one after another: `# name`, a line that says what it is about (the model's prompt), `@ list =
a|b|c` lines for lists of its own, then beats, one a line. `[a|b]` is a choice and `{slot}` a filling; {athing} has its
article, {thing2} is another item, {Thing} a capital. In front of a line `? ` means in half of the stories, `| ` one of
the block of such lines (an empty line parts two blocks), `+ ` an embellishment: a line in which the model writes from
each `~` to the end of the sentence (`~-` without glad words, `~+` without sad ones). A story is whole without any of
these. @opening and @ending stand for a common one.

usage: stories.py --check [N] [FILE …]   expands every plot N times and reports what is wrong
       stories.py --print N [PLOT]       N stories without embellishments
"""

import json
import random
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
TABLES = json.loads((HERE / "tables.json").read_text())
SOUND_A = ("one", "once", "uni", "use", "usu", "eu", "uke")  # words that begin with a vowel and do not sound so
SOUND_AN = ("hour", "honest", "heir")  # and the other way round
PRONOUNS = {"f": ("she", "her", "her", "herself"), "m": ("he", "his", "him", "himself")}
CHOICE = re.compile(r"\[([^\[\]]*)\]")
ONCE = re.compile(rf"\b({'|'.join([*TABLES['lists']['color'], *TABLES['lists']['size']])}) \1\b")
NAMES = {gender: names.split() for gender, names in TABLES["names"].items()}
EXTRAS = 0.7  # the share of embellishments that a filled story gets
MADE_UP = 0.15  # of the names: whoever reads them can only copy them
DRAWS = 8  # of a line, before one whose words were seen is taken all the same


@dataclass
class Line:
    text: str
    half: bool = False
    extra: bool = False


@dataclass
class Plot:
    name: str
    about: str
    lists: dict[str, list[str]]
    blocks: list[list[Line]]  # of each block one line is taken
    file: str = ""


def read_plots(path: Path) -> dict[str, Plot]:
    plots: dict[str, Plot] = {}
    plot, joined = None, False
    for text in path.read_text().splitlines():
        text = text.strip()
        if text.startswith("# "):
            plot = plots[text[2:]] = Plot(text[2:], "", {}, [], path.name)
        elif text.startswith("@ "):
            name, _, items = text[2:].partition("=")
            plot.lists[name.strip()] = [item.strip() for item in items.split("|")]
        elif text and not plot.about and path.name != "common.txt":
            plot.about = text
        elif text:
            marks = re.match(r"(?:[?+|] )*", text)[0]
            line = Line(text[len(marks) :].strip(), "?" in marks, "+" in marks)
            if "|" in marks and joined:
                plot.blocks[-1].append(line)
            else:
                plot.blocks.append([line])
            joined = "|" in marks
            continue
        joined = False
    return plots


COMMON = {name: [block[0].text for block in p.blocks] for name, p in read_plots(HERE / "plots/common.txt").items()}
PLOTS: dict[str, Plot] = {}
for file in sorted((HERE / "plots").glob("*.txt")):
    if file.name != "common.txt":
        PLOTS.update(read_plots(file))


@dataclass
class Segment:
    """A text that is set, or (`text` None) a place where the model writes up to the end of a sentence."""

    text: str | None
    speech: bool = False
    mood: str = ""


@dataclass
class Beat:
    segments: list[Segment]
    extra: bool


@dataclass
class Story:
    seed: int
    plot: str
    prompt: str
    names: list[str]
    kinds: dict[str, str]  # a name to what it is
    beats: list[Beat]
    words: set[str]

    def plain(self) -> str:
        return " ".join(beat.segments[0].text for beat in self.beats if not beat.extra)


def article(noun: str) -> str:
    vowel = noun.lower().startswith(SOUND_AN) or (noun[0] in "aeiouAEIOU" and not noun.lower().startswith(SOUND_A))
    return ("an " if vowel else "a ") + noun


def made_up(choose: random.Random) -> str:
    """A name of two or three syllables that no table has."""
    onsets, vowels, ends = "b d f g k l m n p r s t v z br dr fl gr kl pl tr sh".split(), "aeiou", "n l r s x".split()
    name = "".join(choose.choice(onsets) + choose.choice(vowels) for _ in range(choose.choice((2, 2, 3))))
    return (name + choose.choice(["", "", *ends])).capitalize()


class Slots:
    """The fillings of one story; forms of a slot ({athing}, {Thing}) are made when they are asked for."""

    def __init__(self, choose: random.Random, lists: dict[str, list[str]]):
        self.names: list[str] = []
        self.values: dict[str, str] = {}
        hero = self.person(choose, "N", "", TABLES["heroes"])
        friend = self.person(choose, "F", "f", TABLES["friends"])
        while friend == hero and hero not in ("girl", "boy"):
            friend = self.kind(choose, self.values["fhe"], TABLES["friends"])
        self.values |= {"kind": hero, "fkind": friend}
        self.kinds = dict(zip(self.names, (hero, friend)))
        for table, items in {**TABLES["lists"], **lists}.items():
            both = choose.sample(items, 2) if len(items) > 1 else items * 2
            self.values[table], self.values[table + "2"] = both

    def person(self, choose: random.Random, slot: str, prefix: str, kinds: str) -> str:
        """A child or an animal: its name and pronouns; returns what it is."""
        gender = choose.choice("fm")
        made = choose.random() < MADE_UP
        self.values[slot] = made_up(choose) if made else choose.choice([n for n in NAMES[gender] if n not in self.names])
        self.names.append(self.values[slot])
        for key, word in zip(("he", "his", "him", "self"), PRONOUNS[gender]):
            self.values[prefix + key] = word
        return self.kind(choose, PRONOUNS[gender][0], kinds)

    def kind(self, choose: random.Random, he: str, kinds: str) -> str:
        kind = choose.choice(kinds.split())
        return kind if kind != "child" else "girl" if he == "she" else "boy"

    def __getitem__(self, slot: str) -> str:
        if slot in self.values:
            return self.values[slot]
        if slot[0].isupper():
            text = self[slot[0].lower() + slot[1:]]
            return text[0].upper() + text[1:]
        if slot[0] == "a" and slot[1:] in self.values:
            return article(self.values[slot[1:]])
        raise KeyError(slot)


def expand(text: str, choose: random.Random, slots: Slots) -> str:
    while match := CHOICE.search(text):
        text = text[: match.start()] + choose.choice(match[1].split("|")) + text[match.end() :]
    # An item of a plot's own list may hold slots itself.
    while "{" in text:
        text = re.sub(r"\{(\w+)\}", lambda m: slots[m[1]], text)
    text = re.sub(r" {2,}", " ", text).strip()
    # "a {color}" of something orange, "a {size} {animal}" of a small little bird.
    text = re.sub(r"\b([Aa]) (\w+)", lambda m: m[1] + article(m[2])[1:], text)
    return ONCE.sub(r"\1", text)


def segments_of(text: str) -> list[Segment]:
    """`text` parted at the places where the model writes."""
    segments: list[Segment] = []
    for piece in re.split(r"(~[+-]?\"?)", text):
        if piece.startswith("~"):
            segments.append(Segment(None, piece.endswith('"'), piece[1:].rstrip('"')))
        elif segments and segments[-1].speech:
            # The closing quote is the table's: the model's sentence ends before it.
            segments.append(Segment('"' + piece.rstrip()))
        elif piece.strip():
            segments.append(Segment(piece.strip()))
    return segments


def make_story(seed: int, stale: Callable[[str], bool] = lambda text: False, plot: Plot | None = None) -> Story:
    """The same story-to-be for the same seed, but that a line whose text is `stale` is drawn again."""
    choose = random.Random(seed)
    plot = plot or PLOTS[choose.choice(sorted(PLOTS))]
    slots = Slots(choose, plot.lists)
    # A `?` or a `+` in front of its first line is a block's.
    blocks = [b for b in plot.blocks if choose.random() < (EXTRAS if b[0].extra else 0.5 if b[0].half else 1)]
    # Nobody comes in at the end who was not there before.
    met = any("{F}" in line.text for block in blocks for line in block if not line.extra)
    beats = []
    for block in blocks:
        common = COMMON.get(block[0].text[1:] + "s", [])
        options = [Line(text) for text in common if met or "{F}" not in text] or block
        for _ in range(DRAWS):
            line = choose.choice(options)
            text = expand(line.text, choose, slots)
            if not stale(text):
                break
        else:
            if line.half:
                continue
        beats.append(Beat(segments_of(text) if line.extra else [Segment(text)], line.extra))
    about = expand(plot.about, choose, slots)
    text = " ".join(s.text for beat in beats for s in beat.segments if s.text)
    words = set(re.findall(r"[a-z]+", (text + " " + about).lower()))
    prompt = TABLES["prompt"].replace("{about}", about)
    return Story(seed, plot.name, prompt, slots.names, slots.kinds, beats, words)


def main() -> None:
    if sys.argv[1:2] == ["--print"]:
        plot = PLOTS[sys.argv[3]] if len(sys.argv) > 3 else None
        for seed in range(int(sys.argv[2])):
            story = make_story(seed, plot=plot)
            print(f"* {story.plot} | {story.plain()}\n")
    elif sys.argv[1:2] == ["--check"]:
        import check

        numbers = [int(a) for a in sys.argv[2:] if a.isdigit()]
        files = [Path(a).name for a in sys.argv[2:] if not a.isdigit()]
        sys.exit(check.check(numbers[0] if numbers else 200, files))
    else:
        raise SystemExit(__doc__)


if __name__ == "__main__":
    main()
