"""Feedback on a request whose row is on its way, on none, and while the server stops."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from renga.domain.outcomes import Feedback, OutcomeQuery
from renga.errors import NotFound, Overloaded
from renga.routing.outcomes.outcome_book import OutcomeBook
from renga.store.database import Database, open_database
from renga.store.database_handle import DatabaseHandle
from renga.testing.fake_clock import ToldClock
from renga.testing.suites.store_suite import make_row

FEEDBACK = Feedback("key_a", 0.5, None, request_id="req_1")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with open_database(f"sqlite:///{tmp_path / 'renga.db'}") as opened:
        yield opened


def open_book(database: Database) -> OutcomeBook:
    handle = DatabaseHandle()
    handle.open(database)
    return OutcomeBook(ToldClock(), handle)


async def run_until(book: OutcomeBook, database: Database, asked: asyncio.Task[object]) -> int:
    """Run the store thread's job by hand until the question is answered; how many runs that took."""
    runs = 0
    while not asked.done():
        if book.waiting:
            await asyncio.to_thread(book.run, database)
            runs += 1
        await asyncio.sleep(0.001)
    return runs


async def test_feedback_is_written_at_once_where_its_row_is_there(database: Database) -> None:
    book = open_book(database)
    database.ledger.write_rows([make_row("req_1")])
    assert (await book.judge(FEEDBACK)).request_id == "req_1"
    assert [row.request_id for row in database.outcomes.read(OutcomeQuery(("feedback",)))] == ["req_1"]


async def test_feedback_waits_for_a_row_that_is_not_written_yet(database: Database) -> None:
    book = open_book(database)
    asked = asyncio.create_task(book.judge(FEEDBACK))
    while not book.waiting:
        await asyncio.sleep(0.001)
    database.ledger.write_rows([make_row("req_1")])
    assert await run_until(book, database, asked) == 2
    assert (await asked).request_id == "req_1"


async def test_feedback_on_nothing_is_refused_after_another_look(database: Database) -> None:
    book = open_book(database)
    asked = asyncio.create_task(book.judge(FEEDBACK))
    assert await run_until(book, database, asked) == 2
    with pytest.raises(NotFound, match="no such request of this key"):
        await asked


async def test_who_waits_when_the_server_stops_is_told(database: Database) -> None:
    book = open_book(database)
    asked = asyncio.create_task(book.judge(FEEDBACK))
    while not book.waiting:
        await asyncio.sleep(0.001)
    book.abandon()
    with pytest.raises(Overloaded, match="The server is stopping"):
        await asked
