"""Expands every plot many times and reports what is wrong with the texts; `stories.py --check` runs it."""

import random
import re

from stories import CHOICE, COMMON, PLOTS, Line, Plot, Slots, article, expand, make_story

LONGEST = 280  # words of a story
RUN = 8  # words of one sentence that must not all be fixed
CHOSEN = "\x01"  # in front of a word that a choice or a slot put there
DOUBLED_FINE = {"very", "no", "knock", "ha", "tick", "beep", "quack", "had", "that", "hop", "tap", "drip", "yes", "moo"}
SAYS = re.compile(r"^(?:[a-z]+|[A-Z][a-z]+)\b")


def faults(text: str, whole: bool) -> list[str]:
    """What is wrong with an expanded line (`whole`: it holds no place to write)."""
    found = []
    if not text.isascii():
        found.append("non-ASCII")
    if text.count('"') % 2:
        found.append("unbalanced quotes")
    if re.search(r"[\[\]{}|@#*_]", text):
        found.append("a bracket or mark left")
    if re.search(r"\d", text):
        found.append("digits")
    if "~" in text and whole:
        found.append("~ outside a + line")
    if re.search(r"\s[.,!?;:]", text) or re.search(r"[.,!?][.,]|,[!?]", text.replace("...", "")):
        found.append("punctuation")
    for said, word in re.findall(r"\b([Aa]n?) (\w+)", text):
        if article(word) != f"{said.lower()} {word}":
            found.append(f"{said} {word}")
    if match := re.search(r"\b(?:a|an|the) (?:a|an|the|his|her) \w+", text):
        found.append(match[0])
    for match in re.finditer(r"\b(\w+) \1\b", text, re.I):
        if match[1].lower() not in DOUBLED_FINE:
            found.append(f"doubled: {match[0]}")
    if match := re.search(r"[.!?] [a-z]\w*", text):
        found.append(f"no capital: {match[0]}")
    if match := re.search(r'\." [a-z]\w*', text):
        found.append(f"full stop in front of {match[0]}")
    if not re.match(r'"?[A-Z]|"~', text):
        found.append("no capital at the start")
    if whole and not re.search(r'[.!?]"?$', text):
        found.append("no end of a sentence")
    for i, piece in enumerate(text.split('"')):
        if i % 2 and not re.match(r"[A-Z~]", piece) and not re.search(r", $", text.split('"')[i - 1]):
            found.append(f"no capital in speech: {piece[:20]}")
        if i % 2 and not re.search(r"(?:[.,!?]|~[+-]?)$", piece):
            found.append(f"speech without an end: {piece[-20:]}")
        if i % 2 and piece.endswith(",") and not SAYS.match(text.split('"')[i + 1].strip()):
            found.append(f"nobody says: {piece[-20:]}")
    return found


def marked(text: str, choose: random.Random, slots: Slots) -> str:
    """The expanded text with `CHOSEN` in front of each word that is not fixed."""
    mark = lambda words: " ".join(CHOSEN + word if word else word for word in words.split(" ")) or CHOSEN
    while match := CHOICE.search(text):
        text = text[: match.start()] + mark(choose.choice(match[1].split("|"))) + text[match.end() :]
    while "{" in text:
        text = re.sub(r"\{(\w+)\}", lambda m: mark(slots[m[1]]), text)
    return text


def fixed_run(text: str) -> str | None:
    for piece in re.split(r'[.!?"]', text):
        words = piece.split()
        for i in range(len(words) - RUN + 1):
            run = words[i : i + RUN]
            if not any(CHOSEN in word for word in run):
                return " ".join(run)
    return None


def check_line(line: Line, plot: Plot, count: int) -> set[str]:
    found: set[str] = set()
    places = re.findall(r'(?:^|(.))~[+-]?(.|$)', line.text)
    if line.extra != bool(places):
        found.add("a + line has a ~, and only a + line")
    if any(before not in (" ", '"') or after not in (" ", '"', "") for before, after in places):
        found.add("~ not after a start, or not at the end")
    if line.text.count("[") != line.text.count("]") or line.text.count("{") != line.text.count("}"):
        found.add("unbalanced brackets")
    for seed in range(count):
        choose = random.Random(seed)
        slots = Slots(choose, plot.lists)
        try:
            text = marked(line.text, choose, slots)
        except KeyError as slot:
            return found | {f"unknown slot {slot}"}
        if run := fixed_run(text):
            found.add(f"fixed: {run}")
        text = expand(line.text, choose, slots)
        found |= {f"{fault} in: {text}" for fault in faults(text, not line.extra)}
    return found


def check(count: int, files: list[str]) -> int:
    """Reports on the plots of `files` (all, if there are none); returns how many faults there are."""
    total = 0
    common = [Plot(f"common {kind}", "", {}, [[Line(text)] for text in texts]) for kind, texts in COMMON.items()]
    for plot in [*common, *PLOTS.values()]:
        if files and plot.file not in files:
            continue
        found: dict[str, str] = {}
        for line in (line for block in plot.blocks for line in block):
            if line.half and not any(block[0] is line or block[0].half for block in plot.blocks if line in block):
                found[line.text] = f"? not at the first line of a block: {line.text}"
            if not line.text.startswith("@"):
                # One example of each fault of a line.
                for fault in sorted(check_line(line, plot, count)):
                    found.setdefault(line.text + fault.split(" in: ")[0], fault)
            elif line.text not in ("@opening", "@ending"):
                found[line.text] = f"what is {line.text}?"
        sizes, firsts = [], set()
        if plot.about and not found:
            for seed in range(count):
                story = make_story(seed, plot=plot)
                sizes.append(len(story.plain().split()))
                firsts.add(story.plain())
                if "{" in story.prompt or "[" in story.prompt:
                    found["about"] = story.prompt
            if min(sizes) < 60 or max(sizes) > LONGEST:
                found["size"] = f"{min(sizes)} to {max(sizes)} words"
            if len(firsts) < count:
                found["same"] = f"{len(firsts)} texts in {count}"
        extras = sum(line.extra for block in plot.blocks for line in block)
        if plot.about:
            size = f"{min(sizes)}-{max(sizes)} words" if sizes else ""
            print(f"{plot.file}: {plot.name}: {len(plot.blocks)} blocks, {extras} extras {size}")
        for fault in found.values():
            print(f"  {plot.name}: {fault}")
        total += len(found)
    print(f"{len(PLOTS)} plots, {total} faults")
    return min(total, 1)
