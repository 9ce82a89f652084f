"""What a key may do: its scopes open routes, its tiers open models."""

import pytest
from tests.http.conftest import HELLO

from renga.http.public_routes import OPEN_PATHS, PUBLIC_ROUTES

USAGE = {"x-api-key": "sk-renga-usage"}
SONNET = {"x-api-key": "sk-renga-sonnet"}
TEAM = {"x-api-key": "sk-renga-team"}
ANY_KEY = {"/v1/models", "/v1/models/{model*}", "/metrics", "/api/event_logging/batch"}
"""Routes that any key opens: they tell nothing of others and cost nothing."""


def test_every_route_says_what_it_is_for():
    scopes = {route.path: route.scope for route in PUBLIC_ROUTES if route.path not in OPEN_PATHS}
    assert {path for path, scope in scopes.items() if scope is None} == ANY_KEY
    for path, scope in scopes.items():
        if path.startswith("/v1/messages/batches"):
            assert scope == "batches", path
        if path.startswith("/v1/files"):
            assert scope == "files", path
    assert "admin" not in scopes.values()


async def test_a_route_of_another_scope_is_refused_by_name(served, hello):
    refused = await served.ask("POST", "/v1/messages", hello, USAGE)
    assert refused.status == 403
    error = refused.json()["error"]
    assert error["type"] == "permission_error"
    assert "`messages`" in error["message"]
    assert (await served.ask("GET", "/v1/models", headers=USAGE)).status == 200
    assert (await served.ask("POST", "/v1/messages", hello)).status == 200


@pytest.mark.parametrize("model", ["haiku", "auto", "claude-haiku-5-5", "local/hokku", "hokku"])
async def test_a_tier_that_the_key_lacks_is_refused_under_every_name(served, hello, model):
    refused = await served.ask("POST", "/v1/messages", {**hello, "model": model}, SONNET)
    assert refused.status == 403
    error = refused.json()["error"]
    assert error["type"] == "permission_error"
    assert error["message"].startswith("model: ")
    assert "sonnet" in error["message"]
    assert served.provider.calls == []
    assert served.ledger.open == []
    assert (await served.ask("POST", "/v1/messages", {**hello, "model": model}, TEAM)).json()["content"] == [
        {"type": "text", "text": HELLO.content[0].text}
    ]


async def test_the_ledger_knows_the_workspace(served, hello):
    await served.ask("POST", "/v1/messages", hello, TEAM)
    assert served.ledger.requests[-1].caller.workspace_id == "wrkspc_1"
