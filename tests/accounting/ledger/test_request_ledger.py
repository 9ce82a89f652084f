"""The ledger: every lease once, every row kept, every sum true."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.accounting.conftest import PRICED, DatabaseDouble, make_outcome, make_request_of

from renga.accounting.ledger.journal import Journal
from renga.accounting.ledger.lease import RequestOutcome
from renga.accounting.ledger.request_ledger import LeaseSettledTwice, Ledger
from renga.accounting.ledger.spool import Spool
from renga.accounting.pricing.price_book import PriceBook
from renga.config import PriceSettings
from renga.domain.ledger import LedgerRow
from renga.domain.reasons import Reason
from renga.domain.usage_reports import UsageQuery
from renga.metrics.request_metrics import RequestMetrics
from renga.protocols.messages.events.event_types import CacheCreation, OutputTokensDetails, Usage
from renga.protocols.messages.inference_request import Caller
from renga.store.database import Database
from renga.store.errors import DatabaseAway
from renga.testing.fake_clock import ToldClock
from renga.testing.metering import make_request
from renga.testing.suites.store_suite import make_row

SMALL = Usage(input_tokens=100, output_tokens=20)


def as_database(double: DatabaseDouble) -> Database:
    """Of a database, the ledger asks for `ledger.write_rows` alone."""
    return cast("Database", double)


def settle(ledger: Ledger, request_id: str, model: str = "haiku") -> int | None:
    return ledger.settle(ledger.reserve(make_request_of(request_id, model=model)), make_outcome(SMALL))


def test_a_row_says_what_happened(ledger: Ledger, clock: ToldClock, database: Database) -> None:
    usage = Usage(10, 30, 40, CacheCreation(10, 20), 50, OutputTokensDetails(5))
    lease = ledger.reserve(make_request_of("req_whole"))
    clock.advance(1.5)
    cost = ledger.settle(lease, make_outcome(usage))
    ledger.run(database)
    row = next(row for row in database.ledger.read_rows() if row.request_id == "req_whole")
    assert row.time_us == int(clock.now().timestamp() * 1_000_000)
    assert (row.input_tokens, row.cache_creation_5m_tokens, row.cache_creation_1h_tokens) == (10, 10, 20)
    assert (row.cache_read_tokens, row.output_tokens, row.thinking_tokens) == (40, 50, 5)
    assert row.cost_nano_usd == cost == 10_000 + 12_500 + 40_000 + 4_000 + 250_000
    assert row.price_source == "renga.toml"
    assert (row.status, row.target, row.tier, row.why) == ("succeeded", PRICED, "haiku", "tier:haiku")
    assert (row.overhead_us, row.first_event_us, row.total_us) == (120, 2000, 9000)
    assert (row.streamed, row.mean_logprob, row.surface) == (True, -0.25, "messages")
    assert [(attempt.target, attempt.error_type) for attempt in row.attempts] == [(PRICED, None)]


def test_every_value_of_a_row_stands_under_its_name(ledger: Ledger, database: Database) -> None:
    """The ledger makes rows by the order of their fields."""
    outcome = RequestOutcome(
        status="succeeded",
        target=PRICED,
        tier="opus",
        reasons=(Reason("up", "cost"), Reason("kept")),
        attempts=(),
        usage=SMALL,
        stop_reason="end_turn",
        error_type="api_error",
        overhead_us=1,
        first_event_us=2,
        total_us=3,
        mean_logprob=-0.5,
        policy="auto",
        triage_score=0.25,
        confidence=0.75,
        kept=False,
        escalated_because="structural:not_empty",
        message_id="msg_1",
    )
    caller = Caller("key_names", "wrkspc_names")
    request = make_request("req_names", caller, model="haiku", max_tokens=1, stream=True)
    ledger.settle(ledger.reserve(request), outcome)
    ledger.run(database)
    row = next(row for row in database.ledger.read_rows() if row.request_id == "req_names")
    assert (row.requested_model, row.streamed, row.why) == ("haiku", True, "up:cost;kept")
    for source in (outcome, request, caller):
        names = set(source.__struct_fields__) & set(row.__struct_fields__) - {"check_cost_nano_usd", "service_tier"}
        assert {name: getattr(row, name) for name in names} == {name: getattr(source, name) for name in names}


def test_a_lease_is_settled_once(ledger: Ledger) -> None:
    first, second = ledger.reserve(make_request_of("req_1")), ledger.reserve(make_request_of("req_1"))
    assert ledger.open_leases == 2
    ledger.settle(first, make_outcome(SMALL))
    assert ledger.open_leases == 1
    with pytest.raises(LeaseSettledTwice, match="req_1"):
        ledger.settle(first, make_outcome(SMALL))
    assert ledger.queued_rows == 1
    ledger.settle(second, make_outcome(SMALL))
    assert ledger.open_leases == 0


@pytest.mark.parametrize(
    ("target", "status", "usage", "cost"),
    [
        (PRICED, "succeeded", SMALL, 200_000),
        (PRICED, "canceled", SMALL, 200_000),
        (PRICED, "failed", None, 0),
        (PRICED, "canceled", None, None),
        (PRICED, "partial", None, None),
        ("local/hokku", "canceled", None, 0),
        ("local/hokku", "succeeded", SMALL, 0),
        ("vllm/unknown", "succeeded", SMALL, None),
        ("vllm/unknown", "failed", None, 0),
        (None, "failed", None, 0),
    ],
)
def test_cost_is_known_free_or_unknown(
    ledger: Ledger, target: str | None, status: str, usage: Usage | None, cost: int | None
) -> None:
    assert ledger.settle(ledger.reserve(make_request_of("req_1")), make_outcome(usage, target, status)) == cost


def test_rows_wait_in_memory_where_there_is_no_spool(clock: ToldClock) -> None:
    ledger = Ledger(PriceBook({}, {}), RequestMetrics(), clock, queue_rows=100, spool=None)
    double = DatabaseDouble()
    double.away = True
    for number in range(10):
        settle(ledger, f"req_{number}")
    with pytest.raises(DatabaseAway):
        ledger.run(as_database(double))
    assert ledger.queued_rows == 10
    settle(ledger, "req_10")
    double.away = False
    ledger.run(as_database(double))
    assert [row.request_id for row in double.rows] == [f"req_{number}" for number in range(11)]
    assert ledger.queued_rows == 0


def read_spool(spool: Spool) -> list[LedgerRow]:
    return [row for file in spool.claim() for rows in spool.read(file, 25) for row in rows]


def test_what_the_database_does_not_take_goes_to_disk_and_comes_back(ledger: Ledger, spool: Spool) -> None:
    double = DatabaseDouble()
    double.away = True
    for number in range(60):
        settle(ledger, f"req_{number}")
    with pytest.raises(DatabaseAway):
        ledger.run(as_database(double))
    assert ledger.queued_rows == 0
    assert len(read_spool(spool)) == 60
    settle(ledger, "req_60")
    double.away = False
    ledger.run(as_database(double))
    assert sorted(row.request_id for row in double.rows) == sorted(f"req_{number}" for number in range(61))
    assert read_spool(spool) == []
    assert ledger.lost_rows == 0


def test_what_is_on_disk_is_written_once_and_cleared_when_it_is(ledger: Ledger, spool: Spool) -> None:
    """The database goes away again half-way; a second process writes the same files."""
    double = DatabaseDouble()
    double.away = True
    for number in range(50):
        settle(ledger, f"req_{number}")
        with pytest.raises(DatabaseAway):
            ledger.run(as_database(double))
    assert spool.has_rows()
    files = spool.claim()
    assert len(files) == 1, "nothing is set apart while the database is away"
    double.away = False
    other = Ledger(PriceBook({}, {}), RequestMetrics(), ToldClock(), queue_rows=100, spool=spool)
    for rows in spool.read(files[0], 20):
        double.write_rows(rows)
        break
    other.run(as_database(double))
    ledger.run(as_database(double))
    assert sorted(row.request_id for row in double.rows) == sorted(f"req_{number}" for number in range(50))
    assert not spool.has_rows()


def test_processes_that_share_a_folder_lose_nothing(tmp_path: Path) -> None:
    """Two append while a third sets apart, reads and clears."""
    spool = Spool(tmp_path / "ledger.spool")
    found: list[str] = []

    def append(name: str) -> None:
        mine = Spool(tmp_path / "ledger.spool")
        for number in range(200):
            mine.append([make_row(f"{name}_{number}")])

    def drain() -> None:
        for file in spool.claim():
            found.extend(row.request_id for rows in spool.read(file, 7) for row in rows)
            spool.clear(file)

    threads = [threading.Thread(target=append, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        drain()
    drain()
    assert sorted(found) == sorted(f"{name}_{number}" for name in "ab" for number in range(200))
    assert not spool.has_rows()


def test_a_server_that_ends_without_its_database_leaves_its_rows_to_the_next(
    ledger: Ledger, spool: Spool, clock: ToldClock
) -> None:
    double = DatabaseDouble()
    double.away = True
    settle(ledger, "req_1")
    with pytest.raises(DatabaseAway):
        ledger.run(as_database(double))
    settle(ledger, "req_2")
    ledger.abandon()
    double.away = False
    following = Ledger(PriceBook({}, {}), RequestMetrics(), clock, queue_rows=100, spool=spool)
    following.run(as_database(double))
    assert [row.request_id for row in double.rows] == ["req_1", "req_2"]
    assert double.rows[0].cost_nano_usd == 200_000


def test_what_nobody_can_keep_is_logged_and_counted(clock: ToldClock, caplog: pytest.LogCaptureFixture) -> None:
    ledger = Ledger(PriceBook({}, {}), RequestMetrics(), clock, queue_rows=2, spool=None)
    with caplog.at_level(logging.ERROR):
        for number in range(3):
            settle(ledger, f"req_{number}")
        assert ledger.lost_rows == 1
        assert "req_2" in caplog.text
        ledger.abandon()
    assert ledger.lost_rows == 3
    assert "req_0" in caplog.text
    assert ledger.queued_rows == 0


def test_a_row_the_database_refuses_keeps_no_other_out(ledger: Ledger, caplog: pytest.LogCaptureFixture) -> None:
    double = DatabaseDouble()
    settle(ledger, "req_1")
    settle(ledger, "req_2", model="refused")
    settle(ledger, "req_3")
    with caplog.at_level(logging.ERROR):
        ledger.run(as_database(double))
    assert [row.request_id for row in double.rows] == ["req_1", "req_3"]
    assert ledger.lost_rows == 1
    assert "req_2" in caplog.text
    assert ledger.queued_rows == 0


def test_a_full_or_broken_spool_keeps_rows_in_memory(clock: ToldClock, tmp_path, caplog) -> None:
    spool = Spool(tmp_path / "spool", bytes_max=1000)
    ledger = Ledger(PriceBook({}, {}), RequestMetrics(), clock, queue_rows=100, spool=spool)
    double = DatabaseDouble()
    double.away = True
    for number in range(60):
        settle(ledger, f"req_{number}")
    with caplog.at_level(logging.ERROR), pytest.raises(DatabaseAway):
        ledger.run(as_database(double))
    assert ledger.queued_rows == 60
    assert "limit" in caplog.text
    double.away = False
    ledger.run(as_database(double))
    assert len(double.rows) == 60


def test_what_a_full_disk_did_not_take_is_lost_aloud(
    clock: ToldClock, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(tmp_path, mapped_bytes=0)
    spool = Spool(tmp_path / "spool", bytes_max=1, journal=journal)
    ledger = Ledger(PriceBook({}, {}), RequestMetrics(), clock, queue_rows=100, spool=spool)
    double = DatabaseDouble()
    ledger.opened(as_database(double))
    double.away = True
    settle(ledger, "req_kept")
    monkeypatch.setattr(os, "pwrite", lambda file, data, offset: 0)
    settle(ledger, "req_gone")
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            with pytest.raises(DatabaseAway):
                ledger.run(as_database(double))
        assert caplog.text.count("cannot keep ledger rows on disk") == 1
        ledger.abandon()
    assert ledger.lost_rows == 1
    assert "ledger row lost" in caplog.text
    assert "req_gone" in caplog.text
    assert "req_kept" not in caplog.text


def test_a_half_written_line_of_the_spool_is_skipped(ledger: Ledger, spool: Spool, tmp_path, caplog) -> None:
    settle(ledger, "req_1")
    ledger.abandon()
    with (tmp_path / "data" / "ledger.spool").open("ab") as file:
        file.write(b'{"request_id": "req_2", "time')
    with caplog.at_level(logging.ERROR):
        assert [row.request_id for row in read_spool(spool)] == ["req_1"]
    assert ":2 " in caplog.text


NUMBERS: Iterator[int] = count()
COUNTS = st.integers(0, 2_000_000)
USAGES = st.builds(
    Usage,
    input_tokens=COUNTS,
    cache_creation_input_tokens=st.none() | COUNTS,
    cache_read_input_tokens=st.none() | COUNTS,
    output_tokens=COUNTS,
)
OUTCOMES = st.tuples(
    st.none() | USAGES,
    st.sampled_from([PRICED, "local/hokku", "vllm/unknown", None]),
    st.sampled_from(["succeeded", "partial", "failed", "canceled"]),
    st.booleans(),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(outcomes=st.lists(OUTCOMES, max_size=30))
def test_the_sums_of_the_ledger_are_the_sums_of_what_happened(
    database: Database, clock: ToldClock, outcomes: list[tuple[Usage | None, str | None, str, bool]]
) -> None:
    """Whatever the order of flushes, failures of the database among them."""
    key = f"key_{next(NUMBERS)}"
    prices = PriceBook({}, {PRICED: PriceSettings(input_usd=1.0, output_usd=5.0)})
    ledger = Ledger(prices, RequestMetrics(), clock, queue_rows=100, spool=None)
    away = DatabaseDouble()
    away.away = True
    costs: list[int | None] = []
    for number, (usage, target, status, flush) in enumerate(outcomes):
        lease = ledger.reserve(make_request_of(f"req_{key}_{number}", key))
        costs.append(ledger.settle(lease, make_outcome(usage, target, status)))
        if flush:
            with pytest.raises(DatabaseAway):
                ledger.run(as_database(away))
        elif number % 3 == 0:
            ledger.run(database)
    ledger.run(database)
    rows = database.usage.read(UsageQuery(by=(), key_id=key))
    usages = [usage for usage, *_ in outcomes if usage is not None]
    (row,) = rows
    assert row.requests == len(outcomes)
    assert row.input_tokens == sum(usage.input_tokens for usage in usages)
    assert row.cache_creation_tokens == sum(usage.cache_creation_input_tokens or 0 for usage in usages)
    assert row.cache_read_tokens == sum(usage.cache_read_input_tokens or 0 for usage in usages)
    assert row.output_tokens == sum(usage.output_tokens for usage in usages)
    assert row.cost_nano_usd == sum(cost for cost in costs if cost is not None)
    assert row.unpriced == sum(cost is None for cost in costs)
    assert (ledger.open_leases, ledger.queued_rows, ledger.lost_rows) == (0, 0, 0)
