"""`/v1/organizations/workspaces`: make, list, look at, rename and archive workspaces.

Owns: workspaces as the Admin API shows them. Must never know: what their limits do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from renga import ids
from renga.clock import to_datetime
from renga.domain.workspaces import WorkspaceChange, WorkspaceRow
from renga.errors import Conflict, InvalidRequest
from renga.http.admin.admin_request import AdminRequest, admin_route, require, select_page
from renga.http.exchange.body import read_body
from renga.http.exchange.query import read_all, read_last
from renga.protocols.resources.admin import Workspace, WorkspaceBody, WorkspaceExtras, decode_workspace

if TYPE_CHECKING:
    from renga.store.database import Database

_NAME_CHARACTERS_MAX: Final = 40
_IDS_MAX: Final = 100
"""Source: anthropic 2.11.0, `workspace_list_params`."""


async def create_workspace(admin: AdminRequest) -> None:
    """Make a workspace with the name that the body gives."""
    name = _name(await _read(admin))
    if name is None:
        raise InvalidRequest("Field required.", path="name")
    by = admin.by
    row = WorkspaceRow(ids.workspace_id(), name, by.at_us)

    def create(database: Database) -> None:
        _refuse_twin(database, row)
        database.workspaces.create(row, by)

    await admin.run(create)
    await admin.respond(describe_workspace(row))


async def list_workspaces(admin: AdminRequest) -> None:
    """A page of workspaces, newest first; archived ones only where they are asked for."""
    query = admin.exchange.query()
    wanted = read_all(query, "ids")
    if len(wanted) > _IDS_MAX:
        raise InvalidRequest(f"At most {_IDS_MAX} ids.", path="ids")
    archived_too = read_last(query, "include_archived") == "true"
    rows = await admin.run(lambda database: database.workspaces.read())
    found = [
        describe_workspace(row)
        for row in reversed(rows)
        if (archived_too or row.archived_us is None) and (not wanted or row.workspace_id in wanted)
    ]
    await admin.respond(select_page(found, query))


async def get_workspace(admin: AdminRequest) -> None:
    """Answer with the one workspace that the path names."""
    row = await admin.run(lambda database: _find(database, admin.exchange.parameters["workspace_id"]))
    await admin.respond(describe_workspace(row))


async def update_workspace(admin: AdminRequest) -> None:
    """Rename a workspace that is not archived."""
    name = _name(await _read(admin))
    workspace_id, by = admin.exchange.parameters["workspace_id"], admin.by

    def apply(database: Database) -> WorkspaceRow:
        row = _find(database, workspace_id)
        if row.archived_us is not None:
            raise Conflict("This workspace is archived, and stays so.")
        if name is not None and name != row.name:
            _refuse_twin(database, msgspec.structs.replace(row, name=name))
            database.workspaces.change(workspace_id, WorkspaceChange(name=name), by)
        return _find(database, workspace_id)

    await admin.respond(describe_workspace(await admin.run(apply)))


async def archive_workspace(admin: AdminRequest) -> None:
    """Archive a workspace and its keys, for good. Again: nothing more happens."""
    workspace_id, by = admin.exchange.parameters["workspace_id"], admin.by

    def apply(database: Database) -> WorkspaceRow:
        _find(database, workspace_id)
        database.workspaces.archive(workspace_id, by)
        return _find(database, workspace_id)

    await admin.respond(describe_workspace(await admin.run(apply)))


def describe_workspace(row: WorkspaceRow) -> Workspace:
    """A workspace as the Admin API shows it."""
    return Workspace(
        id=row.workspace_id,
        name=row.name,
        created_at=to_datetime(row.created_us),
        archived_at=None if row.archived_us is None else to_datetime(row.archived_us),
        compartment_id=row.workspace_id,
        renga=WorkspaceExtras(msgspec.to_builtins(row.limits)),
    )


async def _read(admin: AdminRequest) -> WorkspaceBody:
    return decode_workspace(await read_body(admin.exchange, admin.parts.settings.max_body_bytes))


def _name(body: WorkspaceBody) -> str | None:
    if body.name is None:
        return None
    if not 1 <= len(body.name.strip()) <= _NAME_CHARACTERS_MAX:
        raise InvalidRequest(f"Must be 1 to {_NAME_CHARACTERS_MAX} characters.", path="name")
    return body.name.strip()


def _refuse_twin(database: Database, row: WorkspaceRow) -> None:
    if any(other.name == row.name and other.workspace_id != row.workspace_id for other in database.workspaces.read()):
        raise Conflict("Another workspace has this name.", path="name")


def _find(database: Database, workspace_id: str) -> WorkspaceRow:
    return require(database.workspaces.find(workspace_id), "workspace", workspace_id)


ROUTES = (
    admin_route("POST", "/v1/organizations/workspaces", create_workspace),
    admin_route("GET", "/v1/organizations/workspaces", list_workspaces),
    admin_route("GET", "/v1/organizations/workspaces/{workspace_id}", get_workspace),
    admin_route("POST", "/v1/organizations/workspaces/{workspace_id}", update_workspace),
    admin_route("POST", "/v1/organizations/workspaces/{workspace_id}/archive", archive_workspace),
)
