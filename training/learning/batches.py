"""Batches: documents packed into rows, never across each other, in an order that a step number decides.

Owns:   the packing. Two forms: documents of like length side by side, one to a row (fast on a CPU, where attention
        then costs the square of a document and not of a row), or many documents packed into long rows with a mask
        (for an accelerator, which wants few shapes).
Keeps:  batch number N is a pure function of (corpus, seed, N), so a resumed run sees what it would have seen.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy
import torch
from torch import Tensor

from training.data.mixture import Corpus


@dataclass(slots=True)
class Batch:
    """Shapes: all (B, T). `learned` says how much the loss counts a target."""

    tokens: Tensor
    targets: Tensor
    learned: Tensor
    "uint8; zero for what only every_token learns"
    positions: Tensor
    documents: Tensor | None
    "Which document of its row a token belongs to; None if every row is one document."
    pointers: Tensor
    "Shapes: (P, 5) int64: row, asking token, start and end of what it should look at, kind."

    def to(self, device: str) -> "Batch":
        """The same batch on a device; itself if it is there."""
        if device == self.tokens.device.type:
            return self
        return Batch(
            self.tokens.to(device),
            self.targets.to(device),
            self.learned.to(device),
            self.positions.to(device),
            None if self.documents is None else self.documents.to(device),
            self.pointers.to(device),
        )

    def mask(self) -> Tensor | None:
        """Shapes: (B, 1, T, T) bool: earlier tokens of the same document."""
        if self.documents is None:
            return None
        same = self.documents[:, None, :, None] == self.documents[:, None, None, :]
        length = self.tokens.shape[1]
        return same & torch.ones(length, length, dtype=torch.bool, device=self.tokens.device).tril()


class Batches:
    """An endless sequence of batches, addressed by number."""

    def __init__(self, corpus: Corpus, *, batch_tokens: int, seed: int, row_tokens: int = 0) -> None:
        self.corpus, self.batch_tokens, self.seed, self.row_tokens = corpus, batch_tokens, seed, row_tokens
        self.starts = numpy.concatenate(([0], corpus.ends[:-1]))
        self.lengths = corpus.ends - self.starts
        self._epoch = -1
        self._plan: list[numpy.ndarray] = []
        self.per_epoch = len(self._planned(0))

    def _planned(self, epoch: int) -> list[numpy.ndarray]:
        """The documents of every batch of an epoch: shuffled, cut into pools, sorted by length inside a pool."""
        if epoch == self._epoch:
            return self._plan
        generator = numpy.random.default_rng((self.seed, epoch))
        order = generator.permutation(len(self.lengths))
        plan: list[numpy.ndarray] = []
        for pool in numpy.array_split(order, max(1, len(order) // 4096)):
            ranked = pool[numpy.argsort(self.lengths[pool], kind="stable")]
            start = 0
            while start < len(ranked):
                end = start + 1
                while end < len(ranked) and self.lengths[ranked[end]] * (end + 1 - start) <= self.batch_tokens:
                    end += 1
                plan.append(ranked[start:end])
                start = end
        order = generator.permutation(len(plan))
        self._epoch, self._plan = epoch, [plan[index] for index in order]
        return self._plan

    def batch(self, number: int) -> Batch:
        """Build batch `number`; the epochs follow each other without end."""
        plan = self._planned(number // self.per_epoch)
        chosen = plan[number % self.per_epoch % len(plan)]
        return self._packed(chosen) if self.row_tokens else self._side_by_side(chosen)

    def stream(self, first: int) -> Iterator[Batch]:
        number = first
        while True:
            yield self.batch(number)
            number += 1

    def _side_by_side(self, chosen: numpy.ndarray) -> Batch:
        length = int(self.lengths[chosen].max())
        tokens = numpy.zeros((len(chosen), length), numpy.int64)
        learned = numpy.zeros((len(chosen), length), numpy.uint8)
        pointers: list[numpy.ndarray] = []
        for row, index in enumerate(chosen):
            start, size = self.starts[index], self.lengths[index]
            tokens[row, :size] = self.corpus.tokens[start : start + size]
            learned[row, :size] = self.corpus.learned[start : start + size]
            pointers.append(self._pointers(index, row, 0))
        positions = numpy.broadcast_to(numpy.arange(length - 1), (len(chosen), length - 1))
        return _shifted(tokens, learned, positions, None, pointers)

    def _pointers(self, index: int, row: int, place: int) -> numpy.ndarray:
        """A document's pointers where it stands in a batch. Shapes: -> (P, 5), as Batch has them."""
        first, last = numpy.searchsorted(
            self.corpus.pointers[:, 0], (self.starts[index], self.starts[index] + self.lengths[index])
        )
        found = numpy.empty((last - first, 5), numpy.int64)
        found[:, 0] = row
        found[:, 1:] = self.corpus.pointers[first:last]
        found[:, 1:4] += place - self.starts[index]
        found[:, 1] -= 1
        return found

    def _packed(self, chosen: numpy.ndarray) -> Batch:
        rows = self.batch_tokens // self.row_tokens
        shape = (rows, self.row_tokens + 1)
        tokens, documents = numpy.zeros(shape, numpy.int64), numpy.zeros(shape, numpy.int64)
        learned, positions = numpy.zeros(shape, numpy.uint8), numpy.zeros(shape, numpy.int64)
        used, pointers = [0] * rows, list[numpy.ndarray]()
        for number, index in enumerate(chosen[::-1], 1):
            start, size = self.starts[index], int(min(self.lengths[index], self.row_tokens + 1))
            row = min(range(rows), key=used.__getitem__)
            if used[row] + size > self.row_tokens + 1:
                continue
            place = slice(used[row], used[row] + size)
            tokens[row, place] = self.corpus.tokens[start : start + size]
            learned[row, place] = self.corpus.learned[start : start + size]
            learned[row, used[row]] = 0
            documents[row, place], positions[row, place] = number, numpy.arange(size)
            if size == self.lengths[index]:
                pointers.append(self._pointers(index, row, used[row]))
            used[row] += size
        return _shifted(tokens, learned, positions[:, :-1], documents[:, :-1], pointers)


def _shifted(
    tokens: numpy.ndarray,
    learned: numpy.ndarray,
    positions: numpy.ndarray,
    documents: numpy.ndarray | None,
    pointers: list[numpy.ndarray],
) -> Batch:
    return Batch(
        torch.from_numpy(tokens[:, :-1].copy()),
        torch.from_numpy(tokens[:, 1:].copy()),
        torch.from_numpy(learned[:, 1:].copy()),
        torch.from_numpy(positions.copy()),
        None if documents is None else torch.from_numpy(documents.copy()),
        torch.from_numpy(numpy.concatenate([*pointers, numpy.zeros((0, 5), numpy.int64)])),
    )
