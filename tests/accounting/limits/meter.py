"""A ledger with limits of its own, for the tests of quotas and budgets."""

from __future__ import annotations

from tests.accounting.conftest import PRICED, make_outcome

from renga.accounting.ledger.lease import Lease
from renga.accounting.ledger.request_ledger import Ledger
from renga.accounting.ledger.spool import Spool
from renga.accounting.limits.quotas import Quotas
from renga.accounting.limits.token_buckets import LimitState
from renga.accounting.pricing.price_book import PriceBook
from renga.config import LimitSettings, PriceSettings
from renga.metrics.request_metrics import RequestMetrics
from renga.protocols.messages.events.event_types import Usage
from renga.protocols.messages.inference_request import Caller
from renga.testing.fake_clock import ToldClock
from renga.testing.metering import make_request

USD = 1_000_000_000
DEAR = Usage(100_000, output_tokens=180_000)
"""One dollar at $1 and $5 per million."""
LIMITED = {"requests_per_minute": 10, "input_tokens_per_minute": 1000, "output_tokens_per_minute": 500}


class Meter:
    """A ledger with limits. Rows stay in its queue until a test brings a database."""

    def __init__(self, clock: ToldClock, spool: Spool | None = None, **limits: float) -> None:
        self.clock = clock
        self.metrics = RequestMetrics()
        self.prices = PriceBook({}, {PRICED: PriceSettings(input_usd=1.0, output_usd=5.0)})
        self.quotas = Quotas(LimitSettings(**limits), self.prices, self.metrics, clock)
        self.ledger = Ledger(self.prices, self.metrics, clock, queue_rows=100_000, spool=spool, quotas=self.quotas)
        self.number = 0

    def reserve(self, max_tokens: int = 100, input_bytes: int = 396, key: str = "key_a", target: str = PRICED) -> Lease:
        self.number += 1
        name = f"req_{id(self)}_{self.number}"
        request = make_request(name, Caller(key), max_tokens=max_tokens, input_bytes=input_bytes)
        lease = self.ledger.reserve(request)
        try:
            self.ledger.hold_price(lease, [target])
        except BaseException:
            self.settle(lease, None, status="failed")
            raise
        return lease

    def settle(self, lease: Lease, usage: Usage | None = None, status: str = "succeeded") -> int | None:
        return self.ledger.settle(lease, make_outcome(usage, status=status))

    def ask(self, usage: Usage, **terms: int | str) -> None:
        self.settle(self.reserve(**terms), usage)  # type: ignore[arg-type]

    def count(self, name: str, **labels: str) -> float:
        for family in self.metrics.collect():
            for sample in family.samples:
                if sample.name == name and sample.labels == labels:
                    return sample.value
        return 0


def state(lease: Lease) -> LimitState:
    assert lease.hold is not None
    return lease.hold.read()
