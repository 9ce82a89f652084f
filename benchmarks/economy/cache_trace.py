"""The Mooncake traces, scaled to this machine, and what an infinite cache would find in them.

Source: Mooncake (FAST 2025), `FAST25-release/traces`: one line a request, with its arrival in milliseconds, its
lengths, and a hash for each block of 512 prompt tokens. Requests whose lists begin alike share that much.
"""

from __future__ import annotations

import gzip
import random
from functools import cache

import msgspec

from renga.services.evals.datasets.locations import require_path

TRACES = "traces/mooncake/FAST25-release/traces"
BLOCK_TOKENS = 512


class Line(msgspec.Struct, frozen=True):
    """One request as the trace has it."""

    timestamp: int
    input_length: int
    output_length: int
    hash_ids: tuple[int, ...]


class Scale(msgspec.Struct, frozen=True):
    """How the trace is made to fit."""

    block_words: int
    """Words that stand for a block of 512 tokens."""
    speed: float
    """How many times faster it is replayed."""
    requests: int
    """So many of its first requests."""
    blocks_max: int
    """Longer prompts are left out: the model's context ends somewhere."""


class Request(msgspec.Struct, frozen=True):
    """One request, scaled."""

    at_s: float
    blocks: tuple[int, ...]
    output_tokens: int


def read_trace(name: str, scale: Scale) -> list[Request]:
    """The first requests of a trace that fit."""
    decode = msgspec.json.Decoder(Line).decode
    requests: list[Request] = []
    with gzip.open(require_path(f"{TRACES}/{name}_trace.jsonl.gz")) as lines:
        for text in lines:
            line = decode(text)
            if len(line.hash_ids) > scale.blocks_max:
                continue
            if len(requests) == scale.requests:
                break
            requests.append(Request(line.timestamp / 1000 / scale.speed, line.hash_ids, line.output_length))
    return requests


def keep_conversations(requests: list[Request], count: int) -> list[Request]:
    """Whole conversations, the first that begin, until there are so many requests: those that share two blocks.

    The beginning of a trace has few second turns, and a machine that takes a second a prompt gets no further.
    """
    together: dict[tuple[int, ...], list[Request]] = {}
    for request in requests:
        together.setdefault(request.blocks[:2], []).append(request)
    kept: list[Request] = []
    for conversation in together.values():
        if len(conversation) > 1 and len(kept) < count:
            kept += conversation
    return sorted(kept, key=lambda request: request.at_s)


def ideal_share(requests: list[Request]) -> float:
    """The share of all blocks that a cache which forgets nothing and is instantly filled would find."""
    seen: set[tuple[int, ...] | int] = set()
    total = found = 0
    for request in requests:
        link = 0
        is_shared = True
        for block in request.blocks:
            link = hash((link, block))
            is_shared = is_shared and link in seen
            found += is_shared
            total += 1
            seen.add(link)
    return found / total


@cache
def block_text(block: int, words: int) -> str:
    """The words that stand for a block: the same for the same hash, and unlike any other's."""
    draw = random.Random(block)
    return " ".join(draw.choice(_WORDS) for _ in range(words))


_WORDS = ("after", "again", "air", "all", "along", "also", "always", "and", "any", "around", "away", "back", "before",
          "below", "between", "book", "both", "but", "came", "change", "city", "close", "come", "could")  # fmt: skip
