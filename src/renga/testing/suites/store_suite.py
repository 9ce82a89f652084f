"""One conformance suite for every database: subclass `StoreSuite`, give it a `url` fixture, and pytest runs the rest.

Owns: what `store/database.py` promises, as tests. Must never know: which database it runs.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from renga.domain.audit import AuditQuery, Author
from renga.domain.keys import KeyChange, KeyLimits, KeyRow, KeyTerms, Rotation
from renga.domain.ledger import AttemptRow, LedgerRow, RecentQuery, RowQuery
from renga.domain.usage_reports import ReportDimension, ReportQuery, ReportRow, UsageQuery, UsageRow
from renga.domain.workspaces import WorkspaceChange, WorkspaceRow
from renga.store import schema
from renga.store.database import Database, open_database
from renga.store.errors import DatabaseFailed, DatabaseTooNew

_DAY_US = 86_400_000_000


def make_row(request_id: str) -> LedgerRow:
    """A ledger row of a plain request on 2026-11-21; `replace` makes others of it."""
    return LedgerRow(
        request_id=request_id,
        time_us=int(datetime(2026, 11, 21, 12, tzinfo=UTC).timestamp()) * 1_000_000,
        key_id="key_a",
        surface="messages",
        requested_model="claude-haiku-5-5",
        target="local/hokku",
        tier="haiku",
        why="tier:haiku",
        attempts=(AttemptRow("local/hokku", None, 1200),),
        status="succeeded",
        error_type=None,
        stop_reason="end_turn",
        input_tokens=10,
        cache_creation_5m_tokens=1,
        cache_creation_1h_tokens=2,
        cache_read_tokens=3,
        output_tokens=5,
        thinking_tokens=4,
        cost_nano_usd=100,
        price_source="own machine",
        overhead_us=90,
        first_event_us=1100,
        total_us=5000,
        mean_logprob=-0.5,
        streamed=True,
    )


def make_key(number: int, name: str = "laptop") -> KeyRow:
    """A key that differs from others by its number and name."""
    return KeyRow(f"key_{number}", name, bytes([number]) * 32, "abcd", created_us=1000 + number)


class StoreSuite:
    """Subclass it in a test module and give the subclass a `url` fixture: an empty database."""

    @pytest.fixture
    def database(self, url: str) -> Iterator[Database]:
        with open_database(url) as database:
            yield database

    def test_opening_migrates_once_and_then_finds_it_done(self, url: str, database: Database) -> None:
        assert database.version() == schema.HEAD
        with open_database(url) as again:
            assert again.version() == schema.HEAD
            assert again.keys.read() == []

    def test_many_may_open_an_empty_database_at_once(self, url: str) -> None:
        versions: list[str | None] = []

        def open_one() -> None:
            with open_database(url) as database:
                versions.append(database.version())

        threads = [threading.Thread(target=open_one) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert versions == [schema.HEAD] * 4

    def test_a_newer_database_is_refused(self, url: str, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        newest = schema.HEAD
        monkeypatch.setattr(schema, "HEAD", "0000")
        with pytest.raises(DatabaseTooNew, match=newest):
            open_database(url)

    def test_rows_come_back_as_they_went(self, database: Database) -> None:
        nothing_known = replace(
            make_row("req_2"), target=None, tier=None, error_type="api_error", stop_reason=None, attempts=(),
            cost_nano_usd=None, price_source=None, first_event_us=None, mean_logprob=None, streamed=False,
            requested_model="Ω\u2028\"'",
        )  # fmt: skip
        large = replace(make_row("req_3"), cost_nano_usd=9_000_000_000_000_000_000, input_tokens=2**40)
        rows = [make_row("req_1"), nothing_known, large]
        database.ledger.write_rows(rows)
        assert database.ledger.read_rows() == rows
        assert database.ledger.read_rows(after=1, limit=1) == [nothing_known]

    def test_a_row_is_written_once_however_often_it_is_sent(self, database: Database) -> None:
        first = make_row("req_1")
        database.ledger.write_rows([first])
        database.ledger.write_rows([replace(make_row("req_1"), cost_nano_usd=7), make_row("req_2")])
        assert [row.request_id for row in database.ledger.read_rows()] == ["req_1", "req_2"]
        assert database.ledger.read_rows()[0] == first

    def test_a_bad_row_takes_its_batch_with_it(self, database: Database) -> None:
        with pytest.raises(DatabaseFailed):
            database.ledger.write_rows([make_row("req_1"), replace(make_row("req_2"), input_tokens=2**70)])
        assert database.ledger.read_rows() == []

    def test_usage_adds_up_by_group(self, database: Database) -> None:
        start = make_row("req_0").time_us
        database.ledger.write_rows(
            [
                make_row("req_1"),
                replace(make_row("req_2"), time_us=start + _DAY_US, cost_nano_usd=None, status="failed"),
                replace(make_row("req_3"), time_us=start + _DAY_US, cost_nano_usd=50, status="partial"),
                replace(make_row("req_4"), key_id="key_b", target="anthropic/claude-opus-5-5", tier="opus"),
                replace(make_row("req_5"), key_id="key_b", target=None, tier=None, status="canceled", cost_nano_usd=0),
            ]
        )
        by_day = database.usage.read(UsageQuery(by=("day",)))
        assert by_day == [
            UsageRow(("2026-11-21",), 3, 0, 30, 9, 9, 15, 12, 200, 0),
            UsageRow(("2026-11-22",), 2, 2, 20, 6, 6, 10, 8, 50, 1),
        ]
        by_key = database.usage.read(UsageQuery(by=("key", "tier"), until_us=start + 1))
        assert {row.group: (row.requests, row.cost_nano_usd) for row in by_key} == {
            ("key_a", "haiku"): (1, 100),
            ("key_b", None): (1, 0),
            ("key_b", "opus"): (1, 100),
        }
        assert [row.group for row in database.usage.read(UsageQuery(by=("target",), since_us=start + 1))] == [
            ("local/hokku",)
        ]
        (everything,) = database.usage.read(UsageQuery(by=(), key_id="key_a"))
        assert (everything.group, everything.requests, everything.unpriced) == ((), 3, 1)

    def test_usage_of_some_targets_and_workspaces(self, database: Database) -> None:
        database.ledger.write_rows(
            [
                make_row("req_1"),
                replace(make_row("req_2"), target="local/other_model", workspace_id="wrkspc_1", service_tier="batch"),
                replace(make_row("req_3"), target="localhost/hokku", policy="auto"),
                replace(make_row("req_4"), target=None),
            ]
        )

        def count(target: str | None = None, workspace_id: str | None = None) -> int:
            query = UsageQuery(by=(), workspace_id=workspace_id, target=target)
            return sum(row.requests for row in database.usage.read(query))

        assert count("local/*") == 2
        assert count("local/hokku") == 1
        assert count("local/other%") == 0
        assert count(workspace_id="wrkspc_1") == 1
        groups = database.usage.read(UsageQuery(by=("workspace", "policy", "service_tier")))
        assert {(*row.group, row.requests) for row in groups} == {
            (None, None, "standard", 2),
            ("wrkspc_1", None, "batch", 1),
            (None, "auto", "standard", 1),
        }

    def test_reports_add_up_by_slice_and_group(self, database: Database) -> None:
        first = make_row("req_1")
        hour_us = 3_600_000_000
        database.ledger.write_rows(
            [
                first,
                replace(make_row("req_2"), time_us=first.time_us + hour_us - 1, key_id="key_b"),
                replace(make_row("req_3"), time_us=first.time_us + hour_us, cost_nano_usd=None, service_tier="batch"),
                replace(make_row("req_4"), time_us=first.time_us + 2 * hour_us, input_tokens=200_000),
            ]
        )
        query = ReportQuery(first.time_us, first.time_us + 2 * hour_us, hour_us)
        assert database.reports.read(query) == [
            ReportRow(first.time_us, (), 20, 2, 4, 6, 10, 200, 2, 0),
            ReportRow(first.time_us + hour_us, (), 10, 1, 2, 3, 5, 0, 1, 1),
        ]
        by: tuple[ReportDimension, ...] = ("api_key_id", "workspace_id", "model", "service_tier", "context_window")
        wide = ReportQuery(first.time_us - hour_us, first.time_us + 3 * hour_us, hour_us, by)
        assert [(row.start_us - first.time_us, row.group) for row in database.reports.read(wide)] == [
            (0, ("key_a", None, "local/hokku", "standard", "0-200k")),
            (0, ("key_b", None, "local/hokku", "standard", "0-200k")),
            (hour_us, ("key_a", None, "local/hokku", "batch", "0-200k")),
            (2 * hour_us, ("key_a", None, "local/hokku", "standard", "200k-1M")),
        ]
        chosen = database.reports.read(
            ReportQuery(
                first.time_us, first.time_us + hour_us, hour_us,
                filters=(("api_key_id", ("key_b", "key_c")), ("context_window", ("0-200k",))),
            )
        )  # fmt: skip
        assert [row.requests for row in chosen] == [1]

    def test_rows_are_read_page_by_page(self, database: Database) -> None:
        rows = [replace(make_row(f"req_{number}"), time_us=1000 + number) for number in range(5)]
        database.ledger.write_rows(rows)
        first = database.usage.read_rows(RowQuery(2, since_us=1001))
        second = database.usage.read_rows(RowQuery(9, after_row=first[-1].row_number, until_us=1004))
        assert [numbered.row for numbered in (*first, *second)] == rows[1:4]

    def test_the_newest_rows_come_first_and_any_is_found(self, database: Database) -> None:
        rows = [
            replace(make_row(f"req_{number}"), key_id=f"key_{number % 2}", status="succeeded") for number in range(4)
        ]
        rows[2] = replace(rows[2], status="failed", message_id="msg_2")
        database.ledger.write_rows(rows)
        assert database.usage.read_recent(RecentQuery(3)) == rows[:0:-1]
        assert database.usage.read_recent(RecentQuery(9, key_id="key_1")) == [rows[3], rows[1]]
        assert database.usage.read_recent(RecentQuery(9, only_failures=True)) == [rows[2]]
        assert [database.usage.find_row(id_) for id_ in ("req_0", "msg_2", "req_9")] == [rows[0], rows[2], None]

    def test_keys_live_until_they_are_revoked(self, database: Database) -> None:
        database.keys.create(make_key(1))
        database.keys.create(make_key(2, "server"))
        assert database.keys.revoke("key_1", Author("test", 5000))
        assert not database.keys.revoke("key_1", Author("test", 6000))
        assert not database.keys.revoke("key_9", Author("test", 6000))
        first, second = database.keys.read()
        assert (first.key_id, first.revoked_us) == ("key_1", 5000)
        assert second == make_key(2, "server")
        assert [database.keys.find(key_id) for key_id in ("key_1", "key_2", "key_9")] == [first, second, None]

    def test_a_secret_belongs_to_one_key(self, database: Database) -> None:
        database.keys.create(make_key(1))
        with pytest.raises(DatabaseFailed):
            database.keys.create(replace(make_key(1), key_id="key_other"))
        assert len(database.keys.read()) == 1

    def test_a_key_keeps_limits_of_its_own(self, database: Database) -> None:
        limits = KeyLimits(requests_per_minute=60, input_tokens_per_minute=None, budget_nano_usd_per_day=5_000_000_000)
        database.keys.create(replace(make_key(1), limits=limits))
        database.keys.create(make_key(2))
        assert [key.limits for key in database.keys.read()] == [limits, KeyLimits()]
        generation = database.keys.read_generation()
        assert database.keys.change("key_2", KeyChange(limits=limits))
        assert not database.keys.change("key_9", KeyChange(limits=limits))
        assert database.keys.change("key_1", KeyChange(limits=KeyLimits()))
        assert database.keys.read_generation() > generation
        assert [key.limits for key in database.keys.read()] == [KeyLimits(), limits]

    def test_every_change_of_keys_is_a_new_generation(self, database: Database) -> None:
        generations = [database.keys.read_generation()]
        database.keys.create(make_key(1))
        generations.append(database.keys.read_generation())
        database.keys.write_last_used({"key_1": 4000})
        assert database.keys.read_generation() == generations[-1]
        assert database.keys.read()[0].last_used_us == 4000
        database.keys.revoke("key_1", Author("test", 5000))
        generations.append(database.keys.read_generation())
        assert generations == sorted(set(generations))

    def test_a_key_gets_a_new_secret(self, database: Database) -> None:
        database.keys.create(make_key(1))
        rotation = Rotation(b"n" * 32, "wxyz", 9000)
        assert database.keys.rotate("key_1", rotation, Author("cli:eve", 6000))
        assert not database.keys.rotate("key_9", rotation, Author("cli:eve", 6000))
        (row,) = database.keys.read()
        assert row == replace(
            make_key(1), secret_sha256=b"n" * 32, hint="wxyz", previous_sha256=bytes([1]) * 32, previous_until_us=9000
        )

    def test_a_key_may_be_changed_until_it_is_revoked(self, database: Database) -> None:
        database.keys.create(make_key(1))
        terms = KeyTerms(scopes=("messages", "usage"), tiers=("haiku",))
        change = KeyChange(name="new", terms=terms, workspace_id="wrkspc_1", expires_us=7000, disabled_us=6000)
        assert database.keys.change("key_1", change)
        assert database.keys.read() == [
            replace(make_key(1), name="new", terms=terms, workspace_id="wrkspc_1", expires_us=7000, disabled_us=6000)
        ]
        assert database.keys.change("key_1", KeyChange(disabled_us=None, expires_us=None))
        assert database.keys.revoke("key_1", Author("test", 8000))
        assert not database.keys.change("key_1", KeyChange(name="newer"))
        assert (database.keys.read()[0].name, database.keys.read()[0].disabled_us) == ("new", None)

    def test_a_workspace_is_archived_with_its_keys(self, database: Database) -> None:
        inside = replace(make_key(1), workspace_id="wrkspc_1")
        database.workspaces.create(WorkspaceRow("wrkspc_1", "team", 1000))
        with pytest.raises(DatabaseFailed):
            database.workspaces.create(WorkspaceRow("wrkspc_2", "team", 1000))
        database.keys.create(inside)
        database.keys.create(make_key(2))
        generation = database.keys.read_generation()
        limits = KeyLimits(budget_nano_usd_per_month=5)
        assert database.workspaces.change("wrkspc_1", WorkspaceChange(limits=limits))
        assert database.workspaces.read() == [WorkspaceRow("wrkspc_1", "team", 1000, limits=limits)]
        assert database.workspaces.find("wrkspc_1") == WorkspaceRow("wrkspc_1", "team", 1000, limits=limits)
        assert database.workspaces.find("wrkspc_2") is None
        assert database.keys.read_generation() > generation
        assert database.workspaces.archive("wrkspc_1", Author("test", 5000))
        assert not database.workspaces.archive("wrkspc_1", Author("test", 6000))
        assert not database.workspaces.change("wrkspc_1", WorkspaceChange(name="other"))
        assert [key.revoked_us for key in database.keys.read()] == [5000, None]

    def test_every_change_is_in_the_audit_and_no_secret_is(self, database: Database) -> None:
        by = Author("cli:eve", 5000)
        database.workspaces.create(WorkspaceRow("wrkspc_1", "team", 1000), by)
        database.keys.create(make_key(1), by)
        database.keys.change("key_1", KeyChange(limits=KeyLimits(requests_per_minute=7)), by)
        database.keys.rotate("key_1", Rotation(b"n" * 32, "wxyz", 9000), by)
        database.keys.change("key_9", KeyChange(name="nobody"), by)
        database.workspaces.change("wrkspc_1", WorkspaceChange(name="crew"), by)
        database.workspaces.archive("wrkspc_1", by)
        database.keys.revoke("key_1", by)
        with pytest.raises(DatabaseFailed):
            database.keys.create(make_key(1), by)
        database.audit.write(by, "GET /v1/organizations/me", "")
        entries = database.audit.read(AuditQuery())
        assert [entry.action for entry in reversed(entries)] == [
            "workspace.create", "key.create", "key.change", "key.rotate", "workspace.change", "workspace.archive",
            "key.revoke", "GET /v1/organizations/me",
        ]  # fmt: skip
        assert {(entry.actor, entry.time_us) for entry in entries} == {("cli:eve", 5000)}
        change = next(entry for entry in entries if entry.action == "key.change")
        assert (change.subject, change.detail) == ("key_1", {"limits": {"requests_per_minute": 7}})
        assert "sha256" not in repr(entries)
        (newest,) = database.audit.read(AuditQuery(limit=1, subject="key_1"))
        assert newest.action == "key.revoke"
        assert database.audit.read(AuditQuery(before_row=entries[-1].row_number)) == []
        assert database.audit.read(AuditQuery(since_us=5001)) == []
        assert database.audit.read(AuditQuery(actor="system")) == []

    def test_the_first_key_is_made_once(self, database: Database) -> None:
        assert database.keys.create_first(make_key(1))
        assert not database.keys.create_first(make_key(2))
        database.keys.revoke("key_1", Author("test", 5000))
        assert not database.keys.create_first(make_key(3))
        assert [key.key_id for key in database.keys.read()] == ["key_1"]

    def test_a_secret_is_made_once_for_all(self, url: str, database: Database) -> None:
        assert database.secrets.ensure_secret("signature", b"one") == b"one"
        with open_database(url) as other:
            assert other.secrets.ensure_secret("signature", b"two") == b"one"
        assert database.secrets.ensure_secret("another", b"three") == b"three"

    def test_writers_wait_for_each_other(self, url: str) -> None:
        with open_database(url):
            pass

        def write(name: str) -> None:
            with open_database(url) as database:
                for number in range(20):
                    database.ledger.write_rows([make_row(f"req_{name}_{number}")])

        threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with open_database(url) as database:
            assert len(database.ledger.read_rows()) == 80
