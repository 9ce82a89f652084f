"""`renga eval`, as a user runs it."""

from pathlib import Path

import pytest
from tests.cli.conftest import Shell

from renga.services.evals.public_sets import shared_data


def test_it_says_where_the_sets_should_be(shell: Shell, tmp_path: Path) -> None:
    shell.environ["RENGA_SHARED"] = str(tmp_path)
    done = shell.call("eval")
    assert done.code == 1
    assert "RENGA_SHARED" in done.err


@pytest.mark.skipif(not (shared_data() / "tasks").is_dir(), reason="the task sets are not beside the repository")
def test_a_suite_is_scored_beside_its_baselines(shell: Shell) -> None:
    shell.environ["RENGA_SHARED"] = str(shared_data().parent.resolve())
    done = shell.run("eval", "--suite", "held-out labels, 5", "--cases", "4")
    assert done.code == 0, done.err
    assert "| suite | metric |" in done.out
    assert "| held-out labels, 5 | accuracy | 3 |" in done.out
    assert "word overlap" in done.out
