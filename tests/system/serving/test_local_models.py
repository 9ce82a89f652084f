"""Two local models in one `renga serve`: names, readiness, metrics, loading, unloading, and one engine lost."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator

import msgspec
import pytest
from anthropic import Anthropic, InternalServerError

from renga.testing.servers.served import Served, ServedSettings, served, wait_until

CONFIG = """\
[engine]
cache_bytes = 16777216

[models.second]
model = "hokku"
cache_bytes = 16777216
unload_idle_s = 0.2

[models.third]
model = "hokku"
cache_bytes = 16777216
unload_idle_s = 0

[models.broken]
model = "nowhere.gguf"

[tiers]
haiku = ["local/broken", "local/hokku"]
sonnet = ["local/second"]
opus = []
"""


@pytest.fixture(scope="module")
def two() -> Generator[Served]:
    with served(ServedSettings(CONFIG)) as running:
        yield running


@pytest.fixture(scope="module")
def sdk(two: Served) -> Generator[Anthropic]:
    with Anthropic(base_url=two.url, api_key=two.secret, max_retries=0) as anthropic:
        yield anthropic


def ask(sdk: Anthropic, model: str) -> str:
    """Which model says that it answered."""
    return sdk.messages.create(model=model, max_tokens=4, messages=[{"role": "user", "content": "Hello"}]).model


def metric(server: Served, row: str) -> float:
    """One row of the metrics, by its name and labels."""
    _, page = server.get("/metrics")
    return next(float(line.rpartition(" ")[2]) for line in page.decode().splitlines() if line.startswith(row + " "))


def is_loaded(server: Served, model: str) -> bool:
    return metric(server, f'renga_engine_loaded{{model="{model}"}}') == 1.0


def test_each_model_is_listed_and_its_readiness_said(two: Served) -> None:
    page = msgspec.json.decode(two.get("/v1/models?limit=1000")[1])
    assert {"local/hokku", "local/second", "local/broken"} <= {model["id"] for model in page["data"]}
    local = msgspec.json.decode(two.get("/ready")[1])["providers"]["local"]
    assert local["ready"]
    assert local["models"]["hokku"] == {"ready": True, "detail": ""}
    assert set(local["models"]) == {"hokku", "second", "third", "broken"}


def test_a_model_is_loaded_on_use_and_unloaded_when_idle(two: Served, sdk: Anthropic) -> None:
    loads = metric(two, 'renga_engine_loads_total{model="second"}')
    for name in ("local/second", "second", "sonnet"):
        assert ask(sdk, name) == "second"
    assert metric(two, 'renga_engine_loads_total{model="second"}') > loads
    wait_until(lambda: not is_loaded(two, "second"))
    assert ask(sdk, "second") == "second"
    assert is_loaded(two, "hokku")


def test_a_model_that_cannot_be_loaded_says_why_and_its_tier_goes_on(two: Served, sdk: Anthropic) -> None:
    with pytest.raises(InternalServerError, match=r"no model broken: there is no model 'nowhere\.gguf'"):
        ask(sdk, "local/broken")
    assert ask(sdk, "haiku") == "hokku"
    local = msgspec.json.decode(two.get("/ready")[1])["providers"]["local"]
    assert not local["models"]["broken"]["ready"] and "nowhere.gguf" in local["models"]["broken"]["detail"]


def test_a_killed_engine_takes_nobody_elses_requests_along(two: Served, sdk: Anthropic) -> None:
    wait_until(lambda: not is_loaded(two, "second"))
    (hokku,) = two.children()
    assert ask(sdk, "third") == "third"
    (third,) = (child for child in two.children() if child != hokku)
    os.kill(third, signal.SIGKILL)
    assert ask(sdk, "hokku") == "hokku"
    assert ask(sdk, "third") == "third"
    assert hokku in two.children()
    assert metric(two, 'renga_engine_loads_total{model="third"}') == 1.0
