"""A second stream that finds which entry of a list is like a later message, before anything is learned.

Owns:   the start of `MatchingStream`. A model of this size does not find that out in twenty million tokens, while
        counting words that two texts share, rare ones more, picks a new label better than that model did
        (training/log.md).
How:    the stream's coordinates stand apart: what a word means, one that is constant, how rare it is, whose turn it
        stands in, and two places. The first attention gathers the rare words among the last few tokens (an entry) and
        marks whose turn it is; the second gathers the rare words of the latest user turn; the third compares that with
        every entry, and the last few words with every word outside that turn. What the first stream reads there starts
        at nothing, so a trained network may be given this one and still says what it said.
Source: Olsson et al. 2022, "In-context Learning and Induction Heads"; Trockman and Kolter 2023 (mimetic starts).
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from training.network.initialization import orthogonal
from training.network.model import Attention, Hokku, MatchingStream, Shape

COMMON, RARE = 0.5, 0.25
"""Lengths of the constant and of the rarity (times its standard score), beside a content of length 1."""
MEANING = 0.85
"""Cosine of a content with its meaning; the rest is random, so that different pieces stay apart."""
CARRY = 0.6
"""Gain with which something is carried into a place."""
FEW = {2: 0.4, 3: 0.25, 4: 0.2, 5: 0.15}
"""How much of a score each rotary pair makes: the last few tokens."""
MANY = {4: 0.45, 5: 0.35, 6: 0.2}
"""The last few dozen."""
LATEST = {5: 0.4, 6: 0.3, 7: 0.3}
"""The latest of a few, or the last hundred."""
LOOK_GAIN, GATHER_GAIN, CHOICE_GAIN = 1.4, 1.4, 1.8
"""Gains of queries and keys."""
ROLE = 0.4
"""How strongly a token is marked with its turn."""
FEW_RARE, MANY_RARE, MANY_SAME, APART = 0.03, 0.08, 0.3, 0.6
"""How much rarity and turn count beside distance and likeness."""


@dataclass(frozen=True, slots=True)
class WordVectors:
    """What is known of each embedding base beforehand; training/network/word_vectors.py counts it."""

    vectors: Tensor
    "Shapes: (bases, any). Length one, or zero; the first coordinates tell most."
    rarity: Tensor
    "Shapes: (bases,). A standard score, high for rare words."
    marks: dict[int, float]
    "Bases that begin a turn, and whose: user and tool 1, system -1, assistant 0."


@dataclass(frozen=True, slots=True)
class Places:
    """Where things stand in the stream."""

    content: slice
    constant: int
    rarity: int
    marked: int
    "Whether a token begins a turn."
    role: int
    "Whose turn: user and tool 1, system -1."
    section: int
    "Whose turn a token stands in."
    few: slice
    many: slice


def places(d_model: int) -> Places:
    """Divide a stream of this width among what stands in it."""
    size = d_model // 4
    first = d_model - 2 * size
    return Places(
        content=slice(0, first - 5),
        constant=first - 5,
        rarity=first - 4,
        marked=first - 3,
        role=first - 2,
        section=first - 1,
        few=slice(first, first + size),
        many=slice(first + size, d_model),
    )


@torch.no_grad()
def initialize_matching_stream(matching: MatchingStream, word_vectors: WordVectors) -> None:
    """Write the start of the second stream."""
    d_model = matching.shape.d_model
    where = places(d_model)
    vectors = word_vectors.vectors[:, : where.content.stop]
    axes = orthogonal(vectors.shape[1], where.content.stop)
    random = torch.nn.functional.normalize(torch.randn(len(vectors), where.content.stop), dim=1)
    known = vectors.norm(dim=1) > 0.5
    vectors = torch.nn.functional.normalize(vectors, dim=1)
    mixed = MEANING * vectors @ axes + (1 - MEANING**2) ** 0.5 * random
    weighed = axes[: d_model // 4]
    mixed[~known] = random[~known] - random[~known] @ weighed.T @ weighed
    base, length = matching.base, 0.02 * d_model**0.5
    base.zero_()
    base[:, where.content] = torch.nn.functional.normalize(mixed, dim=1)
    base[:, where.constant], base[:, where.rarity] = COMMON, RARE * word_vectors.rarity
    for mark, role in word_vectors.marks.items():
        base[mark, where.marked], base[mark, where.role] = COMMON, COMMON * role
    base.mul_(length)
    for attention in (matching.look, matching.gather, matching.choose):
        attention.output.weight.zero_()
    _look(matching.look, where, weighed)
    _gather(matching.gather, where, weighed)
    _choose(matching.choose, where, weighed)


@dataclass(slots=True)
class _Head:
    """One head's rows, written into the attention's matrices at the end."""

    attention: Attention
    index: int
    query: Tensor
    key: Tensor
    favoured: int = 0

    @classmethod
    def of(cls, attention: Attention, index: int) -> "_Head":
        rows = attention.shape.head_dim, attention.shape.d_model
        return cls(attention, index, torch.zeros(rows), torch.zeros(rows))

    def look(self, where: Places, shares: dict[int, float], distance: float, *, weight: float = 1.0) -> None:
        """Prefer a distance: constant queries and keys, turned against each other."""
        half, turns = self.attention.shape.head_dim // 2, self.attention.shape.turns()
        for pair, share in shares.items():
            if pair < half:
                angle, size = distance * turns[pair], weight * share**0.5
                self.key[pair, where.constant] += size / COMMON
                self.query[pair, where.constant] += size * float(torch.tensor(angle).cos()) / COMMON
                self.query[pair + half, where.constant] -= size * float(torch.tensor(angle).sin()) / COMMON

    def favour(self, where: Places, coordinate: int, *, weight: float) -> None:
        """Prefer where a coordinate of the stream is high. The head's last rows turn with no position."""
        row = self.attention.shape.head_dim - 1 - self.favoured
        size = RARE if coordinate == where.rarity else COMMON
        self.query[row, where.constant] += abs(weight) ** 0.5 / COMMON
        self.key[row, coordinate] += weight / abs(weight) ** 0.5 / size
        self.favoured += 1

    def compare(self, asked: Tensor, held: Tensor, *, weight: float = 1.0) -> None:
        """Prefer where `held` reads what `asked` reads here. Shapes: both (rows, d_model)."""
        rows = still_rows(self.attention.shape)[: len(asked)]
        self.query[rows] += weight * asked[: len(rows)]
        self.key[rows] += weight * held[: len(rows)]

    def keep(self) -> None:
        """Store where the head looks."""
        rows = self._rows()
        self.attention.query.weight[rows], self.attention.key.weight[rows] = self.query, self.key

    def write(self, value: Tensor, output: Tensor, gain: float) -> None:
        """Store the head. Shapes: value (rows, d_model) what it reads; output (d_model, rows) where that goes."""
        self.keep()
        rows = self._rows()
        self.attention.value.weight[rows.start : rows.start + len(value)] = value
        self.attention.output.weight[:, rows.start : rows.start + len(value)] = gain * output

    def _rows(self) -> slice:
        d_model = self.attention.shape.head_dim
        return slice(self.index * d_model, (self.index + 1) * d_model)


