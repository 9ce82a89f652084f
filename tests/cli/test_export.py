"""`renga usage export`: every row once, columns that stay, bounded memory; and what `renga usage` groups by."""

from __future__ import annotations

import csv
import io
import re
import sys
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace
from tests.cli.conftest import Shell

from renga.cli.accounts import export
from renga.domain.ledger import LedgerRow, RowQuery
from renga.domain.workspaces import WorkspaceRow
from renga.store.database import open_database
from renga.testing.suites.store_suite import make_row

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "usage.md"
ROWS = [
    replace(make_row(f"req_{number}"), time_us=make_row("x").time_us + number, cost_nano_usd=10**18 + number)
    for number in range(7)
]
NOTHING = replace(
    make_row("req_nothing"), target=None, tier=None, cost_nano_usd=None, mean_logprob=None, streamed=False,
    requested_model='comma, "quote" and\nline', workspace_id="wrkspc_1", service_tier="batch", policy="auto",
    attempts=(),
)  # fmt: skip


def fill(shell: Shell) -> None:
    with open_database(shell.database_url) as database:
        database.workspaces.create(WorkspaceRow("wrkspc_1", "poets", 1000))
        database.ledger.write_rows([*ROWS, NOTHING])


def test_csv_has_every_row_once(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(shell)
    monkeypatch.setattr(export, "_CHUNK_ROWS", 3)
    done = shell.call("usage", "export")
    assert done.code == 0
    rows = list(csv.DictReader(io.StringIO(done.out)))
    assert list(rows[0]) == [column.name for column in export.COLUMNS]
    assert [row["request_id"] for row in rows] == [row.request_id for row in (*ROWS, NOTHING)]
    assert rows[1]["time"] == "2026-11-21T12:00:00.000001+00:00"
    assert rows[1]["cost_nano_usd"] == str(10**18 + 1)
    assert msgspec.json.decode(rows[0]["attempts"])[0]["target"] == "local/hokku"
    last = rows[-1]
    assert (last["requested_model"], last["cost_nano_usd"], last["streamed"]) == (NOTHING.requested_model, "", "false")
    assert "8 rows" in done.err


def test_a_time_is_chosen_by_days(shell: Shell, tmp_path: Path) -> None:
    fill(shell)
    file = tmp_path / "usage.csv"
    assert shell.call("usage", "export", "--until", "2026-11-21", "--output", str(file)).code == 0
    assert len(file.read_text().splitlines()) == 1
    assert shell.call("usage", "export", "--since", "2026-11-21", "-o", str(file)).code == 0
    assert len(list(csv.DictReader(io.StringIO(file.read_text())))) == 8


def test_parquet_says_the_same(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    fill(shell)
    monkeypatch.setattr(export, "_CHUNK_ROWS", 3)
    file = tmp_path / "usage.parquet"
    assert shell.call("usage", "export", "--format", "parquet", "--output", str(file)).code == 0
    table = parquet.ParquetFile(file)
    assert table.metadata.num_row_groups == 3
    rows = table.read().to_pylist()
    assert [row["cost_nano_usd"] for row in rows] == [row.cost_nano_usd for row in (*ROWS, NOTHING)]
    assert rows[0]["time"] == datetime(2026, 11, 21, 12, tzinfo=UTC)
    assert (rows[-1]["streamed"], rows[-1]["target"], rows[-1]["mean_logprob"]) == (False, None, None)
    assert table.schema_arrow.names == [column.name for column in export.COLUMNS]


def test_without_pyarrow_it_says_what_to_do(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    refused = shell.call("usage", "export", "--format", "parquet", "--output", str(tmp_path / "x.parquet"))
    assert refused.code == 1
    assert "scripts/install parquet" in refused.err
    assert shell.call("usage", "export", "--format", "parquet").code == 2


def test_the_columns_are_the_guides_and_the_ledgers() -> None:
    written = re.findall(r"^\| `(\w+)` \| (\w+) \|", GUIDE.read_text(), flags=re.MULTILINE)
    assert written == [(column.name, column.kind) for column in export.COLUMNS]
    assert {column.name for column in export.COLUMNS} - {"time"} == set(LedgerRow.__struct_fields__) - {"time_us"}


def test_pages_follow_each_other_by_number(shell: Shell) -> None:
    fill(shell)
    with open_database(shell.database_url) as database:
        first = database.usage.read_rows(RowQuery(5))
        second = database.usage.read_rows(RowQuery(5, after_row=first[-1].row_number))
        assert [len(first), len(second)] == [5, 3]
        assert database.usage.read_rows(RowQuery(5, after_row=second[-1].row_number)) == []
        assert [numbered.row for numbered in (*first, *second)] == [*ROWS, NOTHING]


def test_usage_by_workspace_policy_and_service_tier(shell: Shell) -> None:
    fill(shell)
    by = ("--since", "2026-11-01", "--by", "workspace,policy,service_tier")
    rows = msgspec.json.decode(shell.call("usage", *by, "--json").out)
    assert [(row["workspace"], row["policy"], row["service_tier"], row["requests"]) for row in rows] == [
        (None, None, "standard", 7),
        ("wrkspc_1", "auto", "batch", 1),
    ]
    assert "poets" in shell.call("usage", *by).out


def test_options_belong_behind_export(shell: Shell) -> None:
    refused = shell.call("usage", "--since", "2026-11-01", "export")
    assert refused.code == 2
    assert "after `export`" in refused.err
