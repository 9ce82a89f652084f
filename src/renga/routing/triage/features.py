"""What can be seen of a request before anyone answers it, as numbers.

Owns: hashed words and word pairs, the surface of the text, the request's shape.
Must never know: models, prices, weights. Nothing here is learned.
Invariants: the same text gives the same features on every machine and in every process; the cost is bounded, however
long the request is, because only the head and the tail of the text are read.

One pass over the bytes in numpy: a word's hash is a difference of two prefix sums of a polynomial, so no Python loop
runs over words; at 500 tokens that takes half the time of a loop with crc32.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from msgspec import UNSET, Struct
from numpy.typing import NDArray

from renga.protocols.messages.blocks import DocumentBlock, ImageBlock, TextBlock, ToolResultBlock, ToolUseBlock
from renga.protocols.messages.request import MessageRequest, ThinkingDisabled, ToolChoiceAny, ToolChoiceTool
from renga.routing.outcomes.outcome_file import RequestShape
from renga.routing.triage.history import NEW_CONVERSATION, History

HASH_BITS = 14
"""16,384 buckets: 32 kB of half-precision weights a table."""
HEAD_BYTES = 6_000
TAIL_BYTES = 2_000
"""What is read of a long text: instructions stand first, the question last."""

_MULTIPLIER = 0x9E3779B97F4A7C15
"""Odd, so that it has an inverse modulo 2^64. Source: 2^64 / golden ratio, Knuth, TAOCP vol. 3, 6.4."""
_PAIR = np.uint64(0xC2B2AE3D27D4EB4F)
"""Sets a pair's hash apart from its words'. Source: xxHash, PRIME64_2."""
_SPREAD = np.uint64(0xD6E8FEB86659FD93)
_SHIFT = np.uint64(64 - HASH_BITS)

_BREAK, _LOWER, _UPPER, _DIGIT, _OPERATOR, _BRACKET, _STOP, _QUESTION, _LINE, _QUOTE = range(10)


def _classes() -> NDArray[np.uint8]:
    table = np.zeros(256, np.uint8)
    table[128:] = _LOWER
    for name, members in (
        (_LOWER, b"abcdefghijklmnopqrstuvwxyz_"),
        (_UPPER, b"ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
        (_DIGIT, b"0123456789"),
        (_OPERATOR, b"+-*/=<>^%$\\|~&"),
        (_BRACKET, b"()[]{}"),
        (_STOP, b".!;:"),
        (_QUESTION, b"?"),
        (_LINE, b"\n"),
        (_QUOTE, b"\"'`"),
    ):
        table[list(members)] = name
    return table


def _folded() -> NDArray[np.uint64]:
    """Lower case; all digits alike, for a number's size tells more than its value."""
    table = np.arange(256, dtype=np.uint64) + np.uint64(1)
    for upper in range(ord("A"), ord("Z") + 1):
        table[upper] = table[upper + 32]
    table[ord("0") : ord("9") + 1] = table[ord("0")]
    return table


def _powers(base: int, count: int) -> NDArray[np.uint64]:
    with np.errstate(over="ignore"):
        return np.concatenate([np.ones(1, np.uint64), np.cumprod(np.full(count - 1, base, np.uint64), dtype=np.uint64)])


_CLASS = _classes()
_FOLDED = _folded()
_IS_WORD = np.isin(np.arange(256), np.flatnonzero(np.isin(_CLASS, (_LOWER, _UPPER, _DIGIT))))
_POWERS = _powers(_MULTIPLIER, HEAD_BYTES + TAIL_BYTES + 2)
_INVERSE = _powers(pow(_MULTIPLIER, -1, 1 << 64), HEAD_BYTES + TAIL_BYTES + 2)

SURFACE = (
    "words",
    "bytes",
    "numbers",
    "word_bytes",
    "digits",
    "capitals",
    "operators",
    "brackets",
    "sentences",
    "questions",
    "lines",
    "quotes",
    "beyond_ascii",
    "distinct",
)
"""Names of the surface features, in their order."""

SHAPE = (
    "tools",
    "forced_tool",
    "tool_results",
    "tool_calls",
    "schema",
    "images",
    "documents",
    "turns",
    "history_bytes",
    "system_bytes",
    "max_tokens",
    "effort",
    "thinking",
    "last_tier",
    "escalations",
)
"""Names of the shape features, in their order."""

_EFFORT = {None: 0.0, "low": -1.0, "medium": 0.0, "high": 1.0, "xhigh": 1.5, "max": 2.0}


class Features(Struct, frozen=True, eq=False):
    """The hashed and the dense features of one request."""

    buckets: NDArray[np.int64]
    """Hashed words and pairs, with repeats."""
    dense: NDArray[np.float64]
    """SURFACE, then SHAPE where the request is known."""


def read_text(text: str) -> Features:
    """The features of a text alone, as benchmarks and outcomes files have it."""
    return _read_bytes(_window(text.encode("utf-8", "surrogatepass")), len(text))


def read_request(request: MessageRequest, history: History = NEW_CONVERSATION) -> Features:
    """The features of a request: the text of its last user turn, and its shape.

    Cost: one pass over at most HEAD_BYTES + TAIL_BYTES; the other turns are only measured.
    """
    text = last_user_text(request)
    read = read_text(text)
    return Features(read.buckets, np.concatenate([read.dense, read_shape(request, history)]))


