"""Outcomes are written once and together with their ledger rows; batches end, age and are swept away."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import event, select

from renga.domain.batches import BatchRow, BatchTerms, Finished, NewRequest, OpenBatches, PageQuery, RequestOutcome
from renga.domain.owners import Owner
from renga.store.database import Database, open_database
from renga.store.errors import DatabaseFailed
from renga.store.tables import definitions
from renga.store.tables.batch_runs import BatchRunTable
from renga.store.tables.batches import BatchTable
from renga.testing.suites.store_suite import make_row

OWNER = Owner("key_a")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with open_database(f"sqlite:///{tmp_path / 'renga.db'}") as opened:
        yield opened


@pytest.fixture
def table(database: Database) -> BatchTable:
    return database.batches


@pytest.fixture
def runs(database: Database) -> BatchRunTable:
    return database.batch_runs


def make_batch(table: BatchTable, batch_id: str = "msgbatch_1", count: int = 4, created_us: int = 10) -> BatchRow:
    batch = BatchRow(batch_id, OWNER.key_id, None, created_us, created_us + 100, BatchTerms("2023-06-01"))
    table.create_batch(batch)
    # prefixes in an order of their own: positions 3, 2, 1, 0
    table.add_requests(batch_id, [NewRequest(n, f"c{n}", bytes([count - n]), b"{}") for n in range(count)])
    table.seal_batch(batch_id, count, created_us)
    return batch


def finished(position: int, outcome: RequestOutcome = "succeeded", text: bytes = b"{}", row_id: str = "") -> Finished:
    row = make_row(row_id or f"msgbatch_1-{position}")
    return Finished("msgbatch_1", position, outcome, text, 20, row)


def test_a_batch_that_is_not_sealed_is_seen_by_nobody(table: BatchTable, runs: BatchRunTable) -> None:
    batch = BatchRow("msgbatch_1", OWNER.key_id, None, 10, 110, BatchTerms("2023-06-01"))
    table.create_batch(batch)
    assert table.find_batch(OWNER, "msgbatch_1") is None
    assert runs.read_open_batches() == []
    table.abandon_batch("msgbatch_1")
    make_batch(table)
    assert [each.batch_id for each in runs.read_open_batches()] == ["msgbatch_1"]


def test_parts_are_cut_in_the_order_of_prefixes(table: BatchTable, runs: BatchRunTable) -> None:
    make_batch(table)
    assert runs.read_open_positions("msgbatch_1", offset=0, count=3) == [3, 2, 1]
    runs.write_outcomes([finished(2)])
    assert runs.read_open_positions("msgbatch_1", offset=0, count=3) == [3, 1]
    assert runs.read_open_positions("msgbatch_1", offset=3, count=3) == [0]
    assert [request.position for request in runs.read_requests("msgbatch_1", [3, 2, 0])] == [3, 0]


def test_an_outcome_is_written_once_and_its_ledger_row_with_it(
    table: BatchTable, runs: BatchRunTable, database: Database
) -> None:
    make_batch(table)
    assert runs.write_outcomes([finished(0, text=b'"first"', row_id="try-1")]) == 1
    assert runs.write_outcomes([finished(0, text=b'"second"', row_id="try-2"), finished(1)]) == 1
    assert [(each.position, each.result) for each in table.read_results("msgbatch_1", after=-1, limit=9)] == [
        (0, b'"first"'),
        (1, b"{}"),
    ]
    assert [row.request_id for row in database.ledger.read_rows()] == ["try-1", "msgbatch_1-1"]
    with database.reading() as connection:
        query = select(definitions.batch_requests.c.params).order_by(definitions.batch_requests.c.position)
        assert [bytes(row.params) for row in connection.execute(query)] == [b"", b"", b"{}", b"{}"]


def test_both_or_neither_is_written(table: BatchTable, runs: BatchRunTable, database: Database) -> None:
    make_batch(table)

    def fail(*arguments: object) -> None:
        if "INSERT INTO ledger" in str(arguments[2]):
            raise UnicodeError("refused")

    engine = database._engine  # pyright: ignore[reportPrivateUsage]
    event.listen(engine, "before_cursor_execute", fail)
    with pytest.raises(DatabaseFailed):
        runs.write_outcomes([finished(0)])
    event.remove(engine, "before_cursor_execute", fail)
    assert table.read_results("msgbatch_1", after=-1, limit=9) == []
    assert database.ledger.read_rows() == []
    assert runs.write_outcomes([finished(0)]) == 1


def test_a_batch_ends_when_nothing_is_open(table: BatchTable, runs: BatchRunTable) -> None:
    make_batch(table)
    runs.write_outcomes([finished(0), finished(1, "errored")])
    assert not runs.end_batch("msgbatch_1", 50)
    assert runs.has_open_requests("msgbatch_1")
    runs.close_requests("msgbatch_1", "expired", 60)
    assert not runs.has_open_requests("msgbatch_1")
    assert runs.end_batch("msgbatch_1", 60)
    assert not runs.end_batch("msgbatch_1", 70)
    ended = runs.find_batch("msgbatch_1")
    assert ended is not None
    assert (ended.succeeded, ended.errored, ended.canceled, ended.expired, ended.ended_us) == (1, 1, 0, 2, 60)
    assert runs.write_outcomes([finished(2)]) == 0


def test_cancelling_is_noted_once(table: BatchTable) -> None:
    make_batch(table)
    for at_us in (30, 40):
        row = table.cancel_batch(OWNER, "msgbatch_1", at_us)
        assert row is not None
        assert row.cancel_initiated_us == 30


def test_owners_see_their_own_and_their_workspace_s(table: BatchTable, database: Database) -> None:
    make_batch(table)
    shared = BatchRow("msgbatch_2", "key_b", "wrkspc_1", 11, 111, BatchTerms("2023-06-01"))
    table.create_batch(shared)
    table.seal_batch("msgbatch_2", 0, 11)

    def seen(owner: Owner) -> list[str]:
        return [row.batch_id for row in table.read_page(owner, PageQuery(10)).rows]

    assert seen(OWNER) == ["msgbatch_1"]
    assert seen(Owner("key_c")) == []
    assert seen(Owner("key_c", "wrkspc_1")) == ["msgbatch_2"]
    assert seen(Owner("key_a", "wrkspc_1")) == ["msgbatch_2", "msgbatch_1"]
    assert table.count_queued(OWNER) == 4
    assert table.count_open() == OpenBatches(2, 4, 110)


def test_old_results_go_and_the_batch_stays_on_the_list(table: BatchTable, runs: BatchRunTable) -> None:
    make_batch(table, created_us=10)
    runs.archive_results(created_before_us=1_000, at_us=2_000)
    found = table.find_batch(OWNER, "msgbatch_1")
    assert found is not None
    assert found.archived_us is None, "one that runs is not archived"
    runs.close_requests("msgbatch_1", "expired", 60)
    runs.end_batch("msgbatch_1", 60)
    runs.archive_results(created_before_us=10, at_us=2_000)
    runs.archive_results(created_before_us=11, at_us=3_000)
    found = table.find_batch(OWNER, "msgbatch_1")
    assert found is not None
    assert found.archived_us == 3_000
    assert runs.delete_unread_requests(0)
    assert not runs.delete_unread_requests(0)
    assert table.read_results("msgbatch_1", after=-1, limit=9) == []


def test_a_batch_that_never_came_in_whole_expires(table: BatchTable, runs: BatchRunTable, database: Database) -> None:
    table.create_batch(BatchRow("msgbatch_1", OWNER.key_id, None, 10, 110, BatchTerms("2023-06-01")))
    table.add_requests("msgbatch_1", [NewRequest(0, "c", b"", b"{}")])
    assert not runs.delete_unread_requests(begun_before_us=10), "it may still be coming in"
    assert runs.delete_unread_requests(begun_before_us=11)
    assert not runs.delete_unread_requests(begun_before_us=11)
    with database.reading() as connection:
        assert connection.execute(select(definitions.batches)).all() == []
        assert connection.execute(select(definitions.batch_requests)).all() == []


def test_workers_are_seen_and_reaped(database: Database) -> None:
    workers = database.workers
    workers.record_heartbeat("worker-1", 10)
    workers.record_heartbeat("worker-2", 11)
    workers.record_heartbeat("worker-1", 12)
    assert workers.read_heartbeats() == {"worker-1": 12, "worker-2": 11}
    workers.reap_worker("worker-1")
    assert workers.read_heartbeats() == {"worker-2": 11}
