"""`renga audit`: shows who changed what, and when."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from renga.cli.shell.options import ConfigOption, DataOption, JsonOption, read_config
from renga.cli.shell.times import parse_day


def audit(
    subject: Annotated[
        str | None, typer.Option(metavar="ID", help="Only what was done to this key or workspace.")
    ] = None,
    actor: Annotated[str | None, typer.Option(metavar="ACTOR", help="Only what this key or user did.")] = None,
    since: Annotated[datetime | None, typer.Option(parser=parse_day, metavar="DAY", help="First day, in UTC.")] = None,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="How many entries, the newest.")] = 100,
    config: ConfigOption = None,
    data_dir: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show who changed keys, workspaces and limits, and what administrators asked for. The newest first."""
    import msgspec

    from renga.cli.shell.database_access import open_configured_database, render_time
    from renga.cli.shell.table import Column, print_json, print_table
    from renga.domain.audit import AuditQuery

    since_us = None if since is None else int(since.replace(tzinfo=UTC).timestamp()) * 1_000_000
    query = AuditQuery(limit=limit, since_us=since_us, subject=subject, actor=actor)
    with open_configured_database(read_config(config, data_dir)) as database:
        rows = database.audit.read(query)
    if as_json:
        print_json(rows)
    elif rows:
        headings = ("time", "actor", "action", "subject", "detail")
        body = [
            [
                render_time(row.time_us),
                row.actor,
                row.action,
                row.subject,
                _render_detail(msgspec.to_builtins(row.detail)),
            ]
            for row in rows
        ]
        print_table([Column(name) for name in headings], body)
    else:
        print("No entries.")


def _render_detail(detail: dict[str, object]) -> str:
    """Names and values as the other commands write them: times as days and minutes, limits in dollars."""
    import msgspec

    from renga.cli.accounts.limits import render_limits
    from renga.cli.shell.database_access import render_time
    from renga.domain.keys import KeyLimits

    words: list[str] = []
    for name, value in detail.items():
        if name == "limits" and isinstance(value, dict):
            words += render_limits(msgspec.convert(value, KeyLimits)) or ["limits=default"]
        elif name.endswith("_us") and isinstance(value, int):
            words.append(f"{name.removesuffix('_us')}={render_time(value).replace(' ', 'T')}")
        else:
            words.append(f"{name}={value if isinstance(value, str) else msgspec.json.encode(value).decode()}")
    return " ".join(words)
