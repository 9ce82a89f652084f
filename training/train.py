"""python -m training.train: corpus and tokenizer to a checkpoint, resumable to the bit.

Owns:   the loop, the schedule, the checkpoint and the loss plot. Phase 1 learns every token, phase 2 only what the
        assistant says. The run ends after `--steps`, or after `--work-minutes` of computing or at `--deadline`,
        whichever is first; the learning rate reaches zero then, whatever the throughput was.
"""

import argparse
import datetime
import functools
import os
import pathlib
import time
from dataclasses import dataclass
from typing import Any

import numpy
import torch
import torch.nn.functional as functional
from torch import Tensor
from tqdm import tqdm

from training.corpus import ensure_tokenizer
from training.data.mixture import LONGEST_TOKENS, Corpus, load_corpus, load_prose
from training.data.tokenizer import load_tokenizer, piece_groups
from training.learning.batches import Batch, Batches
from training.learning.gradient_worker import Gradients, GradientWorker, Job, compute_parts
from training.learning.schedule import Limits, Progress, rate_scale
from training.network.initialization import initialize_copying
from training.network.matching_stream import WordVectors, grow
from training.network.model import AttentionSupervision, Hokku, Shape, count_parameters
from training.network.optimizer import Optimizer
from training.network.sizes import SIZES, Size
from training.network.vocabulary_transfer import transfer_vocabulary
from training.network.word_vectors import load_word_vectors
from training.plot import plot_history

PHASE_1_SHARE = 0.04
"""Share of the run in which every token is learned; more cost accuracy at equal time (training/log.md)."""
SKILLS_SHARE = 0.1
"""Share of the run before which two of three batches are nothing but finding and copying what comes again."""
FOCUS_SHARE = 0.35
"""Where the third mixture takes over."""
STARTED_SKILLS_SHARE = 0.25
"""A run that starts from another's weights: every third batch is `skills` at first."""
SUPERVISION_WEIGHT = 1.0
"""How much it counts that attention looks where it is told, beside a learned token."""
ROW_TOKENS = 1024
"""On an accelerator documents are packed into rows of this length: one shape, compiled once."""
UPDATE_THREADS = min(2, os.cpu_count() or 1)
"""For the optimizer alone; the gradient worker is idle meanwhile."""
PART_TOKENS = 3072
"""On a CPU a batch is cut into parts of this size: they stay in the cache, and another process can take some."""


def batch_loss(model: Any, batch: Batch, *, every_token: bool, supervision_weight: float = 0.0) -> tuple[Tensor, float]:
    """Weighted sum of the cross-entropies and of the weights; logits are computed for counted tokens alone.

    `supervision_weight` is how much it counts that attention looks where it is told.
    """
    positions = batch.positions if batch.documents is not None else batch.positions[:1]
    supervision = AttentionSupervision(batch.pointers) if supervision_weight and len(batch.pointers) else None
    hidden, table = model(batch.tokens, positions, batch.mask(), supervision)
    counted = batch.targets != 0 if every_token else batch.learned > 0
    weights = batch.learned[counted].float().clamp(min=1.0)
    logits = functional.linear(hidden[counted], table)
    losses = functional.cross_entropy(logits.float(), batch.targets[counted], reduction="none")
    total = (losses * weights).sum()
    return total if supervision is None else total + supervision_weight * supervision.loss(), float(weights.sum())


@dataclass(frozen=True, slots=True)
class Machine:
    """What a run computes on."""

    device: str = "cpu"
    "cpu or cuda"
    dtype: torch.dtype = torch.float32
    gradient_worker: bool = False
    "Whether a second process takes parts of a batch; see training/learning/gradient_worker.py."
    compiled: bool = False
    "Whether torch.compile writes the network's code: a tenth faster on a CPU, after two minutes (training/log.md)."

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device, dtype=self.dtype, enabled=self.dtype != torch.float32)


