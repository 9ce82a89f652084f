"""What tokens cost, in integers.

Owns: the price of every target: renga.toml first, then `prices.json` (made from genai-prices by `import_prices.py`), by
the provider's address, date, model name and prompt length.
Must never know: requests, keys, the database.
Invariants: an unknown price is None, never 0; the file is read when a target of a provider is first asked for, and only
that provider's part is decoded; all arithmetic is in integers and rounds once, half up.

Units: prices are nano-dollars per million tokens, costs are nano-dollars. $0.0625 per million tokens is 62,500,000.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path
from typing import Literal, Protocol

import msgspec
from msgspec import UNSET, Struct
from msgspec.structs import replace

from renga.config import PriceSettings, ProviderSettings
from renga.domain.ledger import LedgerRow
from renga.protocols.messages.events.event_types import CacheCreation, Usage

_FILE = Path(__file__).with_name("prices.json")
_NANO_USD = 1_000_000_000
_MILLION = 1_000_000

CACHE_READ_PERCENT = 10
CACHE_WRITE_5M_PERCENT = 125
CACHE_WRITE_1H_PERCENT = 200
"""Of the input price, where a price list says nothing better. Source: Messages API documentation, prompt caching."""

_CACHE_SIZE = 4096
"""Targets remembered; clients may name any model of a provider, so it must end somewhere."""


class TokenCounts(Struct, frozen=True, gc=False):
    """What a request used, by class of price. The four input classes are disjoint."""

    input: int = 0
    cache_creation_5m: int = 0
    cache_creation_1h: int = 0
    cache_read: int = 0
    output: int = 0
    """Thinking included."""
    thinking: int = 0
    searches: int = 0
    batch: bool = False


class Rate(Struct, frozen=True, array_like=True, gc=False):
    """Prices for prompts of more than `above_tokens`."""

    above_tokens: int
    input: int
    output: int
    cache_read: int
    cache_creation_5m: int
    cache_creation_1h: int

    @property
    def is_free(self) -> bool:
        return not (self.input or self.output or self.cache_read or self.cache_creation_5m or self.cache_creation_1h)


class PricePeriod(Struct, frozen=True, array_like=True):
    """The prices of a model from a day on."""

    starts_on: str
    """As 2026-10-14; "" for always."""
    rates: tuple[Rate, ...]
    """By ascending `above_tokens`; the first is 0."""
    search_nano_usd: int | None
    """A web search; None where that is unknown."""


class PriceClause(Struct, frozen=True, array_like=True):
    """Which model names a price is for."""

    kind: Literal["equals", "starts", "ends", "contains", "regex", "or", "and"]
    text: str = ""
    parts: tuple[PriceClause, ...] = ()


class ModelPrices(Struct, frozen=True, array_like=True):
    """The prices of the models whose names a clause matches."""

    clause: PriceClause
    periods: tuple[PricePeriod, ...]
    """By ascending day."""


class PriceFile(Struct, frozen=True):
    """The extract of public prices that ships with the package."""

    source: str
    """As `genai-prices 0.2.3`."""
    imported_on: str
    addresses: dict[str, str]
    """Regular expressions that their base URLs begin with."""
    providers: dict[str, msgspec.Raw]
    """`tuple[ModelPrices, ...]` each, decoded when needed."""


class Discount(Struct, frozen=True):
    """What is taken off a price."""

    name: str
    off_ppm: int
    """Millionths of the price."""


class Discounts(Protocol):
    """Rules of what is taken off; `accounting/pricing/discounts.py` holds them."""

    def find(self, target: str, workspace_id: str | None, at_us: int) -> Discount | None:
        """The rule that holds for a request; None for none."""
        ...

    def count(self, row: LedgerRow) -> None:
        """A request is settled: what it cost may be what a rule waits for."""
        ...


class Price(Struct, frozen=True):
    """The price of one target at one time."""

    rates: tuple[Rate, ...]
    source: str
    """For the ledger: where the price is from, and of when."""
    search_nano_usd: int | None = None
    off_ppm: int = 0
    """Millionths of everything that a discount takes off."""

    @property
    def is_free(self) -> bool:
        """Whether everything costs nothing, so that the cost is known even where the tokens are not."""
        return all(rate.is_free for rate in self.rates)

    def cost_nano_usd(self, tokens: TokenCounts) -> int | None:
        """What these tokens cost; None if part of them has no known price. Batches are half price.

        Source: Messages API documentation, pricing: the prompt's whole length chooses the rate for all its tokens.
        """
        rates = self.rates
        rate = rates[0]
        if len(rates) > 1:
            prompt = tokens.input + tokens.cache_creation_5m + tokens.cache_creation_1h + tokens.cache_read
            for candidate in rates:
                if prompt > candidate.above_tokens:
                    rate = candidate
        total = (
            tokens.input * rate.input
            + tokens.output * rate.output
            + tokens.cache_read * rate.cache_read
            + tokens.cache_creation_5m * rate.cache_creation_5m
            + tokens.cache_creation_1h * rate.cache_creation_1h
        )
        divisor = 2 * _MILLION if tokens.batch else _MILLION
        if tokens.searches:
            if self.search_nano_usd is None:
                return None
            total += tokens.searches * self.search_nano_usd * divisor
        if self.off_ppm:
            total *= _MILLION - self.off_ppm
            divisor *= _MILLION
        return (total + divisor // 2) // divisor

    def most_nano_usd(self, input_tokens: int, output_tokens: int) -> int:
        """The most that so many tokens can cost, whatever part of the input is written to a cache. Rounds up."""
        most = 0
        for rate in self.rates:
            if rate.above_tokens and input_tokens <= rate.above_tokens:
                continue
            dearest = max(rate.input, rate.cache_creation_5m, rate.cache_creation_1h)
            most = max(most, input_tokens * dearest + output_tokens * rate.output)
        return -(-most // _MILLION)


class PriceBook:
    """Finds the price of a target. Made of settings; reads its file at the first question."""

    def __init__(
        self,
        providers: Mapping[str, ProviderSettings],
        overrides: Mapping[str, PriceSettings],
        discounts: Discounts | None = None,
    ) -> None:
        self._providers = dict(providers)
        self._fixed = {"local/*": (0, FREE)}
        self._fixed.update(
            (
                target,
                (_day_us(settings.starts_on.isoformat()) if settings.starts_on else 0, price_of_settings(settings)),
            )
            for target, settings in overrides.items()
        )
        self._discounts = discounts
        self._found: dict[str, tuple[tuple[int, Price], ...]] = {}

    def charge(self, target: str, at_us: int, workspace_id: str | None) -> Price | None:
        """The price of a target for a request of a workspace: what `find` says, less the discount that holds."""
        price = self.find(target, at_us)
        if price is None or self._discounts is None:
            return price
        discount = self._discounts.find(target, workspace_id, at_us)
        if discount is None:
            return price
        source = f"{price.source}, {discount.name} -{discount.off_ppm / 10_000:g}%"
        return replace(price, off_ppm=discount.off_ppm, source=source)

    def count(self, row: LedgerRow) -> None:
        """Count a settled request towards discounts by volume."""
        if self._discounts is not None:
            self._discounts.count(row)

    def find(self, target: str, at_us: int) -> Price | None:
        """The price of a target (`provider/model`) at a time; None if it is not known. About 0.3 us when met before."""
        periods = self._found.get(target)
        if periods is None:
            if len(self._found) >= _CACHE_SIZE:
                self._found.clear()
            periods = self._found[target] = self._look_up(target)
        for starts_us, price in periods:
            if at_us >= starts_us:
                return price
        return None

    def _look_up(self, target: str) -> tuple[tuple[int, Price], ...]:
        """Prices and when they begin, newest first."""
        provider, _, model = target.partition("/")
        fixed = self._fixed.get(target) or self._fixed.get(f"{provider}/*")
        if fixed is None:
            return self._look_up_list(provider, model)
        starts_us, _ = fixed
        return (fixed,) if starts_us == 0 else (fixed, *self._look_up_list(provider, model))

    def _look_up_list(self, provider: str, model: str) -> tuple[tuple[int, Price], ...]:
        settings = self._providers.get(provider)
        name = find_price_list(settings.base_url) if settings is not None else None
        if name is None:
            return ()
        prices = _find_model(_read_price_list(name), model.lower())
        if prices is None:
            return ()
        source = _read_file().source
        return tuple(
            (_day_us(period.starts_on), Price(period.rates, source, period.search_nano_usd))
            for period in reversed(prices.periods)
        )


def count_by_class(usage: Usage, *, batch: bool = False) -> TokenCounts:
    """A usage as classes of price. Cache writes without a lifetime are of 5 minutes, the API's default.

    `batch`: at half price whatever the upstream says, which may have been asked as for a live request.
    """
    creation = usage.cache_creation_input_tokens or 0
    longer = 0
    detail = usage.cache_creation
    if isinstance(detail, CacheCreation):
        longer = detail.ephemeral_1h_input_tokens
        creation = max(creation, longer + detail.ephemeral_5m_input_tokens)
    output_details = usage.output_tokens_details
    server_tools = usage.server_tool_use
    return TokenCounts(
        usage.input_tokens,
        creation - longer,
        longer,
        usage.cache_read_input_tokens or 0,
        usage.output_tokens,
        output_details.thinking_tokens if output_details is not UNSET and output_details is not None else 0,
        server_tools.web_search_requests if server_tools is not UNSET and server_tools is not None else 0,
        batch or usage.service_tier == "batch",
    )


def price_of_settings(settings: PriceSettings) -> Price:
    """The price that an entry of renga.toml sets."""
    price = _to_nano_usd(settings.input_usd)

    def choose(usd: float | None, percent: int) -> int:
        return price * percent // 100 if usd is None else _to_nano_usd(usd)

    rate = Rate(
        above_tokens=0,
        input=price,
        output=_to_nano_usd(settings.output_usd),
        cache_read=choose(settings.cache_read_usd, CACHE_READ_PERCENT),
        cache_creation_5m=choose(settings.cache_write_5m_usd, CACHE_WRITE_5M_PERCENT),
        cache_creation_1h=choose(settings.cache_write_1h_usd, CACHE_WRITE_1H_PERCENT),
    )
    return Price((rate,), "renga.toml")


FREE = Price((Rate(0, 0, 0, 0, 0, 0),), "own machine", 0)
"""The engine's targets, unless `[prices."local/*"]` says what the machine costs."""


