"""A second process that takes parts of a batch while a core is idle, and never holds the first one up.

Owns:   the exchange: parameters lie in shared memory, a job goes through a pipe, gradients come back in shared memory.
        The worker runs at the lowest priority; a part that it has not finished in time is computed again by the first
        process, and its late answer is thrown away. So the sums are the same to the bit, with it or without.
"""

import multiprocessing
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection

import torch
from torch import Tensor

PRIORITY = 15
"""Unix niceness: others on the machine go first."""
LATE = 1.25
"""How much longer than the last job one is waited for. Waiting a quarter costs less than doing all of it again."""


@dataclass(frozen=True, slots=True)
class Job:
    """One part of one step."""

    step: int
    part: int
    share: float
    "How much of the run is over; it decides the source and what is learned."


@dataclass(frozen=True, slots=True)
class Gradients:
    """What one part of a batch gives."""

    loss: float
    counted: float
    "The sum of the counted tokens' weights."
    gradients: tuple[Tensor, ...]
    tokens: int


Compute = Callable[[Job], Gradients]


class GradientWorker:
    """The other process, from the first one's side. At most one job at a time."""

    def __init__(self, parameters: list[Tensor], compute: Compute) -> None:
        """Fork. `parameters` must lie in shared memory; `compute` is run in the other process, on those parameters."""
        self._shapes = [value.shape for value in parameters]
        self._buffer = torch.zeros(sum(value.numel() for value in parameters)).share_memory_()
        self._pipe, other = multiprocessing.Pipe()
        self._job: Job | None = None
        self._began_s = 0.0
        self._usual_s = 0.0
        context = multiprocessing.get_context("fork")
        self._process = context.Process(target=self._serve, args=(other, compute), daemon=True)
        self._process.start()

    @property
    def free(self) -> bool:
        return self._job is None

    @property
    def left_s(self) -> float:
        """How long the present job may still go on before it is given up: a quarter longer than the last one took."""
        return LATE * self._usual_s - (time.monotonic() - self._began_s)

    def give(self, job: Job) -> None:
        self._job, self._began_s = job, time.monotonic()
        self._pipe.send(job)

    def take(self, *, wait_s: float) -> tuple[Job, Gradients] | None:
        """The job that was given and its result, or None if it is not done after `wait_s`.

        Raises: EOFError if the process has died.
        """
        if self._job is None or not self._pipe.poll(max(0.0, wait_s)):
            return None
        loss, counted, tokens = self._pipe.recv()
        job, self._job = self._job, None
        self._usual_s = time.monotonic() - self._began_s
        parts = self._buffer.split([shape.numel() for shape in self._shapes])
        gradients = tuple(part.view(shape).clone() for part, shape in zip(parts, self._shapes, strict=True))
        return job, Gradients(loss, counted, gradients, tokens)

    def close(self) -> None:
        self._process.kill()
        self._process.join()

    def _serve(self, pipe: Connection, compute: Compute) -> None:
        os.setpriority(os.PRIO_PROCESS, 0, PRIORITY)
        torch.set_num_threads(1)
        while True:
            try:
                result = compute(pipe.recv())
            except (EOFError, KeyboardInterrupt):
                return
            torch.cat([part.flatten() for part in result.gradients], out=self._buffer)
            pipe.send((result.loss, result.counted, result.tokens))


def compute_parts(compute: Compute, jobs: list[Job], worker: GradientWorker | None) -> list[Gradients]:
    """All parts of a step, in order. The worker takes from the end what it can finish in time."""
    results: dict[int, Gradients] = {}
    given: set[int] = set()
    usual_s = 0.0
    while len(results) < len(jobs):
        waiting = [job for job in jobs if job.part not in results and job.part not in given]
        if worker is not None:
            wait_s = worker.left_s if not waiting and 0 < worker.left_s < usual_s else 0.0
            done = worker.take(wait_s=wait_s)
            if done is not None and done[0] in jobs:
                results.setdefault(done[0].part, done[1])
                continue
            if worker.free and len(waiting) > 1:
                given.add(waiting[-1].part)
                worker.give(waiting.pop())
        missing = waiting or [job for job in jobs if job.part not in results]
        began_s = time.monotonic()
        result = compute(missing[0])
        usual_s = time.monotonic() - began_s
        results.setdefault(missing[0].part, result)
    return [results[job.part] for job in jobs]
