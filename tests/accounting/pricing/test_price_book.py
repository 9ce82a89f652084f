"""Prices: known arithmetic, the published list, and genai-prices itself as the oracle."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from genai_prices import Usage as OracleUsage
from genai_prices import calc_price
from hypothesis import given, settings
from hypothesis import strategies as st

from renga.accounting.pricing import import_prices
from renga.accounting.pricing import price_book as prices_module
from renga.accounting.pricing.price_book import (
    ModelPrices,
    PriceBook,
    PriceFile,
    TokenCounts,
    count_by_class,
    find_price_list,
    price_of_settings,
    read_price_date,
)
from renga.config import PriceSettings, ProviderSettings
from renga.protocols.messages.events.event_types import CacheCreation, OutputTokensDetails, ServerToolUsage, Usage

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
NOW_US = int(NOW.timestamp()) * 1_000_000
UPSTREAMS = {
    "anthropic": ProviderSettings("anthropic", "https://api.anthropic.com"),
    "openai": ProviderSettings("openai_compatible", "https://api.openai.com"),
    "vllm": ProviderSettings("openai_compatible", "http://127.0.0.1:8000"),
}
OFFICIAL = (
    "claude-haiku-5-5", "claude-sonnet-5-5", "claude-opus-5-5", "claude-fable-5-1", "claude-fable-5-2",
    "claude-sonnet-5", "claude-opus-5", "claude-fable-5", "claude-opus-4-8", "claude-opus-4-7", "claude-opus-4-6",
    "claude-sonnet-4-6", "claude-haiku-4-5", "claude-haiku-4-5-20251001", "claude-opus-4-5", "claude-opus-4-5-20251101",
    "claude-sonnet-4-5", "claude-sonnet-4-5-20250929", "claude-mythos-5-2",
)  # fmt: skip


@pytest.fixture(scope="module")
def book() -> PriceBook:
    return PriceBook(UPSTREAMS, {})


def cost(book: PriceBook, target: str, tokens: TokenCounts, at_us: int = NOW_US) -> int | None:
    price = book.find(target, at_us)
    return None if price is None else price.cost_nano_usd(tokens)


@pytest.mark.parametrize(
    ("tokens", "nano_usd"),
    [
        (TokenCounts(input=10_000, output=2_500), 22_500_000),
        (TokenCounts(output=13_000, thinking=10_000), 65_000_000),
        (TokenCounts(input=10_000, output=2_500, batch=True), 11_250_000),
        (TokenCounts(cache_creation_5m=50_000), 62_500_000),
        (TokenCounts(cache_creation_1h=50_000), 100_000_000),
        (TokenCounts(cache_read=50_000), 5_000_000),
        (TokenCounts(), 0),
    ],
)
def test_published_arithmetic_at_1_and_5_dollars(book: PriceBook, tokens: TokenCounts, nano_usd: int) -> None:
    """Source: Messages API documentation, pricing examples, at $1 and $5 per million tokens."""
    own = PriceBook({}, {"vllm/x": PriceSettings(input_usd=1.0, output_usd=5.0)})
    assert cost(own, "vllm/x", tokens) == nano_usd
    assert cost(book, "anthropic/claude-haiku-4-5", tokens) == nano_usd


def test_the_published_list(book: PriceBook) -> None:
    """Source: docs/reference/messages-api.md, "Model ids and prices"."""
    million = TokenCounts(input=100_000, output=100_000)
    published = {"haiku-5-5": (0.10, 0.50), "sonnet-5-5": (2, 10), "opus-5-5": (4, 20), "fable-5-1": (10, 50)}
    for name, (input_usd, output_usd) in published.items():
        assert cost(book, f"anthropic/claude-{name}", million) == round((input_usd + output_usd) * 1e8), name
    for name in OFFICIAL:
        assert book.find(f"anthropic/{name}", NOW_US) is not None, name


def test_a_long_prompt_has_its_own_rate_for_all_its_tokens(book: PriceBook) -> None:
    target = "anthropic/claude-haiku-5-5"
    assert cost(book, target, TokenCounts(input=100_000)) == 10_000_000
    assert cost(book, target, TokenCounts(input=100_001)) == 50_000_500
    assert cost(book, target, TokenCounts(input=1, cache_read=100_000, output=10)) == 500 + 5_000_000 + 25_000


def test_prices_have_dates(book: PriceBook) -> None:
    def on(day: datetime) -> int | None:
        at_us = int(day.timestamp()) * 1_000_000
        return cost(book, "anthropic/claude-opus-4-6", TokenCounts(input=300_000), at_us)

    assert on(datetime(2026, 3, 12, 23, 59, 59, tzinfo=UTC)) == 3_000_000_000
    assert on(datetime(2026, 3, 13, tzinfo=UTC)) == 1_500_000_000


def test_what_is_not_known_is_none_and_what_is_free_is_zero(book: PriceBook) -> None:
    tokens = TokenCounts(input=1000, output=1000)
    assert cost(book, "anthropic/claude-mythos-5-1", tokens) is None
    assert cost(book, "vllm/qwen3-8b", tokens) is None
    assert cost(book, "nobody/x", tokens) is None
    assert cost(book, "local/hokku", tokens) == 0
    searched = msgspec.structs.replace(tokens, searches=1)
    own = PriceBook({}, {"vllm/*": PriceSettings(input_usd=1.0, output_usd=1.0)})
    assert cost(own, "vllm/anything", tokens) == 2_000_000
    assert cost(own, "vllm/anything", searched) is None
    with_search = cost(book, "anthropic/claude-haiku-4-5", searched)
    assert with_search == 6_000_000 + 10_000_000


def test_settings_win_and_the_nearest_wins() -> None:
    book = PriceBook(
        UPSTREAMS,
        {
            "anthropic/*": PriceSettings(input_usd=7.0, output_usd=0.0),
            "anthropic/claude-haiku-5-5": PriceSettings(input_usd=3.0, output_usd=0.0, cache_read_usd=0.5),
            "local/*": PriceSettings(input_usd=0.001, output_usd=0.002),
        },
    )
    assert cost(book, "anthropic/claude-opus-5-5", TokenCounts(input=1000)) == 7_000_000
    assert cost(book, "anthropic/claude-haiku-5-5", TokenCounts(input=1000, cache_read=1000)) == 3_500_000
    assert cost(book, "local/hokku", TokenCounts(input=1000)) == 1_000
    found = book.find("local/hokku", NOW_US)
    assert found is not None
    assert found.source == "renga.toml"


def test_half_a_nano_dollar_rounds_up() -> None:
    price = price_of_settings(PriceSettings(input_usd=0.0005, output_usd=0.0))
    assert [price.cost_nano_usd(TokenCounts(input=count)) for count in (1, 2, 3)] == [1, 1, 2]


def test_usage_by_class() -> None:
    assert count_by_class(Usage(input_tokens=3, output_tokens=4)) == TokenCounts(input=3, output=4)
    assert count_by_class(Usage(1, None, None)) == TokenCounts(input=1)
    assert count_by_class(Usage(1, 10, 20)) == TokenCounts(input=1, cache_creation_5m=10, cache_read=20)
    whole = Usage(
        1, 30, 20, CacheCreation(10, 20), 50, OutputTokensDetails(40), ServerToolUsage(2), service_tier="batch"
    )  # fmt: skip
    assert count_by_class(whole) == TokenCounts(1, 10, 20, 20, 50, 40, 2, batch=True)


def test_the_file_is_what_genai_prices_says_today() -> None:
    assert import_prices.main(["--check"]) == 0
    assert read_price_date().startswith("genai-prices ")


def test_addresses_tell_providers() -> None:
    assert find_price_list("https://api.anthropic.com") == "anthropic"
    assert find_price_list("https://api.openai.com") == "openai"
    assert find_price_list("http://127.0.0.1:8000") is None


@settings(max_examples=200, deadline=None)
@given(
    name=st.sampled_from([name for name in OFFICIAL if name != "claude-mythos-5-2"]),
    fresh=st.integers(0, 300_000),
    read=st.integers(0, 300_000),
    written=st.integers(0, 300_000),
    longer=st.integers(0, 300_000),
    output=st.integers(0, 128_000),
)
def test_costs_are_those_of_genai_prices(
    name: str, fresh: int, read: int, written: int, longer: int, output: int
) -> None:
    oracle = calc_price(
        OracleUsage(
            input_tokens=fresh + read + written + longer,
            cache_read_tokens=read,
            cache_write_tokens=written + longer,
            cache_write_1h_tokens=longer,
            output_tokens=output,
        ),
        name,
        provider_id="anthropic",
        genai_request_timestamp=NOW,
    )
    ours = cost(PriceBook(UPSTREAMS, {}), f"anthropic/{name}", TokenCounts(fresh, written, longer, read, output))
    assert ours is not None
    assert abs(ours - oracle.total_price * 1_000_000_000) <= 0.5


def test_every_list_keeps_its_promises() -> None:
    file = msgspec.json.decode(Path(prices_module.__file__).with_name("prices.json").read_bytes(), type=PriceFile)
    assert set(file.addresses) == set(file.providers)
    for data in file.providers.values():
        for model in msgspec.json.decode(data, type=tuple[ModelPrices, ...]):
            days = [period.starts_on for period in model.periods]
            assert days == sorted(days)
            assert days[:1] in ([], [""])
            for period in model.periods:
                thresholds = [rate.above_tokens for rate in period.rates]
                assert thresholds == sorted(set(thresholds))
                assert thresholds[0] == 0
