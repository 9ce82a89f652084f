"""A page of a list that is in memory whole.

Owns: which of the items a page has. Must never know: what is listed, or how a client names a place in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar

from msgspec import Struct

_T = TypeVar("_T")


class Page(Struct, Generic[_T], frozen=True):
    """Some items, and whether there are more in the direction in which the client reads."""

    items: Sequence[_T]
    has_more: bool


def cut_page(items: Sequence[_T], limit: int, *, after: int | None = None, before: int | None = None) -> Page[_T]:
    """The first items behind one place in the list, or the last ones before another."""
    if before is not None:
        left = items[:before]
        return Page(left[-limit:], len(left) > limit)
    left = items if after is None else items[after + 1 :]
    return Page(left[:limit], len(left) > limit)
