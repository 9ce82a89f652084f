"""Curves follow the labels and never fall."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from renga.routing.checks.calibration import (
    Isotonic,
    Platt,
    calibration_error,
    fit_blend,
    fit_curve,
    fit_isotonic,
    fit_platt,
)


def draw(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    evidence = random.normal(-1.0, 1.0, count)
    return evidence, (random.random(count) < 1 / (1 + np.exp(-2 * evidence - 2))).astype(float)


@pytest.mark.parametrize("fit", [fit_isotonic, fit_platt])
def test_a_curve_is_calibrated_on_new_labels(fit) -> None:  # type: ignore[no-untyped-def]
    curve = fit(*draw(4_000))
    evidence, labels = draw(4_000, seed=1)
    assert calibration_error(np.asarray([curve.probability(x) for x in evidence]), labels) < 0.03


@given(st.lists(st.tuples(st.floats(-5, 5), st.booleans()), min_size=1, max_size=40))
@settings(max_examples=60, deadline=None)
def test_a_curve_never_falls(points: list[tuple[float, bool]]) -> None:
    evidence, labels = np.asarray([x for x, _ in points]), np.asarray([float(y) for _, y in points])
    for curve in (fit_isotonic(evidence, labels), fit_platt(evidence, labels)):
        values = [curve.probability(x) for x in np.linspace(-6, 6, 30)]
        assert values == sorted(values)
        assert all(0.0 < value < 1.0 for value in values)


def test_few_labels_get_the_smoother_curve() -> None:
    assert isinstance(fit_curve(*draw(200)), Platt)
    assert isinstance(fit_curve(*draw(1_000)), Isotonic)


def test_no_labels_are_refused() -> None:
    for fit in (fit_isotonic, fit_platt):
        with pytest.raises(ValueError, match="no labels"):
            fit(np.zeros(0), np.zeros(0))
    with pytest.raises(ValueError, match="no labels"):
        fit_blend(np.zeros((0, 2)), np.zeros(0))


def test_a_blend_expects_what_was_lost() -> None:
    random = np.random.default_rng(5)
    agrees, triage = (random.random(3_000) < 0.7).astype(float), random.normal(size=3_000)
    losses = (random.random(3_000) < np.where(agrees == 1.0, 0.02, 0.4)).astype(float)
    expected = fit_blend(np.column_stack([agrees, triage]), losses).expected_losses(
        np.asarray([[1.0, 0.0], [0.0, 0.0]])
    )
    assert expected[0] == pytest.approx(0.02, abs=0.02)
    assert expected[1] == pytest.approx(0.4, abs=0.04)
