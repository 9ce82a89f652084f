"""Answers copied from a passage: invented desk facts, and questions made by rule from documentation and books."""

import functools
import re
from random import Random

from renga.services.evals.suites.passages import TRAINING_FACTS, draw_passage
from training.data.documents import Document, Turn
from training.data.sources import prose

SYSTEMS = (
    "Answer from the passage, as briefly as possible.",
    "Answer the question with words from the passage.",
    "Use only the text below. Reply with the shortest answer.",
    "Copy the answer from the passage.",
)
ABSENT = "The passage does not say."


def desk_passage(random: Random) -> Document:
    """Invented facts; one to six questions about one passage; sometimes the answer is not there."""
    passage = draw_passage(random, TRAINING_FACTS, sentences=random.choice((4, 6, 8, 10, 12, 13, 14)))
    if random.random() < 0.08:
        other = draw_passage(random, TRAINING_FACTS, sentences=3)
        return _document(passage.text, [(other.asked[0][0], ABSENT)], random, "desk_passage")
    return _document(passage.text, list(passage.asked[: random.choice((2, 3, 4, 6))]), random, "desk_passage")


def _document(text: str, pairs: list[tuple[str, str]], random: Random, family: str) -> Document:
    layout = random.random()
    system = random.choice(SYSTEMS)
    if layout < 0.4:
        head, first = f"{system}\n\n{text}", ""
    elif layout < 0.8:
        head, first = system, f"{text}\n\n"
    else:
        head, first = "", f"{system}\nPassage: {text}\nQuestion: "
    turns: list[Turn] = []
    for index, (question, answer) in enumerate(pairs):
        turns += [Turn("user", question if index else first + question), Turn("assistant", answer)]
    return Document(tuple(turns), head, family=family)


_SENTENCE = re.compile(r"(?<=[.?!])\s+")
_NUMBER = re.compile(r"\b(\d[\d,.]*)\s+([a-z]{3,}s)\b")
_YEAR = re.compile(r"\b[Ii]n (1[5-9]\d\d|20\d\d)\b")
_NAME = re.compile(r"\b([A-Z][a-z]+ (?:[A-Z][a-z]+ ?)+)\b(?=\s?(?:was|is|had|said|went|came|has|wrote|made|took)\b)")
_IS = re.compile(r"^((?:The|A|An) [a-z][\w -]{3,40}?) (is|are|was) ((?:the|a|an) [^.;:]{8,90})\.$")
_BY = re.compile(r"\b(\w+ed) by ((?:the )?[A-Z]?[\w]+(?: [A-Z]\w+)*)")
_STOP = frozenset(
    re.findall(
        r"\w+",
        "the a an of in on at to for and or is are was were be been has have had it its this that as by",
    )
)


def _ask(sentence: str, random: Random) -> tuple[str, str] | None:
    """Make a question whose answer is a span of the sentence."""
    content = [word for word in re.findall(r"[A-Za-z]{4,}", sentence) if word.lower() not in _STOP]
    if len(content) < 4:
        return None
    if match := _NUMBER.search(sentence):
        return f"How many {match.group(2)} {_hint(content, match.group(), random)}?", match.group(1).rstrip(".,")
    if match := _YEAR.search(sentence):
        return f"In what year {_hint(content, match.group(), random)}?", match.group(1)
    if match := _IS.match(sentence):
        return f"What {match.group(2)} {match.group(1)[0].lower() + match.group(1)[1:]}?", match.group(3)
    if match := _BY.search(sentence):
        return f"By what {_hint(content, match.group(2), random)}?", match.group(2)
    if match := _NAME.search(sentence):
        return f"Who {_hint(content, match.group(), random)}?", match.group(1).strip()
    words = sentence.rstrip(".!?").split()
    cut = random.randint(len(words) // 2, max(len(words) // 2, len(words) - 2))
    if random.random() < 0.5 and len(words) > 7:
        return f"Complete: {' '.join(words[max(0, cut - 5) : cut])}", " ".join(words[cut : cut + 8])
    return None


def _hint(content: list[str], answer: str, random: Random) -> str:
    kept = [word for word in content if word not in answer]
    start = random.randrange(max(1, len(kept) - 5))
    return " ".join(kept[start : start + random.choice((3, 4, 5, 6))]).lower()


@functools.cache
def _paragraphs() -> list[str]:
    found: list[str] = []
    for _, text in prose():
        for paragraph in text.split("\n\n")[2:60:3]:
            flat = " ".join(paragraph.split())
            if 250 < len(flat) < 900 and flat.count(". ") >= 2 and flat[0].isalpha():
                found.append(flat)
    return found


def prose_passage(random: Random) -> Document:
    """Real prose and a rule-made question; up to three questions on one passage."""
    paragraphs = _paragraphs()
    for _ in range(20):
        text = random.choice(paragraphs)
        asked = [pair for sentence in _SENTENCE.split(text) if (pair := _ask(sentence, random))]
        if asked:
            random.shuffle(asked)
            return _document(text, asked[: random.choice((1, 2, 3, 4))], random, "prose_passage")
    return desk_passage(random)
