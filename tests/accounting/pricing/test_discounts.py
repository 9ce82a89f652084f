"""Discounts by rule: exact, dated, from a month's spending on, and visible in the ledger."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.accounting.conftest import PRICED, make_outcome

from renga.accounting.ledger.request_ledger import Ledger
from renga.accounting.pricing.discounts import DiscountBook
from renga.accounting.pricing.price_book import Price, PriceBook, Rate, TokenCounts
from renga.config import DiscountSettings, PriceSettings
from renga.domain.ledger import LedgerRow
from renga.metrics.request_metrics import RequestMetrics
from renga.protocols.messages.events.event_types import Usage
from renga.protocols.messages.inference_request import Caller
from renga.protocols.messages.request import ServiceTier
from renga.store.database import Database, open_database
from renga.testing.fake_clock import ToldClock
from renga.testing.metering import make_request

USD = 1_000_000_000
REQUEST = Usage(10_000, output_tokens=2_500)
"""$0.0225 at $1 and $5."""


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Database]:
    with open_database(f"sqlite:///{tmp_path / 'renga.db'}") as database:
        yield database


class Shop:
    """A ledger with rules over a database."""

    def __init__(self, clock: ToldClock, database: Database, **rules: DiscountSettings) -> None:
        self.clock, self.database = clock, database
        self.rules = DiscountBook(rules, clock)
        prices = PriceBook({}, {PRICED: PriceSettings(input_usd=1.0, output_usd=5.0)}, self.rules)
        self.ledger = Ledger(prices, RequestMetrics(), clock, queue_rows=1000, spool=None)
        self.rules.opened(database)
        self.asked = 0

    def ask(
        self,
        workspace_id: str | None = None,
        times: int = 1,
        key_id: str = "key_a",
        service_tier: ServiceTier = "standard",
    ) -> int:
        """What the last of so many requests cost."""
        cost = None
        for _ in range(times):
            self.asked += 1
            caller = Caller(key_id, workspace_id)
            name = f"req_{id(self)}_{self.asked}"
            lease = self.ledger.reserve(make_request(name, caller, stream=True, service_tier=service_tier))
            cost = self.ledger.settle(lease, make_outcome(REQUEST))
        assert cost is not None
        return cost

    def turn(self) -> LedgerRow:
        """What the store thread does; the last row."""
        self.ledger.run(self.database)
        self.rules.run(self.database)
        return self.database.ledger.read_rows(limit=10_000)[-1]


def test_a_rule_takes_its_percent_off_and_is_named(clock: ToldClock, fresh: Database) -> None:
    shop = Shop(clock, fresh, partner=DiscountSettings(target="vllm/*", percent=10))
    assert shop.ask() == 20_250_000
    row = shop.turn()
    assert (row.cost_nano_usd, row.price_source) == (20_250_000, "renga.toml, partner -10%")
    assert row.attempts[0].cost_nano_usd == 20_250_000


def test_batches_pay_half_of_what_is_left(clock: ToldClock, fresh: Database) -> None:
    shop = Shop(clock, fresh, partner=DiscountSettings(target="vllm/*", percent=10))
    assert shop.ask(service_tier="batch") == 10_125_000


def test_the_largest_rule_counts_and_never_two(clock: ToldClock, fresh: Database) -> None:
    shop = Shop(
        clock, fresh,
        all=DiscountSettings(target="*", percent=5),
        team=DiscountSettings(target=PRICED, percent=50, workspace="wrkspc_1"),
        elsewhere=DiscountSettings(target="other/*", percent=90),
    )  # fmt: skip
    assert shop.ask() == 21_375_000
    assert shop.ask("wrkspc_1") == 11_250_000
    assert shop.ask("wrkspc_2") == 21_375_000


def test_a_rule_has_its_days(clock: ToldClock, fresh: Database) -> None:
    rule = DiscountSettings(target="*", percent=20, starts_on=date(2026, 11, 22), ends_on=date(2026, 11, 23))
    shop = Shop(clock, fresh, sale=rule)
    for day, hour, cost in ((21, 23, 22_500_000), (22, 0, 18_000_000), (22, 23, 18_000_000), (23, 0, 22_500_000)):
        clock.advance_to(datetime(2026, 11, day, hour, tzinfo=UTC))
        assert shop.ask() == cost


def test_from_a_months_spending_on(clock: ToldClock, fresh: Database) -> None:
    """Ten requests make $0.225; those after them are cheaper, until the month ends."""
    shop = Shop(clock, fresh, volume=DiscountSettings(target="vllm/*", percent=10, from_usd_per_month=0.225))
    assert shop.ask(times=10) == 22_500_000
    assert shop.ask() == 20_250_000
    shop.turn()
    clock.advance(120)
    shop.turn()
    assert shop.ask() == 20_250_000
    clock.advance_to(datetime(2026, 12, 1, tzinfo=UTC))
    assert shop.ask() == 22_500_000
    shop.turn()
    clock.advance(120)
    shop.turn()
    assert shop.ask(times=9) == 22_500_000
    assert shop.ask() == 20_250_000


def test_spending_of_other_processes_and_before_a_restart_counts(clock: ToldClock, fresh: Database) -> None:
    rule = DiscountSettings(target="vllm/*", percent=10, from_usd_per_month=0.225)
    first, second = Shop(clock, fresh, volume=rule), Shop(clock, fresh, volume=rule)
    first.ask(times=10)
    first.turn()
    assert second.ask() == 22_500_000
    clock.advance(61)
    second.turn()
    assert second.ask() == 20_250_000
    assert Shop(clock, fresh, volume=rule).ask() == 20_250_000


def test_a_workspaces_spending_is_its_own(clock: ToldClock, fresh: Database) -> None:
    rule = DiscountSettings(target="vllm/*", percent=10, from_usd_per_month=0.225, workspace="wrkspc_1")
    shop = Shop(clock, fresh, volume=rule)
    shop.ask("wrkspc_2", times=20)
    assert shop.ask("wrkspc_1", times=10) == 22_500_000
    assert shop.ask("wrkspc_1") == 20_250_000
    assert shop.ask("wrkspc_2") == 22_500_000


@given(
    tokens=st.builds(
        TokenCounts,
        input=st.integers(0, 10**7), cache_read=st.integers(0, 10**7), output=st.integers(0, 10**6),
        searches=st.integers(0, 9), batch=st.booleans(),
    ),
    rate=st.builds(
        Rate, st.just(0), *[st.integers(0, 10**11)] * 5
    ),
    off_ppm=st.integers(0, 1_000_000),
)  # fmt: skip
def test_the_arithmetic_is_exact_and_rounds_once(tokens: TokenCounts, rate: Rate, off_ppm: int) -> None:
    price = Price((rate,), "test", search_nano_usd=10_000_000, off_ppm=off_ppm)
    classes = tokens.input * rate.input + tokens.cache_read * rate.cache_read + tokens.output * rate.output
    exact = Fraction(classes, 2_000_000 if tokens.batch else 1_000_000) + tokens.searches * 10_000_000
    exact *= Fraction(1_000_000 - off_ppm, 1_000_000)
    assert price.cost_nano_usd(tokens) == int(exact + Fraction(1, 2))


def test_a_price_of_ones_own_may_begin_on_a_day() -> None:
    book = PriceBook({}, {"vllm/x": PriceSettings(input_usd=1.0, output_usd=5.0, starts_on=date(2026, 12, 1))})
    december_us = int(datetime(2026, 12, 1, tzinfo=UTC).timestamp()) * 1_000_000
    assert book.find("vllm/x", december_us - 1) is None
    price = book.find("vllm/x", december_us)
    assert price is not None
    assert price.cost_nano_usd(TokenCounts(input=1_000_000)) == USD