@torch.no_grad()
def validation_loss(model: Hokku, batches: Batches, *, count: int, machine: Machine) -> float:
    """Mean loss of the assistant's tokens over the first batches of a corpus with another seed."""
    total, tokens = 0.0, 0.0
    for number in range(count):
        with machine.autocast():
            loss, counted = batch_loss(model, batches.batch(number).to(machine.device), every_token=False)
        total, tokens = total + loss.item(), tokens + counted
    return total / tokens


def save_checkpoint(path: pathlib.Path, model: Hokku, optimizer: Optimizer, progress: Progress) -> None:
    """Write everything that the next step depends on; the old file stays until the new one is whole."""
    state = {
        "shape": model.shape.as_dict(),
        "groups": model.embedding.groups.tolist(),
        "flags": model.embedding.flags.tolist(),
        "model": model.state_dict(),
        "optimizer": optimizer.state(),
        "random": torch.get_rng_state(),
        "progress": {name: getattr(progress, name) for name in ("step", "tokens", "work_s", "history")},
    }
    torch.save(state, path.with_suffix(".part"))
    path.with_suffix(".part").replace(path)


def load_model(path: pathlib.Path) -> tuple[Hokku, dict[str, Any]]:
    """Read a checkpoint's network and the rest of its state."""
    state = torch.load(path, map_location="cpu", weights_only=True)
    model = Hokku(Shape.from_dict(state["shape"]), state["groups"], state["flags"])
    model.load_state_dict(state["model"])
    return model, state


Corpora = dict[str, Corpus]
"""What a run reads: mixtures by name, and `prose`."""


@dataclass(frozen=True, slots=True)
class Initialization:
    """What a run's first step stands on, where its folder has no checkpoint yet."""

    checkpoint: pathlib.Path | None = None
    "Another run's; without it the weights are new."
    word_vectors: WordVectors | None = None
    "Without them there is no second stream."


def _load_or_initialize(
    folder: pathlib.Path, size: Size, initialization: Initialization
) -> tuple[Hokku, dict[str, Any] | None]:
    """The folder's checkpoint, or another run's weights, or new ones; with a second stream if words have vectors."""
    start, word_vectors = initialization.checkpoint, initialization.word_vectors
    if (folder / "checkpoint.pt").exists():
        return load_model(folder / "checkpoint.pt")
    tokenizer = load_tokenizer(folder / "tokenizer.json")
    if start is not None:
        model, state = load_model(start)
        old = load_tokenizer(start.with_name("tokenizer.json"))
        if old.get_vocab() != tokenizer.get_vocab():
            model, state = transfer_vocabulary(model, old, tokenizer, word_vectors), None
    else:
        groups, flags = piece_groups(tokenizer)
        model, state = Hokku(size.shape(len(groups)), groups, flags), None
        initialize_copying(model)
    if word_vectors is None or model.matching is not None:
        return model, state
    return grow(model, word_vectors), None