def still_rows(shape: Shape) -> list[int]:
    """Coordinates of a head that turn slowly or not at all: what is compared there may be far apart."""
    half = shape.head_dim // 2
    first = shape.rotary_pairs // 2
    return [*range(first, half), *range(half + first, shape.head_dim)]


def _reads(d_model: int, part: slice, matrix: Tensor | None = None) -> Tensor:
    """A matrix that reads one part of the stream. Shapes: -> (rows, d_model)."""
    rows = torch.eye(part.stop - part.start) if matrix is None else matrix
    whole = torch.zeros(len(rows), d_model)
    whole[:, part] = rows
    return whole


def _look(attention: Attention, where: Places, weighed: Tensor) -> None:
    """The rare words among the last few tokens, and whose turn it is."""
    d_model = attention.shape.d_model
    attention.query_norm.fill_(LOOK_GAIN)
    attention.key_norm.fill_(LOOK_GAIN)
    head = _Head.of(attention, 0)
    head.look(where, FEW, 1.5, weight=0.9)
    head.favour(where, where.rarity, weight=FEW_RARE)
    head.write(_reads(d_model, where.content, weighed), _reads(d_model, where.few).T, CARRY)
    head = _Head.of(attention, 1)
    head.look(where, LATEST, 0, weight=0.5)
    head.favour(where, where.marked, weight=1.0)
    role, section = (slice(place, place + 1) for place in (where.role, where.section))
    head.write(_reads(d_model, role), _reads(d_model, section).T, ROLE)


def _gather(attention: Attention, where: Places, weighed: Tensor) -> None:
    """The rare words of the latest user turn: of its last dozens, and of all of it."""
    d_model = attention.shape.d_model
    attention.query_norm.fill_(GATHER_GAIN)
    attention.key_norm.fill_(GATHER_GAIN)
    for index, (shares, distance) in enumerate(((MANY, 9), (LATEST, 20))):
        head = _Head.of(attention, index)
        head.look(where, shares, distance, weight=0.75)
        head.favour(where, where.rarity, weight=MANY_RARE)
        head.favour(where, where.section, weight=MANY_SAME)
        head.write(_reads(d_model, where.content, weighed), _reads(d_model, where.many).T, CARRY)


def _choose(attention: Attention, where: Places, weighed: Tensor) -> None:
    """Which few tokens outside the user's turn are like all of it, and which token there is like the last few."""
    d_model = attention.shape.d_model
    attention.query_norm.fill_(CHOICE_GAIN)
    attention.key_norm.fill_(CHOICE_GAIN)
    many, few = _reads(d_model, where.many), _reads(d_model, where.few)
    for index, (asked, held) in enumerate(((many, few), (few, _reads(d_model, where.content, weighed)))):
        head = _Head.of(attention, index)
        head.compare(asked, held)
        head.favour(where, where.section, weight=-APART)
        head.keep()


def grow(model: Hokku, word_vectors: WordVectors, *, d_model: int = 192) -> Hokku:
    """The same network with a second stream; it says what it said until it has learned to use that."""
    shape = replace(model.shape, matching_d_model=d_model)
    grown = Hokku(shape, model.embedding.groups.tolist(), model.embedding.flags.tolist())
    grown.load_state_dict(model.state_dict(), strict=False)
    assert grown.matching is not None
    initialize_matching_stream(grown.matching, word_vectors)
    return grown
