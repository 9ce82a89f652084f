"""Labels reach the monitors out of the table, and a broken floor suspends its policy for good."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from renga.routing.monitoring.guarantee_monitor import Guarantee, GuaranteeMonitor
from renga.routing.outcomes.outcome_book import READ_ROWS, OutcomeBook
from renga.store.database import Database, open_database
from renga.store.database_handle import DatabaseHandle
from renga.testing.fake_clock import ToldClock
from renga.testing.suites.outcome_suite import make_outcome


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with open_database(f"sqlite:///{tmp_path / 'renga.db'}") as database:
        yield database


class Subject:
    """Something with a floor, and whether it may still keep anything."""

    def __init__(self, digest: str = "ab12", floor_points: float | None = 5.0) -> None:
        self.suspended: list[str] = []
        self.guarantee = Guarantee("shadow", "auto", digest, "haiku", "opus", floor_points, 0.9, self.suspended.append)


def start(subject: Subject) -> tuple[OutcomeBook, GuaranteeMonitor]:
    guard = GuaranteeMonitor(lambda: (subject.guarantee,))
    return OutcomeBook(ToldClock(), DatabaseHandle(), (guard,)), guard


def add(book: OutcomeBook, labels: str, first: int = 0) -> None:
    """k: kept and as good; x: kept and wrong; e: escalated; u: unjudged; f: failed."""
    names = {"k": "kept", "x": "kept", "e": "escalated", "u": "unjudged", "f": "failed"}
    for number, label in enumerate(labels, first):
        scores = {"haiku": float(label != "x"), "opus": 1.0} if label in "kxe" else {}
        book.add(replace(make_outcome(f"req_{number}", names[label]), scores=scores, small=None, top=None))


def test_labels_that_hold_the_floor_change_nothing(database: Database) -> None:
    subject = Subject()
    book, guard = start(subject)
    add(book, "kkke" * 20 + "uf")
    book.run(database)
    (reading,) = guard.readings()
    assert (reading.labels, reading.loss_points, reading.unjudged, reading.failed) == (80, 0.0, 1, 1)
    assert subject.suspended == [] and reading.broken_us is None
    assert guard.reading("shadow", "auto") == reading and guard.reading("canary", "auto") is None


def test_a_broken_floor_suspends_once_and_for_good(database: Database) -> None:
    subject = Subject()
    book, guard = start(subject)
    add(book, "kx" * 60)
    book.run(database)
    assert subject.suspended == ["floor_broken"]
    reading = guard.reading("shadow", "auto")
    assert reading is not None and reading.broken_us is not None and not reading.is_proven
    later = Subject()
    start(later)[0].run(database)
    assert later.suspended == ["floor_broken"], "a restart does not make it whole"
    renewed = Subject(digest="cd34")
    again, guard = start(renewed)
    again.run(database)
    assert renewed.suspended == [], "a new certificate does"
    assert guard.readings()[0].labels == 0, "and labels of the old one say nothing of it"


def test_escalated_requests_lose_nothing(database: Database) -> None:
    subject = Subject()
    book, guard = start(subject)
    add(book, "x" + "e" * 99)
    book.run(database)
    assert guard.readings()[0].loss_points == pytest.approx(1.0)
    assert subject.suspended == []


def test_nothing_promised_cannot_break(database: Database) -> None:
    subject = Subject(floor_points=None)
    book, guard = start(subject)
    add(book, "x" * 120)
    book.run(database)
    (reading,) = guard.readings()
    assert subject.suspended == [] and reading.low_points > 20.0 and not reading.is_proven


def test_a_floor_is_proven_by_enough_good_labels(database: Database) -> None:
    book, guard = start(Subject(floor_points=20.0))
    add(book, "k" * 250)
    book.run(database)
    assert guard.readings()[0].is_proven


def test_labels_of_another_process_and_of_earlier_starts_are_seen_each_once(database: Database) -> None:
    first, _ = start(Subject())
    add(first, "k" * (READ_ROWS + 5))
    first.run(database)
    second, guard = start(Subject())
    second.run(database)
    assert guard.readings()[0].labels == READ_ROWS
    add(first, "kk", first=1_000)
    first.run(database)
    second.run(database)
    second.run(database)
    assert guard.readings()[0].labels == READ_ROWS + 7