class Run:
    """A model, its optimizer and its place in the data."""

    def __init__(
        self,
        folder: pathlib.Path,
        size: Size,
        corpora: Corpora,
        *,
        seed: int,
        machine: Machine | None = None,
        initialization: Initialization | None = None,
    ) -> None:
        torch.manual_seed(seed)
        self.path = folder / "checkpoint.pt"
        self.machine = machine or Machine()
        on_cpu = self.machine.device == "cpu"
        self.parts = max(1, size.batch_tokens // PART_TOKENS) if on_cpu else 1
        part_tokens = size.batch_tokens // self.parts
        self.sources = {
            name: Batches(corpus, batch_tokens=part_tokens, seed=seed, row_tokens=0 if on_cpu else ROW_TOKENS)
            for name, corpus in corpora.items()
        }
        self.progress = Progress()
        self.rate = 1.0
        initialization = initialization or Initialization()
        self.started = initialization.checkpoint is not None
        self.model, state = _load_or_initialize(folder, size, initialization)
        self.model.to(self.machine.device)
        self.optimizer = Optimizer(
            self.model,
            matrix_rate=size.matrix_rate,
            rest_rate=size.rest_rate,
            gain_rate=size.gain_rate,
            weight_decay=0.1,
        )
        if state is not None:
            self.optimizer.load(state["optimizer"])
            torch.set_rng_state(state["random"])
            if self.path.exists():
                self.progress = Progress(**state["progress"])
        self.network: Any = torch.compile(self.model, dynamic=on_cpu) if self.machine.compiled else self.model
        self.gradient_worker = (
            GradientWorker(list(self.model.share_memory().parameters()), self.compute)
            if self.machine.gradient_worker
            else None
        )

    def source(self, job: Job) -> str:
        """Which corpus a step reads; a run that starts from another's weights has its first mixtures behind it."""
        turn = job.step % 3
        if self.started:
            if job.share < STARTED_SKILLS_SHARE and turn == 2:
                return "skills"
            return "focus"
        if job.share < PHASE_1_SHARE and turn == 1:
            return "prose"
        if job.share < SKILLS_SHARE and turn:
            return "skills"
        return "main" if job.share < FOCUS_SHARE else "focus"

    def compute(self, job: Job) -> Gradients:
        """The gradients of one part, summed over its counted tokens; pure, so that any process may do it."""
        batch = self.sources[self.source(job)].batch(job.step * self.parts + job.part)
        every_token = job.share < PHASE_1_SHARE and not self.started
        with self.machine.autocast():
            loss, counted = batch_loss(
                self.network,
                batch.to(self.machine.device),
                every_token=every_token,
                supervision_weight=SUPERVISION_WEIGHT,
            )
        gradients = torch.autograd.grad(loss, list(self.model.parameters()), materialize_grads=True)
        return Gradients(loss.item(), counted, gradients, batch.tokens.numel())

    def step(self, share: float) -> float:
        """One update; returns the mean loss of the counted tokens."""
        jobs = [Job(self.progress.step, part, share) for part in range(self.parts)]
        results = compute_parts(self.compute, jobs, self.gradient_worker)
        counted = max(1.0, sum(result.counted for result in results))
        for index, parameter in enumerate(self.model.parameters()):
            parameter.grad = functools.reduce(torch.add, (result.gradients[index] for result in results)) / counted
        torch.nn.utils.clip_grad_norm_(self.optimizer.tables, 1.0)
        threads = torch.get_num_threads()
        torch.set_num_threads(UPDATE_THREADS)
        self.optimizer.step(scale=self.rate * rate_scale(share))
        torch.set_num_threads(threads)
        self.progress.step += 1
        self.progress.tokens += sum(result.tokens for result in results)
        return sum(result.loss for result in results) / counted

    def save(self) -> None:
        save_checkpoint(self.path, self.model, self.optimizer, self.progress)

    def close(self) -> None:
        """End the second process; the run itself needs no closing."""
        if self.gradient_worker is not None:
            self.gradient_worker.close()


def train(run: Run, limits: Limits, *, validation: Batches | None, save_every_s: float) -> None:
    """Step until the limits say stop; checkpoint, validate and plot on the way."""
    progress, saved_s, smoothed = run.progress, time.monotonic(), 0.0
    bar = tqdm(total=1000, initial=int(1000 * limits.share(progress)), desc="train", mininterval=10, maxinterval=30)
    while (share := limits.share(progress)) < 1.0:
        began_s = time.monotonic()
        loss = run.step(share)
        step_s = time.monotonic() - began_s
        usual_s = float(numpy.median([row["step_s"] for row in progress.history[-50:]] or [step_s]))
        progress.work_s += min(step_s, 3 * usual_s)
        smoothed = loss if not smoothed else 0.95 * smoothed + 0.05 * loss
        progress.history.append({"step": progress.step, "loss": loss, "step_s": step_s, "share": share})
        bar.n = int(1000 * share)
        bar.set_postfix(
            loss=f"{smoothed:.3f}", step=progress.step, tokens=f"{progress.tokens / 1e6:.1f}M", refresh=False
        )
        bar.update(0)
        if validation is not None and progress.step % 200 == 0:
            progress.history[-1]["validation"] = validation_loss(run.model, validation, count=6, machine=run.machine)
        if time.monotonic() - saved_s > save_every_s:
            run.save()
            plot_history(progress.history, run.path.with_name("loss.png"))
            saved_s = time.monotonic()
    bar.close()
    run.save()
    plot_history(progress.history, run.path.with_name("loss.png"))


def _deadline(clock: str) -> float:
    """Today's HH:MM as seconds since the epoch; zero for no deadline."""
    if not clock:
        return 0.0
    hour, minute = map(int, clock.split(":"))
    return (
        datetime.datetime.now(datetime.UTC)
        .astimezone()
        .replace(hour=hour, minute=minute, second=0, microsecond=0)
        .timestamp()
    )


def load_corpora(folder: pathlib.Path, *, seed: int, tokens: int, started: bool) -> Corpora:
    """Read or build what a run reads; a run that starts from another's weights has its first mixtures behind it."""

    def load(mixture: str, budget: int, longest: int = LONGEST_TOKENS) -> Corpus:
        return load_corpus(folder, seed=seed, token_budget=budget, longest_tokens=longest, mixture=mixture)

    corpora = {"skills": load("skills", tokens // 10, 420), "focus": load("focus", 5 * tokens // 6)}
    if not started:
        corpora |= {"main": load("main", tokens // 3), "prose": load_prose(folder, token_budget=tokens // 16)}
    return corpora


def main() -> None:
    """Train or go on training as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=SIZES, default="xs")
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("runs/xs"))
    parser.add_argument("--steps", type=int, default=0, help="stop after this many updates")
    parser.add_argument("--work-minutes", type=float, default=0.0, help="stop after this much computing")
    parser.add_argument("--deadline", default="", help="stop at HH:MM today, local time")
    parser.add_argument("--tokens", type=int, default=0, help="size of the corpus; default: the size's budget")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--start", type=pathlib.Path, help="begin with this checkpoint's weights")
    parser.add_argument("--rate", type=float, default=1.0, help="all learning rates times this")
    parser.add_argument("--dtype", choices=("bfloat16", "float32"), default="bfloat16")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--compile", action="store_true", help="torch.compile the network; always on an accelerator")
    parser.add_argument(
        "--no-gradient-worker", action="store_true", help="on a CPU: do not use a second core when it is idle"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    size = SIZES[arguments.size]
    folder, seed = arguments.folder, arguments.seed
    ensure_tokenizer(folder)
    tokens = arguments.tokens or size.budget_tokens
    corpora = load_corpora(folder, seed=seed, tokens=tokens, started=arguments.start is not None)
    held_back = load_corpus(folder, seed=seed + 1, token_budget=160_000, longest_tokens=LONGEST_TOKENS)
    dtype = torch.bfloat16 if arguments.dtype == "bfloat16" else torch.float32
    on_cpu = arguments.device == "cpu"
    machine = Machine(
        arguments.device,
        dtype,
        gradient_worker=on_cpu and not arguments.no_gradient_worker,
        compiled=arguments.compile or not on_cpu,
    )
    initialization = Initialization(arguments.start, load_word_vectors(folder))
    run = Run(folder, size, corpora, seed=seed, machine=machine, initialization=initialization)
    run.rate = arguments.rate
    limits = Limits(arguments.steps, arguments.work_minutes * 60, _deadline(arguments.deadline), time.time())
    print(
        f"{count_parameters(run.model) / 1e6:.2f} M parameters, "
        f"{sum(len(corpus.tokens) for corpus in corpora.values()) / 1e6:.1f} M tokens, step {run.progress.step}"
    )
    validation = Batches(held_back, batch_tokens=min(size.batch_tokens, 8192), seed=0)
    train(run, limits, validation=validation, save_every_s=120.0)
    run.close()


if __name__ == "__main__":
    main()
