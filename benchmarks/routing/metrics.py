"""The RouteLLM paper's metrics, exactly: over every share of strong calls, not ten of them.

PGR at a share of strong calls is (quality - weak) / (strong - weak); APGR is its area over shares from 0 to 1; CPT(x)
is the least share at which PGR reaches x. Where a score ties, the expectation over random orders of the tied rows is
taken.

Source: Ong et al. 2024, arXiv:2406.18665, section 3.2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Metrics:
    """One router on one set."""

    apgr: float
    cpt50: float
    cpt80: float


@dataclass(frozen=True)
class Interval:
    """A figure with its 95 % bootstrap interval over prompts."""

    value: float
    low: float
    high: float


def gap_curve(difficulty: Floats, losses: Floats) -> Floats:
    """PGR after 0, 1, .. N strong calls, the most difficult first."""
    order = np.argsort(-difficulty, kind="stable")
    ranked = difficulty[order]
    _, group = np.unique(-ranked, return_inverse=True)
    mean = np.bincount(group, losses[order]) / np.bincount(group)
    return np.concatenate([[0.0], np.cumsum(mean[group])]) / losses.sum()


def measure(difficulty: Floats, losses: Floats) -> Metrics:
    """The paper's three numbers."""
    curve = gap_curve(difficulty, losses)
    return Metrics(float((curve[1:] + curve[:-1]).mean() / 2.0), _reach(curve, 0.5), _reach(curve, 0.8))


def share_for_quality(difficulty: Floats, small: Floats, top: Floats, ratio: float) -> float:
    """The least share of strong calls at which quality is `ratio` of the strong model's."""
    curve = small.mean() + gap_curve(difficulty, top - small) * (top.mean() - small.mean())
    return float(np.argmax(curve >= ratio * top.mean())) / len(small)


def bootstrap(difficulty: Floats, losses: Floats, resamples: int, seed: int = 0) -> dict[str, Interval]:
    """The three numbers with intervals; prompts are drawn with replacement."""
    random = np.random.default_rng(seed)
    drawn: list[Metrics] = []
    for _ in range(resamples):
        rows = random.integers(0, len(losses), len(losses))
        drawn.append(measure(difficulty[rows], losses[rows]))
    point = measure(difficulty, losses)
    return {
        name: _interval(getattr(point, name), [getattr(one, name) for one in drawn])
        for name in ("apgr", "cpt50", "cpt80")
    }


def _interval(value: float, drawn: list[float]) -> Interval:
    low, high = np.quantile(drawn, (0.025, 0.975)) if drawn else (value, value)
    return Interval(value, float(low), float(high))


def _reach(curve: Floats, share: float) -> float:
    return float(np.argmax(curve >= share)) / (len(curve) - 1)
