"""Weights that copy and match before anything is learned.

Owns:   the start of the embedding's coordinates and of the first three attending blocks. What a prompt's repetition is
        worth ("A B ... A" calls for B), and which entry of a list has the words of a later message, are otherwise
        found late or not at all (training/log.md).
How:    the stream's coordinates start apart: what a token is, one that is constant, how rare it is, and three places:
        what stood before, what the last few tokens were, what the last few dozen were. The first block fills the first
        two places; the second copies after a repetition and fills the third; the third compares the third place with
        everybody's second and with everybody's token, and writes what stands there.
Source: Olsson et al. 2022, "In-context Learning and Induction Heads"; Trockman and Kolter 2023 (mimetic starts).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from training.model import Attention, Hokku, Shape

PLACE_SHARE = 0.18
"""Width of each of the three places, as a share of the stream's."""
COMMON, RARE = 0.5, 0.25
"""Lengths of the constant and of the rarity (times its standard score), beside a content of length 1."""
MEANING = 0.6
"""Cosine of a content with its meaning; the rest is random, so that different pieces stay apart."""
CARRY = 0.6
"""Gain with which something is carried into a place; it is then about as long as a token's own content."""
ONE_BACK = {0: 0.5, 1: 0.22, 2: 0.13, 3: 0.09, 4: 0.06}
"""How much of a score each rotary pair makes. The fastest ones: one token and not its neighbours."""
FEW = {2: 0.4, 3: 0.25, 4: 0.2, 5: 0.15}
"""The last few tokens."""
MANY = {4: 0.45, 5: 0.35, 6: 0.2}
"""The last few dozen."""
LATEST = {5: 0.4, 6: 0.3, 7: 0.3}
"""The latest of a few."""
PHASE_GAIN, MATCH_GAIN, CHOICE_GAIN = 1.4, 1.4, 1.6
"""Gains of queries and keys in the first, second and third attending block."""


@dataclass(frozen=True, slots=True)
class Meanings:
    """What is known of each embedding base beforehand; training/meanings.py counts it."""

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
    before: slice
    few: slice
    many: slice


def places(width: int) -> Places:
    size = round(PLACE_SHARE * width)
    first = width - 3 * size
    return Places(
        slice(0, first - 5),
        *range(first - 5, first),
        slice(first, first + size),
        slice(first + size, first + 2 * size),
        slice(first + 2 * size, width),
    )


@torch.no_grad()
def teach_copying(model: Hokku, meanings: Meanings | None = None) -> None:
    """Overwrite the start of the embedding and of the first three attending blocks."""
    shape = model.shape
    where = places(shape.width)
    length = 0.02 * shape.width**0.5
    table = model.embedding
    table.base[:, where.content.stop :] = 0
    table.base.mul_(length / table.base.norm(dim=1, keepdim=True))
    table.flag[:, where.content.stop :] = 0
    table.flag[:, where.constant] = COMMON * length
    size = where.before.stop - where.before.start
    shown, weighed = orthogonal(size, where.content.stop), orthogonal(size, where.content.stop)
    if meanings is not None:
        weighed = _give_meanings(table.base, where, meanings, length)[:size]
    attentions = [model.blocks[index].attention for index in shape.attending]
    for attention, teach in zip(attentions, (_look_back, _find_repetition, _choose), strict=False):
        assert isinstance(attention, Attention)
        teach(attention, where, shown, weighed)


def _give_meanings(base: Tensor, where: Places, meanings: Meanings, length: float) -> Tensor:
    """Turn random contents towards their meanings. Shapes: -> (meanings, content), where a meaning stands in a content.

    What has no meaning (signs, digits, the template) has nothing there, so it counts nothing when a text is weighed.
    """
    vectors = meanings.vectors[:, : where.content.stop]
    axes = orthogonal(vectors.shape[1], where.content.stop)
    content = base[:, where.content] / length
    known = vectors.norm(dim=1) > 0.5
    mixed = MEANING * vectors @ axes + (1 - MEANING**2) ** 0.5 * content
    mixed[~known] -= content[~known] @ axes.T @ axes
    base[:, where.content] = length * torch.nn.functional.normalize(mixed, dim=1)
    base[:, where.rarity] = RARE * length * meanings.rarity
    for mark, role in meanings.marks.items():
        base[mark, where.marked], base[mark, where.role] = COMMON * length, COMMON * length * role
    return axes


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
        rows = attention.shape.head_width, attention.shape.width
        return cls(attention, index, torch.zeros(rows), torch.zeros(rows))

    def look(self, where: Places, shares: dict[int, float], distance: float, *, weight: float = 1.0) -> None:
        """Prefer a distance: constant queries and keys, turned against each other."""
        half, turns = self.attention.shape.head_width // 2, self.attention.shape.turns()
        for pair, share in shares.items():
            if pair < half:
                angle, size = distance * turns[pair], weight * share**0.5
                self.key[pair, where.constant] += size / COMMON
                self.query[pair, where.constant] += size * float(torch.tensor(angle).cos()) / COMMON
                self.query[pair + half, where.constant] -= size * float(torch.tensor(angle).sin()) / COMMON

    def favour(self, where: Places, coordinate: int, *, weight: float) -> None:
        """Prefer where a coordinate of the stream is high. The head's last rows turn with no position."""
        row = self.attention.shape.head_width - 1 - self.favoured
        size = RARE if coordinate == where.rarity else COMMON
        self.query[row, where.constant] += abs(weight) ** 0.5 / COMMON
        self.key[row, coordinate] += weight / abs(weight) ** 0.5 / size
        self.favoured += 1

    def compare(self, asked: Tensor, held: Tensor, *, weight: float = 1.0) -> None:
        """Prefer where `held` reads what `asked` reads here. Shapes: both (rows, width)."""
        rows = still_rows(self.attention.shape)[: len(asked)]
        self.query[rows] += weight * asked[: len(rows)]
        self.key[rows] += weight * held[: len(rows)]

    def write(self, value: Tensor, output: Tensor, gain: float) -> None:
        """Store the head. Shapes: value (rows, width) what it reads; output (width, rows) where that goes."""
        shape = self.attention.shape
        width, group = shape.head_width, self.index * shape.value_heads // shape.heads
        self.attention.query.weight[self.index * width : (self.index + 1) * width] = self.query
        self.attention.key.weight[group * width : (group + 1) * width] = self.key
        rows = min(len(value), width)
        self.attention.value.weight[group * width : group * width + rows] = value[:rows]
        columns = self.attention.output.weight[:, self.index * width : (self.index + 1) * width]
        columns[:, :rows] = gain * output[:, :rows]


