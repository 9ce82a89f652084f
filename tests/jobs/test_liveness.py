"""Who is dead: at once where the kernel tells, after a while where only silence does."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from renga.jobs.liveness import DEAD_AFTER_S, Liveness
from renga.jobs.storage import BatchStorage
from renga.store.database import open_database

LOCK = """
import fcntl, os, sys
lock = os.open(sys.argv[1], os.O_CREAT | os.O_RDWR)
fcntl.flock(lock, fcntl.LOCK_EX)
print("locked", flush=True)
sys.stdin.read()
"""


@contextmanager
def locking(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that holds a worker's lock."""
    command = [sys.executable, "-c", LOCK, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def locks(folder: Path) -> list[Path]:
    return list(folder.glob("*.lock"))


@pytest.fixture
async def storage(tmp_path: Path) -> AsyncIterator[BatchStorage]:
    with open_database(f"sqlite:///{tmp_path / 'renga.db'}") as database:
        made = BatchStorage()
        made.opened(database)
        yield made


async def test_a_worker_of_this_machine_is_dead_as_soon_as_its_process_is(
    storage: BatchStorage, tmp_path: Path
) -> None:
    mine = Liveness(storage, tmp_path)
    mine.begin()
    await mine.beat(0)
    await storage.runs(lambda runs: runs.beat("worker-other", 0))
    with locking(tmp_path / "worker-other.lock"):
        long_ago_us = int(2 * DEAD_AFTER_S * 1_000_000)
        assert await mine.find_dead(long_ago_us) == [], "it may be slow, and still it lives"
    assert await mine.find_dead(1) == ["worker-other"]
    await mine.bury("worker-other")
    assert await mine.find_dead(1) == []
    await mine.end()
    assert locks(tmp_path) == []
    assert await storage.runs(lambda runs: runs.read_workers()) == {}


async def test_a_worker_elsewhere_is_dead_when_it_is_silent(storage: BatchStorage, tmp_path: Path) -> None:
    mine = Liveness(storage, tmp_path)
    await storage.runs(lambda runs: runs.beat("worker-elsewhere", 0))
    patience_us = int(DEAD_AFTER_S * 1_000_000)
    assert await mine.find_dead(patience_us) == []
    assert await mine.find_dead(patience_us + 1) == ["worker-elsewhere"]


async def test_a_start_that_failed_further_on_begins_again(storage: BatchStorage, tmp_path: Path) -> None:
    life = Liveness(storage, tmp_path / "workers")
    life.begin()
    life.begin()
    assert len(locks(tmp_path / "workers")) == 1
    await life.end()
    assert locks(tmp_path / "workers") == []
