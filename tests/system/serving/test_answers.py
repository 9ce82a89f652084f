"""What a stranger gets from a fresh server: the Messages API over the embedded model, end to end."""

from __future__ import annotations

import asyncio
from typing import Any

import jsonschema
import msgspec
import pytest
from anthropic import Anthropic, BadRequestError, NotFoundError
from tests.system.serving.conftest import Asker

from renga.testing.http_client import RawHttpConnection

WEATHER = {
    "name": "get_weather",
    "description": "The weather in a city.",
    "input_schema": {
        "type": "object",
        "properties": {
            "city": {"type": "string", "maxLength": 20},
            "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
        },
        "required": ["city", "unit"],
    },
}
SCHEMA = {
    "type": "object",
    "properties": {
        "label": {"type": "string", "enum": ["refund", "delivery", "other"]},
        "urgent": {"type": "boolean"},
        "items": {"type": "array", "items": {"type": "integer"}, "maxItems": 3},
    },
    "required": ["label", "urgent", "items"],
    "additionalProperties": False,
}


def test_the_official_sdk_streams_an_answer(client: Anthropic) -> None:
    with client.messages.stream(
        model="claude-haiku-5-5", max_tokens=32, messages=[{"role": "user", "content": "Where is my order?"}]
    ) as stream:
        text = "".join(stream.text_stream)
        message = stream.get_final_message()
    assert message.id.startswith("msg_")
    assert message.model == "claude-haiku-5-5"
    assert message.usage.output_tokens > 0
    assert "".join(block.text for block in message.content if block.type == "text") == text


async def test_streamed_and_whole_answers_are_the_same(ask: Asker) -> None:
    whole = (await ask.send(temperature=0)).json()
    checker = await ask.stream(temperature=0)
    assert "".join(block["text"] for block in whole["content"]) == checker.text
    final = next(data for kind, data in checker.events if kind == "message_delta")
    assert final["usage"]["output_tokens"] == whole["usage"]["output_tokens"]
    assert final["delta"]["stop_reason"] == whole["stop_reason"]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"system": "You are a support agent."},
        {"tools": [WEATHER], "tool_choice": {"type": "any"}},
        {"tools": [WEATHER]},
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Dear"}]},
    ],
)
async def test_counting_is_the_same_number_as_usage(ask: Asker, fields: dict[str, Any]) -> None:
    counted = msgspec.json.decode(ask.body(**fields))
    del counted["max_tokens"]
    async with await RawHttpConnection.open("127.0.0.1", ask.server.port) as connection:
        await connection.send("POST", "/v1/messages/count_tokens", ask.headers, msgspec.json.encode(counted))
        number = (await connection.read()).json()["input_tokens"]
    checker = await ask.stream(**fields)
    assert checker.events[0][1]["message"]["usage"]["input_tokens"] == number
    assert (await ask.send(**fields)).json()["usage"]["input_tokens"] == number


async def test_a_forced_tool_is_called_with_valid_arguments(ask: Asker) -> None:
    for choice in ({"type": "any"}, {"type": "tool", "name": "get_weather"}):
        answer = (await ask.send(tools=[WEATHER], tool_choice=choice, max_tokens=2000, temperature=1)).json()
        assert answer["stop_reason"] == "tool_use"
        for block in answer["content"]:
            assert block["type"] == "tool_use"
            assert block["id"].startswith("toolu_")
            assert block["caller"] == {"type": "direct"}
            jsonschema.validate(block["input"], WEATHER["input_schema"])


async def test_one_tool_at_a_time_when_asked(ask: Asker) -> None:
    choice = {"type": "any", "disable_parallel_tool_use": True}
    answer = (await ask.send(tools=[WEATHER], tool_choice=choice, max_tokens=2000, temperature=1)).json()
    assert len(answer["content"]) == 1


async def test_structured_outputs_are_always_valid(ask: Asker) -> None:
    answers = await asyncio.gather(
        *(
            ask.send(
                messages=[{"role": "user", "content": f"Order {number} is late!"}],
                output_config={"format": {"type": "json_schema", "schema": SCHEMA}},
                max_tokens=200,
                temperature=1,
            )
            for number in range(8)
        )
    )
    for response in answers:
        message = response.json()
        assert message["stop_reason"] == "end_turn"
        jsonschema.validate(msgspec.json.decode(message["content"][0]["text"]), SCHEMA)


async def test_a_stop_sequence_is_echoed_and_cut(ask: Asker) -> None:
    whole = (await ask.send(temperature=0, max_tokens=40)).json()["content"][0]["text"]
    assert len(whole) > 8, whole
    stop = whole[5:8]
    checker = await ask.stream(temperature=0, max_tokens=40, stop_sequences=[stop])
    assert checker.text == whole[: whole.index(stop)]
    final = next(data for kind, data in checker.events if kind == "message_delta")
    assert final["delta"] == {"stop_reason": "stop_sequence", "stop_sequence": stop}


