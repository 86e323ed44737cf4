"""Which tokens the model may write, and which of its sentences and stories are kept."""

import re
from collections.abc import Callable
from pathlib import Path

import torch
from tokenizers import Tokenizer

from stories import NAMES, PLOTS, TABLES, Segment, Story

NOT_IN_TEXT = -1e9
ASKED = re.compile(r'"( \w+)? asked')
SAID = re.compile(r'" (\w+ )?(said|cried|called)|" the')
SPEAKER = re.compile(r'^" (?:said|asked|cried|called) (\w+)')
SPOKE = re.compile(r'(?:said|asked|cried|called) (\w+)(?: the \w+)?\. "$')
MARKS = [".", "!", "?", ",", "'s", "'t", "'m", "'ll", "'re", "'ve", "'d"]
# Narration stays in the third person.
NARRATION_NEVER = "said say says saying asked ask replied reply answered explained yelled named called".split()
SAD = set(
    "sad upset worried lonely angry scared nervous afraid cried cry crying lost alone tears broke broken bad never "
    "tired hurt".split()
)
GLAD = set(
    "happy glad proud excited cheerful fun laughed laughing smiled smiling smile love loved enjoyed wonderful great "
    "happily".split()
)
FEELINGS = SAD | GLAD | {"surprised", "felt", "feel", "again", "both", "best", "good", "together", "believe"}
# What the model says too often, and how much less likely that is made.
OVERUSED = {"special": 1.5, "big": 1.0, "looked": 1.0, "very": 0.7, "happy": 0.5, "little": 0.5, "always": 0.4}
SPEECH_ONLY = set(
    "i you we me us my your our mine yours ours myself yourself hello hi goodbye bye oh wow hey please thanks".split()
)
# Words that may come often.
FUNCTION = set(
    "that this with from have they them their then there when what were been would could will into your said about "
    "very just like some him her she the and was his for but not you are had has can all one out too who "
    "its did made".split()
)


def forms(kind: str, word: str) -> list[str]:
    """A word and its regular forms; what is no word falls out, because it is no single token."""
    vowel = word[-1] in "aeiou"
    out = [word]
    if kind in ("verbs", "nouns"):
        hiss = word.endswith(("s", "x", "z", "ch", "sh"))
        out.append(word[:-1] + "ies" if word[-1] == "y" and word[-2] not in "aeiou" else word + ("es" if hiss else "s"))
    if kind == "verbs":
        stem = word[:-1] if word[-1] == "e" else word
        out += [stem + "ed", stem + "ing"]
        if word[-1] == "y" and word[-2] not in "aeiou":
            out.append(word[:-1] + "ied")
        if not vowel and len(word) > 2 and word[-2] in "aeiou" and word[-3] not in "aeiou":
            out += [word + word[-1] + "ed", word + word[-1] + "ing"]
    if kind == "adjectives":
        stem = word[:-1] if word[-1] == "e" else word[:-1] + "i" if word[-1] == "y" else word
        out += [stem + "er", stem + "est"]
    return out


def read_words() -> set[str]:
    words: set[str] = set()
    kind = ""
    for line in (Path(__file__).parent / "words.txt").read_text().splitlines():
        if line.startswith("# "):
            kind = line[2:]
        else:
            words.update(form for word in line.split() for form in forms(kind, word))
    return words


GRAM = 8  # words in a row that stories do not share where there is a choice
BREAKS = '.!?"'


def words_of(text: str) -> list[str]:
    return re.findall(r"[a-z']+", text.lower())


def fragments(text: str) -> list[list[str]]:
    """The words of each sentence; speech and what is around it are apart."""
    return [words_of(piece) for piece in re.split(r'[.!?"]', text)]


def sentences(text: str) -> list[list[str]]:
    """The words of each sentence; what is said and who says it are one (as corpus.py has it)."""
    return [words_of(piece) for piece in re.split(r"""(?<=[.!?])["']*\s+(?!["']?[a-z])""", text)]


def grams(words: list[str]) -> list[int]:
    return [hash(tuple(words[i : i + GRAM])) for i in range(len(words) - GRAM + 1)]


class Seen:
    """The 8-grams of texts."""

    def __init__(self, parts: Callable[[str], list[list[str]]] = fragments):
        self.grams: set[int] = set()
        self.total, self.parts = 0, parts

    def of(self, text: str) -> list[int]:
        return [gram for words in self.parts(text) for gram in grams(words)]

    def stale(self, text: str) -> bool:
        return any(gram in self.grams for gram in self.of(text))

    def learn(self, text: str) -> int:
        """Returns how many of the text's 8-grams were not new."""
        new = self.of(text)
        doubles = sum(gram in self.grams for gram in new)
        self.grams.update(new)
        self.total += len(new)
        return doubles


