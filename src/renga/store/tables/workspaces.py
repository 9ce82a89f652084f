"""The table `workspaces`.

Owns: its statements. Must never know: what limits mean.
Invariants: every change bumps the generation of the keys, so that running servers see it, and writes an audit entry; a
workspace that is archived takes its keys with it, in the same transaction.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import UNSET
from sqlalchemy import select, update

from renga.domain.audit import Author
from renga.domain.keys import KeyLimits
from renga.domain.workspaces import WorkspaceChange, WorkspaceRow
from renga.store.tables import definitions
from renga.store.tables.audit import system_author, write_entry
from renga.store.tables.keys import bump_generation
from renga.store.transactions import Transactions


class WorkspaceTable:
    """Reads and changes workspaces; each change tells running servers."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def create(self, workspace: WorkspaceRow, by: Author | None = None) -> None:
        """Raises: DatabaseFailed if its id or its name is another's."""
        columns = {**msgspec.structs.asdict(workspace), "limits": msgspec.to_builtins(workspace.limits)}
        with self._transactions.writing() as connection:
            bump_generation(connection)
            connection.execute(definitions.workspaces.insert(), [columns])
            told = {"name": workspace.name, "limits": columns["limits"]}
            write_entry(connection, by or system_author(), "workspace.create", workspace.workspace_id, told)

    def change(self, workspace_id: str, change: WorkspaceChange, by: Author | None = None) -> bool:
        """Change what is set in `change`. Returns whether there is such a workspace that is not archived.

        Raises: DatabaseFailed if another has the new name.
        """
        workspaces = definitions.workspaces
        values = {name: value for name, value in msgspec.structs.asdict(change).items() if value is not UNSET}
        columns = {name: msgspec.to_builtins(value) for name, value in values.items()}
        statement = update(workspaces).where(
            workspaces.c.workspace_id == workspace_id, workspaces.c.archived_us.is_(None)
        )
        with self._transactions.writing() as connection:
            bump_generation(connection)
            if not connection.execute(statement.values(**columns)).rowcount:
                return False
            write_entry(connection, by or system_author(), "workspace.change", workspace_id, columns)
            return True

    def archive(self, workspace_id: str, by: Author) -> bool:
        """Archive it and revoke its keys. Returns whether there was such a workspace that was not archived."""
        workspaces, keys = definitions.workspaces, definitions.keys
        with self._transactions.writing() as connection:
            bump_generation(connection)
            statement = update(workspaces).where(
                workspaces.c.workspace_id == workspace_id, workspaces.c.archived_us.is_(None)
            )
            if not connection.execute(statement.values(archived_us=by.at_us)).rowcount:
                return False
            working = select(keys.c.key_id).where(keys.c.workspace_id == workspace_id, keys.c.revoked_us.is_(None))
            revoked = list(connection.execute(working.order_by(keys.c.key_id)).scalars())
            connection.execute(update(keys).where(keys.c.key_id.in_(revoked)).values(revoked_us=by.at_us))
            write_entry(connection, by, "workspace.archive", workspace_id, {"revoked_keys": revoked})
            return True

    def read(self) -> list[WorkspaceRow]:
        """All workspaces, archived ones too, oldest first."""
        workspaces = definitions.workspaces
        with self._transactions.reading() as connection:
            found = connection.execute(select(workspaces).order_by(workspaces.c.created_us, workspaces.c.workspace_id))
            return [_to_row(row) for row in found.mappings()]

    def find(self, workspace_id: str) -> WorkspaceRow | None:
        """The workspace of this id, archived or not; None where there is none."""
        workspaces = definitions.workspaces
        with self._transactions.reading() as connection:
            found = connection.execute(select(workspaces).where(workspaces.c.workspace_id == workspace_id))
            row = found.mappings().first()
        return None if row is None else _to_row(row)


def _to_row(row: Mapping[Any, Any]) -> WorkspaceRow:
    fields: dict[str, Any] = {**row, "limits": msgspec.convert(row["limits"] or {}, KeyLimits)}
    return WorkspaceRow(**fields)
