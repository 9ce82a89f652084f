"""What the server is put together from.

Owns: the composition's type, and the little that HTTP needs to know of keys. Must never know: how parts are built.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from msgspec import Struct
from prometheus_client import CollectorRegistry

from renga.answer import Parts
from renga.config import ServerSettings
from renga.files import FileShelf
from renga.meter.keys import KeyIdentity
from renga.route.outcome_book import OutcomeBook
from renga.route.tiers import CatalogEntry


class Keys(Protocol):
    """The keys that open the server; `meter/keys.py` holds them."""

    def identify(self, secret: str) -> KeyIdentity | None:
        """Whose secret this is, in constant time; None for nobody's."""
        ...


class ModelList(Protocol):
    """The models that clients may name; `route/tiers.py` has them."""

    def entries(self) -> tuple[CatalogEntry, ...]:
        """All of them, in the order of the list."""
        ...

    def find(self, name: str) -> CatalogEntry | None:
        """The model that a name or alias means."""
        ...


async def _nothing() -> None:
    """A server without hooks starts and stops at once."""


class HttpParts(Struct, frozen=True):
    """Everything behind the server. Put together in `app.build`."""

    answering: Parts
    keys: Keys
    catalog: ModelList
    settings: ServerSettings
    metrics: CollectorRegistry
    startup: Callable[[], Awaitable[None]] = _nothing
    """Awaited before the first request."""
    shutdown: Callable[[], Awaitable[None]] = _nothing
    """Awaited after the last."""
    files: FileShelf | None = None
    """Uploaded files; None where the server keeps none."""
    outcomes: OutcomeBook | None = None
    """Where feedback goes; None where the server takes none."""
