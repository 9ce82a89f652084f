"""Scores and their uncertainty.

Owns:   the formulas. `renga evaluate` runs without scipy and scikit-learn, which only the training extra has; a
        thousand cases take milliseconds.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from random import Random

import numpy

from renga.routing.triage.learned_head import find_auroc

Z_95 = 1.959964
"""Two-sided 95 % quantile of the normal distribution."""


def wilson_interval(right: float, count: int) -> tuple[float, float]:
    """95 % interval of a proportion. Source: Wilson 1927, J. Am. Stat. Assoc. 22:209."""
    if not count:
        return 0.0, 1.0
    share, square = right / count, Z_95 * Z_95
    centre = (share + square / (2 * count)) / (1 + square / count)
    spread = Z_95 * math.sqrt(share * (1 - share) / count + square / (4 * count * count)) / (1 + square / count)
    return max(0.0, centre - spread), min(1.0, centre + spread)


def bootstrap_interval(statistic: Callable[[list[int]], float], count: int) -> tuple[float, float]:
    """95 % interval by the percentiles of 300 resamples. `statistic` takes the indices that were drawn."""
    random = Random(0)  # noqa: S311 - resampling, not secrets
    values = sorted(statistic([random.randrange(count) for _ in range(count)]) for _ in range(300))
    return values[7], values[292]


def auroc(scores: Sequence[float], positives: Sequence[bool]) -> float:
    """Chance that a positive scores above a negative; NaN if one side is empty."""
    found = find_auroc(numpy.asarray(scores, numpy.float64), numpy.asarray(positives, numpy.bool_))
    return math.nan if found is None else found


def calibration_error(confidences: Sequence[float], right: Sequence[bool], *, bins: int = 10) -> float:
    """Expected calibration error with equal-width bins. Source: Guo et al. 2017, arXiv:1706.04599."""
    groups: list[list[tuple[float, bool]]] = [[] for _ in range(bins)]
    for confidence, is_right in zip(confidences, right, strict=True):
        groups[min(bins - 1, int(confidence * bins))].append((confidence, is_right))
    gaps = [abs(sum(confidence - is_right for confidence, is_right in group)) for group in groups]
    return sum(gaps) / max(1, len(confidences))


def fit_temperature(logprobs: Sequence[float], right: Sequence[bool]) -> float:
    """The T that makes exp(logprob / T) likeliest to be the chance of being right, by search over a grid."""

    def loss(temperature: float) -> float:
        total = 0.0
        for logprob, is_right in zip(logprobs, right, strict=True):
            chance = min(max(math.exp(logprob / temperature), 1e-6), 1 - 1e-6)
            total -= math.log(chance if is_right else 1 - chance)
        return total

    return min((0.05 * 1.1**step for step in range(80)), key=loss)


def macro_f1(expected: Sequence[str], given: Sequence[str]) -> float:
    """Mean F1 over the expected classes."""
    scores: list[float] = []
    for name in sorted(set(expected)):
        both = sum(want == got == name for want, got in zip(expected, given, strict=True))
        total = sum(want == name for want in expected) + sum(got == name for got in given)
        scores.append(2 * both / total if total else 0.0)
    return sum(scores) / max(1, len(scores))


def token_f1(given: str, expected: str) -> float:
    """Overlap of words as SQuAD scores it. Source: Rajpurkar et al. 2016, evaluate-v1.1.py."""
    left, right = _normal_words(given), _normal_words(expected)
    both = sum((Counter(left) & Counter(right)).values())
    return 2 * both / (len(left) + len(right)) if both else 0.0


def _normal_words(text: str) -> list[str]:
    bare = re.sub(r"[^\w\s]", "", text.lower())
    return [word for word in bare.split() if word not in ("a", "an", "the")]
