"""Servers of chat.completions: telling them apart, counting, and what breaks on the way."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from renga.errors import ApiError, InvalidRequest, Overloaded, RengaError
from renga.models.providers.openai.provider import OpenAICompatibleProvider
from renga.protocols.messages.events.event_types import ContentBlockDelta, ErrorEvent, Event, MessageDelta, MessageStart
from renga.testing.fake_clock import ToldClock
from renga.testing.provider_calls import SIMPLE_BODY, make_call, make_settings
from renga.testing.servers.scripted_upstream import (
    HoldOpen,
    ReceivedRequest,
    Reply,
    ScriptedUpstream,
    Stall,
    json_reply,
    sse_reply,
)

USAGE = {"prompt_tokens": 21, "completion_tokens": 2}
MISSING = json_reply(b'{"error":{"message":"no such route","type":"not_found"}}', 404)


def chunk(delta: dict[str, Any], finish: str | None = None, usage: Any = None) -> bytes:
    body = {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}], "usage": usage}
    return b"data: " + json.dumps(body).encode() + b"\n\n"


ANSWER = chunk({"content": "Hi."}) + chunk({}, "stop", USAGE) + b"data: [DONE]\n\n"


@asynccontextmanager
async def pair(
    owned_by: str | None = "vllm", *, changes: dict[str, object] | None = None, secret: str | None = "sk-up"
) -> AsyncIterator[tuple[ScriptedUpstream, OpenAICompatibleProvider]]:
    """A server that says who owns its models (None: that has no list of them), and the provider for it."""
    async with ScriptedUpstream() as upstream:
        listed = {"data": [{"id": "big-model", "owned_by": owned_by, "max_model_len": 4096}, {"id": "b"}]}
        upstream.always("/v1/models", json_reply(json.dumps(listed).encode()) if owned_by else MISSING)
        settings = make_settings("openai_compatible", upstream.url, changes)
        provider = OpenAICompatibleProvider("upstream", settings, secret, ToldClock(), lambda: b"secret")
        await provider.start()
        try:
            yield upstream, provider
        finally:
            await provider.stop()


async def read(provider: OpenAICompatibleProvider, body: dict[str, object] | None = None) -> list[Event]:
    return [event async for batch in provider.send(*make_call({**SIMPLE_BODY, **(body or {})})) for event in batch]


def asked(upstream: ScriptedUpstream) -> list[ReceivedRequest]:
    return [request for request in upstream.requests if request.path == "/v1/chat/completions"]


def prompt_counts(events: list[Event]) -> tuple[int, Any]:
    """The prompt's tokens at the start and at the end."""
    (start,) = [event for event in events if isinstance(event, MessageStart)]
    (end,) = [event for event in events if isinstance(event, MessageDelta)]
    return start.message.usage.input_tokens, end.usage.input_tokens


async def test_what_is_sent():
    async with pair() as (upstream, provider):
        upstream.always("/tokenize", json_reply(b'{"count":21}'))
        upstream.script(sse_reply(ANSWER))
        await read(provider)
        (request,) = asked(upstream)
        assert request.header("authorization") == "Bearer sk-up"
        assert request.header("content-type") == "application/json"
        sent = json.loads(request.body)
        assert sent["model"] == "big-model"
        assert sent["stream"] is True


async def test_a_server_without_a_key_gets_none():
    async with pair(secret=None, changes={"api_key_env": None}) as (upstream, provider):
        upstream.always("/tokenize", MISSING)
        upstream.script(sse_reply(ANSWER))
        assert provider.health().ready
        await read(provider)
        assert all(request.header("authorization") is None for request in upstream.requests)


async def test_vllm_counts_the_prompt_beside_the_request():
    async with pair("vllm") as (upstream, provider):
        upstream.always("/tokenize", json_reply(b'{"count":21,"max_model_len":4096,"tokens":[]}'))
        upstream.script(sse_reply(ANSWER))
        assert prompt_counts(await read(provider)) == (21, 21)
        counting = next(request for request in upstream.requests if request.path == "/tokenize")
        sent = json.loads(asked(upstream)[0].body)
        assert json.loads(counting.body)["messages"] == sent["messages"]
        assert await provider.count_tokens(*make_call(SIMPLE_BODY).count_arguments()) == 21
        assert len(asked(upstream)) == 1


