"""General ability: instructions that people wrote, one-sentence summaries, and the base's own good answers."""

import functools
import gzip
import json
import os
import pathlib
from random import Random

from training.data.documents import Document, Turn
from training.data.sources import EVALUATION_WORDS, corpus_paths

LICENCES = {
    "selfinstruct_seeds": "Apache-2.0 (yizhongw/self-instruct)",
    "scitldr_train": "Apache-2.0 (allenai/scitldr)",
    "covid_faq_usgov": "Apache-2.0 (deepset-ai/COVID-QA; text of US government pages)",
}
"""What tuning reads beside the sets of training/data/sources.py."""
REHEARSAL = "RENGA_REHEARSAL"
"""Environment variable: the file that training/tuning/rehearse.py wrote. Without it nothing is rehearsed."""


def read(stem: str) -> list[dict[str, str]]:
    """Rows of a set that may be trained on.

    Raises: ValueError for any other.
    """
    if stem not in LICENCES or EVALUATION_WORDS.search(stem):
        raise ValueError(f"{stem} may not be trained on")
    rows: list[dict[str, str]] = []
    for path in corpus_paths(stem):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            rows += [json.loads(line) for line in lines]
    return rows


@functools.cache
def _papers() -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for row in read("scitldr_train"):
        output = row["output"] if isinstance(row["output"], str) else row["output"][0]
        if len(row["input"]) < 1500:
            found.append((row["input"].split("\n\n", 1)[-1], output))
    return found


SUMS = (
    "Summarise this text in one sentence.",
    "Give a one-sentence summary.",
    "TL;DR",
    "Summarize the text below.",
    "What is the main point?",
    "Shorten this to one sentence.",
)


def summary(random: Random) -> Document:
    """An abstract and what its authors say in a sentence."""
    body, short = random.choice(_papers())
    ask = random.choice(SUMS)
    if random.random() < 0.5:
        return Document((Turn("user", f"{ask}\n\n{body}"), Turn("assistant", short)), family="summary")
    return Document((Turn("user", body), Turn("assistant", short)), ask, family="summary")


@functools.cache
def _instructions() -> list[tuple[str, str]]:
    rows = read("selfinstruct_seeds") + read("covid_faq_usgov")
    return [(row["input"], row["output"]) for row in rows if len(row["output"]) < 700 and len(row["input"]) < 1200]


@functools.cache
def _rehearsed() -> list[tuple[str, str]]:
    path = os.environ.get(REHEARSAL, "")
    if not path or not pathlib.Path(path).exists():
        return []
    with pathlib.Path(path).open(encoding="utf-8") as lines:
        return [(row["question"], row["answer"]) for row in map(json.loads, lines)]


def general(random: Random) -> Document:
    """An instruction and its answer; most are the base's own, so that what it can is not lost."""
    own = _rehearsed()
    asked, answer = random.choice(own) if own and random.random() < 0.8 else random.choice(_instructions())
    system = random.choice(("", "", "", "You are a helpful assistant."))
    return Document((Turn("user", asked), Turn("assistant", answer)), system, family="general")
