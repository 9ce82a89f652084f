"""Which of several equal servers a prompt goes to: the one that holds its beginning.

Owns: fingerprints of prompts, who holds which, and the order in which replicas are to be tried.
Must never know: HTTP, whether a server is alive (`models/providers/transport/replicas.py` says so), tokens.
Invariants: a prompt goes where it is expected to begin soonest, with a prefix that is not held counted four times, for
what is computed twice is in the way of everybody who comes later; so a hot prefix overflows to a second replica once
the first is that far behind, and is held by both from then on; of two that are alike, rendezvous hashing takes the same
one in every gateway; memory is bounded.

Source: rendezvous hashing, Thaler and Ravishankar 1998; the weight of four: docs/log/cache.md.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import TypeAlias

from renga.models.cache.prefix_chain import render_prompt
from renga.protocols.messages.request import MessageRequest

Fingerprint: TypeAlias = tuple[int, ...]
"""What each chunk of a prompt is known by, and with it all that stands before it. () for a prompt without a chunk."""

CHUNK_BYTES = 1024
"""About 250 tokens. Less is computed sooner than it is worth a detour."""

CHUNKS_MAX = 512
"""Prompts that are the same for half a megabyte are one conversation."""

MISSING_WEIGHT = 4
"""Work that a replica would do again weighs so much more than work that is waiting there (docs/log/cache.md)."""

_KNOWN_CHUNKS = 65_536
"""Remembered, about 10 MB. At 250 tokens each more than a few servers hold."""


def fingerprint_prompt(request: MessageRequest) -> Fingerprint:
    """A prompt's fingerprint. Turns that are added later change nothing of what is there.

    Cost: 1 us a chunk and the encoding of its blocks; 0.5 ms for 100 KB.
    """
    chunks: list[int] = []
    link = b""
    rest = b""
    for data in render_prompt(request):
        rest += data
        start = 0
        while len(rest) - start >= CHUNK_BYTES:
            link = blake2b(link + rest[start : start + CHUNK_BYTES], digest_size=8).digest()
            chunks.append(int.from_bytes(link, "little"))
            start += CHUNK_BYTES
            if len(chunks) == CHUNKS_MAX:
                return tuple(chunks)
        rest = rest[start:]
    return tuple(chunks)


class Affinity:
    """Remembers which replica holds which prefix."""

    def __init__(self, names: Sequence[str]) -> None:
        """`names` tell replicas apart; the same ones give the same order in every gateway."""
        self._names = tuple(name.encode() for name in names)
        self._holders: dict[int, int] = {}
        """A bit for each replica that was sent the prefix which ends in a chunk; least recently used first."""
        self._turns = itertools.count()

    def rank(self, fingerprint: Fingerprint, works: Sequence[int]) -> list[int]:
        """All replicas in the order in which they should be tried, given the work that waits on each, in chunks."""
        if not fingerprint:
            turn = next(self._turns)
            return sorted(range(len(works)), key=lambda index: (works[index], (index + turn) % len(works)))
        held = self.count_held(fingerprint)
        places = {index: place for place, index in enumerate(self._order(fingerprint[0]))}
        return sorted(
            range(len(works)),
            key=lambda index: (works[index] + MISSING_WEIGHT * (len(fingerprint) - held[index]), places[index]),
        )

    def count_held(self, fingerprint: Fingerprint) -> list[int]:
        """Leading chunks of a prompt that each replica holds, as far as is known."""
        held = [0] * len(self._names)
        unknown = (1 << len(held)) - 1
        for count in range(len(fingerprint), 0, -1):
            found = self._holders.get(fingerprint[count - 1], 0) & unknown
            if found:
                unknown &= ~found
                for index in range(len(held)):
                    if found >> index & 1:
                        held[index] = count
                if not unknown:
                    break
        return held

    def record(self, fingerprint: Fingerprint, index: int) -> None:
        """A replica was sent a prompt and holds it from now on."""
        bit = 1 << index
        for chunk in fingerprint:
            self._holders[chunk] = self._holders.pop(chunk, 0) | bit
        while len(self._holders) > _KNOWN_CHUNKS:
            del self._holders[next(iter(self._holders))]

    def forget(self, index: int) -> None:
        """A replica has died, and what it held with it. Cost: 5 ms where all is full."""
        keep = ~(1 << index)
        self._holders = {chunk: rest for chunk, bits in self._holders.items() if (rest := bits & keep)}

    def _order(self, chunk: int) -> Iterable[int]:
        """Rendezvous: every replica draws a lot for the chunk, and the highest wins."""
        data = chunk.to_bytes(8, "little")
        lots = [blake2b(name + data, digest_size=8).digest() for name in self._names]
        return sorted(range(len(lots)), key=lots.__getitem__, reverse=True)