async def test_max_tokens_is_kept_and_said(ask: Asker) -> None:
    answer = (await ask.send(max_tokens=2, messages=[{"role": "user", "content": "Tell me about banks."}])).json()
    assert answer["usage"]["output_tokens"] <= 2
    assert answer["stop_reason"] == "max_tokens"
    warmed = (await ask.send(max_tokens=0)).json()
    assert (warmed["content"], warmed["stop_reason"], warmed["usage"]["output_tokens"]) == ([], "max_tokens", 0)


async def think(ask: Asker) -> dict[str, Any]:
    """A thinking block of the model's own. A small model may end its thinking before it began, so it is asked again."""
    for number in range(20):
        answer = await ask.send(
            messages=[{"role": "user", "content": f"What is {number} plus {number}?"}],
            thinking={"type": "enabled", "budget_tokens": 1024},
            temperature=1,
            max_tokens=1100,
        )
        blocks = answer.json()["content"]
        if blocks and blocks[0]["type"] == "thinking":
            return blocks[0]
    raise AssertionError("the model never thought")


async def test_thinking_is_signed_budgeted_and_cannot_be_tampered_with(ask: Asker) -> None:
    block = await think(ask)
    assert block["signature"]
    turns = [
        {"role": "user", "content": "Hello there"},
        {"role": "assistant", "content": [block, {"type": "text", "text": "Hello."}]},
        {"role": "user", "content": "Go on"},
    ]
    assert (await ask.send(messages=turns)).status == 200
    block["thinking"] += "!"
    refused = await ask.send(messages=turns)
    assert refused.status == 400
    assert "signature" in refused.json()["error"]["message"]


async def test_a_prefix_met_again_gives_the_same_answer(ask: Asker) -> None:
    long = "Our opening hours are nine to five. " * 60
    # One token: sums over a cached prefix are rounded otherwise, and a near tie may then fall to the other side.
    first = (await ask.send(system=long, temperature=0, max_tokens=1)).json()
    second = (await ask.send(system=long, temperature=0, max_tokens=1)).json()
    assert first["content"] == second["content"]
    assert first["usage"] == second["usage"]


async def test_a_prompt_that_is_too_long_is_refused(ask: Asker) -> None:
    response = await ask.send(messages=[{"role": "user", "content": "word " * 250_000}])
    assert response.status == 400
    assert "prompt is too long" in response.json()["error"]["message"]


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        (
            {"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": "x"}}]}]},
            "messages.0.content.0",
        ),
        ({"thread": {"type": "create"}}, "thread"),
        ({"mcp_servers": [{"type": "url", "name": "x", "url": "https://x"}]}, "mcp_servers"),
        (
            {"output_config": {"format": {"type": "json_schema", "schema": {"type": "objekt"}}}},
            "output_config.format.schema",
        ),
    ],
)
async def test_what_it_cannot_do_is_refused_by_name(ask: Asker, fields: dict[str, Any], path: str) -> None:
    response = await ask.send(**fields)
    assert response.status == 400
    assert path in response.json()["error"]["message"]


async def test_a_thread_is_refused_with_the_code_that_sdks_know(ask: Asker) -> None:
    error = (await ask.send(thread={"type": "create"})).json()["error"]
    assert error["details"]["error_code"] == "thread_unsupported_request"


async def test_headers_say_who_answered_and_what_it_cost(ask: Asker) -> None:
    response = await ask.send()
    assert response.headers["renga-target"] == "local/hokku"
    assert response.headers["renga-plan"] == "tier:haiku"
    assert int(response.headers["renga-overhead-us"]) >= 0
    assert float(response.headers["renga-cost-usd"]) == 0
    assert float(response.headers["renga-mean-logprob"]) <= 0


async def test_a_dead_target_is_followed_by_the_next(ask: Asker) -> None:
    response = await ask.send(model="sonnet")
    assert response.status == 200
    assert response.headers["renga-target"] == "local/hokku"


def test_a_tier_without_a_target_says_so(client: Anthropic) -> None:
    with pytest.raises(NotFoundError, match="ANTHROPIC_API_KEY"):
        client.messages.create(model="opus", max_tokens=5, messages=[{"role": "user", "content": "Hi"}])
    capabilities = client.models.retrieve("claude-haiku-5-5").capabilities
    assert capabilities is not None
    assert capabilities.structured_outputs.supported
    assert not capabilities.image_input.supported


def test_the_newer_version_refuses_sampling(client: Anthropic) -> None:
    with pytest.raises(BadRequestError, match="temperature"):
        client.messages.create(
            model="haiku",
            max_tokens=5,
            messages=[{"role": "user", "content": "Hi"}],
            extra_body={"temperature": 0.5},
        )


async def test_a_client_that_leaves_frees_its_place(ask: Asker) -> None:
    connection = await RawHttpConnection.open("127.0.0.1", ask.server.port)
    schema = {"type": "array", "items": {"type": "integer"}, "minItems": 400}
    body = ask.body(stream=True, max_tokens=4000, output_config={"format": {"type": "json_schema", "schema": schema}})
    await connection.send("POST", "/v1/messages", ask.headers, body)
    await connection.read_head()
    async for _ in connection.read_chunks():
        break
    connection.abort()
    loop = asyncio.get_running_loop()
    left_at = loop.time()
    while await ask.gauge("renga_open_leases"):
        assert loop.time() - left_at < 5
    assert loop.time() - left_at < 1