async def test_llama_cpp_counts_what_its_template_makes():
    async with pair("llamacpp") as (upstream, provider):
        upstream.always("/apply-template", json_reply(b'{"prompt":"<user>Hi"}'))
        upstream.always("/tokenize", json_reply(json.dumps({"tokens": list(range(21))}).encode()))
        upstream.script(sse_reply(ANSWER))
        assert prompt_counts(await read(provider)) == (21, 21)
        counting = next(request for request in upstream.requests if request.path == "/tokenize")
        assert json.loads(counting.body)["content"] == "<user>Hi"


async def test_a_count_that_fails_fails_nothing():
    async with pair("vllm") as (upstream, provider):
        upstream.always("/tokenize", MISSING)
        upstream.script(sse_reply(ANSWER))
        started, ended = prompt_counts(await read(provider))
        assert started > 0
        assert ended == 21


async def test_a_server_that_cannot_count_is_asked_for_one_token():
    async with pair("library") as (upstream, provider):
        upstream.script(json_reply(json.dumps({"choices": [], "usage": USAGE}).encode()))
        assert await provider.count_tokens(*make_call(SIMPLE_BODY).count_arguments()) == 21
        sent = json.loads(asked(upstream)[0].body)
        assert (sent["max_tokens"], sent["stream"]) == (1, False)
        assert "stream_options" not in sent


async def test_a_server_without_a_list_of_models_is_generic_and_not_asked_again():
    async with pair(None) as (upstream, provider):
        for _ in range(3):
            upstream.script(sse_reply(ANSWER))
            await read(provider)
        assert [request.path for request in upstream.requests].count("/v1/models") == 1
        assert "chat_template_kwargs" not in json.loads(asked(upstream)[0].body)


async def test_a_server_that_was_down_at_start_is_learned_later():
    async with pair() as (upstream, provider):
        upstream.always("/v1/models", json_reply(b"{}", 503))
        upstream.always("/tokenize", json_reply(b'{"count":21}'))
        upstream.script(sse_reply(ANSWER))
        await read(provider)
        upstream.always("/v1/models", json_reply(b'{"data":[{"id":"big-model","owned_by":"vllm"}]}'))
        upstream.script(sse_reply(ANSWER))
        assert prompt_counts(await read(provider)) == (21, 21)


async def test_what_the_server_says_of_itself():
    async with pair() as (_, provider):
        assert await provider.models() == ("big-model", "b")
        known = provider.capabilities("big-model")
        assert (known.max_input_tokens, known.max_output_tokens) == (4096, 4096)
        assert known.prefill
        assert known.effort
        assert provider.capabilities("b").max_input_tokens == 1_000_000


async def test_the_limit_is_lowered_to_what_the_context_leaves():
    async with pair("vllm") as (upstream, provider):
        await provider.models()
        upstream.always("/tokenize", json_reply(b'{"count":4000}'))
        upstream.script(sse_reply(chunk({"content": "Hi."}) + chunk({}, "length", USAGE) + b"data: [DONE]\n\n"))
        events = await read(provider, {"max_tokens": 32_000})
        assert json.loads(asked(upstream)[0].body)["max_tokens"] == 96
        (end,) = [event for event in events if isinstance(event, MessageDelta)]
        assert end.delta.stop_reason == "model_context_window_exceeded"
        assert [request.path for request in upstream.requests].count("/tokenize") == 1
        upstream.always("/tokenize", json_reply(b'{"count":4096}'))
        with pytest.raises(InvalidRequest) as caught:
            await read(provider, {"max_tokens": 32_000})
        assert caught.value.message == "prompt is too long: 4096 tokens > 4095 maximum"


async def test_one_read_is_one_batch():
    async with pair("somebody") as (upstream, provider):
        gate = asyncio.Event()
        upstream.script(sse_reply(chunk({"content": "a"}) + chunk({"content": "b"}), HoldOpen(gate), ANSWER))
        batches: list[list[Event]] = []
        async for batch in provider.send(*make_call(SIMPLE_BODY)):
            batches.append(batch)
            gate.set()
        texts = [[event for event in batch if isinstance(event, ContentBlockDelta)] for batch in batches]
        assert [len(batch) for batch in texts] == [2, 1]


