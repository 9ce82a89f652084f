"""The tuning run: adapters learned on a corpus, resumable at any moment.

Owns:   the loop, the learning rate over the run, the checkpoint. A checkpoint holds the adapters, the optimizer's
        state, the running average of the adapters, and how many batches of which corpus were read, so a stopped run
        goes on with the next batch. It is written beside the old one and put in its place in one step.

The learning rate rises over the first steps, stays, and falls to zero over the run's last part; before that fall the
average is what to judge and to ship.

Run as `python -m training.tuning.tune --folder RUN --corpus CORPUS.npz --gguf BASE.gguf --tokens N [--start ADAPTER]`;
the same command goes on with a stopped run. A file `stop` in the folder ends it after a step.
"""

import argparse
import os
import pathlib
import time
from dataclasses import dataclass

import numpy
import torch
from torch.nn import functional

from training.tuning.corpus import Corpus, batches, load
from training.tuning.weights import lora
from training.tuning.weights.base import read_gguf
from training.tuning.weights.network import Network

WARM_UP_STEPS = 20
LEAST_RATE = 0.01
"""Of the highest rate, at the end of the run."""
AVERAGE_STEPS = 60
"""The average forgets over so many steps."""
PAD = 2


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run is to do; all of it may change when the run goes on."""

    tokens: int
    rate: float
    decay_share: float
    batch_tokens: int
    checkpoint_s: float


class Run:
    """A network that is being tuned."""

    def __init__(self, network: Network, plan: Plan) -> None:
        self.network = network
        self.plan = plan
        self.parameters = [part for _, down, up in network.adapted() for part in (down, up)]
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=plan.rate, betas=(0.9, 0.98), weight_decay=0.01, foreach=True
        )
        self.average = [part.detach().clone() for part in self.parameters]
        self.steps = self.seen = self.corpus_batches = 0
        self.corpus_name = ""
        self.cpu_s = 0.0

    def step(self, tokens: torch.Tensor, weights: torch.Tensor) -> float:
        """Learn from one batch; returns the loss of a learned token."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate()
        loss, plain = loss_of(self.network, tokens, weights)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.steps += 1
        self.seen += tokens.numel()
        self.corpus_batches += 1
        share = max(1 / self.steps, 1 / AVERAGE_STEPS)
        for mean, part in zip(self.average, self.parameters, strict=True):
            mean.lerp_(part.detach(), share)
        return plain

    def rate(self) -> float:
        left = 1 - self.seen / self.plan.tokens
        fall = min(1.0, max(LEAST_RATE, left / self.plan.decay_share))
        return self.plan.rate * min(1.0, (self.steps + 1) / WARM_UP_STEPS) * fall

    def named(self, values: list[torch.Tensor]) -> dict[str, torch.Tensor]:
        names = [f"{name}.{part}" for name, _, _ in self.network.adapted() for part in "AB"]
        return dict(zip(names, values, strict=True))

    def save(self, path: pathlib.Path) -> None:
        """Replace the checkpoint in one step."""
        unfinished = path.with_suffix(".part")
        state = {
            "adapter": self.named([part.detach() for part in self.parameters]),
            "average": self.named(self.average),
            "optimizer": self.optimizer.state_dict(),
            "position": (self.steps, self.seen, self.corpus_batches, self.corpus_name, self.cpu_s),
        }
        torch.save(state, unfinished)
        with unfinished.open("rb") as file:
            os.fsync(file.fileno())
        unfinished.replace(path)

    def restore(self, path: pathlib.Path) -> None:
        """Go on from a checkpoint."""
        state = torch.load(path, weights_only=True)
        with torch.no_grad():
            for part, value in zip(self.parameters, state["adapter"].values(), strict=True):
                part.copy_(value)
        self.average = list(state["average"].values())
        self.optimizer.load_state_dict(state["optimizer"])
        self.steps, self.seen, self.corpus_batches, self.corpus_name, self.cpu_s = state["position"]


