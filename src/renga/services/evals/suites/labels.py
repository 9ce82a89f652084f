"""Suites with a list of labels in the prompt: Banking77, CLINC150, held-out domains, moderation."""

import csv
import functools
import gzip
import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

from renga.services.evals.baselines import label_baselines, overlap_baseline
from renga.services.evals.cases import EvalAnswer, EvalCase, EvalSuite
from renga.services.evals.datasets.locations import require_path
from renga.services.evals.public_sets import (
    HELD_OUT_CLINC_DOMAINS,
    HELD_OUT_HWU_PREFIXES,
    moderation_part,
    plain_text,
    read_lines,
    read_table,
)
from renga.services.evals.statistics import macro_f1

INSTRUCTION = "Classify the customer's message into exactly one of these labels. Reply with the label only."
MODERATION_LABELS = ("hate", "offensive", "neither")
MODERATION = "Moderate the message. Reply with one label: hate, offensive, neither."
Pairs = list[tuple[str, str]]
"""(text, label)"""


def given_label(case: EvalCase, answer: EvalAnswer) -> str:
    """The label that an answer names, in text or in the object that a schema asked for."""
    if case.schema is None:
        return answer.text.strip()
    try:
        return str(json.loads(answer.text)["label"])
    except (ValueError, KeyError, TypeError):
        return answer.text.strip()


def is_label(case: EvalCase, answer: EvalAnswer) -> float:
    """Whether the answer is the label, and nothing else."""
    return float(given_label(case, answer) == case.expected)


def hold_to_list(cases: list[EvalCase]) -> list[EvalCase]:
    """Give the same cases a schema that allows only the listed labels."""
    held: list[EvalCase] = []
    for case in cases:
        first, _, listing = case.system.partition("\n")
        system = f'{first} Reply as JSON: {{"label": ...}}' + (f"\n{listing}" if listing else "")
        properties = {"label": {"type": "string", "enum": list(case.options)}}
        schema = {"type": "object", "properties": properties, "required": ["label"], "additionalProperties": False}
        held.append(replace(case, system=system, schema=schema, max_tokens=case.max_tokens + 16))
    return held


def label_case(text: str, label: str, options: list[str], *, group: str = "") -> EvalCase:
    """One message and the list of labels."""
    system = INSTRUCTION + "\n" + "\n".join(f"- {option}" for option in options)
    return EvalCase((("user", text),), label, system=system, options=tuple(options), max_tokens=32, group=group)


def _with_options(random: Random, pairs: Pairs, labels: list[str], *, count: int, group: str = "") -> list[EvalCase]:
    cases: list[EvalCase] = []
    for text, label in pairs:
        options = [label, *random.sample([other for other in labels if other != label], count - 1)]
        random.shuffle(options)
        cases.append(label_case(text, label, options, group=group))
    return cases


def _sample(random: Random, pairs: Pairs, most: int) -> Pairs:
    return random.sample(pairs, min(most, len(pairs)))


def _unseen(pairs: Pairs, train: Pairs) -> Pairs:
    """Without the few texts that the official training part repeats."""
    known = {plain_text(text) for text, _ in train}
    return [(text, label) for text, label in pairs if plain_text(text) not in known]


@functools.cache
def banking_pairs(part: str) -> Pairs:
    """The messages of a part of BANKING77 with their labels."""
    return [(row["input"], row["output"]) for row in read_lines(f"corpus/banking77_{part}-01.jsonl.gz")]


def draw_banking(random: Random, most: int, *, count: int) -> list[EvalCase]:
    """Banking77's test part with `count` of the 77 labels."""
    pairs = _unseen(banking_pairs("test"), banking_pairs("train"))
    labels = sorted({label for _, label in pairs})
    return _with_options(random, _sample(random, pairs, most), labels, count=count)


@functools.cache
def clinc_parts() -> dict[str, Any]:
    """All parts of CLINC150, by their names in its file."""
    with gzip.open(require_path("tasks/clinc150/data/data_full.json.gz"), "rt", encoding="utf-8") as text:
        return json.load(text)


@functools.cache
def held_out_clinc() -> frozenset[str]:
    """The labels of the domains of CLINC150 that nothing is trained on."""
    domains = json.loads(require_path("tasks/clinc150/data/domains.json").read_text(encoding="utf-8"))
    return frozenset(label for name in HELD_OUT_CLINC_DOMAINS for label in domains[name])


def draw_clinc(random: Random, most: int) -> list[EvalCase]:
    """CLINC150's test part, 10 of all 150 labels; the group says whether the right label was trained on."""
    pairs = _unseen([(text, label) for text, label in clinc_parts()["test"]], clinc_train())
    labels = sorted({label for _, label in pairs})
    cases: list[EvalCase] = []
    for text, label in _sample(random, pairs, most):
        group = "held-out label" if label in held_out_clinc() else "trained label"
        cases += _with_options(random, [(text, label)], labels, count=10, group=group)
    return cases


