"""`renga eval`, as a user runs it."""

from pathlib import Path

import pytest
from tests.cli.conftest import Shell

from renga.services.evals.datasets.locations import data_folder, missing_reason, shared_folder


def without_sets(shell: Shell, folder: Path) -> None:
    shell.environ |= {"RENGA_SHARED": str(folder), "RENGA_DATASETS": str(folder)}


def test_it_says_which_command_obtains_the_sets(shell: Shell, tmp_path: Path) -> None:
    without_sets(shell, tmp_path)
    done = shell.run("eval", "--suite", "banking77", "--cases", "4")
    assert done.code == 1
    assert "`scripts/data get " in done.err
    assert "banking77" in done.err
    assert len(done.err.splitlines()) == 1


def test_suites_that_are_invented_need_no_set(shell: Shell, tmp_path: Path) -> None:
    without_sets(shell, tmp_path)
    done = shell.run("eval", "--suite", "invented schemas", "--suite", "banking77", "--cases", "4")
    assert done.code == 0, done.err
    assert "| invented schemas | exact match | 4 |" in done.out
    assert "Left out: banking77" in done.err


@pytest.mark.skipif(bool(missing_reason("eval")), reason=missing_reason("eval"))
def test_a_suite_is_scored_beside_its_baselines(shell: Shell) -> None:
    shell.environ |= {"RENGA_SHARED": str(shared_folder()), "RENGA_DATASETS": str(data_folder())}
    done = shell.run("eval", "--suite", "held-out labels, 5", "--cases", "4")
    assert done.code == 0, done.err
    assert "| suite | metric |" in done.out
    assert "| held-out labels, 5 | accuracy | 3 |" in done.out
    assert "word overlap" in done.out