def still_rows(shape: Shape) -> list[int]:
    """Coordinates of a head that turn slowly or not at all: what is compared there may be far apart."""
    half = shape.head_width // 2
    first = shape.turning_pairs // 2
    return [*range(first, half), *range(half + first, shape.head_width)]


def _reads(width: int, part: slice, matrix: Tensor | None = None) -> Tensor:
    """A matrix that reads one part of the stream. Shapes: -> (rows, width)."""
    rows = torch.eye(part.stop - part.start) if matrix is None else matrix
    whole = torch.zeros(len(rows), width)
    whole[:, part] = rows
    return whole


def _look_back(attention: Attention, where: Places, shown: Tensor, weighed: Tensor) -> None:
    """The first block: what stood before, and the rare words among the last few tokens."""
    width = attention.shape.width
    attention.query_norm.fill_(PHASE_GAIN)
    attention.key_norm.fill_(PHASE_GAIN)
    token = _reads(width, where.content, shown)
    head = _Head.of(attention, 0)
    head.look(where, ONE_BACK, 1)
    head.write(token, _reads(width, where.before).T, CARRY)
    head = _Head.of(attention, 1)
    head.look(where, FEW, 1.5, weight=0.9)
    head.favour(where, where.rarity, weight=0.08)
    head.write(_reads(width, where.content, weighed), _reads(width, where.few).T, CARRY)
    head = _Head.of(attention, 2)
    head.look(where, LATEST, 0, weight=0.5)
    head.favour(where, where.marked, weight=1.0)
    head.write(
        _reads(width, slice(where.role, where.role + 1)), _reads(width, slice(where.section, where.section + 1)).T, 1.0
    )


def _find_repetition(attention: Attention, where: Places, shown: Tensor, weighed: Tensor) -> None:
    """The second block: copy what stood after an earlier occurrence, and gather the last few dozen tokens."""
    shape = attention.shape
    attention.query_norm.fill_(MATCH_GAIN)
    attention.key_norm.fill_(MATCH_GAIN)
    token = _reads(shape.width, where.content, shown)
    copied = orthogonal(where.content.stop, where.content.stop)
    for index in range(2):
        part = copied[index * shape.head_width : (index + 1) * shape.head_width]
        if len(part):
            head = _Head.of(attention, index)
            head.compare(token, _reads(shape.width, where.before))
            value = _reads(shape.width, where.content, part)
            head.write(value, value.T, 0.8)
    head = _Head.of(attention, 2)
    head.look(where, MANY, 9, weight=0.75)
    head.favour(where, where.rarity, weight=0.15)
    head.favour(where, where.section, weight=0.5)
    head.write(_reads(shape.width, where.content, weighed), _reads(shape.width, where.many).T, 1.5 * CARRY)


def _choose(attention: Attention, where: Places, shown: Tensor, weighed: Tensor) -> None:
    """The third block: which few tokens of long ago are like the last few dozen, and what stands there."""
    shape = attention.shape
    attention.query_norm.fill_(CHOICE_GAIN)
    attention.key_norm.fill_(CHOICE_GAIN)
    token = _reads(shape.width, where.content, weighed)
    many, few = _reads(shape.width, where.many), _reads(shape.width, where.few)
    for index, held in enumerate((few, token)):
        head = _Head.of(attention, index)
        head.compare(many, held, weight=0.9)
        head.favour(where, where.section, weight=-0.5)
        head.write(few, token.T, 0.5)


def orthogonal(rows: int, columns: int) -> Tensor:
    """Orthogonal rows of length one. Shapes: -> (rows, columns), rows <= columns."""
    matrix = torch.empty(rows, columns)
    torch.nn.init.orthogonal_(matrix)
    return matrix
