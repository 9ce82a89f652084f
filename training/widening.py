"""What was learned of likeness, given to the second stream of a network that may already be trained.

Owns:   the start of the part of `Matching` that `Shape.likeness` counts. All that the network knew stays, but for three
        heads of the second stream: one marks whose turn a token stands in, one gathers the words of the latest message
        by the weights that were learned with the vectors, and one chooses the entry whose words are like them. A new
        one gathers the words of an entry.
Why:    training/likeness.py. The vectors themselves are learned no further: of the pairs that taught them the
        network sees a hundredth, and the same labels again and again.
"""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from training.likeness import DIMENSIONS, Likeness
from training.matching import CARRY, COMMON, FEW, LATEST, RARE, Head, Places, read_part
from training.model import Attention, Hokku, Matching, normalize, rotary_angles

SHARE = 0.04
"""Of a token's length, squared: that of a vector which is added."""
SHARP, SECTION, WEIGHT, RECENT, ALIKE, APART = 1.0, 0.3, 0.05, 0.3, 2.0, 0.8
"""How much counts: that a token begins a turn; for a message its turn, its words' weights and that it is the latest;
between message and entry, that they are alike and that the entry is not in the message."""
MOST, LEAST = 2.0, -3.0
"""Bounds of a weight's logarithm."""
TURNS = 4
WIDTH = 3 * DIMENSIONS + 4 + TURNS


def _places(width: int) -> tuple[Places, slice]:
    """Where things stand, after `width` coordinates of what was there before; the last: whose turn a token begins."""
    content, few, many = (slice(width + part * DIMENSIONS, width + (part + 1) * DIMENSIONS) for part in range(3))
    constant, rarity, marked, section = range(many.stop, many.stop + 4)
    begins = slice(section + 1, section + 1 + TURNS)
    return Places(content, constant, rarity, marked, begins.start, section, few, many), begins


def hold(matching: Matching) -> None:
    """Forget the gradients of what is learned no further: how the vectors of words are gathered, and where to.

    Learned, the heads that gather took to the few words that tell the known labels apart (training/log.md).
    """
    first = matching.base.shape[1]
    held: list[tuple[Tensor, Any]] = [(norm, slice(first, None)) for norm in matching.norms[:3]]
    for part, heads in ((matching.look, (1, 2)), (matching.gather, (1,))):
        for rows in (Head.of(part, head).rows for head in heads):
            held += [(layer.weight, rows) for layer in (part.query, part.key, part.value)]
            held.append((part.output.weight, (slice(None), rows)))
        held.append((part.output.weight, slice(first, None)))
    for weight, places in held:
        if weight.grad is not None:
            weight.grad[places] = 0.0


@torch.no_grad()
def widen(model: Hokku, likeness: Likeness, marks: dict[int, float], documents: list[Tensor]) -> Hokku:
    """The same network with a wider second stream.

    `marks` are the bases that begin a turn, and whose (`Meanings.marks`); `documents` (T,) tell what a head used to
    write.
    """
    assert model.matching is not None
    shape = replace(model.shape, likeness=WIDTH)
    wide = Hokku(shape, model.embedding.groups.tolist(), model.embedding.flags.tolist())
    assert wide.matching is not None
    state = wide.state_dict()
    for name, old in model.state_dict().items():
        if name.startswith("matching"):
            state[name].zero_()
        state[name][tuple(slice(0, size) for size in old.shape)] = old
    wide.load_state_dict(state)
    width, turns = model.shape.matching, list(marks)
    where, begins = _places(width)
    length = (SHARE * model.matching.table().square().sum(1).mean()).sqrt()
    _write_words(wide.matching, likeness, turns, where, begins)
    wide.matching.likeness.mul_(length)
    for norm in wide.matching.norms[:3]:
        norm[:width] *= (width / shape.second().width) ** 0.5
        norm[width:] = 1.0
    _teach(wide.matching, where, begins, marks, _means_by_turn(model, turns, documents))
    return wide


def _write_words(matching: Matching, likeness: Likeness, turns: list[int], where: Places, begins: slice) -> None:
    first = where.content.start
    table = matching.likeness
    table[:, :DIMENSIONS] = likeness.vectors
    table[:, where.constant - first] = COMMON
    table[:, where.rarity - first] = RARE * likeness.weights.clamp(LEAST, MOST)
    table[turns, where.marked - first] = COMMON
    table[turns, range(begins.start - first, begins.stop - first)] = COMMON


def _means_by_turn(model: Hokku, turns: list[int], documents: list[Tensor]) -> Tensor:
    """What the head that marks turns writes on average in each kind of turn. Shapes: -> (turns, width)."""
    matching = model.matching
    assert matching is not None
    marking = Attention(model.shape.looking())
    marking.load_state_dict(matching.look.state_dict())
    marking.output.weight[:, : marking.shape.head_width] = 0.0
    sums, counts = torch.zeros(len(turns), model.shape.matching), torch.zeros(len(turns))
    for tokens in documents:
        bases, positions = model.embedding.groups[tokens][None], torch.arange(len(tokens))[None]
        hidden = normalize(matching.table()[bases], matching.norms[0])
        written = marking(hidden, *rotary_angles(positions, matching.shape), None)[0]
        begun = torch.stack([bases[0] == turn for turn in turns])
        latest = (begun * (positions + 1)).cummax(1).values.argmax(0)
        known = begun.any(0).cummax(0).values
        sums.index_add_(0, latest[known], written[known])
        counts.index_add_(0, latest[known], torch.ones(int(known.sum())))
    return sums / counts.clamp(min=1.0)[:, None]


def _teach(matching: Matching, where: Places, begins: slice, marks: dict[int, float], means: Tensor) -> None:
    """Write the four heads."""
    width, turns = matching.shape.width, list(marks)
    words, few, many = (read_part(width, part) for part in (where.content, where.few, where.many))
    marking = Head.emptied(matching.look, 1)
    marking.look(where, LATEST, 0, weight=0.5)
    marking.favour(where, where.marked, weight=SHARP)
    begun = normalize(matching.table()[turns], matching.norms[0])[range(len(turns)), range(begins.start, begins.stop)]
    written = torch.zeros(width, len(turns))
    written[: means.shape[1]] = means.T
    written[where.section] = matching.table()[turns, where.constant] * torch.tensor(list(marks.values()))
    marking.write(read_part(width, begins), written / begun, 1.0)
    entry = Head.emptied(matching.look, 2)
    entry.look(where, FEW, 1.5, weight=0.9)
    entry.favour(where, where.rarity, weight=WEIGHT)
    entry.write(words, few.T, CARRY)
    message = Head.emptied(matching.gather, 1)
    message.look(where, LATEST, 20, weight=RECENT)
    message.favour(where, where.rarity, weight=WEIGHT)
    message.favour(where, where.section, weight=SECTION)
    message.steady(where, weight=1.0)
    message.write(words, many.T, CARRY)
    choice = Head.emptied(matching.choose, 0, written=False)
    choice.compare(many, few, weight=ALIKE)
    choice.favour(where, where.section, weight=-APART)
    choice.steady(where, weight=0.3)
    choice.keep()
