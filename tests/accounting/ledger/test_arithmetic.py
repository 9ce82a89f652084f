"""The published arithmetic, to the nano-dollar.

Source: pricing pages and guides of the Messages API: their examples in dollars.
"""

import pytest

from renga.accounting.pricing.price_book import count_by_class, price_of_settings
from renga.config import PriceSettings
from renga.protocols.messages.events.event_types import CacheCreation, OutputTokensDetails, Usage

HAIKU = price_of_settings(PriceSettings(input_usd=1.0, output_usd=5.0))
PROMPT, QUERY, REQUESTS = 50_000, 5_000, 100


def usd(usage: Usage, *, batch: bool = False) -> float:
    cost = HAIKU.cost_nano_usd(count_by_class(usage, batch=batch))
    assert cost is not None
    return cost / 1e9


@pytest.mark.parametrize(
    ("usage", "dollars"),
    [
        (Usage(10_000, output_tokens=2_500), 0.0225),
        (Usage(0, output_tokens=13_000, output_tokens_details=OutputTokensDetails(10_000)), 0.065),
        (Usage(0, cache_creation_input_tokens=PROMPT), 0.0625),
        (Usage(0, cache_creation_input_tokens=PROMPT, cache_creation=CacheCreation(0, PROMPT)), 0.1),
        (Usage(0, cache_read_input_tokens=PROMPT), 0.005),
        (Usage(PROMPT + QUERY), 0.055),
    ],
)
def test_one_request(usage: Usage, dollars: float) -> None:
    assert usd(usage) == dollars
    assert usd(usage, batch=True) == dollars / 2


def test_a_hundred_requests_over_one_cached_prompt() -> None:
    write = usd(Usage(QUERY, cache_creation_input_tokens=PROMPT))
    read = usd(Usage(QUERY, cache_read_input_tokens=PROMPT))
    assert write == 0.0675
    assert read == 0.01
    assert write + (REQUESTS - 1) * read == pytest.approx(1.0575, abs=1e-12)
    assert REQUESTS * usd(Usage(PROMPT + QUERY)) == pytest.approx(5.5, abs=1e-12)


def test_half_of_an_odd_price_is_rounded_once() -> None:
    price = price_of_settings(PriceSettings(input_usd=0.000001, output_usd=5.0))
    assert [price.cost_nano_usd(count_by_class(Usage(n * 500), batch=True)) for n in (1, 2, 3)] == [0, 1, 1]
