"""The one way from the event loop to the database: when work waits, where it runs, and how it fails."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from renga.errors import ApiError
from renga.store import schema
from renga.store.database import Database, open_database
from renga.store.database_handle import DatabaseHandle
from renga.store.errors import DatabaseAway, DatabaseFailed
from renga.store.store_thread import StoreThread


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with open_database(f"sqlite:///{tmp_path / 'renga.db'}") as opened:
        yield opened


async def test_work_that_comes_early_runs_when_the_store_thread_has_opened(tmp_path: Path) -> None:
    may_open, handle = threading.Event(), DatabaseHandle()

    def open_late() -> Database:
        may_open.wait()
        return open_database(f"sqlite:///{tmp_path / 'renga.db'}")

    thread = StoreThread(open_late, [], interval_s=0.01, handle=handle)
    thread.start()
    early = [asyncio.create_task(handle.run(lambda database: database.version())) for _ in range(3)]
    left = asyncio.create_task(handle.wait_open())
    await asyncio.sleep(0)
    assert not any(task.done() for task in early)
    left.cancel()
    may_open.set()
    assert await asyncio.gather(*early) == [schema.HEAD] * 3
    await asyncio.to_thread(thread.stop)


async def test_work_runs_on_other_threads_and_gives_back_what_it_returns(database: Database) -> None:
    handle = DatabaseHandle()
    handle.open(database)
    assert await handle.run(lambda _: threading.get_ident()) != threading.get_ident()
    assert await handle.run(lambda opened: opened is database)


async def test_a_database_that_does_not_open_is_waited_for_no_longer_than_that() -> None:
    handle = DatabaseHandle(open_wait_s=0.01)
    with pytest.raises(ApiError, match=r"^The files cannot be reached\.") as raised:
        await handle.run(lambda database: database.version(), subject="files")
    assert raised.value.retry_after_s == 1.0
    with pytest.raises(DatabaseAway, match="did not open"):
        await handle.run_in_background(lambda database: database.version())


async def test_what_fails_is_told_to_clients_without_its_words_and_to_others_as_it_is(database: Database) -> None:
    def refuse(_: Database) -> None:
        raise DatabaseFailed("the database refused: secret words")

    def break_down(_: Database) -> None:
        raise ValueError("a mistake of ours")

    handle = DatabaseHandle()
    handle.open(database)
    with pytest.raises(ApiError) as raised:
        await handle.run(refuse)
    assert raised.value.message == "The database cannot be reached."
    with pytest.raises(DatabaseFailed, match="secret words"):
        await handle.run_in_background(refuse)
    with pytest.raises(ValueError, match="a mistake of ours"):
        await handle.run(break_down)