def loss_of(network: Network, tokens: torch.Tensor, weights: torch.Tensor) -> tuple[torch.Tensor, float]:
    """The weighted loss of a batch, and the plain loss of its learned tokens."""
    wanted = weights[:, 1:] > 0
    logits = network(tokens[:, :-1], wanted)
    losses = functional.cross_entropy(logits, tokens[:, 1:][wanted], reduction="none")
    counts = weights[:, 1:][wanted]
    return (losses * counts).sum() / counts.sum(), losses.detach().mean().item()


def pad(corpus: Corpus, indices: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """A batch of documents, padded at the end."""
    documents = [corpus.document(index) for index in indices]
    longest = max(len(tokens) for tokens, _ in documents)
    padded = numpy.full((len(documents), longest), PAD, numpy.int64)
    weighted = numpy.zeros((len(documents), longest), numpy.float32)
    for row, (tokens, weights) in enumerate(documents):
        padded[row, : len(tokens)], weighted[row, : len(tokens)] = tokens, weights
    return torch.from_numpy(padded), torch.from_numpy(weighted)


def tune(run: Run, corpus: Corpus, folder: pathlib.Path, *, name: str, seed: int) -> None:
    """Learn until the tokens are spent or somebody asks to stop."""
    if run.corpus_name != name:
        run.corpus_name, run.corpus_batches = name, 0
    order = batches(corpus, tokens=run.plan.batch_tokens, seed=seed)
    for _ in range(run.corpus_batches):
        next(order)
    checkpoint, stop = folder / "checkpoint.pt", folder / "stop"
    saved_s, last_cpu_s, smooth = time.monotonic(), time.process_time(), 0.0
    started = (time.monotonic(), run.seen)
    while run.seen < run.plan.tokens and not stop.exists():
        loss = run.step(*pad(corpus, next(order)))
        smooth = loss if not smooth else 0.95 * smooth + 0.05 * loss
        run.cpu_s, last_cpu_s = run.cpu_s + time.process_time() - last_cpu_s, time.process_time()
        if run.steps % 10 == 0:
            speed = (run.seen - started[1]) / (time.monotonic() - started[0])
            clock = time.strftime("%H:%M:%S")
            print(
                f"{clock} step {run.steps} tokens {run.seen} loss {smooth:.3f} rate {run.rate():.1e} "
                f"{speed:.0f} tokens/s, {run.seen / run.cpu_s:.0f} a CPU second",
                flush=True,
            )
        if time.monotonic() - saved_s > run.plan.checkpoint_s:
            run.save(checkpoint)
            saved_s = time.monotonic()
    run.save(checkpoint)


def main() -> None:
    """Tune the base on a corpus, or go on with a run that was stopped."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=pathlib.Path, required=True)
    parser.add_argument("--corpus", type=pathlib.Path, required=True)
    parser.add_argument("--gguf", type=pathlib.Path, required=True)
    parser.add_argument("--start", type=pathlib.Path, help="an adapter to begin with")
    parser.add_argument("--tokens", type=int, default=2_500_000, help="of the whole run, with what it has seen")
    parser.add_argument("--rate", type=float, default=4e-4)
    parser.add_argument("--decay-share", type=float, default=0.35, help="the last part, in which the rate falls")
    parser.add_argument("--batch-tokens", type=int, default=2048)
    parser.add_argument("--checkpoint-minutes", type=float, default=3)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    torch.set_num_threads(1)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    network = Network(*read_gguf(arguments.gguf), rank=lora.RANK, alpha=lora.ALPHA)
    if arguments.start:
        lora.put(network, lora.load(arguments.start))
    plan = Plan(
        tokens=arguments.tokens,
        rate=arguments.rate,
        decay_share=arguments.decay_share,
        batch_tokens=arguments.batch_tokens,
        checkpoint_s=60 * arguments.checkpoint_minutes,
    )
    run = Run(network, plan)
    if (arguments.folder / "checkpoint.pt").exists():
        run.restore(arguments.folder / "checkpoint.pt")
    corpus = load(arguments.corpus)
    tune(run, corpus, arguments.folder, name=arguments.corpus.name, seed=arguments.seed)


if __name__ == "__main__":
    main()
