"""`renga usage export`: the ledger's rows as CSV or Parquet.

Owns: the columns. Must never know: sums.
Invariants: the columns and their order are stable, new ones come at the end; at most `_CHUNK_ROWS` rows are in memory.
"""

from __future__ import annotations

import csv
import importlib
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer
from msgspec import Struct

from renga.cli.shell.options import ConfigOption, DataOption, read_config
from renga.cli.shell.times import parse_day
from renga.errors import ConfigError

if TYPE_CHECKING:
    from renga.domain.ledger import LedgerRow
    from renga.store.database import Database

_CHUNK_ROWS = 5_000
"""About 10 MB. Also the rows of a Parquet file's row group."""


class ExportFormat(StrEnum):
    """What a file of rows may be."""

    CSV = "csv"
    PARQUET = "parquet"


class ExportColumn(Struct, frozen=True):
    """One column of the export, with its type and its meaning."""

    name: str
    kind: str
    """`string`, `int64`, `float64`, `bool` or `timestamp`, as Parquet has it."""
    help: str


COLUMNS: tuple[ExportColumn, ...] = (
    ExportColumn("time", "timestamp", "when the request was settled, UTC, to the microsecond"),
    ExportColumn("request_id", "string", "the id that the client was told"),
    ExportColumn("message_id", "string", "the id of the answer"),
    ExportColumn("key_id", "string", "the key"),
    ExportColumn("workspace_id", "string", "the key's workspace at that time"),
    ExportColumn("surface", "string", "where it entered: `messages`, `batches`, ..."),
    ExportColumn("requested_model", "string", "what the client asked for"),
    ExportColumn("target", "string", "who answered"),
    ExportColumn("tier", "string", "of the target"),
    ExportColumn("policy", "string", "the routing policy that decided"),
    ExportColumn("service_tier", "string", "`batch` at half price, else empty"),
    ExportColumn("status", "string", "`succeeded`, `partial`, `failed` or `canceled`"),
    ExportColumn("error_type", "string", "where it failed"),
    ExportColumn("stop_reason", "string", "why the answer ended"),
    ExportColumn("streamed", "bool", "whether the answer was a stream"),
    ExportColumn("input_tokens", "int64", "uncached; the four input classes are disjoint"),
    ExportColumn("cache_creation_5m_tokens", "int64", "written to the cache for 5 minutes"),
    ExportColumn("cache_creation_1h_tokens", "int64", "written to the cache for 1 hour"),
    ExportColumn("cache_read_tokens", "int64", "read from the cache"),
    ExportColumn("output_tokens", "int64", "thinking included"),
    ExportColumn("thinking_tokens", "int64", "part of the output"),
    ExportColumn("cost_nano_usd", "int64", "billionths of a dollar; empty: the price is not known"),
    ExportColumn("check_cost_nano_usd", "int64", "part of the cost: answers that were not sent, and judgements"),
    ExportColumn("price_source", "string", "where the price is from, and which discount was taken off"),
    ExportColumn("overhead_us", "int64", "time in Renga itself before the target was asked"),
    ExportColumn("first_event_us", "int64", "time to the first event"),
    ExportColumn("total_us", "int64", "time to the end"),
    ExportColumn("mean_logprob", "float64", "of the local model's answer"),
    ExportColumn("triage_score", "float64", "how hard triage thought the prompt"),
    ExportColumn("confidence", "float64", "that the small tier's answer was good enough"),
    ExportColumn("kept", "bool", "whether the small tier's answer was sent; empty: no policy decided"),
    ExportColumn("escalated_because", "string", "why it was not"),
    ExportColumn("why", "string", "the plan and what became of it"),
    ExportColumn("attempts", "string", "every attempt, as JSON"),
)
"""The stable columns. docs/guides/usage.md has the same list, and a test compares the two."""

WriteRows: TypeAlias = Callable[[Sequence[Sequence[object]]], None]


