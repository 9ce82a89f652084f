"""`renga keys create|list|limit|revoke`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from renga.cli.options import ConfigOption, DataOption, JsonOption, read_config

if TYPE_CHECKING:
    from renga.store.database import Database
    from renga.store.rows import KeyRow

keys = typer.Typer(help="Make, list, limit and revoke API keys.", no_args_is_help=True)

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
    config: ConfigOption = None,
    data_dir: DataOption = None,
) -> None:
    """Make a key. Its secret is printed to stdout, this once only; a running server takes it within a second."""
    from msgspec.structs import replace

    from renga.cli.limits import change_limits
    from renga.cli.records import author, now_us, open_records
    from renga.meter.keys import make_key

    key = make_key(name, now_us())
    row = replace(key.row, limits=change_limits(key.row.limits, limit or ()))
    with open_records(read_config(config, data_dir)) as database:
        database.keys.create(row, author())
    print(f'Made {key.row.key_id} "{name}". Its secret, shown this once only:', file=sys.stderr)
    print(key.secret)


@keys.command("list")
def list_keys(config: ConfigOption = None, data_dir: DataOption = None, as_json: JsonOption = False) -> None:
    """List all keys, revoked ones too."""
    from renga.cli.limits import render_limits
    from renga.cli.records import open_records, render_time
    from renga.cli.table import Column, print_json, print_table

    with open_records(read_config(config, data_dir)) as database:
        rows = database.keys.read()
    records = [
        {
            "id": row.key_id,
            "name": row.name,
            "ends in": row.hint,
            "created": render_time(row.created_us),
            "last used": render_time(row.last_used_us),
            "limits": " ".join(render_limits(row.limits)) or "default",
            "state": "active" if row.revoked_us is None else f"revoked {render_time(row.revoked_us)}",
        }
        for row in rows
    ]
    if as_json:
        print_json([{name.replace(" ", "_"): value for name, value in record.items()} for record in records])
        return
    if not records:
        print("No keys yet: `renga keys create NAME` makes one.")
        return
    print_table([Column(name) for name in records[0]], [list(record.values()) for record in records])


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
    from renga.cli.limits import change_limits, render_limits
    from renga.cli.records import author, open_records
    from renga.store.rows import KeyChange

    with open_records(read_config(config, data_dir)) as database:
        row = _find_working(database, key)
        limits = change_limits(row.limits, changes or ())
        if changes:
            database.keys.change(row.key_id, KeyChange(limits=limits), author())
    print("\n".join(render_limits(limits)) or "No limits of its own: [limits] in renga.toml counts.")


@keys.command("revoke")
def revoke(key: KeyArgument, config: ConfigOption = None, data_dir: DataOption = None) -> None:
    """Revoke a key. A running server refuses it within a second; its usage stays in the ledger."""
    from renga.cli.records import author, open_records

    with open_records(read_config(config, data_dir)) as database:
        row = _find_working(database, key)
        database.keys.revoke(row.key_id, author())
    print(f'Revoked {row.key_id} "{row.name}".')


def _find_working(database: Database, key: str) -> KeyRow:
    """The working key of this id or name.

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
