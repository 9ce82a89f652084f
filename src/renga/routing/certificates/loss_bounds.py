"""Is the mean paired loss below a floor? Four one-sided tests, from handy to exact.

Owns: the tests, each a function (losses, floor) -> p-value of "the mean is at least the floor".
Must never know: thresholds, requests, what a loss was measured on.
Invariants: losses lie in -1..1 and were drawn independently; a p-value is never below what its method can prove.

| test | valid for | measured on three pairs (docs/log/routing.md) |
|---|---|---|
| student | large n only: it takes no losses seen for none possible | the tightest, and broken most often |
| exact | losses of -1, 0 and 1, every n | as tight as student; the default for scores of 0 or 1 |
| betting | any losses in -1..1, every n | keeps a third to a half of what exact keeps |
| hoeffding_bentkus | any losses in -1..1, every n | keeps next to nothing at these n |
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Method: TypeAlias = Literal["student", "exact", "betting", "hoeffding_bentkus"]
Test: TypeAlias = Callable[[Floats, float], float]

EXACT_SHARE_MIN = 0.95
_NUISANCE_POINTS = 32
_BET_POINTS = 24
_NEGLIGIBLE = 1e-12


def student(losses: Floats, floor: float) -> float:
    """Student's one-sided test, with the normal's tail for the t's: at n >= 100 they differ by less than 0.003."""
    spread = float(losses.std(ddof=1)) if len(losses) > 1 else 0.0
    gap = float(losses.mean()) - floor
    if spread == 0.0:
        return 0.0 if gap < 0.0 else 1.0
    return _normal_tail(gap * math.sqrt(len(losses)) / spread)


def hoeffding_bentkus(losses: Floats, floor: float) -> float:
    """The smaller of Hoeffding's and Bentkus's bound, on losses moved to 0..1.

    Source: Bates et al. 2021, arXiv:2101.02703, section 3.1; Angelopoulos et al. 2021, arXiv:2110.01052.
    """
    count = len(losses)
    mean, null = (float(losses.mean()) + 1.0) / 2.0, (floor + 1.0) / 2.0
    if mean >= null:
        return 1.0
    hoeffding = math.exp(-count * _binary_divergence(mean, null))
    bentkus = math.e * _binomial_below(math.ceil(count * mean), count, null)
    return min(1.0, hoeffding, bentkus)


def betting(losses: Floats, floor: float) -> float:
    """One over the highest wealth, on the way, of a bettor against "the mean is at least the floor".

    The losses are shuffled with a fixed seed first, so that a sorted file cannot choose the order.
    Source: the hedged capital of Waudby-Smith and Ramdas 2023, arXiv:2010.09686, with the mean of fixed stakes.
    """
    gains = floor - np.random.default_rng(0).permutation(losses)
    wealth = np.cumsum(np.log1p(np.outer(betting_stakes(floor), gains)), axis=1)
    top = wealth.max(axis=0)
    mean = top + np.log(np.exp(wealth - top).mean(axis=0))
    return min(1.0, math.exp(-float(mean.max())))


def exact(losses: Floats, floor: float) -> float:
    """The exact unconditional test for losses of -1, 0 and 1: the largest p-value over all shares of gains.

    A graded loss is first rounded at random to -1, 0 or 1 so that its mean stays: valid, but loose if most are graded.
    Cost:   20 ms for a count not seen before; kept afterwards.
    Source: score statistic of Tango 1998 (Statistics in Medicine 17:891), maximised over the nuisance as Hsueh, Liu
            and Chen 2001 (Biometrics 57:478).
    """
    bad, good = _count_signs(losses)
    return exact_p_value(bad, good, len(losses), floor)


TESTS: dict[Method, Test] = {
    "student": student,
    "exact": exact,
    "betting": betting,
    "hoeffding_bentkus": hoeffding_bentkus,
}


def betting_stakes(floor: float) -> Floats:
    """The stakes that are averaged: none can lose everything, for no loss is above 1."""
    return np.linspace(0.0, 0.98 / (1.0 - floor), _BET_POINTS + 1)[1:]


def passes(losses: Floats, floor: float, alpha: float, method: Method) -> bool:
    """Whether a test rejects "the mean is at least the floor" at level alpha.

    The exact test compares with its critical value, which is found once for a count, a floor and a level: a search over
    thresholds then costs microseconds.
    """
    if method != "exact":
        return TESTS[method](losses, floor) <= alpha
    bad, good = _count_signs(losses)
    return score_statistic(bad, good, len(losses), floor) <= exact_critical(len(losses), floor, alpha)


def default_method(losses: Floats) -> Method:
    """Exact where nearly all scores are 0 or 1, betting where they are graded."""
    return "exact" if float(np.isin(losses, (-1.0, 0.0, 1.0)).mean()) >= EXACT_SHARE_MIN else "betting"


def upper_bound(losses: Floats, alpha: float, method: Method) -> float:
    """The smallest floor that the test accepts at level alpha, to 1e-4: a one-sided confidence bound."""
    low, high = max(float(losses.mean()), -0.999), 1.0
    test = TESTS[method]
    for _ in range(14):
        middle = (low + high) / 2.0
        if test(losses, middle) <= alpha:
            high = middle
        else:
            low = middle
    return high