def export(
    format: Annotated[ExportFormat, typer.Option("--format", help="What to write.")] = ExportFormat.CSV,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where to; stdout for CSV if absent.")
    ] = None,
    since: Annotated[
        datetime | None, typer.Option(parser=parse_day, metavar="DAY", help="First day, in UTC; all if absent.")
    ] = None,
    until: Annotated[
        datetime | None, typer.Option(parser=parse_day, metavar="DAY", help="First day left out; none if absent.")
    ] = None,
    config: ConfigOption = None,
    data_dir: DataOption = None,
) -> None:
    """Write every request of the ledger, one row each, as CSV or Parquet. Columns: docs/guides/usage.md."""
    from renga.cli.shell.database_access import open_configured_database
    from renga.domain.ledger import RowQuery

    query = RowQuery(_CHUNK_ROWS, since_us=_to_us(since), until_us=_to_us(until))
    opened = _open_csv(output) if format is ExportFormat.CSV else _open_parquet(output)
    count = 0
    with open_configured_database(read_config(config, data_dir)) as database, opened as write:
        for rows in _read_chunks(database, query):
            write([render_row(row) for row in rows])
            count += len(rows)
    rows_ = "1 row" if count == 1 else f"{count:,} rows"
    print(f"{rows_} in {output}" if output else rows_, file=sys.stderr)


def render_row(row: LedgerRow) -> list[object]:
    """A ledger row's values, in the order of `COLUMNS`."""
    import msgspec

    from renga.clock import to_datetime

    values: dict[str, object] = msgspec.structs.asdict(row)
    values["time"] = to_datetime(row.time_us)
    values["attempts"] = msgspec.json.encode(row.attempts).decode()
    return [values[column.name] for column in COLUMNS]


def _read_chunks(database: Database, query: Any) -> Iterator[list[LedgerRow]]:
    from msgspec.structs import replace

    while True:
        page = database.usage.read_rows(query)
        if not page:
            return
        yield [numbered.row for numbered in page]
        query = replace(query, after_row=page[-1].row_number)


@contextmanager
def _open_csv(out: Path | None) -> Generator[WriteRows]:
    """Times as 2026-11-21T12:00:00.000000+00:00, nothing for nothing, true and false."""

    def render(value: object) -> object:
        if isinstance(value, datetime):
            return value.isoformat(timespec="microseconds")
        return str(value).lower() if isinstance(value, bool) else value

    def write_to(file: Any) -> WriteRows:
        writer = csv.writer(file)
        writer.writerow([column.name for column in COLUMNS])

        def write(rows: Iterable[Sequence[object]]) -> None:
            writer.writerows([render(value) for value in row] for row in rows)

        return write

    if out is None:
        yield write_to(sys.stdout)
        return
    with out.open("w", newline="", encoding="utf-8") as file:
        yield write_to(file)


@contextmanager
def _open_parquet(out: Path | None) -> Generator[WriteRows]:
    """Raises: ConfigError where pyarrow is not installed, BadParameter without a file."""
    if out is None:
        raise typer.BadParameter("Parquet needs a file: --output usage.parquet", param_hint="--output")
    try:
        arrow: Any = importlib.import_module("pyarrow")
        parquet: Any = importlib.import_module("pyarrow.parquet")
    except ModuleNotFoundError as error:
        raise ConfigError(
            "Parquet needs pyarrow, which is not installed",
            hint="scripts/install parquet, or write CSV: --format csv",
        ) from error
    kinds = {"timestamp": arrow.timestamp("us", tz="UTC"), "bool": arrow.bool_()}
    schema = arrow.schema(
        [(column.name, kinds.get(column.kind) or arrow.type_for_alias(column.kind)) for column in COLUMNS]
    )
    with parquet.ParquetWriter(out, schema) as writer:

        def write(rows: Sequence[Sequence[object]]) -> None:
            columns = [
                arrow.array(values, kind) for values, kind in zip(zip(*rows, strict=True), schema.types, strict=True)
            ]
            writer.write_table(arrow.Table.from_arrays(columns, schema=schema))

        yield write


def _to_us(day: datetime | None) -> int | None:
    return None if day is None else int(day.replace(tzinfo=UTC).timestamp()) * 1_000_000
