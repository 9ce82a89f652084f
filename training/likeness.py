"""Which words are asked for in which: vectors of words, learned by matching labels to messages, as bags of words.

Owns:   the vectors and the weights. Nothing of a network is trained here: a text is the weighted mean of its words, and
        the mean of a label shall be nearer to its own messages than to those of a thousand others. So is the title of a
        page to its paragraphs, and a few words of prose to those around them.
Why:    counted neighbours (training/meanings.py) choose one of five labels never seen 0.57 times, these 0.67 times, and
        the network, which learns from a hundredth of the pairs, had reached 0.54 (training/log.md).
Cost:   a minute, most of it for reading.
Source: Wu et al. 2018, "StarSpace: Embed All The Things!"; van den Oord et al. 2018 (InfoNCE).
"""

import pathlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy
import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional

from training.meanings import load_meanings
from training.sources import label_sets, prose
from training.tokenizer import load_tokenizer, piece_groups, worded_groups

DIMENSIONS = 48
STEPS, PAIRS = 400, 1024
"""More steps learn the labels by heart: 0.67 at 400, 0.63 at 1,600."""
TEMPERATURE = 0.1
RATES = (2e-3, 5e-3)
"""Of the vectors and of the logarithms of the weights."""
ASKED_WORDS, HELD_WORDS = 8, 28
"""The most words of a label or title, and of a message or paragraph."""
SPAN_WORDS, AROUND_WORDS = 4, 12
"""The longest piece of prose that is asked, and how much to either side of it holds the answer."""
UNKNOWN, NOTHING = -4.0, -20.0
"""The logarithms of the weights of what is no word, and of what only fills a row up."""


@dataclass(frozen=True, slots=True)
class Likeness:
    """What is known of each embedding base."""

    vectors: Tensor
    "Shapes: (bases, D). Length one, or zero."
    weights: Tensor
    "Shapes: (bases,). Logarithms."


@dataclass(frozen=True, slots=True)
class Pairs:
    """What is asked and what holds the answer, filled up with the number of bases. Shapes: (N, words) both."""

    asked: Tensor
    held: Tensor

    def draw(self, count: int) -> tuple[Tensor, Tensor]:
        picked = torch.randint(0, len(self.asked), (count,))
        return self.asked[picked], self.held[picked]


class _Words:
    """Texts as rows of bases of words."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._groups = numpy.array(piece_groups(tokenizer)[0])
        self.worded = worded_groups(tokenizer)
        self.bases = len(self.worded)

    def read(self, texts: list[str]) -> list[numpy.ndarray]:
        spaced = [" " + re.sub(r"([a-z])([A-Z])", r"\1 \2", text).replace("_", " ").lower() for text in texts]
        found = [self._groups[numpy.array(one.ids, int)] for one in self._tokenizer.encode_batch_fast(spaced)]
        return [row[self.worded[row]] for row in found]

    def pad(self, rows: Iterable[numpy.ndarray], width: int) -> Tensor:
        kept = [row[:width] for row in rows]
        padded = numpy.full((len(kept), width), self.bases)
        for index, row in enumerate(kept):
            padded[index, : len(row)] = row
        return torch.from_numpy(padded)


def _told_pairs(words: _Words) -> Pairs:
    """Labels and their messages, titles and their first paragraphs."""
    pairs = [(label, text) for labels in label_sets().values() for label, texts in labels.items() for text in texts]
    for title, text in prose():
        pairs += [(title, part[:300]) for part in text.split("\n\n")[1:6] if len(part) > 40]
    asked, held = (words.read([pair[side] for pair in pairs]) for side in (0, 1))
    return Pairs(words.pad(asked, ASKED_WORDS), words.pad(held, HELD_WORDS))


def _prose_pairs(words: _Words, *, count: int) -> Pairs:
    """A few words of prose, and the words around them."""
    stream = torch.from_numpy(numpy.concatenate(words.read([text for _, text in prose()[::2]])))
    start = torch.randint(AROUND_WORDS, len(stream) - AROUND_WORDS - SPAN_WORDS, (count, 1))
    places = torch.arange(-AROUND_WORDS, AROUND_WORDS + SPAN_WORDS)[None]
    inside = (places >= 0) & (places < torch.randint(1, SPAN_WORDS + 1, (count, 1)))
    rows = stream[start + places]
    asked = torch.where(inside, rows, words.bases)[:, AROUND_WORDS : AROUND_WORDS + SPAN_WORDS]
    filled = functional.pad(asked, (0, ASKED_WORDS - SPAN_WORDS), value=words.bases)
    return Pairs(filled, torch.where(inside, words.bases, rows))


def bag(vectors: Tensor, weights: Tensor, rows: Tensor) -> Tensor:
    """The weighted mean of words, of length one. Shapes: (bases, D), (bases,), (N, words) -> (N, D)."""
    return functional.normalize((vectors[rows] * weights[rows].exp()[..., None]).sum(-2), dim=-1)


def learn_likeness(told: Pairs, around: Pairs, start: Likeness, *, steps: int = STEPS, pairs: int = PAIRS) -> Likeness:
    """Match what is asked to what holds the answer, both ways; half of each step's pairs are `told`."""
    none = torch.zeros(1, start.vectors.shape[1])
    vectors = torch.cat((start.vectors, none)).requires_grad_()
    weights = torch.cat((start.weights, torch.tensor([NOTHING]))).requires_grad_()
    optimizer = torch.optim.Adam([{"params": [vectors], "lr": RATES[0]}, {"params": [weights], "lr": RATES[1]}])
    scale = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, 2 * (1 - step / steps)))
    right = torch.arange(pairs)
    for _ in range(steps):
        drawn = zip(told.draw(pairs // 2), around.draw(pairs - pairs // 2), strict=True)
        asked, held = (bag(vectors, weights, torch.cat(rows)) for rows in drawn)
        scores = asked @ held.T / TEMPERATURE
        loss = functional.cross_entropy(scores, right) + functional.cross_entropy(scores.T, right)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scale.step()
    learned, lengths = vectors.detach()[:-1], vectors.detach()[:-1].norm(dim=1)
    return Likeness(functional.normalize(learned, dim=1), weights.detach()[:-1] + lengths.clamp(min=1e-3).log())


def load_likeness(folder: pathlib.Path) -> Likeness:
    """Learn once a folder; the folder's tokenizer says what the bases are."""
    path = folder / "likeness.npz"
    if not path.exists():
        torch.manual_seed(0)
        meanings, words = load_meanings(folder), _Words(load_tokenizer(folder / "tokenizer.json"))
        told, around = _told_pairs(words), _prose_pairs(words, count=STEPS * PAIRS // 2)
        weights = torch.where(torch.from_numpy(words.worded), meanings.rarity, UNKNOWN)
        start = Likeness(functional.normalize(meanings.vectors[:, :DIMENSIONS], dim=1), weights)
        likeness = learn_likeness(told, around, start)
        numpy.savez(path, vectors=likeness.vectors.numpy(), weights=likeness.weights.numpy())
    with numpy.load(path) as arrays:
        return Likeness(torch.from_numpy(arrays["vectors"]), torch.from_numpy(arrays["weights"]))
