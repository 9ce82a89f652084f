"""Every test keeps its level; the exact one agrees with counting."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from renga.routing.certificates.loss_bounds import (
    TESTS,
    Method,
    default_method,
    exact_critical,
    exact_p_value,
    passes,
    score_statistic,
    upper_bound,
)

VALID: tuple[Method, ...] = ("exact", "betting", "hoeffding_bentkus")


def sample(losses: int, gains: int, count: int) -> np.ndarray:
    return np.repeat([1.0, -1.0, 0.0], [losses, gains, count - losses - gains])


def test_no_loss_at_all_is_worth_what_the_binomial_says() -> None:
    assert exact_p_value(0, 0, 300, 0.01) == pytest.approx(0.99**300, rel=1e-6)


@pytest.mark.parametrize("gain_share", [0.0, 0.01, 0.05])
@pytest.mark.parametrize("method", VALID)
def test_a_floor_that_is_just_broken_passes_in_at_most_a_tenth(gain_share: float, method: Method) -> None:
    random, floor, draws = np.random.default_rng(1), 0.02, 200
    counts = random.multinomial(300, [gain_share + floor, gain_share, 1 - 2 * gain_share - floor], size=draws)
    passed = sum(passes(sample(int(bad), int(good), 300), floor, 0.1, method) for bad, good, _ in counts)
    assert passed / draws <= 0.1 + 3 * math.sqrt(0.09 / draws)


def test_student_breaks_its_level_where_losses_are_rare() -> None:
    random = np.random.default_rng(2)
    counts = random.binomial(300, 0.01, size=400)
    assert np.mean([passes(sample(int(bad), 0, 300), 0.01, 0.1, "student") for bad in counts]) > 0.15


def test_the_critical_value_and_the_p_value_decide_alike() -> None:
    critical = exact_critical(300, 0.02, 0.1)
    for bad in range(8):
        for good in range(6):
            if score_statistic(bad, good, 300, 0.02) <= critical:
                assert exact_p_value(bad, good, 300, 0.02) <= 0.1


@given(bad=st.integers(0, 20), good=st.integers(0, 20))
@settings(max_examples=20, deadline=None)
def test_one_more_loss_never_looks_better(bad: int, good: int) -> None:
    assert exact_p_value(bad + 1, good, 200, 0.05) >= exact_p_value(bad, good, 200, 0.05) - 1e-9


@given(st.lists(st.floats(-1.0, 1.0), min_size=2, max_size=50), st.floats(0.001, 0.5))
@settings(max_examples=60, deadline=None)
def test_p_values_are_probabilities(losses: list[float], floor: float) -> None:
    for method in ("student", "betting", "hoeffding_bentkus"):
        assert 0.0 <= TESTS[method](np.asarray(losses), floor) <= 1.0  # type: ignore[index]


def test_a_bound_holds_what_passed() -> None:
    losses = sample(3, 1, 400)
    bound = upper_bound(losses, 0.1, "exact")
    assert losses.mean() < bound < 0.03
    assert passes(losses, bound + 0.002, 0.1, "exact")


def test_a_bound_below_zero_is_possible() -> None:
    assert upper_bound(sample(0, 40, 300), 0.1, "exact") < 0.0


def test_graded_scores_are_bet_on_and_whole_ones_counted() -> None:
    assert default_method(np.asarray([0.0, 1.0, -1.0])) == "exact"
    assert default_method(np.asarray([0.0, 0.5, -0.2])) == "betting"


@pytest.mark.parametrize(("losses", "passing"), [(4, True), (40, False)])
def test_a_sorted_file_cannot_choose_how_betting_ends(losses: int, passing: bool) -> None:
    best_first = np.sort(sample(losses, 0, 400))
    for order in (best_first, best_first[::-1]):
        assert passes(order, 0.05, 0.1, "betting") == passing
