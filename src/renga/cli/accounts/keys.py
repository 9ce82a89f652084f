"""`renga keys`: makes, lists, limits, changes, rotates, disables and revokes API keys."""

from __future__ import annotations

import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from renga.cli.accounts.terms import (
    ExpiresOption,
    ResponseCacheOption,
    ScopeOption,
    TermOptions,
    TierOption,
    WorkspaceOption,
    change_terms,
    render_terms,
)
from renga.cli.shell.options import ConfigOption, DataOption, JsonOption, read_config

if TYPE_CHECKING:
    from renga.domain.keys import KeyChange, KeyRow
    from renga.store.database import Database

keys = typer.Typer(help="Make, list, limit, change, rotate and revoke API keys.", no_args_is_help=True)

KeyArgument = Annotated[
    str, typer.Argument(metavar="KEY", help="The key's id, or its name if only one working key has it.")
]


@keys.command("create")
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the key is for, to recognise it by.")] = "unnamed",
    limit: Annotated[
        list[str] | None,
        typer.Option(
            "--limit",
            metavar="NAME=VALUE",
            help="A limit of its own, as requests_per_minute=60 or budget_usd_per_day=2.50; may be repeated. The names "
            "are those of [limits] in renga.toml, which counts for what is not named here.",
        ),
    ] = None,
    scope: ScopeOption = None,
    tier: TierOption = None,
    workspace: WorkspaceOption = None,
    expires: ExpiresOption = None,
    response_cache: ResponseCacheOption = None,
    config: ConfigOption = None,
    data_dir: DataOption = None,
) -> None:
    """Make a key. Its secret is printed to stdout, this once only; a running server takes it at once."""
    from msgspec.structs import replace

    from renga.accounting.keys.key_ring import make_key
    from renga.cli.accounts.limits import change_limits
    from renga.cli.accounts.workspaces import find_workspace
    from renga.cli.shell.database_access import author, now_us, open_configured_database
    from renga.cli.shell.times import parse_end_us

    key = make_key(name, now_us())
    row = replace(
        key.row,
        limits=change_limits(key.row.limits, limit or ()),
        terms=change_terms(key.row.terms, TermOptions(scope, tier, response_cache)),
        expires_us=None if expires is None else parse_end_us(expires, now_us()),
    )
    with open_configured_database(read_config(config, data_dir)) as database:
        if workspace not in (None, "none"):
            row = replace(row, workspace_id=find_workspace(database, workspace).workspace_id)
        database.keys.create(row, author())
    print(f'Made {key.row.key_id} "{name}". Its secret, shown this once only:', file=sys.stderr)
    print(key.secret)


@keys.command("list")
def list_keys(config: ConfigOption = None, data_dir: DataOption = None, as_json: JsonOption = False) -> None:
    """List all keys, revoked ones too."""
    from renga.cli.shell.database_access import now_us, open_configured_database
    from renga.cli.shell.table import Column, print_json, print_table

    with open_configured_database(read_config(config, data_dir)) as database:
        records = _describe(database, database.keys.read(), now_us())
    if as_json:
        print_json([_name_for_json(record) for record in records])
        return
    if not records:
        print("No keys yet: `renga keys create NAME` makes one.")
        return
    print_table([Column(name) for name in records[0]], [list(record.values()) for record in records])


@keys.command("get")
def get(
    key: KeyArgument, config: ConfigOption = None, data_dir: DataOption = None, as_json: JsonOption = False
) -> None:
    """Show one key: its terms, its limits, and what it has spent beside what it may spend."""
    from renga.accounting.limits.quotas import limits_of_settings, resolve_limits
    from renga.accounting.limits.spending import read_before
    from renga.cli.accounts.usage import render_exact_usd
    from renga.cli.shell.database_access import now_us, open_configured_database
    from renga.cli.shell.table import print_json, print_lines

    settings, now = read_config(config, data_dir), now_us()
    with open_configured_database(settings) as database:
        row = _find_working(database, key)
        (record,) = _describe(database, [row], now)
        before = read_before(database, now)
    spent = (before.day.get(row.key_id, 0), before.month.get(row.key_id, 0))
    limits = resolve_limits(row.limits, limits_of_settings(settings.limits))
    budgets = (None, None) if limits is None else (limits.budget_nano_usd_per_day, limits.budget_nano_usd_per_month)
    for period, nano_usd, budget in zip(("today", "this month"), spent, budgets, strict=True):
        record[f"spent {period} usd"] = render_exact_usd(nano_usd)
        record[f"budget {period} usd"] = "none" if budget is None else render_exact_usd(budget)
    if as_json:
        print_json(_name_for_json(record))
    else:
        print_lines(list(record.items()))


