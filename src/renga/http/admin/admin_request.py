"""What holds for every request on the administrators' port.

Owns: the audit of each, the way to the database, and pages. Must never know: SQL, what is asked.
Invariant: a handler of this port answers only after the audit has an entry of the request.

Source: Admin API as anthropic 2.11.0 speaks it (`resources/organization`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import msgspec
from msgspec import Struct

from renga.domain.audit import Author
from renga.domain.keys import KeyScope
from renga.errors import InvalidRequest, NotFound
from renga.http.exchange.http_exchange import HttpExchange
from renga.http.exchange.query import Query, read_last, read_limit
from renga.http.http_services import HttpServices
from renga.http.resources.pages import cut_page
from renga.http.route_table import Handler, Route
from renga.protocols.resources.admin import AdminPage, ApiKey, AuditEntry, Workspace

if TYPE_CHECKING:
    from renga.store.database import Database

_T = TypeVar("_T")


class AdminRequest(Struct, frozen=True):
    """What an administrator's handler works with: the database, and who asks."""

    exchange: HttpExchange
    parts: HttpServices

    @property
    def by(self) -> Author:
        """Who asks and when, for the audit."""
        now = self.parts.answering.clock.now()
        return Author(self.exchange.key_id, int(now.timestamp() * 1_000_000))

    async def run(self, work: Callable[[Database], _T]) -> _T:
        """Do something with the database, off the event loop.

        Raises: ApiError where it cannot be reached.
        """
        database = self.parts.database
        assert database is not None  # composition gives it to whoever has this port
        return await database.run(work)

    async def respond(self, value: object) -> None:
        """Answer with this value as JSON and status 200."""
        await self.exchange.respond(200, msgspec.json.encode(value))


AdminHandler: TypeAlias = Callable[[AdminRequest], Awaitable[None]]


def admin_route(method: str, path: str, handle: AdminHandler, scope: KeyScope = "admin") -> Route:
    """A row of this port's table."""
    return Route(method, path, _audited(handle), scope)


def _audited(handle: AdminHandler) -> Handler:
    async def handler(exchange: HttpExchange, parts: HttpServices) -> None:
        admin = AdminRequest(exchange, parts)
        # Keys and workspaces write entries of their changes besides; this one says who asked, even for a look.
        action, subject = f"{exchange.method} {exchange.route}", next(iter(exchange.parameters.values()), "")[:200]
        by = admin.by
        await admin.run(lambda database: database.audit.write(by, action, subject))
        await handle(admin)

    return handler


def select_page(items: Sequence[ApiKey | Workspace], query: Query) -> AdminPage:
    """The page of these items, newest first, that a query asks for.

    Raises: InvalidRequest for a limit or a cursor that is none.
    """
    limit = read_limit(query)
    after, before = read_last(query, "after_id"), read_last(query, "before_id")
    if after is not None and before is not None:
        raise InvalidRequest("Cannot be given together with `after_id`.", path="before_id")
    positions = {item.id: index for index, item in enumerate(items)}
    for path, cursor in (("after_id", after), ("before_id", before)):
        if cursor is not None and cursor not in positions:
            raise InvalidRequest("There is nothing with this id here.", path=path)
    page = cut_page(
        items,
        limit,
        after=None if after is None else positions[after],
        before=None if before is None else positions[before],
    )
    return make_page(page.items, has_more=page.has_more)


def make_page(data: Sequence[ApiKey | Workspace | AuditEntry], *, has_more: bool) -> AdminPage:
    """A page of what was found."""
    return AdminPage(tuple(data), has_more, data[0].id if data else None, data[-1].id if data else None)


def require(found: _T | None, what: str, given: str) -> _T:
    """What was found in the database, where anything was.

    Raises: NotFound if there is no such key or workspace.
    """
    if found is None:
        raise NotFound(f"{what}: {given[:200]}", hint="the list shows what there is")
    return found
