"""`/v1/organizations/usage_report/messages` and `/v1/organizations/cost_report`.

Owns: what their queries mean, and reports as the Admin API shows them. Must never know: SQL, prices.
Invariants: slices are whole, in UTC, in order, and every slice of the time asked for is there, with or without
requests; the sum of a report's slices is the sum of the ledger's rows.

Source: Admin API documentation, "Get Messages Usage Report" and "Get Cost Report" (retrieved 2026-11-21).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final

from msgspec import Struct

from renga.clock import to_datetime
from renga.domain.usage_reports import ReportDimension, ReportQuery, ReportRow
from renga.errors import InvalidRequest
from renga.http.admin.admin_request import AdminRequest, admin_route
from renga.http.exchange.query import Query, read_all, read_last, read_limit
from renga.protocols.resources.admin import (
    CacheCreationTokens,
    CostExtras,
    CostItem,
    ReportBucket,
    ReportPage,
    UsageItem,
)

_NANO_USD_A_CENT: Final = 10_000_000
_PAGE: Final = "page_"


class _Width(Struct, frozen=True):
    width_us: int
    default_buckets: int
    max_buckets: int


_WIDTHS: Final = {
    "1m": _Width(60_000_000, 60, 1440),
    "1h": _Width(3_600_000_000, 24, 168),
    "1d": _Width(86_400_000_000, 7, 31),
}
_USAGE_GROUPS: Final[dict[str, ReportDimension]] = {
    "api_key_id": "api_key_id",
    "workspace_id": "workspace_id",
    "model": "model",
    "service_tier": "service_tier",
    "context_window": "context_window",
}
_NEVER_KNOWN: Final = ("account_id", "service_account_id", "inference_geo", "speed")
"""May be grouped by, as in the API; one value, for this server knows no other."""
_FILTERS: Final[dict[str, ReportDimension]] = {
    "api_key_ids": "api_key_id",
    "workspace_ids": "workspace_id",
    "models": "model",
    "service_tiers": "service_tier",
    "context_window": "context_window",
}
_FILTERS_OF_OTHERS: Final = ("account_ids", "service_account_ids", "inference_geos", "speeds")
_PARAMETERS: Final = frozenset(("starting_at", "ending_at", "bucket_width", "limit", "page", "group_by", "beta"))
_COST_GROUPS: Final = ("workspace_id", "description", "inference_geo", "speed")
_DESCRIBED: Final[tuple[ReportDimension, ...]] = ("model", "service_tier", "context_window")


class _Slices(Struct, frozen=True):
    """The slices of time that one page of a report has."""

    first_us: int
    width_us: int
    count: int
    next_us: int | None
    """Where the next page begins; None: there is none."""

    @property
    def end_us(self) -> int:
        return self.first_us + self.width_us * self.count


async def report_usage(admin: AdminRequest) -> None:
    """Tokens by slice of time and group."""
    query = _read_query(admin, (*_FILTERS, *_FILTERS_OF_OTHERS))
    groups = _read_groups(query, (*_USAGE_GROUPS, *_NEVER_KNOWN))
    by: tuple[ReportDimension, ...] = tuple(dimension for name, dimension in _USAGE_GROUPS.items() if name in groups)
    slices = _read_slices(admin, query, tuple(_WIDTHS))
    wanted = ReportQuery(slices.first_us, slices.end_us, slices.width_us, by, _read_filters(query))
    rows = await admin.run(lambda database: database.reports.read(wanted))

    def describe(row: ReportRow) -> UsageItem:
        group = dict(zip(by, row.group, strict=True))
        return UsageItem(
            uncached_input_tokens=row.input_tokens,
            cache_creation=CacheCreationTokens(row.cache_creation_5m_tokens, row.cache_creation_1h_tokens),
            cache_read_input_tokens=row.cache_read_tokens,
            output_tokens=row.output_tokens,
            api_key_id=group.get("api_key_id"),
            workspace_id=group.get("workspace_id"),
            model=group.get("model"),
            service_tier=group.get("service_tier"),
            context_window=group.get("context_window"),
            inference_geo="not_available" if "inference_geo" in groups else None,
        )

    await admin.respond(_make_report(slices, [(row.start_us, describe(row)) for row in rows]))


async def report_cost(admin: AdminRequest) -> None:
    """Answer with the dollars spent, by day and group."""
    query = _read_query(admin, ())
    groups = _read_groups(query, _COST_GROUPS)
    described = "description" in groups
    by: tuple[ReportDimension, ...] = ("workspace_id",) if "workspace_id" in groups else ()
    if described:
        by = (*by, *_DESCRIBED)
    slices = _read_slices(admin, query, ("1d",))
    wanted = ReportQuery(slices.first_us, slices.end_us, slices.width_us, by)
    rows = await admin.run(lambda database: database.reports.read(wanted))

    def describe(row: ReportRow) -> CostItem:
        group = dict(zip(by, row.group, strict=True))
        model = group.get("model")
        return CostItem(
            amount=render_cents(row.cost_nano_usd),
            workspace_id=group.get("workspace_id"),
            description=f"{model or 'no target'} usage" if described else None,
            model=model,
            service_tier=group.get("service_tier"),
            context_window=group.get("context_window"),
            cost_type="tokens" if described else None,
            inference_geo="not_available" if "inference_geo" in groups else None,
            renga=CostExtras(row.requests, row.unpriced),
        )

    await admin.respond(_make_report(slices, [(row.start_us, describe(row)) for row in rows]))


def render_cents(nano_usd: int) -> str:
    """Nano-dollars as cents, exactly: 22,500,000 is `2.25`."""
    whole, rest = divmod(nano_usd, _NANO_USD_A_CENT)
    return f"{whole}.{rest:07d}".rstrip("0").rstrip(".")


def _make_report(slices: _Slices, items: Iterable[tuple[int, UsageItem | CostItem]]) -> ReportPage:
    """The buckets of a page, each with the items whose slice begins when it does."""
    found: dict[int, list[UsageItem | CostItem]] = {}
    for start_us, item in items:
        found.setdefault(start_us, []).append(item)
    starts = range(slices.first_us, slices.end_us, slices.width_us)
    buckets = tuple(
        ReportBucket(to_datetime(start), to_datetime(start + slices.width_us), tuple(found.get(start, ())))
        for start in starts
    )
    following = slices.next_us
    return ReportPage(buckets, following is not None, None if following is None else _encode_page(following))


def _read_query(admin: AdminRequest, filters: Sequence[str]) -> dict[str, list[str]]:
    """Raises: InvalidRequest for a parameter that is none: a report that left it out in silence would be wrong."""
    query = admin.exchange.query()
    for name in query:
        if name.removesuffix("[]") not in _PARAMETERS and name.removesuffix("[]") not in filters:
            raise InvalidRequest("There is no such parameter.", path=name[:100])
    return query


def _read_groups(query: Query, allowed: tuple[str, ...]) -> tuple[str, ...]:
    groups = read_all(query, "group_by")
    if any(name not in allowed for name in groups):
        raise InvalidRequest(f"Must be one of {', '.join(allowed)}.", path="group_by")
    return groups


def _read_slices(admin: AdminRequest, query: Query, widths: tuple[str, ...]) -> _Slices:
    """The slices that a query asks for: those that start at `starting_at` or later and end by `ending_at`.

    Without an end, the slice that is running is the last.
    """
    name = read_last(query, "bucket_width") or "1d"
    if name not in widths:
        raise InvalidRequest(f"Must be one of {', '.join(widths)}.", path="bucket_width")
    width = _WIDTHS[name]
    limit = read_limit(query, width.default_buckets, width.max_buckets)
    starting_at, ending_at = read_last(query, "starting_at"), read_last(query, "ending_at")
    if starting_at is None:
        raise InvalidRequest("Field required.", path="starting_at", hint="as 2026-11-01T00:00:00Z")
    first = _parse_time(starting_at, "starting_at") // width.width_us
    if ending_at is None:
        end = admin.by.at_us // width.width_us + 1
    else:
        end = _parse_time(ending_at, "ending_at") // width.width_us
        if end <= first:
            raise InvalidRequest("Must be a whole slice after starting_at.", path="ending_at")
    page = read_last(query, "page")
    if page is not None:
        first = _decode_page(page) // width.width_us
    count = max(0, min(limit, end - first))
    following = (first + count) * width.width_us if first + count < end else None
    return _Slices(first * width.width_us, width.width_us, count, following)


def _read_filters(query: Query) -> tuple[tuple[ReportDimension, tuple[str, ...]], ...]:
    for name in _FILTERS_OF_OTHERS:
        if read_all(query, name):
            raise InvalidRequest("This server has nothing of the kind to choose by.", path=name, hint="leave it out")
    return tuple((dimension, values) for name, dimension in _FILTERS.items() if (values := read_all(query, name)))


def _parse_time(text: str, path: str) -> int:
    """RFC 3339 in microseconds. A `+` of the offset that came as a space is taken for what it was."""
    try:
        moment = datetime.fromisoformat(text.strip().replace(" ", "+"))
    except ValueError:
        raise InvalidRequest("Must be a time, as 2026-11-01T00:00:00Z.", path=path) from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return int(moment.timestamp() * 1_000_000)


def _encode_page(start_us: int) -> str:
    return _PAGE + base64.urlsafe_b64encode(to_datetime(start_us).isoformat().encode()).decode()


def _decode_page(text: str) -> int:
    try:
        return _parse_time(base64.urlsafe_b64decode(text.removeprefix(_PAGE)).decode("ascii"), "page")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        raise InvalidRequest(
            "This is not a cursor of a report.", path="page", hint="use `next_page` as it came"
        ) from None


ROUTES = (
    admin_route("GET", "/v1/organizations/usage_report/messages", report_usage, "usage"),
    admin_route("GET", "/v1/organizations/cost_report", report_cost, "usage"),
)
