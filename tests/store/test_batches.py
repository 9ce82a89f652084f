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
from renga.store.tables.batch_runs import BatchRuns
from renga.store.tables.batches import BatchTable
from renga.testing.suites.store_suite import make_row

OWNER = Owner("key_a")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with open_database(f"sqlite:///{tmp_path / 'renga.db'}") as opened:
        yield opened


@pytest.fixture
def table(database: Database) -> BatchTable:
    return BatchTable(database)


@pytest.fixture
def runs(database: Database) -> BatchRuns:
    return BatchRuns(database)


def make_batch(table: BatchTable, batch_id: str = "msgbatch_1", count: int = 4, created_us: int = 10) -> BatchRow:
    batch = BatchRow(batch_id, OWNER.key_id, None, created_us, created_us + 100, BatchTerms("2023-06-01"))
    table.begin(batch)
    # prefixes in an order of their own: positions 3, 2, 1, 0
    table.add(batch_id, [NewRequest(n, f"c{n}", bytes([count - n]), b"{}") for n in range(count)])
    table.seal(batch_id, count, created_us)
    return batch


def finished(position: int, outcome: RequestOutcome = "succeeded", text: bytes = b"{}", row_id: str = "") -> Finished:
    row = make_row(row_id or f"msgbatch_1-{position}")
    return Finished("msgbatch_1", position, outcome, text, 20, row)


def test_a_batch_that_is_not_sealed_is_seen_by_nobody(table: BatchTable, runs: BatchRuns) -> None:
    batch = BatchRow("msgbatch_1", OWNER.key_id, None, 10, 110, BatchTerms("2023-06-01"))
    table.begin(batch)
    assert table.find(OWNER, "msgbatch_1") is None
    assert runs.open_batches() == []
    table.abandon("msgbatch_1")
    make_batch(table)
    assert [each.batch_id for each in runs.open_batches()] == ["msgbatch_1"]


def test_parts_are_cut_in_the_order_of_prefixes(table: BatchTable, runs: BatchRuns) -> None:
    make_batch(table)
    assert runs.open_positions("msgbatch_1", offset=0, count=3) == [3, 2, 1]
    runs.write_outcomes([finished(2)])
    assert runs.open_positions("msgbatch_1", offset=0, count=3) == [3, 1]
    assert runs.open_positions("msgbatch_1", offset=3, count=3) == [0]
    assert [request.position for request in runs.read_requests("msgbatch_1", [3, 2, 0])] == [3, 0]


def test_an_outcome_is_written_once_and_its_ledger_row_with_it(
    table: BatchTable, runs: BatchRuns, database: Database
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


def test_both_or_neither_is_written(table: BatchTable, runs: BatchRuns, database: Database) -> None:
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


def test_a_batch_ends_when_nothing_is_open(table: BatchTable, runs: BatchRuns) -> None:
    make_batch(table)
    runs.write_outcomes([finished(0), finished(1, "errored")])
    assert not runs.end("msgbatch_1", 50)
    assert runs.has_open("msgbatch_1")
    runs.close("msgbatch_1", "expired", 60)
    assert not runs.has_open("msgbatch_1")
    assert runs.end("msgbatch_1", 60)
    assert not runs.end("msgbatch_1", 70)
    ended = runs.find("msgbatch_1")
    assert ended is not None
    assert (ended.succeeded, ended.errored, ended.canceled, ended.expired, ended.ended_us) == (1, 1, 0, 2, 60)
    assert runs.write_outcomes([finished(2)]) == 0


def test_cancelling_is_noted_once(table: BatchTable) -> None:
    make_batch(table)
    for at_us in (30, 40):
        row = table.cancel(OWNER, "msgbatch_1", at_us)
        assert row is not None
        assert row.cancel_initiated_us == 30


def test_owners_see_their_own_and_their_workspace_s(table: BatchTable, database: Database) -> None:
    make_batch(table)
    shared = BatchRow("msgbatch_2", "key_b", "wrkspc_1", 11, 111, BatchTerms("2023-06-01"))
    table.begin(shared)
    table.seal("msgbatch_2", 0, 11)

    def seen(owner: Owner) -> list[str]:
        return [row.batch_id for row in table.page(owner, PageQuery(10)).rows]

    assert seen(OWNER) == ["msgbatch_1"]
    assert seen(Owner("key_c")) == []
    assert seen(Owner("key_c", "wrkspc_1")) == ["msgbatch_2"]
    assert seen(Owner("key_a", "wrkspc_1")) == ["msgbatch_2", "msgbatch_1"]
    assert table.count_queued(OWNER) == 4
    assert table.count_open() == OpenBatches(2, 4, 110)


def test_old_results_go_and_the_batch_stays_on_the_list(table: BatchTable, runs: BatchRuns) -> None:
    make_batch(table, created_us=10)
    runs.archive(created_before_us=1_000, at_us=2_000)
    found = table.find(OWNER, "msgbatch_1")
    assert found is not None
    assert found.archived_us is None, "one that runs is not archived"
    runs.close("msgbatch_1", "expired", 60)
    runs.end("msgbatch_1", 60)
    runs.archive(created_before_us=10, at_us=2_000)
    runs.archive(created_before_us=11, at_us=3_000)
    found = table.find(OWNER, "msgbatch_1")
    assert found is not None
    assert found.archived_us == 3_000
    assert runs.sweep(0)
    assert not runs.sweep(0)
    assert table.read_results("msgbatch_1", after=-1, limit=9) == []


def test_a_batch_that_never_came_in_whole_is_swept_away(table: BatchTable, runs: BatchRuns, database: Database) -> None:
    table.begin(BatchRow("msgbatch_1", OWNER.key_id, None, 10, 110, BatchTerms("2023-06-01")))
    table.add("msgbatch_1", [NewRequest(0, "c", b"", b"{}")])
    assert not runs.sweep(begun_before_us=10), "it may still be coming in"
    assert runs.sweep(begun_before_us=11)
    assert not runs.sweep(begun_before_us=11)
    with database.reading() as connection:
        assert connection.execute(select(definitions.batches)).all() == []
        assert connection.execute(select(definitions.batch_requests)).all() == []


def test_workers_are_seen_and_buried(runs: BatchRuns) -> None:
    runs.beat("worker-1", 10)
    runs.beat("worker-2", 11)
    runs.beat("worker-1", 12)
    assert runs.read_workers() == {"worker-1": 12, "worker-2": 11}
    runs.bury("worker-1")
    assert runs.read_workers() == {"worker-2": 11}
