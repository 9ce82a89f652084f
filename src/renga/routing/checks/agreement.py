"""Do two answers say the same? By what kind of answer it is: a number, a choice, JSON, code, a label, or running text.

Owns: finding the answer in a text, and comparing two.
Must never know: who answered, what is done with the share.
Invariants: the share lies in 0..1, is the same in both directions, and is 1 for two equal answers that are not empty;
an answer that cannot be found agrees with nothing.
"""

from __future__ import annotations

import ast
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import TypeAlias

from msgspec import Struct

LABEL_WORDS_MAX = 6
NUMBER_TOLERANCE = 1e-6

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"


class AnswerKind(StrEnum):
    """What an answer is, and so how it is compared."""

    JSON = "json"
    CODE = "code"
    CHOICE = "choice"
    NUMBER = "number"
    LABEL = "label"
    TEXT = "text"


class Agreement(Struct, frozen=True):
    """How similar two answers are, and by which kind of comparison."""

    share: float
    kind: AnswerKind


_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?|-?\.\d+")
_MARKED_NUMBER = re.compile(
    r"(?:####|\\boxed\{|answer(?:\s+is)?\s*[:=]?)\s*\**\s*[^\d\-.\n]{0,12}(-?\d[\d,]*(?:\.\d+)?)", re.I
)
_CHOICE = re.compile(
    r"(?:answer|option|choice)(?:\s+is)?\s*[:=]?\s*\**\(?([A-J])\b(?!')|^\s*\**\(?([A-J])(?:[).:*]|\s*$)", re.I | re.M
)
_FENCE = re.compile(r"```[\w+-]*\n(.*?)```", re.S)
_WORD = re.compile(r"\w+", re.U)
_FIGURES = re.compile(r"\d")


def agree(first: str, second: str, kind: AnswerKind | None = None) -> Agreement:
    """Compare two answers, as `kind` or as what both look like.

    Cost: linear in their length.
    """
    chosen = kind or guess_kind(first, second)
    return Agreement(_COMPARE[chosen](first, second), chosen)


def guess_kind(first: str, second: str) -> AnswerKind:
    """What both answers are; TEXT where they differ in kind."""
    for kind in (AnswerKind.JSON, AnswerKind.CODE, AnswerKind.CHOICE, AnswerKind.NUMBER, AnswerKind.LABEL):
        if _LOOKS[kind](first) and _LOOKS[kind](second):
            return kind
    return AnswerKind.TEXT


def final_number(text: str) -> float | None:
    """The number that a text ends in: after `####`, in a box, after "answer", else the last one."""
    marked = _MARKED_NUMBER.findall(text)
    found = marked[-1:] or _NUMBER.findall(text)[-1:]
    return float(found[0].replace(",", "")) if found else None


def final_choice(text: str) -> str | None:
    """The letter that a text chooses: the last that stands after "answer" or alone at the start of a line."""
    found = [first or second for first, second in _CHOICE.findall(text)]
    return found[-1].upper() if found else None


def parse_json(text: str) -> Json:
    """The JSON in an answer, with or without a fence around it.

    Raises: ValueError if there is none.
    """
    fenced = _FENCE.search(text)
    return json.loads(fenced[1] if fenced else text.strip())


def _numbers(first: str, second: str) -> float:
    left, right = final_number(first), final_number(second)
    if left is None or right is None:
        return 0.0
    return float(abs(left - right) <= NUMBER_TOLERANCE * max(1.0, abs(left), abs(right)))


def _choices(first: str, second: str) -> float:
    left = final_choice(first)
    return float(left is not None and left == final_choice(second))


def _labels(first: str, second: str) -> float:
    left = _words(first)
    return float(bool(left) and left == _words(second))


def _jsons(first: str, second: str) -> float:
    """The share of leaves, by their paths, that are equal in both."""
    try:
        left, right = Counter(_leaves(parse_json(first), "")), Counter(_leaves(parse_json(second), ""))
    except (ValueError, RecursionError):
        return 0.0
    return _overlap(left, right)


def _codes(first: str, second: str) -> float:
    """1 where the programs are the same but for layout and comments, else the overlap of their words."""
    left, right = _code(first), _code(second)
    trees = _tree(left), _tree(right)
    if trees[0] is not None and trees[1] is not None:
        return 1.0 if trees[0] == trees[1] else min(0.99, _texts(left, right))
    return _texts(left, right)


def _texts(first: str, second: str) -> float:
    """Overlap of words; a number that stands in one text only counts as much as ten words."""
    left, right = Counter(_words(first)), Counter(_words(second))
    for words in (left, right):
        for word in words:
            if _FIGURES.search(word):
                words[word] *= 10
    return _overlap(left, right)


_COMPARE: dict[AnswerKind, Callable[[str, str], float]] = {
    AnswerKind.JSON: _jsons,
    AnswerKind.CODE: _codes,
    AnswerKind.CHOICE: _choices,
    AnswerKind.NUMBER: _numbers,
    AnswerKind.LABEL: _labels,
    AnswerKind.TEXT: _texts,
}


def _looks_json(text: str) -> bool:
    stripped = text.strip()
    if not stripped.startswith(("{", "[", "```json")):
        return False
    try:
        parse_json(text)
    except (ValueError, RecursionError):
        return False
    return True


def _looks_number(text: str) -> bool:
    return bool(_MARKED_NUMBER.search(text)) or (len(_words(text)) <= LABEL_WORDS_MAX and bool(_NUMBER.search(text)))


_LOOKS: dict[AnswerKind, Callable[[str], bool]] = {
    AnswerKind.JSON: _looks_json,
    AnswerKind.CODE: lambda text: _FENCE.search(text) is not None,
    AnswerKind.CHOICE: lambda text: final_choice(text) is not None,
    AnswerKind.NUMBER: _looks_number,
    AnswerKind.LABEL: lambda text: 0 < len(_words(text)) <= LABEL_WORDS_MAX,
}


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def _code(text: str) -> str:
    found = _FENCE.findall(text)
    return "\n".join(found) if found else text


def _tree(code: str) -> str | None:
    try:
        return ast.dump(ast.parse(code))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _leaves(value: Json, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}")
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner, f"{path}[]")
    elif isinstance(value, str):
        yield path, " ".join(_words(value)) or value
    else:
        yield path, json.dumps(float(value) if isinstance(value, int) and not isinstance(value, bool) else value)


def _overlap(left: Counter[tuple[str, str]] | Counter[str], right: Counter[tuple[str, str]] | Counter[str]) -> float:
    """Twice what is common over what there is in all."""
    total = left.total() + right.total()
    return 2.0 * (left & right).total() / total if total else 0.0  # pyright: ignore