def draw_scope(random: Random, most: int) -> list[EvalCase]:
    """Half in scope, half CLINC150's out-of-scope questions, always 10 labels and no way out."""
    inside = draw_clinc(random, most // 2)
    labels = sorted({label for _, label in clinc_parts()["test"]})
    outside: list[EvalCase] = []
    for text, _ in random.sample(clinc_parts()["oos_test"], most - len(inside)):
        outside.append(label_case(text, "", random.sample(labels, 10), group="out of scope"))
    return inside + outside


def draw_held_out(random: Random, most: int) -> list[EvalCase]:
    """Labels never trained on, 5 in the prompt: CLINC150 travel, HWU64 scenarios, insurance tickets."""
    clinc = [(text, label) for text, label in clinc_parts()["test"] if label in held_out_clinc()]
    hwu = [
        (row["input"], json.loads(row["output"])["intent"])
        for row in read_lines("corpus/hwu64_train-01.jsonl.gz")
        if json.loads(row["output"])["intent"].startswith(HELD_OUT_HWU_PREFIXES)
    ]
    table = require_path("tasks/anthropic_cookbook/skills/classification/data/test.tsv")
    with table.open(encoding="utf-8", newline="") as lines:
        tickets = [(row["text"], row["label"]) for row in csv.DictReader(lines, delimiter="\t")]
    cases: list[EvalCase] = []
    for group, pairs in (("clinc150 travel", clinc), ("hwu64 scenarios", hwu), ("insurance tickets", tickets)):
        labels = sorted({label for _, label in pairs})
        cases += _with_options(random, _sample(random, pairs, most // 3), labels, count=5, group=group)
    return cases


@functools.cache
def moderation_pairs(part: str) -> Pairs:
    """The tweets of a part of the moderation set with their labels."""
    rows = read_table("tasks/hate_speech_offensive/data/labeled_data.csv.gz")
    return [
        (row["tweet"], MODERATION_LABELS[int(row["class"])]) for row in rows if moderation_part(row["tweet"]) == part
    ]


def draw_moderation(random: Random, most: int) -> list[EvalCase]:
    """Draw moderation cases from the test part of the split by hash."""
    return [
        EvalCase((("user", text),), label, system=MODERATION, options=MODERATION_LABELS, max_tokens=16, group=label)
        for text, label in _sample(random, moderation_pairs("test"), most)
    ]


def moderation_f1(cases: list[EvalCase], answers: list[EvalAnswer]) -> float:
    """The mean F1 over the labels of the moderation set."""
    return macro_f1(
        [case.expected for case in cases],
        [given_label(case, answer) for case, answer in zip(cases, answers, strict=True)],
    )


@functools.cache
def clinc_train() -> Pairs:
    """The training messages of CLINC150 with their labels."""
    return [(text, label) for text, label in clinc_parts()["train"]]


def by_label(pairs: Pairs) -> dict[str, list[str]]:
    """The texts of each label, in the order in which they stood."""
    found: dict[str, list[str]] = defaultdict(list)
    for text, label in pairs:
        found[label].append(text)
    return dict(found)


def _held(draw: Callable[[Random, int], list[EvalCase]]) -> Callable[[Random, int], list[EvalCase]]:
    return lambda random, most: hold_to_list(draw(random, most))


_FREE = (
    EvalSuite(
        "banking77, 10 labels",
        "accuracy",
        0.85,
        lambda random, most: draw_banking(random, most, count=10),
        is_label,
        lambda cases: label_baselines(cases, banking_pairs("train")),
    ),
    EvalSuite(
        "banking77, 77 labels",
        "accuracy",
        None,
        lambda random, most: draw_banking(random, most, count=77),
        is_label,
        lambda cases: label_baselines(cases, banking_pairs("train")),
    ),
    EvalSuite(
        "clinc150, 10 labels",
        "accuracy",
        0.85,
        draw_clinc,
        is_label,
        lambda cases: label_baselines(cases, clinc_train()),
    ),
    EvalSuite("held-out labels, 5", "accuracy", 0.60, draw_held_out, is_label, overlap_baseline),
    EvalSuite(
        "moderation, 3 classes",
        "macro-F1",
        None,
        draw_moderation,
        is_label,
        lambda cases: label_baselines(cases, moderation_pairs("train"), score="macro-F1"),
        moderation_f1,
    ),
)
SUITES: tuple[EvalSuite, ...] = (
    *_FREE,
    *(
        replace(suite, name=f"{suite.name}, held to the list", draw=_held(suite.draw), baseline=None, calibrated=False)
        for suite in _FREE
        if "77 labels" not in suite.name
    ),
)
"""Free text first; then the same suites with `output_config.format`, which a client who wants a label would use."""
SCOPE = EvalSuite("clinc150, out of scope", "AUROC", 0.85, draw_scope, is_label, calibrated=False)
