"""The store thread: opening late, jobs in turn, trying again, the last run."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from renga.store.database import Database, open_database
from renga.store.errors import DatabaseAway
from renga.store.store_thread import StoreThread
from renga.store.stored_secret import StoredSecret

INTERVAL_S = 0.01
LIMIT_S = 45.0


class Recorder:
    """A job that notes what is asked of it, and fails as often as it is told to."""

    def __init__(self, failures: int = 0, error: type[Exception] = DatabaseAway) -> None:
        self.calls: list[str] = []
        self.failures = failures
        self.error = error
        self.threads: set[int] = set()
        self.succeeded = threading.Event()
        self.failed = threading.Event()

    def opened(self, database: Database) -> None:
        self.calls.append("opened")

    def run(self, database: Database) -> None:
        self.threads.add(threading.get_ident())
        if self.failures > 0:
            self.failures -= 1
            self.calls.append("failed")
            self.failed.set()
            raise self.error("the database is away")
        self.calls.append("run")
        self.succeeded.set()

    def abandon(self) -> None:
        self.calls.append("abandon")


@pytest.fixture
def opening(tmp_path: Path) -> Callable[[], Database]:
    return lambda: open_database(f"sqlite:///{tmp_path / 'renga.db'}")


def test_jobs_run_again_and_again_on_one_thread_and_a_last_time(opening: Callable[[], Database]) -> None:
    jobs = [Recorder(), Recorder()]
    thread = StoreThread(opening, jobs, interval_s=INTERVAL_S)
    thread.start()
    thread.wait_ready(LIMIT_S)
    assert jobs[0].succeeded.wait(LIMIT_S)
    thread.stop()
    thread.stop()
    for job in jobs:
        assert job.calls[0] == "opened"
        assert job.calls[-1] == "run"
        assert "abandon" not in job.calls
    assert jobs[0].threads == jobs[1].threads != {threading.get_ident()}
    assert len(jobs[0].threads) == 1


def test_a_failing_job_runs_again_and_keeps_nobody_from_running(opening: Callable[[], Database]) -> None:
    for error in (DatabaseAway, ValueError):
        failing, other = Recorder(failures=2, error=error), Recorder()
        thread = StoreThread(opening, [failing, other], interval_s=INTERVAL_S)
        thread.start()
        assert failing.succeeded.wait(LIMIT_S)
        thread.stop()
        assert failing.calls[:4] == ["opened", "failed", "failed", "run"]
        assert other.calls.count("run") >= 3


def test_what_cannot_be_written_at_the_end_is_abandoned(opening: Callable[[], Database]) -> None:
    job = Recorder(failures=1_000_000)
    thread = StoreThread(opening, [job], interval_s=INTERVAL_S)
    thread.start()
    assert job.failed.wait(LIMIT_S)
    thread.stop()
    assert job.calls[-2:] == ["failed", "abandon"]


def test_a_database_that_comes_late_is_opened_then(opening: Callable[[], Database]) -> None:
    tries: list[int] = []

    def open_third_time() -> Database:
        tries.append(1)
        if len(tries) < 3:
            raise DatabaseAway("nobody there")
        return opening()

    job = Recorder()
    thread = StoreThread(open_third_time, [job], interval_s=INTERVAL_S)
    thread.start()
    with pytest.raises(DatabaseAway, match="nobody there"):
        thread.wait_ready(LIMIT_S)
    assert job.succeeded.wait(LIMIT_S)
    thread.wait_ready(LIMIT_S)
    thread.stop()
    assert len(tries) == 3


def test_a_database_that_never_comes_ends_in_abandon() -> None:
    def refuse() -> Database:
        raise DatabaseAway("nobody there")

    job = Recorder()
    thread = StoreThread(refuse, [job], interval_s=INTERVAL_S)
    thread.start()
    with pytest.raises(DatabaseAway):
        thread.wait_ready(LIMIT_S)
    thread.stop()
    assert job.calls == ["abandon"]


def test_a_secret_is_the_same_at_every_start(opening: Callable[[], Database]) -> None:
    values: list[bytes] = []
    for name in ("one", "one", "two"):
        secret = StoredSecret(name)
        thread = StoreThread(opening, [secret], interval_s=INTERVAL_S)
        thread.start()
        values.append(secret.value())
        thread.stop()
    assert values[0] == values[1] != values[2]
    assert len(values[0]) == 32
