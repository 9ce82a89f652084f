"""Validation by family: on documents drawn anew, how many answers are right as a whole, and the loss of a token.

Owns:   the comparison. An answer is right if every one of its tokens is the likeliest given those before it, so it is
        what greedy decoding would write. Test parts have no place here.

Run as `python -m training.tuning.judge CORPUS.npz --gguf BASE.gguf ADAPTER [ADAPTER ...]`; `none` is the base itself.
"""

import argparse
import pathlib
from dataclasses import dataclass, field

import numpy
import torch
from torch.nn import functional

from training.tuning.corpus import Corpus, load
from training.tuning.weights import lora
from training.tuning.weights.base import read_gguf
from training.tuning.weights.network import Network


@dataclass(slots=True)
class Score:
    """What one family got."""

    right: list[bool] = field(default_factory=list[bool])
    "One for each answer."
    losses: list[float] = field(default_factory=list[float])
    "One for each learned token."


def judge(network: Network, corpus: Corpus) -> dict[str, Score]:
    """Read every document once, its answers given."""
    scores: dict[str, Score] = {}
    with torch.no_grad():
        for index, family in enumerate(corpus.families.tolist()):
            tokens, weights = corpus.document(index)
            wanted = torch.from_numpy(weights[1:] > 0)[None]
            if not wanted.any():
                continue
            batch = torch.from_numpy(tokens.astype(numpy.int64))[None]
            logits, targets = network(batch[:, :-1], wanted), batch[:, 1:][wanted]
            score = scores.setdefault(family, Score())
            score.losses += functional.cross_entropy(logits, targets, reduction="none").tolist()
            correct = (logits.argmax(-1) == targets).numpy()
            places = numpy.flatnonzero(wanted[0].numpy())
            for answer in numpy.split(correct, numpy.flatnonzero(numpy.diff(places) > 1) + 1):
                score.right.append(bool(answer.all()))
    return scores


def describe(scores: dict[str, Score]) -> str:
    """The scores as a table, one family a line."""
    lines = [
        f"  {family:18} {numpy.mean(score.right):5.2f} of {len(score.right):4}   {numpy.mean(score.losses):6.3f} nats"
        for family, score in sorted(scores.items())
    ]
    right = numpy.mean([numpy.mean(score.right) for score in scores.values()])
    loss = numpy.mean([numpy.mean(score.losses) for score in scores.values()])
    return "\n".join([*lines, f"  {'mean of families':18} {right:5.2f}           {loss:6.3f} nats"])


def main() -> None:
    """Judge a corpus with one set of weights or several."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=pathlib.Path)
    parser.add_argument("adapters", nargs="+")
    parser.add_argument("--gguf", type=pathlib.Path, required=True)
    parser.add_argument("--documents", type=int, default=10**9, help="the first ones only")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    network = Network(*read_gguf(arguments.gguf), rank=lora.RANK, alpha=lora.ALPHA)
    nothing = lora.take(network)
    corpus = load(arguments.corpus)
    corpus.families = corpus.families[: arguments.documents]
    for name in arguments.adapters:
        lora.put(network, nothing if name == "none" else lora.load(pathlib.Path(name)))
        print(f"{name}\n{describe(judge(network, corpus))}", flush=True)


if __name__ == "__main__":
    main()
