"""The administrators' port: which routes it has.

Owns: the route table of that port, `/v1/organizations/me`, the audit as a list. Must never know: SQL.

Source: Admin API as anthropic 2.11.0 speaks it (`resources/organization`).
"""

from __future__ import annotations

import uuid
from os import urandom
from typing import Final

from renga.clock import to_datetime
from renga.domain.audit import AuditQuery, AuditRow
from renga.errors import InvalidRequest
from renga.http.admin import keys, reports, workspaces
from renga.http.admin.admin_request import AdminRequest, admin_route, make_page
from renga.http.exchange.query import read_last, read_limit
from renga.http.health import health, metrics
from renga.http.route_table import Route
from renga.protocols.resources.admin import AuditEntry, Organization

_AUDIT_ID: Final = "audit_"


async def get_organization(admin: AdminRequest) -> None:
    """Answer with this installation, described as an organization."""
    secret = await admin.run(lambda database: database.secrets.ensure_secret("organization", urandom(32)))
    name = admin.parts.organization
    await admin.respond(Organization(str(uuid.UUID(bytes=secret[:16], version=4)), name))


async def list_audit(admin: AdminRequest) -> None:
    """A page of the audit, newest first."""
    query = admin.exchange.query()
    limit = read_limit(query)
    before = read_last(query, "after_id")
    wanted = AuditQuery(
        limit=limit + 1,
        before_row=None if before is None else _audit_row_number(before),
        subject=read_last(query, "subject"),
        actor=read_last(query, "actor"),
    )
    rows = await admin.run(lambda database: database.audit.read(wanted))
    entries = tuple(_describe_entry(row) for row in rows[:limit])
    await admin.respond(make_page(entries, has_more=len(rows) > limit))


def _describe_entry(row: AuditRow) -> AuditEntry:
    return AuditEntry(
        f"{_AUDIT_ID}{row.row_number}", to_datetime(row.time_us), row.actor, row.action, row.subject, row.detail
    )


def _audit_row_number(text: str) -> int:
    number = text.removeprefix(_AUDIT_ID)
    if not (number.isascii() and number.isdigit() and len(number) < 19):
        raise InvalidRequest("This is not the id of an entry.", path="after_id")
    return int(number)


ADMIN_ROUTES = (
    Route("GET", "/health", health, scope=None),
    Route("GET", "/metrics", metrics, scope="usage"),
    admin_route("GET", "/v1/organizations/me", get_organization),
    admin_route("GET", "/v1/organizations/audit", list_audit),
    *keys.ROUTES,
    *workspaces.ROUTES,
    *reports.ROUTES,
)
"""Every route of that port."""
