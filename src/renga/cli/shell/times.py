"""Times as people write them: `24h`, `30d`, `2026-12-31`."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import typer

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_DURATION = re.compile(r"(\d{1,6})([smhdw])")
_MICROSECONDS = 1_000_000


def parse_duration_us(text: str) -> int:
    """`24h` as microseconds.

    Raises: BadParameter if it is none.
    """
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        raise typer.BadParameter(f"{text!r} is no duration; write it as 90m, 24h or 30d")
    return int(found[1]) * _UNITS_S[found[2]] * _MICROSECONDS


def parse_day(text: str) -> datetime:
    """`2026-11-01` as its first moment in UTC.

    Raises: BadParameter if it is none.
    """
    try:
        return datetime.strptime(text.strip(), "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no day; write it as 2026-11-01") from None


def parse_end_us(text: str, now_us: int) -> int | None:
    """When something ends: a day (its start, in UTC), a duration from now, or None for `never`.

    Raises: BadParameter if it is none of them, or is over already.
    """
    if text.strip() == "never":
        return None
    try:
        end_us = int(datetime.strptime(text.strip(), "%Y-%m-%d").replace(tzinfo=UTC).timestamp()) * _MICROSECONDS
    except ValueError:
        end_us = now_us + parse_duration_us(text)
    if end_us <= now_us:
        raise typer.BadParameter(f"{text!r} is over; write a day to come, as 2027-01-31, a duration, as 30d, or never")
    return end_us
