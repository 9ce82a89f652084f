"""The calendar that budgets and discounts keep: days and months in UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from msgspec import Struct


class Periods(Struct, frozen=True, gc=False):
    """The day and the month that hold a moment. Microseconds since 1970; the ends belong to the next."""

    day_start_us: int
    day_end_us: int
    month_start_us: int
    month_end_us: int


def find_periods(at_us: int) -> Periods:
    """The day and the month that hold a moment."""
    moment = datetime.fromtimestamp(at_us / 1_000_000, UTC)
    day = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    month = day.replace(day=1)
    following = (month + timedelta(days=32)).replace(day=1)
    return Periods(*(int(each.timestamp()) * 1_000_000 for each in (day, day + timedelta(days=1), month, following)))
