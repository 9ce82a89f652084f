"""Readers of the licensed sets: training parts only, and what is held out of them.

Owns:   which file a training example may come from. Share-alike sets, test parts and evaluation suites have no reader.
Keeps:  a held-out label never reaches a prompt, not even as a wrong option.
"""

import csv
import functools
import gzip
import io
import json
import pathlib
import re
from collections import defaultdict
from typing import Any

from renga.services.evals.datasets.dataset_catalog import load_catalog
from renga.services.evals.datasets.locations import require_path
from renga.services.evals.public_sets import (
    HELD_OUT_CLINC_DOMAINS,
    HELD_OUT_HWU_PREFIXES,
    bitext_part,
    moderation_part,
)

LICENCES = {
    "banking77_train": "CC BY 4.0 (PolyAI-LDN/task-specific-datasets)",
    "clinc150_train": "CC BY 3.0 (clinc/oos-eval)",
    "hwu64_train": "CC BY 4.0 (xliuhw/NLU-Evaluation-Data)",
    "snips_train": "CC0-1.0 (sonos/nlu-benchmark)",
    "restaurant8k_train": "CC BY 4.0 (PolyAI-LDN/task-specific-datasets)",
    "nlupp": "CC BY 4.0 (PolyAI-LDN/task-specific-datasets)",
    "bitext_customer_support": "CDLA-Sharing-1.0 (bitext), instructions only",
    "hate_speech_offensive": "MIT (t-davidson)",
    "mod_surge_toxicity": "MIT (surge-ai/toxicity)",
    "disflqa_train": "CC BY 4.0 (google-research-datasets/Disfl-QA), questions only",
    "gsm8k_train": "MIT (openai/grade-school-math), questions only",
    "taskmaster_tm3_reward": "CC BY 4.0 (google-research-datasets/Taskmaster)",
    "taskmaster_tm4_reward": "CC BY 4.0 (google-research-datasets/Taskmaster)",
    "chatterbot_english": "BSD-3-Clause (gunthercox/chatterbot-corpus)",
    "books_standardebooks": "CC0-1.0 (Standard Ebooks)",
    "docs": "CC BY 4.0, CC0-1.0, MIT, Apache-2.0 (each line names its own)",
}
"""Everything that shipped weights have seen, by file stem."""
EVALUATION_WORDS = re.compile(
    r"(^|_)(dev|development|val|validate|validation|test)([_-]|$)|hatecheck|nestful|svamp|ccbysa"
)


def read_corpus(stem: str, *, limit_rows: int = 0) -> list[dict[str, Any]]:
    """Read every shard of a corpus set.

    Raises: ValueError for a set that is for evaluation only, share-alike, or without a licence line above.
    """
    if EVALUATION_WORDS.search(stem) or stem not in LICENCES:
        raise ValueError(f"{stem} may not be trained on")
    rows: list[dict[str, Any]] = []
    for path in corpus_paths(stem):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                rows.append(json.loads(line))
                if limit_rows and len(rows) >= limit_rows:
                    return rows
    return rows


def corpus_paths(stem: str) -> list[pathlib.Path]:
    """The shards of a corpus set, in order.

    Raises: DataMissing with the command that obtains them.
    """
    shards = re.compile(rf"corpus/{re.escape(stem)}-\d+\.jsonl\.gz")
    names = [file.path for each in load_catalog() for file in each.files if shards.fullmatch(file.path)]
    return [require_path(name) for name in sorted(names)]


def read_csv(relative: str) -> list[dict[str, str]]:
    """The rows of one of the packed CSV files of public tasks."""
    with gzip.open(require_path(f"tasks/{relative}"), "rt", encoding="utf-8", newline="") as text:
        return list(csv.DictReader(io.StringIO(text.read())))


@functools.cache
def held_out_labels() -> frozenset[str]:
    """Labels of the held-out domains, as CLINC150 and HWU64 spell them."""
    domains = json.loads(require_path("tasks/clinc150/data/domains.json").read_text(encoding="utf-8"))
    labels = {label for domain in HELD_OUT_CLINC_DOMAINS for label in domains[domain]}
    hwu = {json.loads(row["output"])["intent"] for row in read_corpus("hwu64_train")}
    return frozenset(labels | {label for label in hwu if label.startswith(HELD_OUT_HWU_PREFIXES)})


