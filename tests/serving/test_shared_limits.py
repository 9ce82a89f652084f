"""A real server whose limits are counted elsewhere, as clients and operators meet it while the count comes and goes."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Generator

import anthropic
import msgspec
import pytest
from anthropic import Anthropic
from tests.serving.test_limits import ANSWER_NANO_USD, NAMES

from renga.testing.served import Served, ServedSettings, served
from renga.testing.valkey import PROGRAM, ValkeyServer

ASK = {"model": "haiku", "max_tokens": 200, "messages": [{"role": "user", "content": "Hi"}]}
CONFIG = """\
[engine]
enabled = false

[limits]
requests_per_minute = 60_000
input_tokens_per_minute = 60_000
output_tokens_per_minute = 60_000
budget_usd_per_day = 100.0
shared_url = "{count}"

[tiers]
haiku = ["echo/echo"]

[prices."echo/*"]
input_usd = 1.0
output_usd = 10_000.0

[providers.echo]
kind = "anthropic"
base_url = "{upstream}"
"""


@pytest.fixture
def count() -> Generator[ValkeyServer]:
    if PROGRAM is None:
        pytest.skip("neither valkey-server nor redis-server is installed")
    with ValkeyServer() as running:
        yield running


@pytest.fixture
def echo_upstream() -> Generator[str]:
    command = [sys.executable, "-m", "renga.testing.upstream"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


@pytest.fixture
def server(count: ValkeyServer, echo_upstream: str) -> Generator[Served]:
    with served(ServedSettings(CONFIG.format(count=count.url, upstream=echo_upstream))) as running:
        yield running


def wait_for(condition: Callable[[], bool], limit_s: float = 10.0) -> None:
    """Other processes tell nothing: their effect is looked for."""
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline


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
        wait_for(lambda: "is away" in limits_of(server))
        with pytest.raises(anthropic.APIStatusError, match="Limits cannot be checked") as refused:
            client.messages.create(**ASK)
        assert refused.value.status_code == 529
        assert refused.value.response.headers["retry-after"] == "1"
        assert client.messages.count_tokens(model="haiku", messages=ASK["messages"]).input_tokens == 12
        assert server.gauges()["renga_shared_limits_up"] == 0
        count.start()
        wait_for(lambda: "shared through" in limits_of(server))
        headers = client.messages.with_raw_response.create(**ASK).headers
        assert headers["renga-budget-remaining-usd"] == f"{100 - 2 * ANSWER_NANO_USD / 1e9:.9f}"
        assert server.gauges()["renga_open_leases"] == 0
    assert server.log.count("is away") == 1
