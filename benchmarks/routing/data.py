"""The public outcomes that the router is measured on, as columns.

Nothing here is trained on: `__main__.py` says what is, and tests/routing/triage/test_disjoint.py proves that no
evaluated prompt is in it.
"""

from __future__ import annotations

import gzip
import json
import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from renga.routing.checks.agreement import AnswerKind, agree
from renga.routing.triage.features import Features, read_text
from renga.services.evals.datasets.locations import find_path, require_path

Floats = NDArray[np.float64]
Row = dict[str, Any]

SIBLINGS_GSM8K = (
    "gemma-2-2b-it",
    "gemma-2-9b-it",
    "Meta-Llama-3.1-8B-Instruct",
    "Phi-3.5-mini-instruct",
    "Qwen2-7B-Instruct",
)
SIBLINGS_MMLU_PRO = ("Meta-Llama-3_1-8B-Instruct", "mathstral-7B", "Phi-3-mini-4k-instruct")
MIXTRAL, GPT4 = "mixtral-8x7b-instruct", "gpt-4-1106-preview"
CLAUDE_HAIKU, CLAUDE_OPUS = "claude-3-haiku-20240307", "claude-3-opus-20240229"
GEMINI_FLASH, GEMINI_PRO = "gemini-1.5-flash-002", "gemini-1.5-pro-002"
LETTER_TOKENS = 2
"""RouteLLM's MMLU answers are one letter."""
REASONED_TOKENS = 180
"""Of an MMLU-Pro answer, whose length the file does not hold: what the same kind of model needs on GSM8K. An
assumption."""
CHAT_TOKENS = 211
"""Of an MT-bench answer, not held either: the mean answer of Azure's conversation trace of 2023."""


@dataclass(frozen=True)
class Asked:
    """What asking for up to two second answers brought."""

    agreement: Floats
    """1 where the first agrees, a half where only the next does, else 0."""
    seconds: Floats
    """How many were asked for."""


@dataclass(frozen=True)
class Pair:
    """One evaluation set with a small and a top model. Arrays are (N,) unless said."""

    name: str
    small: str
    top: str
    prompts: tuple[str, ...]
    category: tuple[str, ...]
    small_score: Floats
    top_score: Floats
    prompt_tokens: Floats
    small_tokens: Floats
    top_tokens: Floats
    votes: Floats = field(default_factory=lambda: np.zeros((0, 0)))
    """(N, siblings): whether each other small model's answer agrees with the small model's; (0, 0) where answers are
    not known."""
    siblings: tuple[str, ...] = ()
    faulty: Floats = field(default_factory=lambda: np.zeros(0))
    """1 where the small model's answer does not end as it was asked to."""
    sibling_tokens: Floats = field(default_factory=lambda: np.zeros((0, 0)))
    """(N, siblings): the lengths of their answers; (0, 0) where they are not known."""

    @property
    def losses(self) -> Floats:
        return self.top_score - self.small_score

    @cached_property
    def features(self) -> list[Features]:
        return [read_text(prompt) for prompt in self.prompts]

    def consensus(self) -> tuple[int, int]:
        """The two siblings that agree most with the small model: chosen without a single label."""
        first, second = np.argsort(-self.votes.mean(axis=0), kind="stable")[:2]
        return int(first), int(second)

    def asked(self) -> Asked:
        """Second answers of the two, the next only where the first disagrees, as `routing/checks/answer_checks.py`
        asks."""
        first, second = self.consensus()
        agrees, late = self.votes[:, first], self.votes[:, second]
        return Asked(np.where(agrees == 1.0, 1.0, late / 2.0), 2.0 - agrees)