@keys.command("limit")
def limit(
    key: KeyArgument,
    changes: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME=VALUE...",
            help="As requests_per_minute=60 or budget_usd_per_day=2.50; `none` for no limit, `default` for what "
            "[limits] in renga.toml says. Nothing: show them.",
        ),
    ] = None,
    config: ConfigOption = None,
    data_dir: DataOption = None,
) -> None:
    """Change the limits of a key. A running server follows within a second."""
    from renga.cli.accounts.limits import change_limits, render_limits
    from renga.cli.shell.database_access import author
    from renga.domain.keys import KeyChange

    with _open_key(config, data_dir, key) as (database, row):
        limits = change_limits(row.limits, changes or ())
        if changes:
            database.keys.change(row.key_id, KeyChange(limits=limits), author())
    print("\n".join(render_limits(limits)) or "No limits of its own: [limits] in renga.toml counts.")


@keys.command("update")
def update(
    key: KeyArgument,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="A new name.")] = None,
    scope: ScopeOption = None,
    tier: TierOption = None,
    workspace: WorkspaceOption = None,
    expires: ExpiresOption = None,
    response_cache: ResponseCacheOption = None,
    config: ConfigOption = None,
    data_dir: DataOption = None,
) -> None:
    """Change what a key may do. What is not named stays; a running server follows within a second."""
    from msgspec import UNSET

    from renga.cli.accounts.workspaces import find_workspace
    from renga.cli.shell.database_access import now_us
    from renga.cli.shell.times import parse_end_us
    from renga.domain.keys import KeyChange

    with _open_key(config, data_dir, key) as (database, row):
        terms = change_terms(row.terms, TermOptions(scope, tier, response_cache))
        workspace_id = row.workspace_id
        if workspace is not None:
            workspace_id = None if workspace == "none" else find_workspace(database, workspace).workspace_id
        change = KeyChange(
            name=name or UNSET,
            terms=UNSET if terms == row.terms else terms,
            workspace_id=UNSET if workspace_id == row.workspace_id else workspace_id,
            expires_us=UNSET if expires is None else parse_end_us(expires, now_us()),
        )
        _apply(database, row, change)
    print(f"{row.key_id}: {render_terms(terms)}")


@keys.command("rotate")
def rotate(
    key: KeyArgument,
    overlap: Annotated[
        str, typer.Option(metavar="DURATION", help="How long the old secret works beside the new one; 0s: not at all.")
    ] = "24h",
    config: ConfigOption = None,
    data_dir: DataOption = None,
) -> None:
    """Give a key a new secret, printed to stdout this once only. Both work until the overlap ends."""
    from renga.accounting.keys.key_ring import make_secret
    from renga.cli.shell.database_access import author, now_us, render_time
    from renga.cli.shell.times import parse_duration_us

    until_us = now_us() + parse_duration_us(overlap)
    with _open_key(config, data_dir, key) as (database, row):
        new = make_secret(until_us)
        database.keys.rotate(row.key_id, new.rotation, author())
    print(
        f'Rotated {row.key_id} "{row.name}". The old secret works until {render_time(until_us)} UTC. '
        "The new one, shown this once only:",
        file=sys.stderr,
    )
    print(new.secret)


