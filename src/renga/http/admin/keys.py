"""`/v1/organizations/api_keys`: list, look at, rename, disable and archive keys.

Owns: keys as the Admin API shows them. Must never know: secrets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import UNSET

from renga.clock import to_datetime
from renga.domain.keys import DEFAULT_SCOPES, KeyChange, KeyRow
from renga.errors import Conflict, InvalidRequest
from renga.http.admin.admin_request import AdminRequest, admin_route, require, select_page
from renga.http.exchange.body import read_body
from renga.http.exchange.query import read_last
from renga.protocols.resources.admin import ApiKey, KeyExtras, KeyScopeInfo, KeyStatus, decode_key_update

if TYPE_CHECKING:
    from renga.store.database import Database

_STATUSES: Final = ("active", "inactive", "archived", "expired")


async def list_keys(admin: AdminRequest) -> None:
    """A page of keys, newest first."""
    query = admin.exchange.query()
    status, workspace_id = read_last(query, "status"), read_last(query, "workspace_id")
    if status and status not in _STATUSES:
        raise InvalidRequest(f"Must be one of {', '.join(_STATUSES)}.", path="status")
    if read_last(query, "created_by_user_id"):
        raise InvalidRequest("This server has no users; the audit tells who made a key.", path="created_by_user_id")
    rows = await admin.run(lambda database: database.keys.read())
    now_us = admin.by.at_us
    keys = [describe_key(row, now_us) for row in reversed(rows)]
    found = [
        key
        for key in keys
        if (not status or key.status == status) and (not workspace_id or key.workspace_id == workspace_id)
    ]
    await admin.respond(select_page(found, query))


async def get_key(admin: AdminRequest) -> None:
    """Answer with the one key that the path names."""
    row = await admin.run(lambda database: _find(database, admin.exchange.parameters["key_id"]))
    await admin.respond(describe_key(row, admin.by.at_us))


async def update_key(admin: AdminRequest) -> None:
    """Rename a key, disable it, let it work again, or archive it for good."""
    update = decode_key_update(await read_body(admin.exchange, admin.parts.settings.max_body_bytes))
    key_id, by = admin.exchange.parameters["key_id"], admin.by
    disabled = {"active": None, "inactive": by.at_us}.get(update.status or "", UNSET)
    change = KeyChange(name=update.name or UNSET, disabled_us=disabled)

    def apply(database: Database) -> KeyRow:
        row = _find(database, key_id)
        if row.revoked_us is not None and update.status != "archived":
            raise Conflict("This key is archived, and stays so.", hint="make another: `renga keys create`")
        if any(value is not UNSET for value in msgspec.structs.astuple(change)):
            database.keys.change(key_id, change, by)
        if update.status == "archived":
            database.keys.revoke(key_id, by)
        return _find(database, key_id)

    row = await admin.run(apply)
    await admin.respond(describe_key(row, by.at_us))


def describe_key(row: KeyRow, now_us: int) -> ApiKey:
    """A key as the Admin API shows it."""
    return ApiKey(
        id=row.key_id,
        created_at=to_datetime(row.created_us),
        name=row.name,
        partial_key_hint=f"sk-renga-...{row.hint}",
        status=_status(row, now_us),
        scope=KeyScopeInfo("workspace", row.workspace_id) if row.workspace_id else KeyScopeInfo("organization"),
        workspace_id=row.workspace_id,
        expires_at=None if row.expires_us is None else to_datetime(row.expires_us),
        renga=KeyExtras(
            last_used_at=None if row.last_used_us is None else to_datetime(row.last_used_us),
            scopes=row.terms.scopes or DEFAULT_SCOPES,
            tiers=row.terms.tiers,
            response_cache=row.terms.response_cache,
            limits=msgspec.to_builtins(row.limits),
        ),
    )


def _status(row: KeyRow, now_us: int) -> KeyStatus:
    if row.revoked_us is not None:
        return "archived"
    if row.expires_us is not None and row.expires_us <= now_us:
        return "expired"
    return "active" if row.disabled_us is None else "inactive"


def _find(database: Database, key_id: str) -> KeyRow:
    return require(database.keys.find(key_id), "api_key", key_id)


ROUTES = (
    admin_route("GET", "/v1/organizations/api_keys", list_keys),
    admin_route("GET", "/v1/organizations/api_keys/{key_id}", get_key),
    admin_route("POST", "/v1/organizations/api_keys/{key_id}", update_key),
)
