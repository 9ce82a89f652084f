"""Suites that answer with text: support replies, and answers copied from a passage."""

import functools
import gzip
import json
import re
from random import Random
from typing import Any

from renga.services.evals.baselines import intent_baselines, sentence_baseline
from renga.services.evals.cases import EvalAnswer, EvalCase, EvalSuite
from renga.services.evals.datasets.locations import require_path
from renga.services.evals.public_sets import bitext_part, read_table
from renga.services.evals.statistics import token_f1
from renga.services.evals.suites.dialogues import draw_desk, draw_prelude, with_order
from renga.services.evals.suites.front_desk import missing_from
from renga.services.evals.suites.passages import HELD_OUT_FACTS, draw_passage

GROUNDED = "Answer from the passage, as briefly as possible."


@functools.cache
def bitext_pairs(part: str) -> list[tuple[str, str]]:
    """(instruction, intent) of one side of the hash split."""
    table = "tasks/bitext_customer_support/data/train/Bitext_Sample_Customer_Support_Training_Dataset.csv.gz"
    return [(row["instruction"], row["intent"]) for row in read_table(table) if bitext_part(row["instruction"]) == part]


def draw_support(random: Random, most: int) -> list[EvalCase]:
    """Held-out questions to a desk with invented facts."""
    pairs = bitext_pairs("test")
    cases: list[EvalCase] = []
    for question, intent in random.sample(pairs, min(most, len(pairs))):
        desk, order = draw_desk(random)
        prelude = draw_prelude(random, desk, order)
        messages = [(said.role, said.text) for said in prelude]
        messages.append(("user", with_order(question, desk.facts["order"])))
        cases.append(
            EvalCase(tuple(messages), intent, system=desk.system(order), max_tokens=96, group=intent, facts=desk.facts)
        )
    return cases


def is_reply(case: EvalCase, answer: EvalAnswer) -> float:
    """The rule of renga.services.evals.suites.front_desk: the intent's words, every value, no open placeholder."""
    return float(not missing_from(answer.text, case.expected, dict(case.facts)))


@functools.cache
def xquad_questions() -> list[tuple[str, str, list[str]]]:
    """(passage, question, answers) of XQuAD's English part."""
    with gzip.open(require_path("tasks/xquad/xquad.en.json.gz"), "rt", encoding="utf-8") as text:
        articles: list[dict[str, Any]] = json.load(text)["data"]
    found: list[tuple[str, str, list[str]]] = []
    for article in articles:
        for paragraph in article["paragraphs"]:
            for question in paragraph["qas"]:
                answers = [answer["text"] for answer in question["answers"]]
                window = _window(paragraph["context"], question["answers"][0]["answer_start"])
                found.append((window, question["question"], answers))
    return found


def _window(passage: str, position: int, *, words_most: int = 130) -> str:
    """Whole sentences around a position, at most so many words: about 200 tokens."""
    starts = [0, *(match.end() for match in re.finditer(r"(?<=[.?!])\s+", passage))]
    sentences = [passage[start:end] for start, end in zip(starts, [*starts[1:], len(passage)], strict=True)]
    first = last = max(index for index, start in enumerate(starts) if start <= position)
    while True:
        grown = [(first - 1, last)] if first else []
        grown += [(first, last + 1)] if last + 1 < len(sentences) else []
        fitting = [pair for pair in grown if len("".join(sentences[pair[0] : pair[1] + 1]).split()) <= words_most]
        if not fitting:
            return "".join(sentences[first : last + 1]).strip()
        first, last = fitting[0]


def _grounded_case(passage: str, question: str, answers: list[str]) -> EvalCase:
    messages = (("user", f"{passage}\n\n{question}"),)
    return EvalCase(messages, answers, system=GROUNDED, max_tokens=48, facts={"passage": passage, "question": question})


def draw_xquad(random: Random, most: int) -> list[EvalCase]:
    """Questions that people wrote about Wikipedia passages."""
    questions = xquad_questions()
    return [_grounded_case(*question) for question in random.sample(questions, min(most, len(questions)))]


def draw_passages(random: Random, most: int) -> list[EvalCase]:
    """Desk passages of about 200 tokens; their facts' frames were never trained on."""
    cases: list[EvalCase] = []
    for _ in range(most):
        passage = draw_passage(random, HELD_OUT_FACTS, sentences=13)
        question, answer = passage.asked[0]
        cases.append(_grounded_case(passage.text, question, [answer]))
    return cases


def overlap(case: EvalCase, answer: EvalAnswer) -> float:
    """Token F1 with the best of the right answers."""
    return max(token_f1(answer.text, expected) for expected in case.expected)


SUITES = (
    EvalSuite(
        "support replies",
        "rule-based check",
        0.80,
        draw_support,
        is_reply,
        lambda cases: intent_baselines(cases, bitext_pairs("train")),
    ),
    EvalSuite("grounded, desk passages", "token F1", 0.50, draw_passages, overlap, sentence_baseline, calibrated=False),
    EvalSuite("grounded, XQuAD English", "token F1", 0.50, draw_xquad, overlap, sentence_baseline, calibrated=False),
)
