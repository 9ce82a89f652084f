"""Copying, and nothing else: nearly every learned token stands in the prompt already.

Extraction, tools, labels and grounded answers all need it, but give few tokens a document to learn it from. Without
these documents a run of ten million tokens was a fifth over before any copying showed (training/log.md).
"""

import functools
import re
from random import Random

from renga.services.evals.suites.values import draw_value, draw_word
from training.data.compact_encoding import render_json
from training.data.documents import Document, Turn
from training.data.sources import prose

KINDS = ("person", "place", "date", "time", "code", "money", "thing", "title", "email", "phone", "count")
REPEAT = ("Repeat this.", "Say it again, word for word.", "Copy the text.", "Write the same once more.", "Echo.")
REVERSE = ("List them from last to first.", "Give the list backwards.")
QUOTE = ("Put each line in quotes.", "Make a JSON list of the lines.")
RARE_LETTERS = "äöüßşçğıñéèêøåæłżćčšžőúíáâã"


@functools.cache
def _sentences() -> list[str]:
    found: list[str] = []
    for _, text in prose()[::3]:
        for sentence in re.split(r"(?<=[.?!])\s+", text[400:2400]):
            flat = " ".join(sentence.split())
            if 20 < len(flat) < 160:
                found.append(flat)
    return found


def odd_name(random: Random) -> str:
    """A name in whose copy one can get lost: a word said twice, initials, or letters that hardly any text has."""
    style, word = random.random(), draw_word(random, syllables=random.choice((1, 2, 2, 3)))
    if style < 0.4:
        words = [word] * random.choice((2, 2, 2, 3)) + [draw_word(random, syllables=2)] * random.choice((0, 0, 1))
        name = random.choice((" ", " ", "-")).join(random.choice((words, words[::-1])))
    elif style < 0.7:
        letters = random.choices("abcdefghijklmnopqrstuvwxyz", k=random.randint(2, 5))
        name = random.choice((".", ". ")).join(letters) + random.choice((".", ".", f". {word}"))
    else:
        places = set(random.sample(range(len(word)), min(len(word), random.choice((1, 2, 3)))))
        name = "".join(random.choice(RARE_LETTERS) if place in places else letter for place, letter in enumerate(word))
    return name.title() if random.random() < 0.6 else name


def copying(random: Random) -> Document:
    """A text or a list: repeated, reversed, as JSON, or looked up piece by piece."""
    lines = [_line(random) for _ in range(random.choice((2, 3, 4, 6, 8, 10)))]
    text = "\n".join(lines)
    style = random.random()
    if style < 0.45:
        turns = [Turn("user", f"{random.choice(REPEAT)}\n\n{text}"), Turn("assistant", text)]
    elif style < 0.55:
        turns = [Turn("user", f"{random.choice(REVERSE)}\n\n{text}"), Turn("assistant", "\n".join(lines[::-1]))]
    elif style < 0.75:
        turns = [Turn("user", f"{random.choice(QUOTE)}\n\n{text}"), Turn("assistant", render_json(lines))]
    else:
        turns = []
        for line in random.sample(lines, len(lines)):
            words = line.split()
            cut = min(len(words), random.choice((1, 2)))
            shown = f"Continue with the line that begins so.\n\n{text}\n\n" if not turns else ""
            turns += [Turn("user", shown + " ".join(words[:cut])), Turn("assistant", line)]
    return Document(tuple(turns), family="copying")


def _line(random: Random) -> str:
    style = random.random()
    if style < 0.3:
        return random.choice(_sentences())
    if style < 0.4:
        return " ".join(odd_name(random) for _ in range(random.choice((1, 2, 3))))
    if style < 0.6:
        return " ".join(draw_word(random, syllables=random.choice((1, 2))) for _ in range(random.randint(2, 6)))
    return " ".join(draw_value(random, random.choice(KINDS)).text for _ in range(random.choice((1, 2, 3))))
