"""Limits of a real server, as clients and operators meet them: headers, 429, retries, budgets that survive."""

from __future__ import annotations

import time
from collections.abc import Generator
from datetime import UTC, datetime

import anthropic
import pytest
from anthropic import Anthropic

from renga.accounting.keys.key_ring import digest_secret, make_key
from renga.domain.keys import KeyChange, KeyLimits
from renga.store.database import Database
from renga.testing.servers.scripted_upstream import echo_config
from renga.testing.servers.served import Served, ServedSettings, respawned, served, wait_until

ASK = {"model": "haiku", "max_tokens": 200, "messages": [{"role": "user", "content": "Hi"}]}
NAMES = [f"anthropic-ratelimit-{kind}-{part}" for kind in ("requests", "tokens", "input-tokens", "output-tokens")
         for part in ("limit", "remaining", "reset")]  # fmt: skip
USD = 1_000_000_000
ANSWER_NANO_USD = USD + 12_000
"""What the upstream's 12 tokens in and 100 out cost here."""
LIMITS = """\
[limits]
requests_per_minute = 60_000
input_tokens_per_minute = 60_000
output_tokens_per_minute = 3_000
"""


@pytest.fixture(scope="module")
def server(echo_url: str) -> Generator[Served]:
    with served(ServedSettings(echo_config(echo_url, output_usd=10_000.0) + LIMITS)) as running:
        yield running


@pytest.fixture
def client(server: Served) -> Generator[Anthropic]:
    with Anthropic(base_url=server.url, api_key=server.secret, max_retries=0) as sdk:
        yield sdk


def key_of(server: Served, database: Database) -> str:
    """The id of the key that most tests here use."""
    return next(key.key_id for key in database.keys.read() if key.secret_sha256 == digest_secret(server.secret))


def set_limits(server: Served, limits: KeyLimits) -> None:
    with server.open_database() as database:
        assert database.keys.change(key_of(server, database), KeyChange(limits=limits))


def ask_once(client: Anthropic) -> str:
    """How it went: the name of the error's class, or nothing."""
    try:
        client.messages.create(**ASK)
    except anthropic.RateLimitError as error:
        return type(error).__name__
    return ""


def test_twelve_headers_on_whole_and_streamed_answers(client: Anthropic) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    raw = client.messages.with_raw_response.create(**ASK)
    assert all(name in raw.headers for name in NAMES)
    assert raw.headers["anthropic-ratelimit-tokens-limit"] == "63000"
    assert raw.headers["anthropic-ratelimit-output-tokens-limit"] == "3000"
    # Settled by now: 12 tokens in and 100 out, a second of refilling at most.
    assert 2_900 <= int(raw.headers["anthropic-ratelimit-output-tokens-remaining"]) <= 3_000
    assert 59_988 <= int(raw.headers["anthropic-ratelimit-input-tokens-remaining"]) <= 60_000
    for name in NAMES[2::3]:
        reset = datetime.strptime(raw.headers[name], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        assert 0 <= (reset - before).total_seconds() <= 60
    with client.messages.with_streaming_response.create(**ASK, stream=True) as streamed:
        assert all(name in streamed.headers for name in NAMES)
        # Not settled: all of max_tokens is taken.
        assert int(streamed.headers["anthropic-ratelimit-output-tokens-remaining"]) <= 2_900
        streamed.read()
    assert "anthropic-ratelimit-requests-limit" not in client.models.with_raw_response.list().headers


def test_the_sdk_waits_and_succeeds(client: Anthropic, server: Served) -> None:
    """The first takes the whole bucket and gives back all but 100; the second needs the whole: 2 s."""
    large = {**ASK, "max_tokens": 3_000, "timeout": 60}
    fresh = make_key("a full bucket", time.time_ns() // 1000)
    with server.open_database() as database:
        database.keys.create(fresh.row)
    client = client.with_options(api_key=fresh.secret)

    def known() -> bool:
        try:
            return bool(client.models.list().data)
        except anthropic.AuthenticationError:
            return False

    def ask(retries: int) -> int:
        answered = client.with_options(max_retries=retries).messages.with_raw_response.create(**large)
        return answered.retries_taken

    wait_until(known)
    assert ask(0) == 0
    with pytest.raises(anthropic.RateLimitError, match="3,000 output tokens per minute") as refused:
        ask(0)
    headers = refused.value.response.headers
    assert headers["retry-after"] in ("1", "2")
    assert 0 < int(headers["retry-after-ms"]) <= 1000 * int(headers["retry-after"])
    assert "x-should-retry" not in headers
    assert all(name in headers for name in NAMES)
    assert 0 < int(headers["anthropic-ratelimit-output-tokens-remaining"]) < 3_000
    assert ask(2) == 1
    assert b'renga_limited_requests_total{limit="output_tokens_per_minute",owner="key"}' in server.get("/metrics")[1]


def test_budgets_hold_across_kill_9(client: Anthropic, server: Served) -> None:
    """What the ledger has is what the budget knows: kill -9 loses no more of it."""

    def spent() -> int:
        wait_until(lambda: server.gauges()["renga_ledger_queue_rows"] == 0)
        with server.open_database() as database:
            rows = database.ledger.read_rows(limit=100_000)
            return sum(row.cost_nano_usd or 0 for row in rows if row.key_id == key_of(server, database))

    before = spent()
    client.messages.create(**ASK)
    assert spent() == before + ANSWER_NANO_USD
    before = spent()
    set_limits(server, KeyLimits(budget_nano_usd_per_day=before + 2 * USD, warn_nano_usd_per_day=before + USD))
    wait_until(lambda: ask_once(client) == "EnforcedSpendLimitReachedError")
    with pytest.raises(anthropic.RateLimitError, match="spent its budget") as refused:
        client.with_options(max_retries=2).messages.create(**ASK)
    assert type(refused.value).__name__ == "EnforcedSpendLimitReachedError"
    headers = refused.value.response.headers
    assert headers["x-should-retry"] == "false"
    midnight = 86_400 - time.time() % 86_400
    assert 0 <= int(headers["retry-after"]) - midnight <= 60
    assert headers["renga-budget-remaining-usd"] == "0.000000000"
    assert headers["renga-budget-warning"] == "day"
    assert client.messages.count_tokens(model="haiku", messages=ASK["messages"]).input_tokens == 12
    assert "past its soft budget" in server.log
    kept = spent()
    with respawned(server) as again, Anthropic(base_url=again.url, api_key=again.secret, max_retries=0) as sdk:
        with pytest.raises(anthropic.RateLimitError, match="spent its budget"):
            sdk.messages.create(**ASK)
        set_limits(again, KeyLimits(budget_nano_usd_per_day=kept + 5 * USD))
        wait_until(lambda: ask_once(sdk) == "")
        left = sdk.messages.with_raw_response.create(**ASK).headers["renga-budget-remaining-usd"]
        assert float(left) == pytest.approx(5 - 2 * ANSWER_NANO_USD / USD)