def find_price_list(base_url: str) -> str | None:
    """Which provider of the price file lives at an address; None for one of the user's own."""
    return next((name for name, address in _read_file().addresses.items() if re.match(address, base_url)), None)


def read_price_date() -> str:
    """Where prices come from and when they were imported, for people: `genai-prices 0.2.3, imported 2026-11-21`."""
    file = _read_file()
    return f"{file.source}, imported {file.imported_on}"


@cache
def _read_file() -> PriceFile:
    return msgspec.json.decode(_FILE.read_bytes(), type=PriceFile)


@cache
def _read_price_list(name: str) -> tuple[ModelPrices, ...]:
    return msgspec.json.decode(_read_file().providers[name], type=tuple[ModelPrices, ...])


def _find_model(models: tuple[ModelPrices, ...], name: str) -> ModelPrices | None:
    return next((prices for prices in models if _is_match(prices.clause, name)), None)


def _is_match(clause: PriceClause, name: str) -> bool:
    match clause.kind:
        case "equals":
            return name == clause.text
        case "starts":
            return name.startswith(clause.text)
        case "ends":
            return name.endswith(clause.text)
        case "contains":
            return clause.text in name
        case "regex":
            return re.search(clause.text, name) is not None
        case "or":
            return any(_is_match(part, name) for part in clause.parts)
        case "and":
            return all(_is_match(part, name) for part in clause.parts)


def _day_us(day: str) -> int:
    if not day:
        return 0
    return int(datetime.combine(date.fromisoformat(day), datetime.min.time(), UTC).timestamp()) * _MILLION


def _to_nano_usd(usd: float) -> int:
    return round(usd * _NANO_USD)
