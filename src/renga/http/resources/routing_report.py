"""`GET /v1/routing/report`: what policies keep, save and lose, and how targets fare. A route of Renga's own.

Owns: its query. Must never know: how a figure comes about.
"""

from __future__ import annotations

import msgspec

from renga.errors import InvalidRequest, NotFound
from renga.http.exchange.http_exchange import HttpExchange
from renga.http.http_services import HttpServices
from renga.http.route_table import Route
from renga.routing.monitoring.report_service import DAYS_MAX

_DAYS = 7.0


async def report_routing(exchange: HttpExchange, parts: HttpServices) -> None:
    """The report as JSON. `?days=` says of how many; seven if absent."""
    reports, database, health = parts.routing, parts.database, parts.health
    if reports is None or database is None:
        raise NotFound("This server makes no routing reports.")
    days = _read_days(exchange.query())
    # Read here: on another thread it could change under the reader.
    targets = () if health is None else health.describe()
    report = await database.run(lambda opened: reports.report(opened, days, targets))
    await exchange.respond(200, msgspec.json.encode(report))


def _read_days(query: dict[str, list[str]]) -> float:
    unknown = next((name for name in query if name != "days"), None)
    if unknown is not None:
        raise InvalidRequest("Not a parameter of this route.", path=unknown[:100], hint="there is days")
    text = query.get("days", [str(_DAYS)])[-1]
    try:
        days = float(text)
    except ValueError:
        days = 0.0
    if not 0.0 < days <= DAYS_MAX:
        raise InvalidRequest(f"Must be a number above 0 and at most {DAYS_MAX}.", path="days")
    return days


ROUTES = (Route("GET", "/v1/routing/report", report_routing, scope="usage"),)
