"""What list routes read of a query.

Owns: parameters that may be repeated, and how many items a page has. Must never know: what is listed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

from renga.errors import InvalidRequest

Query: TypeAlias = Mapping[str, Sequence[str]]
"""Values by name, as `HttpExchange.query` reads them."""

DEFAULT_LIMIT: Final = 20
MAX_LIMIT: Final = 1000
"""Source: docs/reference/messages-api.md, "Limits of size and number"; anthropic 2.11.0, `api_key_list_params`."""


def read_limit(query: Query, default: int = DEFAULT_LIMIT, most: int = MAX_LIMIT) -> int:
    """How many items are asked for.

    Raises: InvalidRequest if it is no number in range.
    """
    text = read_last(query, "limit")
    if text is None:
        return default
    limit = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
    if not 1 <= limit <= most:
        raise InvalidRequest(f"Must be an integer from 1 to {most}.", path="limit")
    return limit


def read_last(query: Query, name: str) -> str | None:
    """A parameter that stands alone; the last one counts."""
    values = query.get(name)
    return values[-1] if values else None


def read_all(query: Query, name: str) -> tuple[str, ...]:
    """A parameter that may be repeated, as `name` or `name[]`."""
    return tuple(dict.fromkeys([*query.get(f"{name}[]", ()), *query.get(name, ())]))
