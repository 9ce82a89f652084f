"""Who is dead: at once where the kernel tells, after a while where only silence does."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from renga.services.durable.heartbeat import DEAD_AFTER_S, Heartbeat
from renga.store.database import open_database
from renga.store.database_handle import DatabaseHandle

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
async def handle(tmp_path: Path) -> AsyncIterator[DatabaseHandle]:
    with open_database(f"sqlite:///{tmp_path / 'renga.db'}") as database:
        made = DatabaseHandle()
        made.open(database)
        yield made


async def test_a_worker_of_this_machine_is_dead_as_soon_as_its_process_is(
    handle: DatabaseHandle, tmp_path: Path
) -> None:
    mine = Heartbeat(handle, tmp_path)
    mine.take_lock()
    await mine.record(0)
    await handle.run(lambda database: database.workers.record_heartbeat("worker-other", 0))
    with locking(tmp_path / "worker-other.lock"):
        long_ago_us = int(2 * DEAD_AFTER_S * 1_000_000)
        assert await mine.find_dead(long_ago_us) == [], "it may be slow, and still it lives"
    assert await mine.find_dead(1) == ["worker-other"]
    await mine.reap("worker-other")
    assert await mine.find_dead(1) == []
    await mine.sign_off()
    assert locks(tmp_path) == []
    assert await handle.run(lambda database: database.workers.read_heartbeats()) == {}


async def test_a_worker_elsewhere_is_dead_when_it_is_silent(handle: DatabaseHandle, tmp_path: Path) -> None:
    mine = Heartbeat(handle, tmp_path)
    await handle.run(lambda database: database.workers.record_heartbeat("worker-elsewhere", 0))
    patience_us = int(DEAD_AFTER_S * 1_000_000)
    assert await mine.find_dead(patience_us) == []
    assert await mine.find_dead(patience_us + 1) == ["worker-elsewhere"]


async def test_a_start_that_failed_further_on_begins_again(handle: DatabaseHandle, tmp_path: Path) -> None:
    mine = Heartbeat(handle, tmp_path / "workers")
    mine.take_lock()
    mine.take_lock()
    assert len(locks(tmp_path / "workers")) == 1
    await mine.sign_off()
    assert locks(tmp_path / "workers") == []