@keys.command("disable")
def disable(key: KeyArgument, config: ConfigOption = None, data_dir: DataOption = None) -> None:
    """Refuse a key for the time being. A running server follows within a second."""
    from renga.cli.shell.database_access import now_us
    from renga.domain.keys import KeyChange

    with _open_key(config, data_dir, key) as (database, row):
        _apply(database, row, KeyChange(disabled_us=now_us()))
    print(f'Disabled {row.key_id} "{row.name}".')


@keys.command("enable")
def enable(key: KeyArgument, config: ConfigOption = None, data_dir: DataOption = None) -> None:
    """Let a disabled key work again."""
    from renga.domain.keys import KeyChange

    with _open_key(config, data_dir, key) as (database, row):
        _apply(database, row, KeyChange(disabled_us=None))
    print(f'Enabled {row.key_id} "{row.name}".')


@keys.command("revoke")
def revoke(key: KeyArgument, config: ConfigOption = None, data_dir: DataOption = None) -> None:
    """Revoke a key for good. A running server refuses it within a second; its usage stays in the ledger."""
    from renga.cli.shell.database_access import author

    with _open_key(config, data_dir, key) as (database, row):
        database.keys.revoke(row.key_id, author())
    print(f'Revoked {row.key_id} "{row.name}".')


@contextmanager
def _open_key(config: Path | None, data_dir: Path | None, key: str) -> Generator[tuple[Database, KeyRow]]:
    """The database of the settings, and the key that is to be changed in it.

    Raises: NotFound, ConfigError, DatabaseFailed.
    """
    from renga.cli.shell.database_access import open_configured_database

    with open_configured_database(read_config(config, data_dir)) as database:
        yield database, _find_working(database, key)


def _apply(database: Database, row: KeyRow, change: KeyChange) -> None:
    """Write a change, unless it is none: the audit tells of changes only."""
    from msgspec import UNSET
    from msgspec.structs import astuple

    from renga.cli.shell.database_access import author

    if any(value is not UNSET for value in astuple(change)):
        database.keys.change(row.key_id, change, author())


def _describe(database: Database, rows: Sequence[KeyRow], now_us: int) -> list[dict[str, str]]:
    """What people are told of each key, by name."""
    from renga.cli.accounts.limits import render_limits
    from renga.cli.shell.database_access import render_time

    workspaces = {workspace.workspace_id: workspace.name for workspace in database.workspaces.read()}
    return [
        {
            "id": row.key_id,
            "name": row.name,
            "ends in": row.hint,
            "workspace": workspaces.get(row.workspace_id or "", "-"),
            "created": render_time(row.created_us),
            "last used": render_time(row.last_used_us),
            "limits": " ".join(render_limits(row.limits)) or "default",
            "terms": render_terms(row.terms),
            "state": _render_state(row, now_us),
        }
        for row in rows
    ]


def _name_for_json(record: dict[str, str]) -> dict[str, str]:
    return {name.replace(" ", "_"): value for name, value in record.items()}


def _render_state(row: KeyRow, now_us: int) -> str:
    from renga.cli.shell.database_access import render_time

    if row.revoked_us is not None:
        return f"revoked {render_time(row.revoked_us)}"
    if row.disabled_us is not None:
        return f"disabled {render_time(row.disabled_us)}"
    if row.expires_us is None:
        return "active"
    return f"{'expired' if row.expires_us <= now_us else 'active until'} {render_time(row.expires_us)}"


def _find_working(database: Database, key: str) -> KeyRow:
    """The key of this id or name that is not revoked.

    Raises: NotFound if there is none, or more than one.
    """
    from renga.errors import NotFound

    working = [row for row in database.keys.read() if row.revoked_us is None]
    found = [row for row in working if row.key_id == key] or [row for row in working if row.name == key]
    if not found:
        raise NotFound(f"no working key is called {key!r}", hint="`renga keys list` shows them")
    if len(found) > 1:
        ids = ", ".join(row.key_id for row in found)
        raise NotFound(f"{len(found)} keys are called {key!r}", hint=f"name one by its id: {ids}")
    return found[0]
