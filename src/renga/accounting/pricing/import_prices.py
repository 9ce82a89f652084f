"""Makes `prices.json` of the installed genai-prices: `python -m renga.accounting.pricing.import_prices [--check]`.

genai-prices holds far more than the ledger needs, and importing it costs a server 180 ms and 26 MB (it brings pydantic
and an HTTP client), so a server reads this extract instead. A tool of the repository: the server never imports it.
"""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
from genai_prices import types
from genai_prices.data import providers

from renga.accounting.pricing.price_book import (
    CACHE_READ_PERCENT,
    CACHE_WRITE_1H_PERCENT,
    CACHE_WRITE_5M_PERCENT,
    ModelPrices,
    PriceClause,
    PriceFile,
    PricePeriod,
    Rate,
)

_FILE = Path(__file__).with_name("prices.json")


def convert_providers() -> PriceFile:
    """Everything with a price per token. What has none, or one by time of day, is left without a price."""
    addresses: dict[str, str] = {}
    lists: dict[str, msgspec.Raw] = {}
    for provider in providers:
        models = tuple(_convert_model(model, anthropic=provider.id == "anthropic") for model in provider.models)
        if any(model.periods for model in models):
            addresses[provider.id] = provider.api_pattern
            lists[provider.id] = msgspec.Raw(msgspec.json.encode(models))
    today = datetime.now(UTC).date().isoformat()
    return PriceFile(f"genai-prices {version('genai-prices')}", today, addresses, lists)


def _convert_model(model: types.ModelInfo, *, anthropic: bool) -> ModelPrices:
    prices = model.prices if isinstance(model.prices, list) else [types.ConditionalPrice(prices=model.prices)]
    periods: list[PricePeriod] = []
    for price in prices:
        constraint = price.constraint
        if isinstance(constraint, types.TimeOfDateConstraint):
            return ModelPrices(_convert_clause(model.match), ())
        starts_on = constraint.start_date.isoformat() if constraint is not None else ""
        period = _convert_period(price.prices, starts_on, anthropic=anthropic)
        if period is not None:
            periods.append(period)
    return ModelPrices(_convert_clause(model.match), tuple(periods))


def _convert_period(prices: types.ModelPrice, starts_on: str, *, anthropic: bool) -> PricePeriod | None:
    values: dict[str, Decimal | types.TieredPrices] = {
        key: value for key, value in prices.__dict__.items() if value is not None
    }
    if "input_mtok" not in values or "output_mtok" not in values:
        return None
    starts = {tier.start for value in values.values() if isinstance(value, types.TieredPrices) for tier in value.tiers}
    search = values.get("web_searches_kcount")
    rates = tuple(_convert_rate(values, start, anthropic=anthropic) for start in sorted({0, *starts}))
    return PricePeriod(starts_on, rates, int(search * 1_000_000) if isinstance(search, Decimal) else None)


def _convert_rate(values: dict[str, Any], start: int, *, anthropic: bool) -> Rate:
    """Prices for prompts above `start` tokens."""
    numbers = {key: _price_above(value, start) for key, value in values.items() if key.endswith("_mtok")}
    price = numbers["input_mtok"]

    def choose(key: str, percent: int) -> int:
        # Elsewhere what a list does not name is billed as input, which is also how genai-prices counts it.
        return numbers.get(key, price * percent // 100 if anthropic else price)

    return Rate(
        above_tokens=start,
        input=price,
        output=numbers["output_mtok"],
        cache_read=choose("cache_read_mtok", CACHE_READ_PERCENT),
        cache_creation_5m=choose("cache_write_mtok", CACHE_WRITE_5M_PERCENT),
        cache_creation_1h=choose("cache_write_1h_mtok", CACHE_WRITE_1H_PERCENT),
    )


def _price_above(value: Decimal | types.TieredPrices, start: int) -> int:
    """The price above a number of tokens, in nano-dollars per million."""
    price = value
    if isinstance(value, types.TieredPrices):
        price = value.base
        for tier in sorted(value.tiers, key=lambda tier: tier.start):
            if tier.start <= start:
                price = tier.price
    # Some of its numbers carry the noise of a division by floats (0.18000000000000002); rounding removes it.
    return round(Decimal(str(price)) * 1_000_000_000)


def _convert_clause(match: Any) -> PriceClause:
    """genai-prices compares in lower case; regular expressions it applies to the lower-case name as they are."""
    if isinstance(match, types.ClauseEquals):
        return PriceClause("equals", match.equals.lower())
    if isinstance(match, types.ClauseStartsWith):
        return PriceClause("starts", match.starts_with.lower())
    if isinstance(match, types.ClauseEndsWith):
        return PriceClause("ends", match.ends_with.lower())
    if isinstance(match, types.ClauseContains):
        return PriceClause("contains", match.contains.lower())
    if isinstance(match, types.ClauseRegex):
        return PriceClause("regex", re.compile(match.regex).pattern)
    if isinstance(match, types.ClauseOr):
        return PriceClause("or", "", tuple(_convert_clause(part) for part in match.or_))
    if isinstance(match, types.ClauseAnd):
        return PriceClause("and", "", tuple(_convert_clause(part) for part in match.and_))
    raise TypeError(f"unknown clause {type(match).__name__}")


def main(arguments: list[str]) -> int:
    """Write the price extract anew, or with --check say whether it is up to date."""
    new = convert_providers()
    if "--check" in arguments:
        old = msgspec.json.decode(_FILE.read_bytes(), type=PriceFile)
        fresh = (old.source, old.addresses, _plain(old)) == (new.source, new.addresses, _plain(new))
        print("prices.json is up to date" if fresh else "prices.json is stale: run scripts/prices")
        return 0 if fresh else 1
    _FILE.write_bytes(msgspec.json.encode(new) + b"\n")
    print(f"prices.json: {new.source}, {len(new.providers)} providers, {_FILE.stat().st_size} bytes")
    return 0


def _plain(file: PriceFile) -> dict[str, bytes]:
    return {name: bytes(raw) for name, raw in file.providers.items()}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
