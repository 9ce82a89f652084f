"""What holds for every test.

Switches of tests (`TEST_SOAK_REQUESTS` and others) do not begin with RENGA_: programs that tests start inherit them,
which refuse what is no setting.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from renga.testing.servers.scripted_upstream import echo_upstream

# The same examples in every run, so that a change is judged by what it changed: TEST_RANDOM=1 draws others, to look for
# what nobody thought of. The first draw of a fresh checkout builds hypothesis' tables of Unicode, perhaps on a busy
# machine: slow is not wrong.
settings.register_profile(
    "renga",
    deadline=None,
    derandomize="TEST_RANDOM" not in os.environ,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("renga")

HERE = Path(__file__).parent
LONGEST_FIRST = ("soak", "serving", "engine", "cli", "providers", "training", "evals", "meter", "store")
"""Folders that start programs. What is long and begins last would be waited for with the other cores idle."""


def pytest_xdist_auto_num_workers() -> int:
    """Half as many again as there are cores: a good part of the time is spent on waiting for other programs."""
    return len(os.sched_getaffinity(0)) * 3 // 2 if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files are handed out in the order in which they stand here (`--no-loadscope-reorder`)."""

    def place(item: pytest.Item) -> int:
        folder = item.path.relative_to(HERE).parts[0]
        return LONGEST_FIRST.index(folder) if folder in LONGEST_FIRST else len(LONGEST_FIRST)

    items.sort(key=place)


@pytest.fixture(scope="session")
def echo_url() -> Generator[str]:
    """An upstream that answers anything with `token` a hundred times; one serves every file that a worker runs."""
    with echo_upstream() as url:
        yield url