@functools.cache
def label_sets() -> dict[str, dict[str, list[str]]]:
    """Every intent set: name -> label -> utterances, held-out labels removed."""
    sets: dict[str, dict[str, list[str]]] = {}
    for name, stem in (("banking77", "banking77_train"), ("clinc150", "clinc150_train")):
        sets[name] = _by_label((row["output"], row["input"]) for row in read_corpus(stem))
    sets["clinc150"].pop("oos", None)
    sets["hwu64"] = _by_label((json.loads(row["output"])["intent"], row["input"]) for row in read_corpus("hwu64_train"))
    sets["snips"] = _by_label((json.loads(row["output"])["intent"], row["input"]) for row in read_corpus("snips_train"))
    sets["bitext"] = _by_label((row["intent"], row["instruction"]) for row in bitext_rows())
    single = ((json.loads(row["output"])["intents"], row["input"]) for row in read_corpus("nlupp"))
    sets["nlupp"] = _by_label((intents[0], text) for intents, text in single if len(intents) == 1)
    return {
        name: {label: texts for label, texts in labels.items() if label not in held_out_labels() and len(texts) > 3}
        for name, labels in sets.items()
    }


def _by_label(pairs: Any) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for label, text in pairs:
        found[label].append(text.strip())
    return dict(found)


@functools.cache
def out_of_scope_texts() -> list[str]:
    """CLINC150's training questions that no label fits."""
    return [row["input"] for row in read_corpus("clinc150_train") if row["output"] == "oos"]


@functools.cache
def bitext_rows() -> list[dict[str, str]]:
    """The rows of Bitext's sample that fall into the training part of its split."""
    rows = read_csv("bitext_customer_support/data/train/Bitext_Sample_Customer_Support_Training_Dataset.csv.gz")
    return [row for row in rows if bitext_part(row["instruction"]) == "train"]


@functools.cache
def moderation_rows() -> list[tuple[str, int]]:
    """(tweet, class) of the training part; class 0 hate, 1 offensive, 2 neither."""
    rows = read_csv("hate_speech_offensive/data/labeled_data.csv.gz")
    return [(row["tweet"], int(row["class"])) for row in rows if moderation_part(row["tweet"]) == "train"]


@functools.cache
def slot_rows() -> list[tuple[str, str, str, dict[str, str]]]:
    """(set, intent, text, slots) of SNIPS, HWU64, restaurant8k and NLU++; a repeated slot drops the row."""
    rows: list[tuple[str, str, str, dict[str, str]]] = []
    for name, stem in (("snips", "snips_train"), ("hwu64", "hwu64_train")):
        for row in read_corpus(stem):
            output = json.loads(row["output"])
            pairs = [pair for slot in output["slots"] for pair in slot.items()]
            if output["intent"] not in held_out_labels() and len({key for key, _ in pairs}) == len(pairs):
                rows.append((name, output["intent"], row["input"].strip(), dict(pairs)))
    for row in read_corpus("restaurant8k_train"):
        rows.append(("restaurant8k", "book_table", row["input"].strip(), json.loads(row["output"])))
    for row in read_corpus("nlupp"):
        output = json.loads(row["output"])
        if output["slots"] and all(isinstance(value, str) for value in output["slots"].values()):
            rows.append(("nlupp", "_".join(output["intents"][:2]), row["input"].strip(), output["slots"]))
    return [row for row in rows if all(value in row[2] for value in row[3].values())]


@functools.cache
def slot_names() -> dict[tuple[str, str], list[str]]:
    """The slots that (set, intent) uses, most frequent first."""
    counts: dict[tuple[str, str], dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for name, intent, _, slots in slot_rows():
        for slot in slots:
            counts[name, intent][slot] += 1
    return {key: sorted(found, key=lambda slot: -found[slot]) for key, found in counts.items() if found}


@functools.cache
def prose() -> list[tuple[str, str]]:
    """(title, text) of documentation pages and books; the held-out tenth of the titles is never read."""
    pages: list[tuple[str, str]] = []
    for row in read_corpus("docs", limit_rows=24000):
        title = row["text"].split("\n", 1)[0].lstrip("# ").strip()
        pages.append((title, row["text"]))
    for row in read_corpus("books_standardebooks", limit_rows=60):
        pages.append((row["title"], row["text"]))
    return pages
