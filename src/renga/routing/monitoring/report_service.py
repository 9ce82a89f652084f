"""Where reports on routing are made.

Owns: what a report reads, and which policies it shows.
Must never know: HTTP, how a report is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from renga.clock import Clock
from renga.domain.outcomes import OutcomeQuery, RoutedRow
from renga.routing.monitoring.guarantee_monitor import FloorReading
from renga.routing.monitoring.routing_report import (
    ROWS_MAX,
    PolicySummary,
    ReportMaterial,
    RoutingReport,
    compose_report,
)
from renga.routing.targets.target_health import TargetState

if TYPE_CHECKING:
    from renga.store.database import Database

DAYS_MAX = 90
_DAY_US = 86_400_000_000


class RoutingReportService:
    """Answers the operators' questions about routing from outcomes and the ledger."""

    def __init__(
        self,
        clock: Clock,
        summarize: Callable[[], Sequence[PolicySummary]],
        readings: Callable[[], Sequence[FloorReading]],
        price: Callable[[str, RoutedRow], int | None],
    ) -> None:
        """`price` says what a request's tokens cost at another target."""
        self._clock = clock
        self._summarize = summarize
        self._readings = readings
        self._price = price

    def report(self, database: Database, days: float, targets: Sequence[TargetState]) -> RoutingReport:
        """The report of the last days. Blocks on the database; not for the event loop's thread.

        Raises: DatabaseAway.
        """
        until_us = int(self._clock.now().timestamp() * 1_000_000)
        since_us = until_us - round(days * _DAY_US)
        return compose_report(
            ReportMaterial(
                since_us=since_us,
                until_us=until_us,
                rows=database.outcomes.read_routed(since_us, ROWS_MAX),
                outcomes=database.outcomes.read(
                    OutcomeQuery(("shadow", "feedback"), since_us=since_us, newest=ROWS_MAX)
                ),
                policies=self._summarize(),
                readings=self._readings(),
                targets=targets,
                price=self._price,
            )
        )
