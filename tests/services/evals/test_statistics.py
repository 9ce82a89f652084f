"""The formulas against values worked out by hand or by slow oracles."""

import math

import pytest

from renga.services.evals.statistics import (
    auroc,
    bootstrap_interval,
    calibration_error,
    fit_temperature,
    macro_f1,
    token_f1,
    wilson_interval,
)


def test_wilson_interval() -> None:
    low, high = wilson_interval(8, 10)
    assert (low, high) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert wilson_interval(0, 0) == (0.0, 1.0)


def test_auroc_equals_counting_pairs() -> None:
    scores = [0.1, 0.4, 0.4, 0.8, 0.9, 0.2]
    positives = [False, True, False, True, True, False]
    pairs = [
        (x, y)
        for x, p in zip(scores, positives, strict=True)
        if p
        for y, q in zip(scores, positives, strict=True)
        if not q
    ]
    slow = sum((x > y) + 0.5 * (x == y) for x, y in pairs) / len(pairs)
    assert auroc(scores, positives) == pytest.approx(slow)
    assert math.isnan(auroc([1.0], [True]))


def test_calibration() -> None:
    assert calibration_error([0.75] * 4, [True, True, True, False]) == pytest.approx(0.0)
    assert calibration_error([0.95, 0.95], [False, False]) == pytest.approx(0.95)
    logprobs = [math.log(0.9)] * 10
    temperature = fit_temperature(logprobs, [True] * 6 + [False] * 4)
    assert math.exp(logprobs[0] / temperature) == pytest.approx(0.6, abs=0.03)


def test_f1() -> None:
    assert macro_f1(["a", "a", "b"], ["a", "b", "b"]) == pytest.approx(2 / 3)
    assert token_f1("The red house", "red house") == 1.0
    assert token_f1("blue", "red") == 0.0


def test_bootstrap_interval_holds_the_mean() -> None:
    values = [0.0, 1.0] * 50
    low, high = bootstrap_interval(lambda drawn: sum(values[index] for index in drawn) / len(drawn), len(values))
    assert low < 0.5 < high
