"""Turning evidence into probabilities: isotonic steps or a logistic curve, fitted on labels.

Owns: the two curves and their fits.
Must never know: what the evidence is.
Invariant: a curve never falls where evidence rises, so calibration changes no ranking (it may make ties).
"""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]

ISOTONIC_ROWS_MIN = 1_000
"""Below it a logistic curve errs less: isotonic steps follow the noise. Source: Niculescu-Mizil and Caruana 2005,
section 5."""
_NEWTON_STEPS = 25
LOGIT_MAX = 12.0
"""No curve claims more than 1 - 6e-6: no calibration set is large enough for that."""


class Isotonic(Struct, frozen=True, tag_field="curve", tag="isotonic"):
    """Steps: `values[i]` from `knots[i]` on; below the first knot the first value."""

    knots: tuple[float, ...]
    values: tuple[float, ...]

    def probability(self, evidence: float) -> float:
        index = int(np.searchsorted(np.asarray(self.knots), evidence, side="right")) - 1
        return self.values[max(index, 0)]


class Platt(Struct, frozen=True, tag_field="curve", tag="platt"):
    """A logistic curve in the standardised evidence."""

    slope: float
    intercept: float

    def probability(self, evidence: float) -> float:
        logit = self.slope * evidence + self.intercept
        return 1.0 / (1.0 + math.exp(-max(-LOGIT_MAX, min(LOGIT_MAX, logit))))


Curve: TypeAlias = Isotonic | Platt


def fit_curve(evidence: Floats, labels: Floats) -> Curve:
    """The curve that the number of labels can bear.

    Shapes: evidence, labels (N,); labels in 0..1.
    Raises: ValueError if there are none.
    """
    return fit_isotonic(evidence, labels) if len(labels) >= ISOTONIC_ROWS_MIN else fit_platt(evidence, labels)


def fit_isotonic(evidence: Floats, labels: Floats) -> Isotonic:
    """Least-squares non-decreasing steps, each end smoothed by one half label.

    Source: pool adjacent violators, Ayer et al. 1955.
    """
    if not len(labels):
        raise ValueError("no labels")
    order = np.argsort(evidence, kind="stable")
    knots, inverse = np.unique(evidence[order], return_inverse=True)
    weights = np.bincount(inverse).astype(np.float64)
    sums = np.bincount(inverse, labels[order])
    pools: list[tuple[float, float, float]] = []
    for knot, weight, total in zip(knots.tolist(), weights.tolist(), sums.tolist(), strict=True):
        first, pooled_weight, pooled_total = knot, weight, total
        while pools and pools[-1][2] / pools[-1][1] >= pooled_total / pooled_weight:
            first, earlier_weight, earlier_total = pools.pop()
            pooled_weight, pooled_total = pooled_weight + earlier_weight, pooled_total + earlier_total
        pools.append((first, pooled_weight, pooled_total))
    values = tuple((total + 0.5) / (weight + 1.0) for _, weight, total in pools)
    return Isotonic(tuple(knot for knot, _, _ in pools), tuple(np.maximum.accumulate(values).tolist()))


def fit_platt(evidence: Floats, labels: Floats) -> Platt:
    """Logistic regression on one column, with targets drawn in by one label at each end; a falling fit is made flat.

    Source: Platt 1999, with the targets of Lin, Lin and Weng 2007.
    """
    if not len(labels):
        raise ValueError("no labels")
    mean, scale = float(evidence.mean()), float(evidence.std()) or 1.0
    column = (evidence - mean) / scale
    right = float(labels.sum())
    high, low = (right + 1.0) / (right + 2.0), 1.0 / (len(labels) - right + 2.0)
    target = low + labels * (high - low)
    design = np.stack([column, np.ones_like(column)], axis=1)
    slope, intercept = _fit_logistic(design, target, np.full(2, 1e-6)).tolist()
    if slope < 0.0:
        share = float(target.mean())
        return Platt(0.0, math.log(share / (1.0 - share)))
    return Platt(slope / scale, intercept - slope * mean / scale)


def calibration_error(probabilities: Floats, labels: Floats, bins: int = 10) -> float:
    """Expected calibration error over bins of equal counts: the mean distance of claim and truth."""
    order = np.argsort(probabilities, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    gaps = [abs(float(probabilities[part].mean() - labels[part].mean())) * len(part) for part in parts]
    return sum(gaps) / max(len(labels), 1)


def _fit_logistic(design: Floats, target: Floats, ridge: Floats) -> Floats:
    """The weights of a ridge logistic regression, by Newton's method. Shapes: (N, K), (N,), (K,) -> (K,)."""
    weights = np.zeros(design.shape[1])
    for _ in range(_NEWTON_STEPS):
        probability = 1.0 / (1.0 + np.exp(-(design @ weights)))
        curvature = (design * (probability * (1.0 - probability))[:, None]).T @ design + np.diag(ridge)
        weights = weights + np.linalg.solve(curvature, design.T @ (target - probability) - ridge * weights)
    return weights


class Blend(Struct, frozen=True):
    """Several pieces of evidence as one expected loss, -1..1: a logistic curve in their standardised values."""

    means: tuple[float, ...]
    scales: tuple[float, ...]
    weights: tuple[float, ...]
    bias: float

    def expected_losses(self, evidence: Floats) -> Floats:
        """Shapes: evidence (N, K) -> (N,)."""
        standard = (evidence - np.asarray(self.means)) / np.asarray(self.scales)
        logits = standard @ np.asarray(self.weights) + self.bias
        return np.asarray(2.0 / (1.0 + np.exp(-logits)) - 1.0, np.float64)


def fit_blend(evidence: Floats, losses: Floats, penalty: float = 3.0) -> Blend:
    """Fit what keeping costs, from evidence that was there when it was decided.

    Shapes: evidence (N, K), losses (N,) in -1..1.
    Raises: ValueError if there are no rows.
    """
    if not len(losses):
        raise ValueError("no labels")
    means, scales = evidence.mean(axis=0), evidence.std(axis=0)
    scales[scales < 1e-9] = 1.0
    design = np.concatenate([(evidence - means) / scales, np.ones((len(losses), 1))], axis=1)
    ridge = np.full(design.shape[1], penalty)
    ridge[-1] = 1e-6
    weights = _fit_logistic(design, (1.0 + losses) / 2.0, ridge)
    return Blend(tuple(means.tolist()), tuple(scales.tolist()), tuple(weights[:-1].tolist()), float(weights[-1]))
