"""The benchmark's metrics are the paper's, and it says where its data should be."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from benchmarks.routing.metrics import bootstrap, gap_curve, measure, share_for_quality

ROOT = Path(__file__).parents[3]

LOSSES = np.asarray([1.0, 0.0, 0.0, -1.0, 1.0, 1.0, 0.0, 0.0])


def test_a_score_that_always_ties_is_chance() -> None:
    metrics = measure(np.zeros(8), LOSSES)
    assert metrics.apgr == pytest.approx(0.5)
    assert (metrics.cpt50, metrics.cpt80) == (0.5, 0.875)


def test_the_oracle_recovers_the_gap_first_and_more_than_all_of_it() -> None:
    curve = gap_curve(LOSSES, LOSSES)
    assert curve.tolist() == [0.0, 0.5, 1.0, 1.5, 1.5, 1.5, 1.5, 1.5, 1.0]
    assert measure(LOSSES, LOSSES).cpt50 == 1 / 8


def test_ties_are_the_mean_over_their_orders() -> None:
    """The slow oracle: all random orders of the tied rows."""
    difficulty = np.asarray([2.0, 1.0, 1.0, 1.0, 0.0, 0.0, 1.0, 2.0])
    random = np.random.default_rng(0)
    drawn = [gap_curve(difficulty + 1e-6 * random.random(8), LOSSES) for _ in range(4_000)]
    assert np.abs(np.mean(drawn, axis=0) - gap_curve(difficulty, LOSSES)).max() < 0.05


def test_the_share_for_a_quality() -> None:
    small = np.asarray([0.0, 1.0, 0.0, 1.0])
    assert share_for_quality(1.0 - small, small, np.ones(4), 0.99) == 0.5
    assert share_for_quality(small, small, np.ones(4), 0.99) == 1.0


def test_an_interval_holds_its_figure() -> None:
    found = bootstrap(np.arange(8.0), LOSSES + 0.1, resamples=50)["apgr"]
    assert found.low <= found.value <= found.high


def test_without_data_the_benchmark_says_what_to_do(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks.routing", "--quick"],
        cwd=ROOT,
        env={**os.environ, "RENGA_SHARED": str(tmp_path), "RENGA_DATASETS": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    assert "`scripts/data get routing --from FOLDER`" in run.stderr
    assert len(run.stderr.splitlines()) == 1
