"""The corpus of a tuning run: documents drawn from the mixture, encoded once and kept as arrays.

Owns:   the file's form: tokens end to end (uint16), how much each counts in the loss (uint8), the documents' ends and
        families. A corpus is a pure function of the mixture, its seed and its size.

Run as `python -m training.tuning.corpus OUT.npz --gguf BASE.gguf --tokens N --seed S`, or with --show.
"""

import argparse
import pathlib
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

import numpy

from training.data.documents import Document
from training.tuning.chatml import Encoder, load_tokenizer, segments
from training.tuning.mixture import MIXTURE, WEIGHTS, draw_document

LONGEST_TOKENS = 1024
"""Longer documents are left out."""


@dataclass(slots=True)
class Corpus:
    """Documents end to end: their tokens, what each weighs in the loss, where each ends, its family."""

    tokens: numpy.ndarray
    weights: numpy.ndarray
    ends: numpy.ndarray
    families: numpy.ndarray

    def document(self, index: int) -> tuple[numpy.ndarray, numpy.ndarray]:
        start = self.ends[index - 1] if index else 0
        return self.tokens[start : self.ends[index]], self.weights[start : self.ends[index]]


def build(documents: Iterator[Document], encoder: Encoder, *, token_budget: int) -> Corpus:
    """Take documents until the budget is full or there are no more."""
    tokens: list[numpy.ndarray] = []
    weights: list[numpy.ndarray] = []
    families: list[str] = []
    total = 0
    for document in documents:
        encoded = encoder.encode(document)
        if len(encoded.tokens) > LONGEST_TOKENS:
            continue
        tokens.append(numpy.array(encoded.tokens, numpy.uint16))
        weights.append(WEIGHTS.get(document.family, 1) * numpy.array(encoded.learned, numpy.uint8))
        families.append(document.family)
        total += len(encoded.tokens)
        if total >= token_budget:
            break
    ends = numpy.cumsum([len(one) for one in tokens])
    return Corpus(numpy.concatenate(tokens), numpy.concatenate(weights), ends, numpy.array(families))


def draw_mixed(seed: int) -> Iterator[Document]:
    """Documents as the mixture has them, without end."""
    random = Random(seed)
    while True:
        yield draw_document(random)


def draw_evenly(seed: int, count: int) -> Iterator[Document]:
    """As many documents of every generator; for validation."""
    random = Random(seed)
    for generator, _ in MIXTURE:
        for _ in range(count):
            yield generator(random)


def save(corpus: Corpus, path: pathlib.Path) -> None:
    """Write a corpus to one npz file, which is whole or absent."""
    unfinished = path.with_suffix(".part.npz")
    numpy.savez(unfinished, tokens=corpus.tokens, weights=corpus.weights, ends=corpus.ends, families=corpus.families)
    unfinished.replace(path)


def load(path: pathlib.Path) -> Corpus:
    """Read a corpus that `save` wrote."""
    with numpy.load(path) as arrays:
        return Corpus(arrays["tokens"], arrays["weights"], arrays["ends"], arrays["families"])


def describe(corpus: Corpus) -> str:
    """Tokens by family: share, documents, mean length, share learned."""
    counts: dict[str, Counter[str]] = {}
    for index, family in enumerate(corpus.families.tolist()):
        tokens, weights = corpus.document(index)
        counts.setdefault(family, Counter()).update(n=1, tokens=len(tokens), learned=int((weights > 0).sum()))
    lines = [f"{len(corpus.ends)} documents, {len(corpus.tokens)} tokens, {(corpus.weights > 0).mean():.1%} learned"]
    for family, count in sorted(counts.items(), key=lambda item: -item[1]["tokens"]):
        share, length = count["tokens"] / len(corpus.tokens), count["tokens"] / count["n"]
        learned = count["learned"] / count["tokens"]
        lines.append(f"  {family:18} {share:6.1%}  {count['n']:6} of {length:4.0f} tokens, {learned:4.0%} learned")
    return "\n".join(lines)


def batches(corpus: Corpus, *, tokens: int, seed: int) -> Iterator[list[int]]:
    """Without end: documents of like length that fill a batch, all of the corpus before any comes again."""
    lengths = numpy.diff(corpus.ends, prepend=0)
    epoch = 0
    while True:
        generator = numpy.random.default_rng((seed, epoch))
        plan: list[list[int]] = []
        order = generator.permutation(len(lengths))
        for pool in numpy.array_split(order, max(1, len(order) // 512)):
            batch: list[int] = []
            for index in pool[numpy.argsort(lengths[pool], kind="stable")].tolist():
                if batch and lengths[index] * (len(batch) + 1) > tokens:
                    plan.append(batch)
                    batch = []
                batch.append(index)
            plan.append(batch)
        for position in generator.permutation(len(plan)):
            yield plan[position]
        epoch += 1


def show(seed: int, only: str = "") -> None:
    """Print one document of every generator."""
    random = Random(seed)
    for generator, _ in MIXTURE:
        document: Document = generator(random)
        if only in f"{document.family} {generator.__name__}":
            print(f"--- {document.family} ({generator.__name__})")
            print("".join(f"«{text}»" if learned else text for text, _, learned in segments(document)))


def main() -> None:
    """Make a corpus, or show some of its documents."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=pathlib.Path, nargs="?")
    parser.add_argument("--gguf", type=pathlib.Path)
    parser.add_argument("--tokens", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--even", type=int, default=0, help="so many documents of every generator, for validation")
    parser.add_argument("--show", nargs="?", const="", help="print one document of every generator (that is named so)")
    arguments = parser.parse_args()
    if arguments.show is not None:
        show(arguments.seed, arguments.show)
        return
    started_s = time.perf_counter()
    encoder = Encoder(load_tokenizer(arguments.gguf))
    drawn = draw_evenly(arguments.seed, arguments.even) if arguments.even else draw_mixed(arguments.seed)
    corpus = build(drawn, encoder, token_budget=arguments.tokens)
    save(corpus, arguments.out)
    print(describe(corpus))
    print(f"{time.perf_counter() - started_s:.0f} s")


if __name__ == "__main__":
    main()
