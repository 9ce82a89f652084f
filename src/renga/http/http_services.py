"""What the server is put together from.

Owns: the type of the composition. Must never know: how its parts are built.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from msgspec import Struct
from prometheus_client import CollectorRegistry

from renga.accounting.keys.key_ring import KeyRing
from renga.config import ServerSettings
from renga.files import FileService
from renga.inference import Services
from renga.routing.catalog.catalog import Catalog
from renga.routing.monitoring.report_service import RoutingReportService
from renga.routing.outcomes.outcome_book import OutcomeBook
from renga.routing.targets.target_health import TargetHealth
from renga.services.batches import BatchService
from renga.store.database_handle import DatabaseHandle

if TYPE_CHECKING:
    from renga.accounting.limits.shared.shared_limits import SharedLimits


async def _nothing() -> None:
    """The hook of a server that has nothing to start or stop."""


class HttpServices(Struct, frozen=True):
    """Everything behind the server. Put together in `app.build`."""

    answering: Services
    keys: KeyRing
    catalog: Catalog
    settings: ServerSettings
    metrics: CollectorRegistry
    startup: Callable[[], Awaitable[None]] = _nothing
    """Awaited before the first request."""
    shutdown: Callable[[], Awaitable[None]] = _nothing
    """Awaited after the last."""
    batches: BatchService | None = None
    """Message batches; None where the server takes none."""
    files: FileService | None = None
    """Uploaded files; None where the server keeps none."""
    health: TargetHealth | None = None
    """How targets fare; None where nobody looks."""
    routing: RoutingReportService | None = None
    """Where reports on routing are made; None where there are none."""
    outcomes: OutcomeBook | None = None
    """Where feedback goes; None where the server takes none."""
    database: DatabaseHandle | None = None
    """The database, for reports and the administrators' port; None where there is none."""
    organization: str = "Renga"
    """The installation's name."""
    limits: SharedLimits | None = None
    """Limits that servers share; None where each counts for itself."""
