"""A key's limits as the command line writes them: `requests_per_minute=60`, the names of `[limits]`.

Must never know: the database, or what limits do.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal, InvalidOperation

import typer
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from renga.domain.keys import KeyLimits

_NANO = 1_000_000_000
NAMES = tuple(name.replace("_nano_usd_", "_usd_") for name in KeyLimits.__struct_fields__)


def change_limits(limits: KeyLimits, changes: Iterable[str]) -> KeyLimits:
    """The limits with these changes. `none` takes a limit away, `default` leaves it to `[limits]`.

    Raises: BadParameter if one of them cannot be read.
    """
    return replace(limits, **dict(_parse_change(change) for change in changes))


def render_limits(limits: KeyLimits) -> list[str]:
    """The limits as they are written; those of `[limits]` are left out."""
    return [
        f"{name}={_render(name, value)}"
        for name in NAMES
        if (value := _read(limits, name)) is not UNSET
    ]  # fmt: skip


def _field(name: str) -> str:
    return name.replace("_usd_", "_nano_usd_")


def _read(limits: KeyLimits, name: str) -> int | UnsetType | None:
    return getattr(limits, _field(name))


def _parse_change(change: str) -> tuple[str, int | UnsetType | None]:
    name, equals, text = change.partition("=")
    name, text = name.strip().replace("-", "_"), text.strip()
    if name not in NAMES or not equals:
        raise typer.BadParameter(f"{change!r} is no limit; write NAME=VALUE with one of: {', '.join(NAMES)}")
    if text in ("none", "default"):
        return _field(name), None if text == "none" else UNSET
    try:
        number = Decimal(text.removeprefix("$"))
    except InvalidOperation:
        number = Decimal("NaN")
    is_money = "_usd_" in name
    scaled = number * _NANO if is_money else number
    if not scaled.is_finite() or scaled != int(scaled) or scaled < (0 if is_money else 1) or scaled >= 2**63:
        expected = "dollars, as 2.50" if is_money else "a whole number of at least 1"
        raise typer.BadParameter(f"{change!r}: expected {expected}, `none` or `default`")
    return _field(name), int(scaled)


def _render(name: str, value: int | UnsetType | None) -> str:
    if not isinstance(value, int):
        return "none"
    if "_usd_" not in name:
        return str(value)
    whole, nano = divmod(value, _NANO)
    return f"{whole}.{nano:09d}".rstrip("0").rstrip(".")