def read_labelled(prompt: str, shape: RequestShape) -> Features:
    """The features of a request in an outcomes file: what it says of its shape is as `read_shape` would have it, the
    rest is 0, and a column that is 0 in every label gets no weight.
    """
    counts = dict.fromkeys(SHAPE, 0.0)
    counts["tools"] = math.log1p(shape.tools)
    counts["schema"] = float(shape.schema)
    counts["images"] = float(shape.images)
    counts["turns"] = math.log1p(shape.turns)
    read = read_text(prompt)
    return Features(read.buckets, np.concatenate([read.dense, np.fromiter(counts.values(), np.float64, len(SHAPE))]))


def last_user_text(request: MessageRequest) -> str:
    """The text of the last turn that a user wrote; "" when it holds none (a tool's result, an image)."""
    for turn in reversed(request.messages):
        if turn.role == "user":
            if isinstance(turn.content, str):
                return turn.content
            return "\n".join(block.text for block in turn.content if isinstance(block, TextBlock))
    return ""


def read_shape(request: MessageRequest, history: History = NEW_CONVERSATION) -> NDArray[np.float64]:
    """The features of SHAPE: counts as log(1 + n), marks as 0 or 1."""
    counts = dict.fromkeys(SHAPE, 0.0)
    history_bytes = 0
    for turn in request.messages:
        if isinstance(turn.content, str):
            history_bytes += len(turn.content)
            continue
        for block in turn.content:
            match block:
                case TextBlock():
                    history_bytes += len(block.text)
                case ImageBlock():
                    counts["images"] += 1
                case DocumentBlock():
                    counts["documents"] += 1
                case ToolUseBlock():
                    counts["tool_calls"] += 1
                case ToolResultBlock():
                    counts["tool_results"] += 1
                case _:
                    pass
    config = request.output_config
    choice = request.tool_choice
    counts["tools"] = math.log1p(len(request.tools))
    counts["forced_tool"] = float(isinstance(choice, ToolChoiceAny | ToolChoiceTool))
    counts["tool_results"] = math.log1p(counts["tool_results"])
    counts["tool_calls"] = math.log1p(counts["tool_calls"])
    counts["schema"] = float(config is not None and config.format is not None)
    counts["turns"] = math.log1p(len(request.messages))
    counts["history_bytes"] = math.log1p(history_bytes)
    counts["system_bytes"] = math.log1p(sum(len(part) for part in _system_texts(request)))
    counts["max_tokens"] = math.log1p(request.max_tokens)
    counts["effort"] = _EFFORT.get(config.effort, 0.0) if config is not None else 0.0
    counts["thinking"] = float(not isinstance(request.thinking, ThinkingDisabled | None))
    counts["last_tier"] = float(history.last_tier_rank)
    counts["escalations"] = math.log1p(history.escalations)
    return np.fromiter(counts.values(), np.float64, len(SHAPE))


def _system_texts(request: MessageRequest) -> Iterator[str]:
    if isinstance(request.system, str):
        yield request.system
    elif request.system is not None and request.system is not UNSET:
        for block in request.system:
            yield block.text


def _window(data: bytes) -> bytes:
    if len(data) <= HEAD_BYTES + TAIL_BYTES:
        return data
    return data[:HEAD_BYTES] + b"\n" + data[-TAIL_BYTES:]


def _read_bytes(data: bytes, characters: int) -> Features:
    raw = np.frombuffer(data, np.uint8)
    counts = np.bincount(_CLASS[raw], minlength=10)
    edges = np.diff(_IS_WORD[raw].view(np.int8), prepend=0, append=0)
    starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    words = _hash_words(raw, starts, ends)
    pairs = (words[:-1] * _PAIR) ^ (words[1:] * _SPREAD)
    buckets = (np.concatenate([words, pairs]) * _SPREAD >> _SHIFT).astype(np.int64)
    word_count = len(starts)
    length = max(len(raw), 1)
    numbers = int(np.count_nonzero(_CLASS[raw[starts]] == _DIGIT)) if word_count else 0
    distinct = len(np.unique(words)) / word_count if word_count else 0.0
    surface = (
        math.log1p(word_count),
        math.log1p(characters),
        math.log1p(numbers),
        float(np.sum(ends - starts)) / max(word_count, 1),
        counts[_DIGIT] / length,
        counts[_UPPER] / length,
        math.log1p(counts[_OPERATOR]),
        math.log1p(counts[_BRACKET]),
        math.log1p(counts[_STOP]),
        math.log1p(counts[_QUESTION]),
        math.log1p(counts[_LINE]),
        math.log1p(counts[_QUOTE]),
        float(np.count_nonzero(raw > 127)) / length,
        distinct,
    )
    return Features(buckets, np.asarray(surface, np.float64))


def _hash_words(raw: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Each word's polynomial hash, moved to power 0 so that its place does not matter."""
    prefix = np.zeros(len(raw) + 1, np.uint64)
    np.cumsum(_FOLDED[raw] * _POWERS[: len(raw)], out=prefix[1:])
    return (prefix[ends] - prefix[starts]) * _INVERSE[starts]
