"""What the server is put together from.

Owns: the composition's type, and the little that HTTP needs to know of keys. Must never know: how parts are built.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct
from prometheus_client import CollectorRegistry

from renga.accounting.keys.key_ring import KeyIdentity
from renga.config import ServerSettings
from renga.domain.batches import BatchTerms, PageQuery
from renga.domain.owners import Owner
from renga.files import FileService
from renga.inference import Services
from renga.protocols.resources.batches import DeletedMessageBatch, MessageBatch, MessageBatchPage
from renga.routing.catalog.catalog import CatalogEntry
from renga.routing.monitoring.report_service import RoutingReportService
from renga.routing.outcomes.outcome_book import OutcomeBook
from renga.routing.targets.target_health import TargetHealth
from renga.store.records import Records

if TYPE_CHECKING:
    from renga.accounting.limits.shared_limits import SharedLimits


class KeyDirectory(Protocol):
    """The keys that open the server; `accounting/keys/key_ring.py` holds them."""

    def identify(self, secret: str) -> KeyIdentity | None:
        """Whose secret this is, in constant time; None for nobody's."""
        ...

    async def seek(self, secret: str) -> KeyIdentity | None:
        """The same, for a secret that may be newer than the last look at where keys are stored."""
        ...


class ModelCatalog(Protocol):
    """The models that clients may name; `routing/catalog/catalog.py` has them."""

    def entries(self) -> tuple[CatalogEntry, ...]:
        """All of them, in the order of the list."""
        ...

    def find(self, name: str) -> CatalogEntry | None:
        """The model that a name or alias means."""
        ...


class BatchDesk(Protocol):
    """Message batches as clients ask for them; `services/batches/batch_service.py` has them."""

    async def start(self) -> None:
        """Begin to run what is open. Returns at once."""
        ...

    async def stop(self) -> None:
        """Stop running; nothing is lost."""
        ...

    @property
    def max_body_bytes(self) -> int:
        """How long the body of a new batch may be."""
        ...

    async def create(self, owner: Owner, terms: BatchTerms, body: AsyncIterator[bytes]) -> MessageBatch:
        """Take a batch in while its body comes."""
        ...

    async def find(self, owner: Owner, batch_id: str) -> MessageBatch:
        """One batch, with a path as its `results_url`."""
        ...

    async def list_page(self, owner: Owner, query: PageQuery) -> MessageBatchPage:
        """Some of the owner's batches, newest first."""
        ...

    async def cancel(self, owner: Owner, batch_id: str) -> MessageBatch:
        """Ask for the end of a batch."""
        ...

    async def delete(self, owner: Owner, batch_id: str) -> DeletedMessageBatch:
        """Delete a batch that has ended."""
        ...

    async def open_results(self, owner: Owner, batch_id: str) -> AsyncIterator[bytes]:
        """The results as JSON lines, some at a time."""
        ...


async def _nothing() -> None:
    """A server without hooks starts and stops at once."""


class HttpServices(Struct, frozen=True):
    """Everything behind the server. Put together in `app.build`."""

    answering: Services
    keys: KeyDirectory
    catalog: ModelCatalog
    settings: ServerSettings
    metrics: CollectorRegistry
    startup: Callable[[], Awaitable[None]] = _nothing
    """Awaited before the first request."""
    shutdown: Callable[[], Awaitable[None]] = _nothing
    """Awaited after the last."""
    batches: BatchDesk | None = None
    """Message batches; None where the server takes none."""
    files: FileService | None = None
    """Uploaded files; None where the server keeps none."""
    health: TargetHealth | None = None
    """How targets fare; None where nobody looks."""
    routing: RoutingReportService | None = None
    """Where reports on routing are made; None where there are none."""
    outcomes: OutcomeBook | None = None
    """Where feedback goes; None where the server takes none."""
    records: Records | None = None
    """The database, for the administrators' port; None where there is none."""
    organization: str = "Renga"
    """The installation's name."""
    limits: SharedLimits | None = None
    """Limits that servers share; None where each counts for itself."""
