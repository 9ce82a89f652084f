"""GET /v1/models: pages, filters, names, and capabilities computed from what the target can do."""

import pytest

from renga.models.providers.provider_seam import Capabilities

KEY = {"x-api-key": "sk-renga-test"}


async def ids(served, query=""):
    response = await served.ask("GET", f"/v1/models{query}")
    assert response.status == 200
    return [model["id"] for model in response.json()["data"]]


async def test_a_page(served):
    page = (await served.ask("GET", "/v1/models?limit=2")).json()
    assert page["has_more"] is True
    assert [page["first_id"], page["last_id"]] == [model["id"] for model in page["data"]]
    model = page["data"][0]
    assert model["id"] == "claude-haiku-5-5"
    assert model["type"] == "model"
    assert model["line"] == "haiku"
    assert model["created_at"].startswith("2026-10-07T00:00:00")
    assert (model["max_input_tokens"], model["max_tokens"]) == (8192, 4096)
    assert model["renga"] == {"targets": ["local/hokku"], "working": True, "detail": ""}


async def test_pages_add_up_to_the_list_both_ways(served):
    everything = await ids(served, "?limit=1000")
    forward, after = [], ""
    while page := await ids(served, f"?limit=3{after}"):
        forward += page
        after = f"&after_id={page[-1].replace('/', '%2F')}"
    assert forward == everything
    backward, before = [everything[-1]], everything[-1]
    while page := await ids(served, f"?limit=3&before_id={before.replace('/', '%2F')}"):
        backward = page + backward
        before = page[0]
    assert backward == everything


async def test_a_page_of_an_unknown_id_is_empty(served):
    page = (await served.ask("GET", "/v1/models?after_id=no&before_id=no&limit=1")).json()
    assert page == {"data": [], "has_more": False, "first_id": None, "last_id": None}


async def test_lifecycles(served):
    assert await ids(served, "?lifecycle[]=deprecated") == ["claude-sonnet-4-5-20250929"]
    assert await ids(served, "?lifecycle%5B%5D=deprecated&lifecycle%5B%5D=retired") == ["claude-sonnet-4-5-20250929"]
    assert (await served.ask("GET", "/v1/models?lifecycle[]=new")).status == 400


@pytest.mark.parametrize("limit", ["0", "1001", "x", "-1", "99999999999999999999"])
async def test_a_wrong_limit(served, limit):
    response = await served.ask("GET", f"/v1/models?limit={limit}")
    assert response.status == 400
    assert "limit" in response.json()["error"]["message"]


@pytest.mark.parametrize(
    ("name", "identifier"),
    [
        ("claude-haiku-5-5", "claude-haiku-5-5"),
        ("claude-haiku-4-5", "claude-haiku-4-5-20251001"),
        ("anthropic.claude-haiku-5-5-v1%3A0", "claude-haiku-5-5"),
        ("haiku", "haiku"),
        ("local/hokku", "local/hokku"),
        ("local%2Fhokku", "local/hokku"),
    ],
)
async def test_one_model_by_its_names(served, name, identifier):
    assert (await served.ask("GET", f"/v1/models/{name}")).json()["id"] == identifier


async def test_a_model_that_is_not_there(served):
    response = await served.ask("GET", "/v1/models/gpt-9")
    assert response.status == 404
    assert response.json()["error"]["type"] == "not_found_error"


async def test_a_tier_without_a_target_says_so(served):
    model = (await served.ask("GET", "/v1/models/claude-opus-5-5")).json()
    assert model["capabilities"] is None
    assert model["renga"]["working"] is False
    assert model["renga"]["detail"]


async def test_the_capability_tree(served):
    served.provider.can = Capabilities(
        max_input_tokens=1,
        max_output_tokens=1,
        thinking=True,
        effort=False,
        fields=frozenset({"context_management"}),
        server_tools=frozenset({"web_search"}),
    )
    tree = (await served.ask("GET", "/v1/models/haiku")).json()["capabilities"]
    yes, no = {"supported": True}, {"supported": False}
    assert tree["thinking"]["types"] == {"adaptive": yes, "between_tools": yes, "disabled": yes, "enabled": yes}
    assert tree["effort"] == {"supported": False, "low": no, "medium": no, "high": no, "xhigh": no, "max": no}
    assert tree["server_tools"] == {"supported": True, "code_execution": no, "web_search": yes}
    assert tree["context_management"]["supported"] is True
    assert tree["image_input"] == no
    assert tree["batch"] == {"supported": True}
    assert tree["compaction"] == {"supported": False, "summarize": no}
