"""The monitor does not cry wolf, and finds a broken floor soon."""

import numpy as np
import pytest

from renga.routing.monitoring.floor_monitor import FloorMonitor


def run(share: float, labels: int, seed: int, floor_points: float = 5.0) -> FloorMonitor:
    monitor = FloorMonitor(floor_points)
    for loss in np.random.default_rng(seed).random(labels) < share:
        monitor.observe(float(loss))
    return monitor


def test_a_floor_that_just_holds_is_rarely_called_broken() -> None:
    assert sum(run(0.05, 400, seed).reading().broken for seed in range(12)) <= 3


def test_a_broken_floor_is_found() -> None:
    reading = run(0.15, 600, 0).reading()
    assert reading.broken
    assert reading.low_points > 5.0


def test_a_loss_that_begins_late_is_found() -> None:
    monitor = run(0.0, 1_000, 0)
    assert not monitor.reading().broken
    losses = np.random.default_rng(1).random(400) < 0.2
    assert any(monitor.observe(float(loss)) for loss in losses)


def test_broken_stays_broken() -> None:
    monitor = run(0.3, 300, 0)
    assert monitor.observe(-1.0)
    assert all(monitor.observe(0.0) for _ in range(50))


def test_the_interval_holds_the_mean_and_narrows() -> None:
    early, late = run(0.1, 100, 4).reading(), run(0.1, 900, 4).reading()
    for reading in (early, late):
        assert reading.low_points <= 10.0 <= reading.high_points
    assert late.high_points - late.low_points < early.high_points - early.low_points


def test_nothing_seen_is_nothing_known() -> None:
    reading = FloorMonitor(2.0).reading()
    assert (reading.labels, reading.broken) == (0, False)
    assert reading.low_points <= -100.0 and reading.high_points >= 100.0


def test_wrong_values_change_nothing() -> None:
    monitor = FloorMonitor(2.0)
    with pytest.raises(ValueError, match="not between"):
        monitor.observe(1.5)
    assert monitor.reading().labels == 0
    with pytest.raises(ValueError, match="floor"):
        FloorMonitor(0.0)