@lru_cache(maxsize=65_536)
def exact_p_value(bad: int, good: int, count: int, floor: float) -> float:
    """P(a result at least as good), at the worst share of gains under a mean loss equal to the floor."""
    observed = _score(np.asarray([[bad]], np.float64), np.asarray([[good]], np.float64), count, floor)[0, 0]
    if observed >= 0.0:
        return 1.0
    return float(_tails(np.asarray([observed]), count, floor)[0])


@lru_cache(maxsize=256)
def exact_critical(count: int, floor: float, alpha: float) -> float:
    """The score at or below which the exact test rejects at level alpha; -inf when no result can."""
    levels = np.linspace(-4.0, -0.8, 161)
    tails = _tails(levels, count, floor)
    passing = np.flatnonzero(tails <= alpha)
    return float(levels[passing[-1]]) if len(passing) else -math.inf


def score_statistic(bad: int, good: int, count: int, floor: float) -> float:
    """Tango's score for a paired difference: negative where the loss is below the floor."""
    return float(_score(np.asarray([[bad]], np.float64), np.asarray([[good]], np.float64), count, floor)[0, 0])


def _count_signs(losses: Floats) -> tuple[int, int]:
    """How many losses and how many gains; a graded loss counts as whole with its size as the chance."""
    rounded = np.sign(losses) * (np.random.default_rng(2).random(len(losses)) < np.abs(losses))
    return int(np.count_nonzero(rounded > 0.0)), int(np.count_nonzero(rounded < 0.0))


def _score(bad: Floats, good: Floats, count: int, floor: float) -> Floats:
    quadratic = 2.0 * count
    linear = 2.0 * floor * (count - bad) - (bad + good) * (1.0 - floor)
    constant = -good * floor * (1.0 - floor)
    gain_share = (-linear + np.sqrt(np.maximum(linear**2 - 4.0 * quadratic * constant, 0.0))) / (2.0 * quadratic)
    variance = np.maximum(count * (2.0 * gain_share + floor - floor * floor), 1e-300)
    return np.asarray((bad - good - count * floor) / np.sqrt(variance), np.float64)


def _tails(levels: Floats, count: int, floor: float) -> Floats:
    """For each level of the score: P(score <= level), at the worst share of gains."""
    worst = np.zeros(len(levels))
    logs = _log_factorials(count)
    for gain_share in _nuisance(floor):
        probability, score = _outcomes(gain_share, max(gain_share + floor, 1e-9), count, floor, logs)
        order = np.argsort(score)
        cumulated = np.concatenate([[0.0], np.cumsum(probability[order])])
        found = cumulated[np.searchsorted(score[order], levels + 1e-12, side="right")]
        np.maximum(worst, found, out=worst)
    return np.minimum(worst, 1.0)


def _nuisance(floor: float) -> Floats:
    """Shares of gains at which the p-value is looked up: dense near zero, where it moves most."""
    lowest = max(0.0, -floor)
    above = np.concatenate([[1e-9], np.geomspace(2e-4, ((1.0 - floor) / 2.0 - lowest) * 0.98, _NUISANCE_POINTS - 1)])
    return lowest + above


def _outcomes(gain_share: float, loss_share: float, count: int, floor: float, logs: Floats) -> tuple[Floats, Floats]:
    """Probability and score of every pair (losses, gains) that is not next to impossible."""
    bad, good = _likely(loss_share, count), _likely(gain_share, count)
    rest = count - bad[:, None] - good[None, :]
    allowed = rest >= 0
    rest = np.maximum(rest, 0)
    log_probability = (
        logs[count]
        - logs[bad][:, None]
        - logs[good][None, :]
        - logs[rest]
        + bad[:, None] * math.log(loss_share)
        + good[None, :] * math.log(gain_share)
        + rest * math.log1p(-loss_share - gain_share)
    )
    probability = np.where(allowed, np.exp(log_probability), 0.0).ravel()
    score = _score(bad[:, None].astype(np.float64), good[None, :].astype(np.float64), count, floor).ravel()
    kept = probability > _NEGLIGIBLE
    return probability[kept], score[kept]


def _likely(share: float, count: int) -> NDArray[np.int64]:
    spread = 6.0 * math.sqrt(count * share * (1.0 - share)) + 8.0
    return np.arange(max(0, int(count * share - spread)), min(count, int(count * share + spread)) + 1)


def _log_factorials(count: int) -> Floats:
    return np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, count + 1)))])


def _normal_tail(z: float) -> float:
    """The probability that a standard normal variable is at most z."""
    return 0.5 * math.erfc(-z / math.sqrt(2.0))


def _binary_divergence(p: float, q: float) -> float:
    left = p * math.log(p / q) if p > 0.0 else 0.0
    right = (1.0 - p) * math.log((1.0 - p) / (1.0 - q)) if p < 1.0 else 0.0
    return left + right


def _binomial_below(successes: int, count: int, share: float) -> float:
    """The probability that Binomial(count, share) is at most `successes`."""
    logs = _log_factorials(count)
    k = np.arange(min(successes, count) + 1)
    terms = logs[count] - logs[k] - logs[count - k] + k * math.log(share) + (count - k) * math.log1p(-share)
    return float(np.exp(terms).sum())
