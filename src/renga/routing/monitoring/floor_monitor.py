"""Watching the floor in service: a bet, at every label, that the floor is broken.

Owns: the wealth of that bet, the interval of the paired loss, the signal to fall back.
Must never know: where labels come from, what happens after the signal.
Invariants: under a floor that holds, the chance that `broken` is ever true, over all time and however often it is
looked at, is at most `alpha`; once true it stays true.

Labels must be drawn from all routed requests: an escalated one counts as a loss of 0 and needs no second answer.

A loss that begins late would have to win back what the bet lost in good times, so a new bet starts every RESTART_EVERY
labels with its share of the capital; the sum of all bets is what is watched.
Source: betting confidence sequences, Waudby-Smith and Ramdas 2023, arXiv:2010.09686; shared capital over starts, Shin,
        Ramdas and Rinaldo 2022, arXiv:2203.03532, section 2.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]

RESTART_EVERY = 250
STARTS_MAX = 200
"""50,000 labels; later losses are still seen by the bets that run."""
_STAKE_POINTS = 16
_GRID_POINTS = 401
"""Means from -1 to 1 in steps of half a point."""


class MonitorReading(Struct, frozen=True):
    """The current estimate of the paired loss, with its interval."""

    labels: int
    loss_points: float
    low_points: float
    high_points: float
    """An interval that holds at all times at once, with confidence 1 - alpha."""
    wealth: float
    """Of the bet that the floor is broken; at 1 / alpha it is taken as shown."""
    broken: bool
    """Fall back to the safe threshold, and alert."""


class FloorMonitor:
    """Takes labels one at a time. Not shared between threads."""

    def __init__(self, floor_points: float, alpha: float = 0.1) -> None:
        """Raises: ValueError if the floor or alpha is out of range."""
        if not 0.0 < floor_points < 100.0 or not 0.0 < alpha < 1.0:
            raise ValueError("a floor lies between 0 and 100 points, alpha between 0 and 1")
        self._floor = floor_points / 100.0
        self._alpha = alpha
        self._stakes = np.linspace(0.0, 0.95 / (1.0 + self._floor), _STAKE_POINTS + 1)[1:]
        self._bets: Floats = np.zeros((0, _STAKE_POINTS))
        self._grid = np.linspace(-1.0, 1.0, _GRID_POINTS)
        self._interval_stakes = np.linspace(0.0, 0.475, _STAKE_POINTS + 1)[1:]
        self._above: Floats = np.zeros((_GRID_POINTS, _STAKE_POINTS))
        self._below: Floats = np.zeros((_GRID_POINTS, _STAKE_POINTS))
        self._inside = np.ones(_GRID_POINTS, np.bool_)
        self._labels = 0
        self._sum = 0.0
        self._highest = 0.0
        self._broken = False

    def observe(self, loss: float) -> bool:
        """Take one label, top - kept in -1..1, 0 where the request was escalated. True from when the floor is broken.

        Raises: ValueError if the loss is out of range; nothing has changed.
        Cost:   0.3 ms; a label is rare beside a request.
        """
        if not -1.0 <= loss <= 1.0:
            raise ValueError(f"a loss of {loss} is not between -1 and 1")
        if self._labels % RESTART_EVERY == 0 and len(self._bets) < STARTS_MAX:
            self._bets = np.concatenate([self._bets, np.zeros((1, _STAKE_POINTS))])
        self._labels += 1
        self._sum += loss
        self._bets += np.log1p(self._stakes * (loss - self._floor))
        wealth = self._wealth()
        self._highest = max(self._highest, wealth)
        self._broken = self._broken or wealth >= 1.0 / self._alpha
        self._narrow(loss)
        return self._broken

    def reading(self) -> MonitorReading:
        """Compute the estimate and interval of the loss from all labels so far."""
        inside, step = self._grid[self._inside], self._grid[1] - self._grid[0]
        mean = self._sum / self._labels if self._labels else 0.0
        return MonitorReading(
            labels=self._labels,
            loss_points=100.0 * mean,
            low_points=100.0 * float(inside.min() - step if len(inside) else mean),
            high_points=100.0 * float(inside.max() + step if len(inside) else mean),
            wealth=self._highest,
            broken=self._broken,
        )

    def _wealth(self) -> float:
        """The capital of all bets: start k holds 1 / ((k + 1)(k + 2)) of it, what has not started yet is kept."""
        start = np.arange(len(self._bets))
        share = 1.0 / ((start + 1.0) * (start + 2.0))
        running = np.exp(np.minimum(self._bets, 700.0)).mean(axis=1)
        return float(share @ running) + 1.0 / (len(self._bets) + 1.0)

    def _narrow(self, loss: float) -> None:
        """Drop from the interval every mean against which a bet, up or down, has won 2 / alpha."""
        gaps = np.outer(loss - self._grid, self._interval_stakes)
        self._above += np.log1p(gaps)
        self._below += np.log1p(-gaps)
        limit = math.log(2.0 / self._alpha)
        for wealth in (self._above, self._below):
            top = wealth.max(axis=1)
            total = top + np.log(np.exp(wealth - top[:, None]).mean(axis=1))
            self._inside &= total < limit