async def test_a_server_that_does_not_stream():
    whole = {"choices": [{"index": 0, "message": {"content": "Hi."}, "finish_reason": "stop"}], "usage": USAGE}
    async with pair("somebody") as (upstream, provider):
        upstream.script(json_reply(json.dumps(whole).encode()))
        assert prompt_counts(await read(provider))[1] == 21


async def test_an_end_without_done_is_an_end():
    async with pair("somebody") as (upstream, provider):
        upstream.script(sse_reply(ANSWER.removesuffix(b"data: [DONE]\n\n")))
        assert prompt_counts(await read(provider))[1] == 21


@pytest.mark.parametrize(
    "reply",
    [
        sse_reply(chunk({"content": "a"})),
        sse_reply(chunk({"content": "a"}), b'data: {"error":{"message":"boom","code":500}}\n\n'),
        sse_reply(chunk({"content": "a"}), b"data: {not json\n\n"),
        sse_reply(chunk({"content": "a"}), Stall()),
    ],
    ids=["no finish", "an error", "no JSON", "silence"],
)
async def test_an_answer_that_breaks_off_ends_in_an_error(reply: Reply):
    async with pair("somebody", changes={"idle_timeout_s": 0.1}) as (upstream, provider):
        upstream.script(reply)
        events = await read(provider)
        assert isinstance(events[0], MessageStart)
        assert isinstance(events[-1], ErrorEvent)
        assert len(asked(upstream)) == 1


async def fail(provider: OpenAICompatibleProvider) -> RengaError:
    with pytest.raises(RengaError) as caught:
        await read(provider)
    return caught.value


async def test_an_error_in_place_of_the_first_chunk_is_a_refusal():
    async with pair("somebody") as (upstream, provider):
        busy = b'data: {"error":{"message":"busy","type":"overloaded_error","code":529}}\n\n'
        upstream.script(sse_reply(busy), sse_reply(), sse_reply(ANSWER))
        await read(provider)
        assert len(asked(upstream)) == 3
        upstream.script(sse_reply(b'data: {"error":{"message":"bad","code":400}}\n\n'))
        assert isinstance(await fail(provider), InvalidRequest)


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (400, {"error": {"message": "M", "type": "BadRequestError", "code": 400}}, InvalidRequest),
        (500, {"error": {"message": "M", "type": "server_error"}}, ApiError),
        (529, {"error": "M"}, Overloaded),
        (400, {"object": "error", "message": "M", "type": "BadRequestError"}, InvalidRequest),
        (422, {"detail": "M"}, InvalidRequest),
        (400, {"error": {"message": "M", "code": "x", "details": 7}}, InvalidRequest),
        (422, {"detail": [{"loc": ["body"], "msg": "M"}]}, InvalidRequest),
    ],
)
async def test_refusals(status: int, body: dict[str, Any], expected: type[RengaError]):
    async with pair("somebody", changes={"max_retries": 0}) as (upstream, provider):
        upstream.script(json_reply(json.dumps(body).encode(), status))
        error = await fail(provider)
        assert type(error) is expected
        assert "M" in error.message


async def test_a_prompt_that_is_too_long_says_so_in_the_words_clients_know():
    for error in (
        {"message": "This model's maximum context length is 4096 tokens.", "code": "context_length_exceeded"},
        {"message": "the request exceeds the available context size", "type": "exceed_context_size_error"},
        {"message": "This model's maximum context length is 4096 tokens.", "type": "BadRequestError", "code": 400},
    ):
        async with pair("somebody") as (upstream, provider):
            upstream.script(json_reply(json.dumps({"error": error}).encode(), 400))
            assert (await fail(provider)).message.startswith("prompt is too long: ")


async def test_a_request_that_cannot_be_said_is_refused_before_it_is_sent():
    async with pair("library") as (upstream, provider):
        body: dict[str, object] = {
            "tools": [{"name": "get", "input_schema": {"type": "object"}}],
            "tool_choice": {"type": "any"},
        }
        with pytest.raises(InvalidRequest):
            await read(provider, body)
        assert not asked(upstream)
