"""Seeds into stories-to-be: the tables' plots with their slots filled, as a prompt and the segments of the text.

A plot's lines are beats. In a line `[a|b]` is a choice, `{slot}` a filling, and `~` the place where the model writes to
the end of the sentence; `~"` the same inside speech; `~-` without glad words, `~+` without sad ones. A line that starts
with `?` comes in half of the stories. @opening and @ending stand for one of the common ones.
"""

import json
import random
import re
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
TABLES = json.loads((HERE / "tables.json").read_text())
PRONOUNS = {"f": ("she", "her", "her", "herself"), "m": ("he", "his", "him", "himself")}
CHOICE = re.compile(r"\[([^\[\]]*)\]")


def read_plots() -> dict[str, list[str]]:
    plots: dict[str, list[str]] = {}
    for line in (HERE / "plots.txt").read_text().splitlines():
        if line.startswith("# "):
            plots[line[2:]] = []
        elif line.strip():
            plots[next(reversed(plots))].append(line)
    return plots


PLOTS = read_plots()
ENDINGS = PLOTS.pop("endings")
OPENINGS = PLOTS.pop("openings")
NAMES = {gender: names.split() for gender, names in TABLES["names"].items()}


@dataclass
class Segment:
    """A text that is set, or (`text` None) a place where the model writes up to the end of a sentence."""

    text: str | None
    speech: bool = False
    mood: str = ""


@dataclass
class Story:
    seed: int
    plot: str
    prompt: str
    names: list[str]
    kinds: dict[str, str]  # a name to what it is
    segments: list[Segment]
    words: set[str]


def article(noun: str) -> str:
    return ("an " if noun[0] in "aeiou" else "a ") + noun


def person(choose: random.Random, taken: list[str], kinds: str) -> dict[str, str]:
    """A child or an animal: its name, what it is, its pronouns."""
    gender = choose.choice("fm")
    name = choose.choice([n for n in NAMES[gender] if n not in taken])
    taken.append(name)
    kind = choose.choice(TABLES[kinds].split())
    if kind == "child":
        kind = "girl" if gender == "f" else "boy"
    subject, possessive, object_, self_ = PRONOUNS[gender]
    return {"name": name, "kind": kind, "he": subject, "his": possessive, "him": object_, "self": self_}


def fillings(choose: random.Random) -> tuple[dict[str, str], list[str]]:
    taken: list[str] = []
    hero, friend = person(choose, taken, "heroes"), person(choose, taken, "friends")
    while friend["kind"] == hero["kind"] and hero["kind"] not in ("girl", "boy"):
        kind = choose.choice(TABLES["friends"].split())
        friend["kind"] = kind.replace("child", "girl" if friend["he"] == "she" else "boy")
    slots = {"N": hero["name"], "F": friend["name"], "kind": hero["kind"], "fkind": friend["kind"]}
    for key in ("he", "his", "him", "self"):
        slots[key], slots["f" + key] = hero[key], friend[key]
        slots[key.capitalize()], slots["F" + key] = hero[key].capitalize(), friend[key].capitalize()
    for table in TABLES["lists"]:
        items = choose.sample(TABLES["lists"][table], 2)
        slots[table], slots[table + "2"] = items
    for table in ("thing", "toy", "food", "gift", "animal"):
        for suffix in ("", "2"):
            slots["a" + table + suffix] = article(slots[table + suffix])
            slots["A" + table + suffix] = article(slots[table + suffix]).capitalize()
    for key in ("kind", "fkind"):
        slots["a" + key] = article(slots[key])
    return slots, taken


def expand(text: str, choose: random.Random, slots: dict[str, str]) -> str:
    while match := CHOICE.search(text):
        text = text[: match.start()] + choose.choice(match[1].split("|")) + text[match.end() :]
    return re.sub(r"\{(\w+)\}", lambda m: slots[m[1]], text)


def make_story(seed: int) -> Story:
    """The same story-to-be for the same seed, whatever was made before."""
    choose = random.Random(seed)
    plot = choose.choice(sorted(PLOTS))
    slots, names = fillings(choose)
    about, *lines = PLOTS[plot]
    lines = [line.lstrip("? ") for line in lines if not (line.startswith("?") and choose.random() < 0.5)]
    if lines[0] == "@opening":
        lines[0] = choose.choice(OPENINGS)
    if lines[-1] == "@ending":
        # Nobody comes in at the end who was not there before.
        alone = not any("{F}" in line for line in lines)
        lines[-1] = choose.choice([line for line in ENDINGS if not (alone and "{F}" in line)])
    text = " ".join(expand(line, choose, slots) for line in lines)
    about = expand(about, choose, slots)
    segments: list[Segment] = []
    for piece in re.split(r"(~[+-]?\"?)", text):
        if piece.startswith("~"):
            segments.append(Segment(None, piece.endswith('"'), piece[1:].rstrip('"')))
        elif segments and segments[-1].speech:
            # The closing quote is the table's: the model's sentence ends before it.
            segments.append(Segment('"' + piece.rstrip()))
        elif piece.strip():
            segments.append(Segment(piece.strip()))
    kinds = {slots["N"]: slots["kind"], slots["F"]: slots["fkind"]}
    words = set(re.findall(r"[a-z]+", (text + " " + about).lower()))
    return Story(seed, plot, TABLES["prompt"].replace("{about}", about), names, kinds, segments, words)
