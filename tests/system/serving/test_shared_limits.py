"""A real server whose limits are counted elsewhere, as clients and operators meet it while the count comes and goes."""

from __future__ import annotations

from collections.abc import Generator

import anthropic
import msgspec
import pytest
from anthropic import Anthropic
from tests.system.serving.test_limits import ANSWER_NANO_USD, NAMES

from renga.testing.servers.scripted_upstream import echo_config
from renga.testing.servers.served import Served, ServedSettings, served, wait_until
from renga.testing.servers.valkey import PROGRAM, ValkeyServer

ASK = {"model": "haiku", "max_tokens": 200, "messages": [{"role": "user", "content": "Hi"}]}
LIMITS = """\
[limits]
requests_per_minute = 60_000
input_tokens_per_minute = 60_000
output_tokens_per_minute = 60_000
budget_usd_per_day = 100.0
shared_url = "{url}"
"""


@pytest.fixture
def count() -> Generator[ValkeyServer]:
    if PROGRAM is None:
        pytest.skip("neither valkey-server nor redis-server is installed")
    with ValkeyServer() as running:
        yield running


@pytest.fixture
def server(count: ValkeyServer, echo_url: str) -> Generator[Served]:
    settings = ServedSettings(echo_config(echo_url, output_usd=10_000.0) + LIMITS.format(url=count.url))
    with served(settings) as running:
        yield running


def limits_of(server: Served) -> str:
    return msgspec.json.decode(server.get("/ready")[1])["limits"]


def test_the_count_comes_and_goes(server: Served, count: ValkeyServer) -> None:
    with Anthropic(base_url=server.url, api_key=server.secret, max_retries=0) as client:
        assert limits_of(server) == f"shared through 127.0.0.1:{count.port}; servers: 1"
        headers = client.messages.with_raw_response.create(**ASK).headers
        assert all(name in headers for name in NAMES)
        # Settled by now, as where nothing is shared.
        assert int(headers["anthropic-ratelimit-output-tokens-remaining"]) >= 59_900
        assert headers["renga-budget-remaining-usd"] == f"{100 - ANSWER_NANO_USD / 1e9:.9f}"
        count.kill()
        wait_until(lambda: "is away" in limits_of(server))
        with pytest.raises(anthropic.APIStatusError, match="Limits cannot be checked") as refused:
            client.messages.create(**ASK)
        assert refused.value.status_code == 529
        assert refused.value.response.headers["retry-after"] == "1"
        assert client.messages.count_tokens(model="haiku", messages=ASK["messages"]).input_tokens == 12
        assert server.gauges()["renga_shared_limits_up"] == 0
        count.start()
        wait_until(lambda: "shared through" in limits_of(server))
        headers = client.messages.with_raw_response.create(**ASK).headers
        assert headers["renga-budget-remaining-usd"] == f"{100 - 2 * ANSWER_NANO_USD / 1e9:.9f}"
        assert server.gauges()["renga_open_leases"] == 0
    assert server.log.count("is away") == 1
