"""Watching floors in service: labels in, and a policy that breaks its floor keeps nothing more.

Owns: one monitor for each floor that somebody guarantees, which labels count for it, what is done when it breaks.
Must never know: SQL, where labels come from, how a policy keeps or escalates.
Invariants: labels are taken on one thread, and readings may be asked for from any; a floor once broken stays so until
its guarantee is another one: a new certificate, other settings of a canary.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct, field

from renga.domain.outcomes import OutcomeRecord, Source

if TYPE_CHECKING:
    from renga.routing.monitoring.floor_monitor import FloorMonitor
    from renga.store.database import Database

_log = logging.getLogger("renga.routing")

_NO_FLOOR_POINTS = 50.0
"""Where nothing is guaranteed, only the interval is asked for, which does not hang on the floor."""


class MonitoredFloor(Struct, frozen=True):
    """A quality floor with its source, its two targets and its confidence level."""

    source: Source
    subject: str
    """The policy, or a canary's target."""
    digest: str = field(name="seal")
    """Which guarantee of this subject: labels of another do not count. "" for a policy without a certificate."""
    small: str
    """Whose answers may be worse, as the scores name it."""
    top: str
    floor_points: float | None
    """None: nothing is guaranteed, and nothing can break."""
    confidence: float


class Guarantee(MonitoredFloor, frozen=True):
    """A quality floor that is to be monitored, and what to call when it is broken."""

    suspend: Callable[[str], None]
    """Called once when it is broken, with the reason in one word; on the thread that takes labels."""

    @property
    def name(self) -> str:
        return f"{self.source}:{self.subject}:{self.digest}"


class FloorReading(MonitoredFloor, frozen=True):
    """The current state of a monitored floor, with its confidence interval."""

    labels: int
    loss_points: float
    """The mean of what was lost against the top, escalated requests as 0."""
    low_points: float
    high_points: float
    """Bounds of the mean that hold at all times at once, with the guarantee's confidence."""
    unjudged: int
    """Drawn and answered twice, but nothing here could compare the answers."""
    failed: int
    """Drawn, and the second answer did not come."""
    broken_us: int | None
    """Since when the floor counts as broken; None: it does not."""

    @property
    def is_proven(self) -> bool:
        """Whether the labels alone show that the floor holds."""
        return self.floor_points is not None and self.broken_us is None and self.high_points < self.floor_points


class _GuaranteeWatch:
    """One policy's guarantee, and the monitor that watches it."""

    def __init__(self, guarantee: Guarantee) -> None:
        from renga.routing.monitoring.floor_monitor import FloorMonitor

        floor = _NO_FLOOR_POINTS if guarantee.floor_points is None else guarantee.floor_points
        self.guarantee = guarantee
        self.monitor: FloorMonitor = FloorMonitor(floor, 1.0 - guarantee.confidence)
        self.unjudged = 0
        self.failed = 0
        self.broken_us: int | None = None

    def reading(self) -> FloorReading:
        guarantee, state = self.guarantee, self.monitor.reading()
        return FloorReading(
            guarantee.source,
            guarantee.subject,
            guarantee.digest,
            guarantee.small,
            guarantee.top,
            guarantee.floor_points,
            guarantee.confidence,
            state.labels,
            state.loss_points,
            state.low_points,
            state.high_points,
            self.unjudged,
            self.failed,
            self.broken_us,
        )


class GuaranteeMonitor:
    """Monitors every quality floor that a policy or canary guarantees."""

    def __init__(self, read_guarantees: Callable[[], Sequence[Guarantee]]) -> None:
        """`read_guarantees` is asked once, by `restore`: it may need numpy, for which a start should not wait."""
        self._read_guarantees = read_guarantees
        self._watches: dict[tuple[str, str, str], _GuaranteeWatch] = {}
        self._readings: dict[tuple[str, str, str], FloorReading] = {}

    def restore(self, database: Database) -> None:
        """Begin to watch. What was broken before stays so. The labels come again, from the oldest, by `observe`."""
        broken_us = database.outcomes.read_broken()
        for guarantee in self._read_guarantees():
            key = (guarantee.source, guarantee.subject, guarantee.digest)
            watch = self._watches[key] = _GuaranteeWatch(guarantee)
            watch.broken_us = broken_us.get(guarantee.name)
            if watch.broken_us is not None:
                guarantee.suspend("floor_broken")
                _log.error("%s stays suspended: its floor was found broken before", guarantee.name)
            self._readings[key] = watch.reading()

    def observe(self, record: OutcomeRecord, database: Database) -> None:
        """Take a label, and act if it shows that its floor is broken.

        Raises: DatabaseAway if that could not be written down; it is in force all the same.
        Cost:   0.5 ms.
        """
        key = (record.source, record.policy, record.certificate or "")
        watch = self._watches.get(key)
        if watch is None:
            return
        loss = read_loss(record, watch.guarantee.top)
        if loss is None:
            watch.failed += record.label == "failed"
            watch.unjudged += record.label != "failed"
        broken = loss is not None and watch.monitor.observe(loss)
        newly = broken and watch.guarantee.floor_points is not None and watch.broken_us is None
        if newly:
            watch.broken_us = record.time_us
            watch.guarantee.suspend("floor_broken")
        reading = self._readings[key] = watch.reading()
        if newly:
            _log.error(
                "the floor of %s is broken: %.1f points are lost after %d labels, %g were promised; it keeps nothing "
                "until there is a new promise",
                record.policy,
                reading.loss_points,
                reading.labels,
                watch.guarantee.floor_points,
            )
            database.outcomes.write_broken(watch.guarantee.name, record.time_us)

    def readings(self) -> tuple[FloorReading, ...]:
        """Where every floor stands. From any thread."""
        return tuple(self._readings.copy().values())

    def reading(self, source: Source, subject: str) -> FloorReading | None:
        """Where one stands; None where nobody watches it."""
        return next((each for each in self.readings() if (each.source, each.subject) == (source, subject)), None)


def read_loss(record: OutcomeRecord, top: str) -> float | None:
    """What the policy lost on a drawn request: nothing where it handed it on; None where nobody could tell.

    What cannot be compared counts for neither side, though it was handed on: among requests that can be, the mean must
    not be thinned by others.
    """
    if top not in record.scores or len(record.scores) < 2:
        return None
    if record.label == "escalated":
        return 0.0
    lower = min(score for name, score in record.scores.items() if name != top)
    return record.scores[top] - lower if record.label == "kept" else None
