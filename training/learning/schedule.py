"""How far a run is, when it ends, and how fast it learns until then.

Owns:   the counts of a run, its limits, and the learning rate's course between them.
"""

import time
from dataclasses import dataclass, field

import numpy


@dataclass(slots=True)
class Progress:
    """Where a run stands; part of the checkpoint."""

    step: int = 0
    tokens: int = 0
    work_s: float = 0.0
    "Computing time; a pause (SIGSTOP) counts as three usual steps at most."
    history: list[dict[str, float]] = field(default_factory=list[dict[str, float]])


@dataclass(frozen=True, slots=True)
class Limits:
    """When a run ends; zero means no such limit."""

    steps: int = 0
    work_s: float = 0.0
    deadline_s: float = 0.0
    "Seconds since the epoch."
    started_s: float = 0.0

    def share(self, progress: Progress) -> float:
        """How much of the run is over, from 0 to 1."""
        shares = [0.0]
        if self.steps:
            shares.append(progress.step / self.steps)
        if self.work_s:
            shares.append(progress.work_s / self.work_s)
        if self.deadline_s:
            left_s = self.deadline_s - time.time()
            usual_s = numpy.median([row["step_s"] for row in progress.history[-50:]]) if progress.history else 1.0
            shares.append(
                0.0
                if self.work_s and left_s > self.work_s - progress.work_s + usual_s
                else progress.work_s / max(progress.work_s + left_s, 1e-9)
                if left_s > 0
                else 1.0
            )
        return min(1.0, max(shares))


def rate_scale(share: float) -> float:
    """Warm up over 2 %, hold, then fall linearly to zero over the last 55 %."""
    return min(share / 0.02 + 0.02, 1.0, (1.0 - share) / 0.55)