def plot_words() -> set[str]:
    lines = (line.text for plot in PLOTS.values() for block in plot.blocks for line in block)
    tables = (TABLES["lists"], *(plot.lists for plot in PLOTS.values()))
    lists = (item for table in tables for items in table.values() for item in items)
    return set(re.findall(r"\b[a-z]{3,}\b", re.sub(r"\{\w+\}", "", " ".join([*lines, *lists]))))


class Sentences:
    longest, longest_said = 22, 14  # tokens of a sentence in narration and in speech
    # Off the logits of an end for each token short of `early`, and on them for each past `late`.
    early, late, hold, urge = 5, 10, 0.4, 0.25
    near = 0.7  # on a content word of the story
    hush = 0.45  # off a word's logit for each time the model has used it in this story

    def __init__(self, tokenizer: Tokenizer):
        words = read_words()
        single = lambda text: ids[0] if len(ids := tokenizer.encode(text).ids) == 1 else None
        self.tokenizer = tokenizer
        # The grams of the stories kept so far, and of all of the wave at work.
        self.seen, self.wave, self.held = Seen(), Seen(), Seen(sentences)
        plain, starts, names = {}, {}, {}
        for word in sorted(words):
            if word != "i" and (token := single(" " + word)) is not None:
                plain[token] = word
            if (token := single(word.capitalize())) is not None:
                starts[token] = word
        plain[single(" I")] = "i"
        # Words that only plots have are for their stories.
        own = {token: word for word in plot_words() - words if (token := single(" " + word)) is not None}
        plain = {**own, **plain}
        for name in sorted({n for group in NAMES.values() for n in group} | {"Mom", "Dad", "Grandma", "Grandpa"}):
            if (token := single(" " + name)) is not None:
                names[token] = name
        marks = {single(mark): mark for mark in MARKS}
        self.allowed = sorted({*plain, *starts, *names, *marks})
        at = {token: i for i, token in enumerate(self.allowed)}

        def row(tokens) -> torch.Tensor:
            places = torch.tensor([at[t] for t in tokens], dtype=torch.long)
            return torch.zeros(len(at)).index_fill_(0, places, NOT_IN_TEXT)

        self.comma, self.the = single(","), single(" the")
        self.at, self.names = at, {at[t]: n for t, n in names.items()}
        only = [t for t, w in plain.items() if w in SPEECH_ONLY or w in NARRATION_NEVER]
        mark = lambda text: [t for t, m in marks.items() if m in text]
        middle = row(set(starts) - set(plain) - set(names))
        for token, word in plain.items():
            middle[at[token]] -= OVERUSED.get(word, 0)
        first = row(set(self.allowed) - set(starts))
        # By where a token stands: in narration, first in a speech, later in it.
        self.kinds = torch.stack([middle + row(only), first, middle])
        # How a sentence may end: not by a question mark, in any way, by a question mark only.
        self.ends = torch.stack([row(mark("?")), row([]), row(mark(".!"))])
        moods = {**plain, **starts}
        listed = lambda words: row([t for t, w in moods.items() if w in words])
        self.moods = torch.stack([row([]), listed(SAD), listed(GLAD)])
        self.stops = [at[t] for t in mark(".!?")]
        # Creatures and relatives, singular and plural, that must be in the story's tables to be in its sentences.
        nouns = set(TABLES["heroes"].split()) | set(TABLES["friends"].split()) | set(TABLES["lists"]["grown"])
        nouns |= {w.split()[-1] for w in TABLES["lists"]["animal"]}
        nouns |= set(
            "wolf tiger snake pirate king queen prince princess wizard giant monster fairy bunny deer donkey chicken "
            "mommy daddy sister brother baby cousin parents knight clown pet chick crab spider parrot".split()
        )
        nouns -= {"child"}
        nouns |= {"girl", "boy"}
        self.nouns = {at[t]: w for t, w in {**plain, **starts}.items() if w in nouns or w.rstrip("s") in nouns}
        self.nouns.update({at[t]: w for t, w in own.items()})
        self.content = {at[t]: w for t, w in plain.items() if len(w) > 2 and w not in FUNCTION}

    def bans(self, story: Story) -> torch.Tensor:
        """What a story adds to the logits [allowed]: names and creatures of other stories are out."""
        out = torch.zeros(len(self.at))
        for i, word in self.content.items():
            if word in story.words:
                out[i] = self.near
        for i, name in self.names.items():
            if name not in story.names and name.lower() not in story.words:
                out[i] = NOT_IN_TEXT
        for i, noun in self.nouns.items():
            # Heroes have names; "the robot" reads like somebody else.
            if noun in story.kinds.values() or noun not in story.words and noun.rstrip("s") not in story.words:
                out[i] = NOT_IN_TEXT
        return out

    def place(self, segment: Segment, before: str, after: str, written: int) -> tuple[int, int, int]:
        """Which of `kinds`, `ends` and `moods` hold for the next token of a sentence."""
        kind = 0 if not segment.speech else 1 if written == 0 and before.endswith('"') else 2
        end = 0 if not segment.speech else 2 if ASKED.match(after) else 0 if SAID.match(after) else 1
        return kind, end, ("", "+", "-").index(segment.mood)

    def out_of_place(self, segment: Segment, before: str, after: str) -> list[int]:
        """What may not come: one's own name in what one says; "the" at once after a name ("Tom the cow")."""
        if not segment.speech:
            return [self.at[self.the]] if re.search(r"[A-Z]\w+$", before) else []
        speaker = SPEAKER.search(after) or SPOKE.search(before)
        return [i for i, name in self.names.items() if speaker and name == speaker[1]]

    def ending(self, written: int) -> float:
        return self.urge * max(0, written - self.late) - self.hold * max(0, self.early - written)

    def block_repeats(self, logits: torch.Tensor, histories: list[list[int]], size: int = 4) -> None:
        """No four tokens twice in a story."""
        for row, history in enumerate(histories):
            tail = history[1 - size :]
            for i in range(len(history) - size + 1):
                if history[i] == tail[0] and history[i : i + size - 1] == tail:
                    if (token := self.at.get(history[i + size - 1])) is not None:
                        logits[row, token] = NOT_IN_TEXT

    def count(self, used: torch.Tensor, sentence: list[int]) -> None:
        for token in sentence:
            if (i := self.at.get(token)) in self.content:
                used[i] = min(used[i] + 1, 3)

    def accept(self, story: Story, segment: Segment, before: str, said: str, after: str) -> bool:
        """`before` and `after`: the text around the sentence's part `said`."""
        words = words_of(said)
        if len(words) < (2 if segment.speech else 1) or said.count(",") > 1:
            return False
        if any(a == b for a, b in zip(words, words[1:])):
            return False
        content = [w for w in words if len(w) > 2 and w not in FUNCTION]
        if len(set(content)) < len(content):
            return False
        # A bare feeling is no news.
        if not segment.speech and all(w in FEELINGS for w in content):
            return False
        opener = fragments(before)[-1] if before[-1] not in BREAKS else []
        new = grams(opener + words)[max(0, len(opener) - GRAM + 1) :]
        if any(gram in seen.grams for seen in (self.seen, self.wave, self.held) for gram in new):
            return False
        # Something new is said, and nobody does a thing to himself or is a friend's namesake.
        near = {w for piece in fragments(before)[-4:] + fragments(after)[:2] for w in piece}
        if content and all(w in near for w in content):
            return False
        if any((opener + words).count(name.lower()) > 1 for name in story.names):
            return False
        # Nobody is called by what another is, or is said to be it.
        for name, kind in re.findall(r"(\w+) the (\w+)", before[-20:] + said):
            if story.kinds.get(name, kind) != kind:
                return False
        kinds = "|".join(story.kinds.values())
        if re.search(rf"\b(?:an?|another) (?:\w+ )?(?:{kinds})\b", " ".join(opener + words)):
            return False
        return not re.search(r"[,'] *[.!?,]|^[.!?]", said)

    def take(self, before: str, said: str) -> None:
        """A sentence is accepted; what stood before it in its story is so already."""
        opener = fragments(before)[-1] if before[-1] not in BREAKS else []
        self.wave.grams.update(grams(opener + words_of(said)))

    def stale(self, text: str) -> bool:
        return self.held.stale(text) or self.seen.stale(text) or self.wave.stale(text)

    def whole(self, text: str) -> bool:
        if not text.isascii() or text.count('"') % 2 or text[-1] not in '.!?"':
            return False
        return 60 <= len(text.split()) <= 300
