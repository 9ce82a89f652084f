"""`renga workspaces`: makes, lists, limits and archives workspaces, to which keys belong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from renga.cli.shell.options import ConfigOption, DataOption, JsonOption, read_config

if TYPE_CHECKING:
    from renga.domain.workspaces import WorkspaceRow
    from renga.store.database import Database

workspaces = typer.Typer(help="Make, list, limit and archive workspaces, to which keys belong.", no_args_is_help=True)

WorkspaceArgument = Annotated[str, typer.Argument(metavar="WORKSPACE", help="The workspace's id or name.")]


@workspaces.command("create")
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is called; no other may have this name.")],
    limit: Annotated[
        list[str] | None,
        typer.Option(
            "--limit",
            metavar="NAME=VALUE",
            help="A limit that its keys share, as budget_usd_per_month=500; may be repeated.",
        ),
    ] = None,
    config: ConfigOption = None,
    data_dir: DataOption = None,
) -> None:
    """Make a workspace. `renga keys create --workspace` puts keys into it."""
    from renga import ids
    from renga.cli.accounts.limits import change_limits
    from renga.cli.shell.database_access import author, now_us, open_configured_database
    from renga.domain.keys import KeyLimits
    from renga.domain.workspaces import WorkspaceRow
    from renga.errors import Conflict

    row = WorkspaceRow(ids.workspace_id(), name, now_us(), limits=change_limits(KeyLimits(), limit or ()))
    with open_configured_database(read_config(config, data_dir)) as database:
        if any(other.name == name for other in database.workspaces.read()):
            raise Conflict(f"there is a workspace called {name!r} already", hint="`renga workspaces list` shows them")
        database.workspaces.create(row, author())
    print(f'Made {row.workspace_id} "{name}".')


@workspaces.command("list")
def list_workspaces(config: ConfigOption = None, data_dir: DataOption = None, as_json: JsonOption = False) -> None:
    """List all workspaces, archived ones too."""
    from renga.cli.accounts.limits import render_limits
    from renga.cli.shell.database_access import open_configured_database, render_time
    from renga.cli.shell.table import Column, print_json, print_table

    with open_configured_database(read_config(config, data_dir)) as database:
        rows = database.workspaces.read()
        keys = [key for key in database.keys.read() if key.revoked_us is None]
    records = [
        {
            "id": row.workspace_id,
            "name": row.name,
            "keys": sum(key.workspace_id == row.workspace_id for key in keys),
            "created": render_time(row.created_us),
            "limits": " ".join(render_limits(row.limits)) or "none",
            "state": "active" if row.archived_us is None else f"archived {render_time(row.archived_us)}",
        }
        for row in rows
    ]
    if as_json:
        print_json(records)
    elif records:
        print_table(
            [Column(name) for name in records[0]], [[str(value) for value in each.values()] for each in records]
        )
    else:
        print("No workspaces yet: `renga workspaces create NAME` makes one.")


@workspaces.command("limit")
def limit(
    workspace: WorkspaceArgument,
    changes: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME=VALUE...", help="As budget_usd_per_month=500; `none` for no limit. Nothing: show them."
        ),
    ] = None,
    config: ConfigOption = None,
    data_dir: DataOption = None,
) -> None:
    """Change the limits that the keys of a workspace share. A running server follows within a second."""
    from renga.cli.accounts.limits import change_limits, render_limits
    from renga.cli.shell.database_access import author, open_configured_database
    from renga.domain.workspaces import WorkspaceChange

    with open_configured_database(read_config(config, data_dir)) as database:
        row = find_workspace(database, workspace)
        limits = change_limits(row.limits, changes or ())
        if changes:
            database.workspaces.change(row.workspace_id, WorkspaceChange(limits=limits), author())
    print("\n".join(render_limits(limits)) or "No limits.")


@workspaces.command("archive")
def archive(workspace: WorkspaceArgument, config: ConfigOption = None, data_dir: DataOption = None) -> None:
    """Archive a workspace and revoke its keys, for good; its usage stays in the ledger."""
    from renga.cli.shell.database_access import author, open_configured_database

    with open_configured_database(read_config(config, data_dir)) as database:
        row = find_workspace(database, workspace)
        database.workspaces.archive(row.workspace_id, author())
    print(f'Archived {row.workspace_id} "{row.name}"; its keys are revoked.')


def find_workspace(database: Database, name: str | None) -> WorkspaceRow:
    """The workspace of this id or name that is not archived.

    Raises: NotFound if there is none.
    """
    from renga.errors import NotFound

    for row in database.workspaces.read():
        if row.archived_us is None and name in (row.workspace_id, row.name):
            return row
    raise NotFound(f"no workspace is called {name!r}", hint="`renga workspaces list` shows them")
