"""`renga usage`, and `renga usage export` behind it."""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from renga.cli.accounts.export import export
from renga.cli.shell.options import ConfigOption, DataOption, JsonOption, read_config
from renga.cli.shell.times import parse_day

if TYPE_CHECKING:
    from renga.domain.usage_reports import UsageQuery, UsageRow

_COUNTS = (
    "requests",
    "failures",
    "input_tokens",
    "cache_creation_tokens",
    "cache_read_tokens",
    "output_tokens",
    "thinking_tokens",
)


usage = typer.Typer(help="Show requests, tokens and dollars from the ledger, or export its rows.")
usage.command("export")(export)


@usage.callback(invoke_without_command=True)
def show(
    context: typer.Context,
    config: ConfigOption = None,
    data_dir: DataOption = None,
    by: Annotated[
        str,
        typer.Option(
            metavar="LIST",
            help="Group by these, separated by commas: day, key, workspace, tier, target, surface, status, policy, "
            "service_tier.",
        ),
    ] = "day,key,tier,target",
    since: Annotated[
        datetime | None,
        typer.Option(parser=parse_day, metavar="DAY", help="First day, in UTC; 30 days ago if absent."),
    ] = None,
    until: Annotated[
        datetime | None, typer.Option(parser=parse_day, metavar="DAY", help="First day left out; none if absent.")
    ] = None,
    as_json: JsonOption = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
) -> None:
    """Show requests, tokens and dollars from the ledger."""
    if context.invoked_subcommand is not None:
        if as_json or as_csv or any(given is not None for given in (config, data_dir, since, until)):
            raise typer.BadParameter(f"write options after `{context.invoked_subcommand}`")
        return
    from renga.cli.shell.database_access import open_configured_database
    from renga.cli.shell.server_connection import COMMAND_KEY_ID

    query = _make_query(by, since, until)
    with open_configured_database(read_config(config, data_dir)) as database:
        rows = database.usage.read(query)
        names = {row.key_id: row.name for row in database.keys.read()} | {COMMAND_KEY_ID: "command line"}
        names |= {row.workspace_id: row.name for row in database.workspaces.read()}
    if as_json:
        from renga.cli.shell.table import print_json

        print_json([_to_record(query, row) for row in rows])
    elif as_csv:
        _print_csv(query, rows)
    elif rows:
        _print_rows(query, rows, names)
    else:
        print("No requests in that time.")


def _make_query(by: str, since: datetime | None, until: datetime | None) -> UsageQuery:
    """Raises: BadParameter if it cannot be grouped like that."""
    from renga.domain.usage_reports import DIMENSIONS, UsageQuery

    wanted = [name.strip() for name in by.split(",") if name.strip()]
    for name in wanted:
        if name not in DIMENSIONS:
            raise typer.BadParameter(f"cannot group by {name!r}; there are {', '.join(DIMENSIONS)}", param_hint="--by")
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return UsageQuery(
        by=tuple(dimension for name in wanted for dimension in DIMENSIONS if dimension == name),
        since_us=_to_us(since or today - timedelta(days=30)),
        until_us=None if until is None else _to_us(until),
    )


def _to_us(day: datetime) -> int:
    return int(day.replace(tzinfo=UTC).timestamp()) * 1_000_000


def _to_record(query: UsageQuery, row: UsageRow) -> dict[str, object]:
    """Money as a decimal string: a JSON number would become a float in most readers."""
    record: dict[str, object] = dict(zip(query.by, row.group, strict=True))
    record.update({name: getattr(row, name) for name in _COUNTS})
    record["cost_usd"] = render_exact_usd(row.cost_nano_usd)
    record["unpriced_requests"] = row.unpriced
    return record


def _print_csv(query: UsageQuery, rows: Sequence[UsageRow]) -> None:
    writer = csv.writer(sys.stdout)
    writer.writerow([*query.by, *_COUNTS, "cost_usd", "unpriced_requests"])
    for row in rows:
        writer.writerow(["" if value is None else value for value in _to_record(query, row).values()])


def _print_rows(query: UsageQuery, rows: Sequence[UsageRow], names: dict[str, str]) -> None:
    from renga.cli.shell.table import Column, print_table

    def render_group(name: str, value: str | None) -> str:
        return names.get(value or "", value or "-") if name in ("key", "workspace") else value or "-"

    headings = ("requests", "failed", "input", "cache write", "cache read", "output", "thinking")
    columns = [*(Column(name) for name in query.by), *(Column(name, is_number=True) for name in headings)]
    body = [
        [
            *(render_group(name, value) for name, value in zip(query.by, row.group, strict=True)),
            *(f"{getattr(row, name):,}" for name in _COUNTS),
            render_usd(row.cost_nano_usd, row.unpriced, row.requests),
        ]
        for row in rows
    ]
    sums = [sum(getattr(row, name) for row in rows) for name in _COUNTS]
    cost, unpriced = sum(row.cost_nano_usd for row in rows), sum(row.unpriced for row in rows)
    footer = ["total", *("" for _ in query.by[1:]), *(f"{number:,}" for number in sums)]
    if not query.by:
        footer = footer[1:]
    print_table([*columns, Column("cost", is_number=True)], body, [*footer, render_usd(cost, unpriced, sums[0])])
    if unpriced:
        print(f"\nRequests without a known price: {unpriced:,}. [prices] in renga.toml sets prices for the next ones.")


def render_usd(cost_nano_usd: int, unpriced: int, requests: int) -> str:
    """Dollars for people; a `?` where part or all of it is not known."""
    if unpriced and unpriced == requests:
        return "?"
    return f"${cost_nano_usd / 1_000_000_000:,.6f}" + (" + ?" if unpriced else "")


def render_exact_usd(cost_nano_usd: int) -> str:
    """Dollars to the last nano: `0.0225`."""
    whole, nano = divmod(cost_nano_usd, 1_000_000_000)
    return f"{whole}.{nano:09d}".rstrip("0").rstrip(".")
