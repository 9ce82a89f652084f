"""What the tests of metering share: a clock that stands still until it is told, and requests to settle."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from renga.accounting.ledger.lease import AttemptRecord, RequestOutcome
from renga.accounting.ledger.request_ledger import Ledger
from renga.accounting.ledger.spool import Spool
from renga.accounting.pricing.price_book import PriceBook
from renga.config import PriceSettings
from renga.domain.ledger import LedgerRow
from renga.domain.reasons import Reason
from renga.metrics.request_metrics import RequestMetrics
from renga.protocols.messages.events.event_types import Usage
from renga.protocols.messages.inference_request import Caller, InferenceRequest
from renga.store.database import Database, open_database
from renga.store.errors import DatabaseAway, DatabaseFailed
from renga.testing.fake_clock import ToldClock
from renga.testing.metering import make_request

PRICED = "vllm/priced"
"""A target at $1 and $5 per million tokens."""


class DatabaseDouble:
    """Stands for the database and its `ledger`: takes rows, is away when told, refuses those of the model `refused`."""

    def __init__(self) -> None:
        self.rows: list[LedgerRow] = []
        self.away = False
        self.ledger = self

    def write_rows(self, rows: Sequence[LedgerRow]) -> None:
        if self.away:
            raise DatabaseAway("away")
        if any(row.requested_model == "refused" for row in rows):
            raise DatabaseFailed("refused")
        known = {row.request_id for row in self.rows}
        self.rows.extend(row for row in rows if row.request_id not in known)


@pytest.fixture
def clock() -> ToldClock:
    return ToldClock()


@pytest.fixture
def metrics() -> RequestMetrics:
    return RequestMetrics()


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "data" / "ledger.spool")


@pytest.fixture
def ledger(clock: ToldClock, metrics: RequestMetrics, spool: Spool) -> Ledger:
    prices = PriceBook({}, {PRICED: PriceSettings(input_usd=1.0, output_usd=5.0)})
    return Ledger(prices, metrics, clock, queue_rows=100, spool=spool)


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    with open_database(f"sqlite:///{tmp_path_factory.mktemp('meter') / 'renga.db'}") as database:
        yield database


def make_request_of(request_id: str, key_id: str = "key_a", model: str = "haiku") -> InferenceRequest:
    return make_request(request_id, Caller(key_id), model=model, stream=True)


def make_outcome(usage: Usage | None, target: str | None = PRICED, status: str = "succeeded") -> RequestOutcome:
    return RequestOutcome(
        status=status,
        target=target,
        tier="haiku",
        reasons=(Reason("tier", "haiku"),),
        attempts=(AttemptRecord(target, None, 1500),) if target else (),
        usage=usage,
        stop_reason="end_turn",
        error_type=None,
        overhead_us=120,
        first_event_us=2000,
        total_us=9000,
        mean_logprob=-0.25,
    )