def read_rows(name: str) -> list[Row]:
    """The rows of one set."""
    with gzip.open(require_path(f"routing/{name}.jsonl.gz"), "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def normalize_prompt(prompt: str) -> str:
    """A prompt with its white space and case folded, and without an MMLU question's options: the key for
    disjointness."""
    stem = re.split(r"\nA\. ", prompt)[0]
    return " ".join(stem.split()).casefold()


class TokenCounter:
    """Counts tokens with the shared tokenizer; a quarter of the bytes where it is not there."""

    def __init__(self) -> None:
        path = find_path("models/smollm2-tokenizer/tokenizer.json")
        self._tokenizer = None
        if path is not None:
            from tokenizers import Tokenizer

            self._tokenizer = Tokenizer.from_file(str(path))
        self.name = "SmolLM2's tokenizer" if self._tokenizer else "bytes / 4"

    def count(self, texts: list[str]) -> Floats:
        if self._tokenizer is None:
            return np.asarray([max(1.0, len(text.encode()) / 4.0) for text in texts])
        return np.asarray([max(1, len(found.ids)) for found in self._tokenizer.encode_batch_fast(texts)], np.float64)


def load_mmlu(counter: TokenCounter) -> Pair:
    """RouteLLM's MMLU responses: the prompt and who was right; no answers."""
    rows = read_rows("routellm-mmlu")
    prompts = [row["prompt"] for row in rows]
    letters = np.full(len(rows), float(LETTER_TOKENS))
    return Pair(
        "RouteLLM MMLU",
        MIXTRAL,
        GPT4,
        tuple(prompts),
        tuple(row["domain"] for row in rows),
        _scores(rows, MIXTRAL),
        _scores(rows, GPT4),
        counter.count(prompts),
        letters,
        letters,
    )


def load_gsm8k(counter: TokenCounter) -> Pair:
    """RouteLLM's GSM8K responses, with the answers of ZeroEval's small models to the same prompts as second answers."""
    rows = read_rows("routellm-gsm8k")
    others = {normalize_prompt(row["prompt"]): row["answer"] for row in read_rows("zeroeval-gsm8k")}
    prompts = [row["prompt"] for row in rows]
    answers = [row["answer"][MIXTRAL] for row in rows]
    seconds = [others.get(normalize_prompt(prompt), {}) for prompt in prompts]
    return Pair(
        "RouteLLM GSM8K",
        MIXTRAL,
        GPT4,
        tuple(prompts),
        ("",) * len(rows),
        _scores(rows, MIXTRAL),
        _scores(rows, GPT4),
        counter.count(prompts),
        counter.count(answers),
        counter.count([row["answer"][GPT4] for row in rows]),
        _votes(answers, seconds, SIBLINGS_GSM8K),
        SIBLINGS_GSM8K,
        np.asarray([float("####" not in answer) for answer in answers]),
    )


def load_zeroeval(counter: TokenCounter) -> Pair:
    """ZeroEval's GSM8K: Claude 3 haiku and opus, final answers and the lengths of what was written."""
    rows = read_rows("zeroeval-gsm8k")
    prompts = [row["prompt"] for row in rows]
    answers = [str(row["answer"][CLAUDE_HAIKU]) for row in rows]
    tokens_per_character = float(counter.count(prompts).sum() / sum(map(len, prompts)))
    return Pair(
        "ZeroEval GSM8K",
        CLAUDE_HAIKU,
        CLAUDE_OPUS,
        tuple(prompts),
        ("",) * len(rows),
        _scores(rows, CLAUDE_HAIKU),
        _scores(rows, CLAUDE_OPUS),
        counter.count(prompts),
        _lengths(rows, CLAUDE_HAIKU) * tokens_per_character,
        _lengths(rows, CLAUDE_OPUS) * tokens_per_character,
        _votes(answers, [row["answer"] for row in rows], SIBLINGS_GSM8K),
        SIBLINGS_GSM8K,
        np.zeros(len(rows)),
        np.stack([_lengths(rows, name) for name in SIBLINGS_GSM8K], axis=1) * tokens_per_character,
    )


def load_mmlu_pro(counter: TokenCounter) -> Pair:
    """MMLU-Pro's questions that are not in MMLU: Gemini 1.5 flash and pro, and the letters of smaller models."""
    rows = [
        row
        for row in read_rows("mmlu-pro")
        if None not in (row["correct"].get(GEMINI_FLASH), row["correct"].get(GEMINI_PRO))
    ]
    prompts = [row["prompt"] for row in rows]
    letters = [row["answer"][GEMINI_FLASH] for row in rows]
    votes = [
        [float(letter is not None and letter == row["answer"][name]) for name in SIBLINGS_MMLU_PRO]
        for letter, row in zip(letters, rows, strict=True)
    ]
    reasoned = np.full(len(rows), float(REASONED_TOKENS))
    return Pair(
        "MMLU-Pro",
        GEMINI_FLASH,
        GEMINI_PRO,
        tuple(prompts),
        tuple(row["category"] for row in rows),
        _scores(rows, GEMINI_FLASH),
        _scores(rows, GEMINI_PRO),
        counter.count([row["prompt"] + "\n" + "\n".join(row["options"]) for row in rows]),
        reasoned,
        reasoned,
        np.asarray(votes),
        SIBLINGS_MMLU_PRO,
        np.asarray([float(letter is None) for letter in letters]),
    )


def load_mtbench(counter: TokenCounter) -> Pair:
    """RouteLLM's MT-bench scores, of 10, as 0..1."""
    rows = read_rows("routellm-mtbench")
    prompts = [row["prompt"] for row in rows]
    written = np.full(len(rows), float(CHAT_TOKENS))
    return Pair(
        "RouteLLM MT-bench",
        MIXTRAL,
        GPT4,
        tuple(prompts),
        tuple(row["category"] for row in rows),
        np.asarray([row["score"][MIXTRAL] / 10.0 for row in rows]),
        np.asarray([row["score"][GPT4] / 10.0 for row in rows]),
        counter.count(prompts),
        written,
        written,
    )


def _scores(rows: list[Row], model: str) -> Floats:
    return np.asarray([row["correct"][model] for row in rows], np.float64)


def _lengths(rows: list[Row], model: str) -> Floats:
    return np.asarray([row["output_chars"][model] for row in rows], np.float64)


def _votes(answers: list[str], seconds: list[Row], siblings: tuple[str, ...]) -> Floats:
    votes = [
        [agree(answer, str(second.get(name, "")), AnswerKind.NUMBER).share for name in siblings]
        for answer, second in zip(answers, seconds, strict=True)
    ]
    return np.asarray(votes)
