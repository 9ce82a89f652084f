"""`renga requests`: the ledger, request by request."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from renga.cli.shell.options import ConfigOption, DataOption, JsonOption, read_config

if TYPE_CHECKING:
    from renga.domain.ledger import AttemptRow, LedgerRow
    from renga.store.database import Database


def requests(
    id_: Annotated[
        str | None, typer.Argument(metavar="ID", help="One request, by its id or its message's: everything about it.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="How many, the newest.")] = 20,
    key: Annotated[str | None, typer.Option(metavar="KEY", help="Only those of this key, by id or name.")] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Only those that failed or broke off.")] = False,
    config: ConfigOption = None,
    data_dir: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the last requests: who asked, who answered, what it took and why. The newest first.

    What was refused before it was a request (a wrong key, a body that is none) is not among them.
    """
    from renga.cli.shell.database_access import open_configured_database
    from renga.cli.shell.server_connection import COMMAND_KEY_ID
    from renga.domain.ledger import RecentQuery
    from renga.errors import NotFound

    with open_configured_database(read_config(config, data_dir)) as database:
        names = {row.key_id: row.name for row in database.keys.read()} | {COMMAND_KEY_ID: "command line"}
        if id_ is not None:
            row = database.usage.find_row(id_)
            if row is None:
                hint = "a server writes its rows within a second; `renga requests` shows the last"
                raise NotFound(f"no request or message has the id {id_!r}", hint=hint)
            rows = [row]
        else:
            key_id = None if key is None else _find_key_id(database, key)
            rows = database.usage.read_recent(RecentQuery(limit, key_id, failed))
    if as_json:
        from renga.cli.shell.table import print_json

        print_json(rows if id_ is None else rows[0])
    elif id_ is not None:
        _print_one(rows[0], names)
    elif rows:
        _print_rows(rows, names)
    else:
        print("No such requests yet.")


def _find_key_id(database: Database, key: str) -> str:
    """Of a key by id or name, working or not; the newest of several with that name.

    Raises: NotFound.
    """
    from renga.errors import NotFound

    rows = database.keys.read()
    found = [row.key_id for row in rows if row.key_id == key] or [row.key_id for row in rows if row.name == key]
    if not found:
        raise NotFound(f"no key is called {key!r}", hint="`renga keys list` shows them")
    return found[-1]


def _print_rows(rows: list[LedgerRow], names: dict[str, str]) -> None:
    from renga.cli.shell.table import Column, print_table

    numbers = ("input", "output", "cost", "ms")
    words = ("time", "request", "key", "asked for", "answered by", "status")
    columns = [*(Column(name) for name in words), *(Column(name, is_number=True) for name in numbers), Column("why")]
    body = [
        [
            _render_moment(row.time_us),
            row.request_id,
            names.get(row.key_id, row.key_id),
            row.requested_model,
            row.target or "-",
            row.error_type or row.status,
            f"{_prompt_tokens(row):,}",
            f"{row.output_tokens:,}",
            _render_cost(row.cost_nano_usd),
            f"{row.total_us / 1000:,.0f}",
            row.why,
        ]
        for row in rows
    ]
    print_table(columns, body)


def _print_one(row: LedgerRow, names: dict[str, str]) -> None:
    from renga.cli.shell.table import print_lines

    print_lines([(name, value) for name, value in _describe(row, names) if value])


def _describe(row: LedgerRow, names: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Everything that is known, what is not being empty."""
    yield "request", row.request_id
    yield "message", row.message_id or ""
    yield "time", f"{_render_moment(row.time_us)} UTC"
    yield "key", f"{names.get(row.key_id, row.key_id)} ({row.key_id})"
    yield "workspace", row.workspace_id or ""
    kind = "streamed" if row.streamed else "in one piece"
    yield "surface", f"{row.surface}, {row.service_tier or kind}"
    yield "asked for", row.requested_model
    yield "answered by", f"{row.target} ({row.tier})" if row.target and row.tier else row.target or "nobody"
    yield "status", " ".join(filter(None, (row.status, row.error_type, row.stop_reason)))
    yield "why", row.why
    yield "confidence", "" if row.confidence is None else f"{row.confidence:.2f}"
    yield "input", _count_tokens(row.input_tokens)
    written = row.cache_creation_5m_tokens + row.cache_creation_1h_tokens
    yield "cache", f"{row.cache_read_tokens:,} read, {written:,} written" if row.cache_read_tokens or written else ""
    thinking = f", {row.thinking_tokens:,} of them thinking" if row.thinking_tokens else ""
    yield "output", _count_tokens(row.output_tokens) + thinking
    yield "cost", _render_cost(row.cost_nano_usd) + (f" ({row.price_source})" if row.price_source else "")
    first = "" if row.first_event_us is None else f", first event after {row.first_event_us / 1000:,.1f} ms"
    yield "took", f"{row.total_us / 1000:,.1f} ms{first}; {row.overhead_us / 1000:,.1f} ms in Renga before"
    for number, attempt in enumerate(row.attempts, 1):
        yield f"attempt {number}", _render_attempt(attempt)


def _render_attempt(attempt: AttemptRow) -> str:
    ended = attempt.error_type or f"{_count_tokens(attempt.output_tokens)}, {_render_cost(attempt.cost_nano_usd)}"
    return f"{attempt.role} of {attempt.target}: {ended}, {attempt.duration_us / 1000:,.1f} ms"


def _prompt_tokens(row: LedgerRow) -> int:
    """The whole prompt, however it was counted."""
    written = row.cache_creation_5m_tokens + row.cache_creation_1h_tokens
    return row.input_tokens + row.cache_read_tokens + written


def _count_tokens(number: int) -> str:
    return "1 token" if number == 1 else f"{number:,} tokens"


def _render_cost(cost_nano_usd: int | None) -> str:
    return "?" if cost_nano_usd is None else f"${cost_nano_usd / 1_000_000_000:,.6f}"


def _render_moment(time_us: int) -> str:
    return datetime.fromtimestamp(time_us / 1_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S")
