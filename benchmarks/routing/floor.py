"""The floor experiment: how often does a proven threshold break its floor, and what does the proof cost?

A set is taken for the whole truth. Each resample draws n labels from it, calibrates, and the threshold's true loss is
then known exactly. The price of the guarantee is what is kept less than by one who knows the whole set.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from renga.routing.certificates.certificate import CertificateQuestion, Sample, search
from renga.routing.certificates.loss_bounds import Method

Floats = NDArray[np.float64]
METHODS: tuple[Method | None, ...] = ("exact", "student", "betting", "hoeffding_bentkus", None)
"""None: the threshold that looks best, with no test."""


@dataclass(frozen=True)
class Truth:
    """A set with its evidence, more means keep."""

    name: str
    losses: Floats
    evidence: Floats
    kept_cost: Floats
    top_cost: Floats
    tried: bool = True
    """Whether an escalated request has paid for the small tier and the check before; False where the prompt alone
    decides."""

    def lost(self, kept: NDArray[np.bool_]) -> float:
        return float(np.where(kept, self.losses, 0.0).mean())

    def saved(self, kept: NDArray[np.bool_]) -> float:
        """The share of the top tier's dollars that is saved. Where nothing may be kept, the small tier is not tried."""
        if not kept.any():
            return 0.0
        escalated = self.top_cost + (self.kept_cost if self.tried else 0.0)
        return 1.0 - float(np.where(kept, self.kept_cost, escalated).sum() / self.top_cost.sum())


@dataclass(frozen=True)
class FloorRow:
    """One line of the experiment's table."""

    pair: str
    floor_points: float
    labels: int
    method: str
    broken: float
    """Share of resamples whose threshold truly loses more than the floor."""
    kept: float
    saved: float
    hindsight_kept: float
    hindsight_saved: float
    refused: float
    """Share of resamples in which nothing could be proven."""


def run_floor(truths: list[Truth], resamples: int) -> list[FloorRow]:
    """Every pair, floor, n and method."""
    rows: list[FloorRow] = []
    for truth in truths:
        for floor_points in (1.0, 2.0):
            best = _hindsight(truth, floor_points / 100.0)
            for labels in (300, 1_000):
                draws = [
                    np.random.default_rng(seed).integers(0, len(truth.losses), labels) for seed in range(resamples)
                ]
                for method in METHODS:
                    kept = [_keep(truth, draw, floor_points, method) for draw in draws]
                    rows.append(
                        FloorRow(
                            truth.name,
                            floor_points,
                            labels,
                            method or "no test",
                            float(np.mean([truth.lost(one) > floor_points / 100.0 for one in kept])),
                            float(np.mean([one.mean() for one in kept])),
                            float(np.mean([truth.saved(one) for one in kept])),
                            float(best.mean()),
                            truth.saved(best),
                            float(np.mean([not one.any() for one in kept])),
                        )
                    )
    return rows


def _keep(truth: Truth, draw: NDArray[np.int64], floor_points: float, method: Method | None) -> NDArray[np.bool_]:
    """Who would be kept of the whole truth, by a threshold found on a draw."""
    sample = Sample(truth.losses[draw], truth.evidence[draw], truth.kept_cost[draw], truth.top_cost[draw])
    if method is None:
        threshold = _best_looking(sample, floor_points / 100.0)
    else:
        passed = search(sample, CertificateQuestion("small", "top", floor_points), method)
        threshold = passed[-1].threshold if passed else np.inf
    return truth.evidence >= threshold


def _best_looking(sample: Sample, floor: float) -> float:
    found = np.inf
    for threshold in np.quantile(sample.evidence, 1.0 - np.arange(1, 21) / 20, method="higher"):
        if np.where(sample.evidence >= threshold, sample.losses, 0.0).mean() <= floor:
            found = min(found, float(threshold))
    return found


def _hindsight(truth: Truth, floor: float) -> NDArray[np.bool_]:
    """The loosest threshold that truly holds the floor."""
    order = np.argsort(-truth.evidence, kind="stable")
    lost = np.cumsum(truth.losses[order]) / len(order)
    holding = np.flatnonzero(lost <= floor)
    kept = np.zeros(len(order), np.bool_)
    if len(holding):
        kept[order[: holding[-1] + 1]] = True
    return kept
