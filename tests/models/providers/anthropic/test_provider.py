"""Relaying the Messages API: what goes out, what comes back, and what breaks on the way."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from renga.errors import ApiError, InvalidRequest, NotFound, Overloaded, RateLimited, RengaError
from renga.models.cache.automatic_breakpoints import AutomaticBreakpoints
from renga.models.providers.anthropic.provider import AnthropicProvider
from renga.protocols.messages.events.event_types import Batch, CompleteMessage, ErrorEvent, Event, RawEvent
from renga.testing.fake_clock import ToldClock
from renga.testing.provider_calls import SIMPLE_BODY, ProviderCall, make_call, make_settings
from renga.testing.servers.scripted_upstream import HoldOpen, Reply, ScriptedUpstream, Step, json_reply, sse_reply

KEY = "sk-upstream-secret"
MESSAGE: dict[str, Any] = {
    "id": "msg_01",
    "type": "message",
    "role": "assistant",
    "model": "claude-opus-5-5",
    "content": [{"type": "text", "text": "Hi."}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 3, "output_tokens": 2},
}
START = (
    b'event: message_start\ndata: {"type":"message_start","message":{"id":"msg_01","usage":{"input_tokens":3}}}   \n\n'
)
NEW = b'event: something_new\ndata: {"type":"something_new","x": [1, 2]}\n\n'
STOP = b'event: message_stop\ndata: {"type":"message_stop"         }\n\n'


@asynccontextmanager
async def pair(
    secret: str | None = KEY, changes: dict[str, object] | None = None
) -> AsyncIterator[tuple[ScriptedUpstream, AnthropicProvider, ToldClock]]:
    async with ScriptedUpstream() as upstream:
        clock = ToldClock()
        provider = AnthropicProvider("upstream", make_settings("anthropic", upstream.url, changes), secret, clock)
        await provider.start()
        try:
            yield upstream, provider, clock
        finally:
            await provider.stop()


def streamed_call() -> ProviderCall:
    return make_call({**SIMPLE_BODY, "stream": True})


async def read(provider: AnthropicProvider, call: ProviderCall) -> list[Batch]:
    return [batch async for batch in provider.send(*call)]


async def read_events(provider: AnthropicProvider, call: ProviderCall) -> list[Event]:
    return [event for batch in await read(provider, call) for event in batch]


async def fail(provider: AnthropicProvider, call: ProviderCall) -> RengaError:
    with pytest.raises(RengaError) as caught:
        await read(provider, call)
    return caught.value


async def test_only_the_model_of_the_body_is_changed():
    raw = (
        b'{ "messages" : [{"role":"user","content":"model"}],\n"unknown":{"model":"x"}, "model":"haiku","max_tokens":9}'
    )
    call = make_call(SIMPLE_BODY, model="claude-opus-5-5")
    call = call._replace(request=call.request.with_body(call.request.message, raw))
    async with pair() as (upstream, provider, _):
        upstream.script(json_reply(json.dumps(MESSAGE).encode()))
        await read(provider, call)
        assert upstream.requests[0].body == raw.replace(b'"haiku"', b'"claude-opus-5-5"')
        assert upstream.requests[0].path == "/v1/messages"


@pytest.mark.parametrize(
    ("version", "secret", "header", "value"),
    [
        ("2023-06-01", KEY, "x-api-key", KEY),
        ("2026-10-21", KEY, "authorization", f"Bearer {KEY}"),
        ("2023-06-01", "sk-ant-oat01-abc", "authorization", "Bearer sk-ant-oat01-abc"),
    ],
)
async def test_the_key_goes_as_that_version_sends_it(version: Any, secret: str, header: str, value: str):
    async with pair(secret) as (upstream, provider, _):
        upstream.script(json_reply(json.dumps(MESSAGE).encode()))
        await read(provider, make_call(SIMPLE_BODY, version=version))
        request = upstream.requests[0]
        assert request.header(header) == value
        assert request.header("anthropic-version") == version
        assert {"x-api-key", "authorization"} - {header} == {
            name for name in ("x-api-key", "authorization") if request.header(name) is None
        }


async def test_betas_and_the_clients_scope_go_on_and_nothing_else_does():
    call = make_call(SIMPLE_BODY)
    request = msgspec.structs.replace(
        call.request,
        betas=("a-2026", "b-2026"),
        forwarded_headers=(
            ("anthropic-workspace-id", "w"),
            ("anthropic-version", "1999-01-01"),
            ("authorization", "Bearer client"),
            ("x-api-key", "client"),
            ("content-length", "1"),
        ),
    )
    async with pair() as (upstream, provider, _):
        upstream.script(json_reply(json.dumps(MESSAGE).encode()))
        await read(provider, call._replace(request=request))
        headers = [(name, value) for name, value in upstream.requests[0].headers if name != "host"]
        assert ("anthropic-beta", "a-2026,b-2026") in headers
        assert ("anthropic-workspace-id", "w") in headers
        assert ("anthropic-version", "2023-06-01") in headers
        assert len(headers) == len({name for name, _ in headers})
        assert not any("client" in value for _, value in headers)


async def test_a_stream_is_relayed_byte_for_byte_one_batch_a_read():
    async with pair() as (upstream, provider, _):
        gate = asyncio.Event()
        upstream.script(sse_reply(START + NEW, HoldOpen(gate), STOP))
        batches: list[Batch] = []
        async for batch in provider.send(*streamed_call()):
            batches.append(batch)
            gate.set()
        events = [event for batch in batches for event in batch]
        assert [type(event) for event in events] == [RawEvent] * 3
        frames = [f"event: {event.kind}\ndata: ".encode() + event.data + b"\n\n" for event in events]  # pyright: ignore[reportAttributeAccessIssue]
        assert b"".join(frames) == START + NEW + STOP
        assert [len(batch) for batch in batches] == [2, 1]


@pytest.mark.parametrize("size", [1, 7, 50])
async def test_frames_may_be_cut_anywhere(size: int):
    whole = START + NEW + STOP
    pieces = [whole[at : at + size] for at in range(0, len(whole), size)]
    async with pair() as (upstream, provider, _):
        upstream.script(sse_reply(*pieces))
        events = await read_events(provider, streamed_call())
        assert [event.kind for event in events if isinstance(event, RawEvent)] == [
            "message_start",
            "something_new",
            "message_stop",
        ]


async def test_events_without_names_get_theirs():
    bare = b"".join(b"data: " + frame.split(b"\ndata: ")[1] for frame in (START, NEW, STOP))
    async with pair() as (upstream, provider, _):
        upstream.script(sse_reply(bare))
        events = await read_events(provider, streamed_call())
        assert [event.kind for event in events if isinstance(event, RawEvent)][::2] == ["message_start", "message_stop"]


async def test_a_connection_serves_stream_after_stream():
    async with pair() as (upstream, provider, _):
        for _ in range(10):
            upstream.script(sse_reply(START, STOP))
            await read(provider, streamed_call())
        # A second one, where the first still waited for the last bytes of its framing.
        assert upstream.connections_opened <= 2


async def test_what_comes_after_the_end_is_not_relayed():
    async with pair() as (upstream, provider, _):
        upstream.script(sse_reply(START, STOP + NEW))
        events = await read_events(provider, streamed_call())
        assert isinstance(events[-1], RawEvent)
        assert events[-1].kind == "message_stop"


async def test_a_whole_answer_is_one_event_with_the_bytes_that_came():
    body = json.dumps(MESSAGE, indent=1).encode()
    async with pair() as (upstream, provider, _):
        upstream.script(json_reply(body))
        (event,) = await read_events(provider, make_call(SIMPLE_BODY))
        assert isinstance(event, CompleteMessage)
        assert event.data == body
        assert event.message.usage.output_tokens == 2


async def test_blocks_that_nobody_knows_stay_in_the_bytes():
    content = [{"type": "mcp_tool_use", "id": "m", "new": 1}, *MESSAGE["content"]]
    body = json.dumps({**MESSAGE, "content": content}).encode()
    async with pair() as (upstream, provider, _):
        upstream.script(json_reply(body))
        (event,) = await read_events(provider, make_call(SIMPLE_BODY))
        assert isinstance(event, CompleteMessage)
        assert event.data == body
        assert len(event.message.content) == 1


async def test_an_upstream_that_streams_unasked_or_does_not_when_asked():
    async with pair() as (upstream, provider, _):
        upstream.script(sse_reply(START, STOP), json_reply(json.dumps(MESSAGE).encode()))
        assert len(await read_events(provider, make_call(SIMPLE_BODY))) == 2
        (event,) = await read_events(provider, streamed_call())
        assert isinstance(event, CompleteMessage)


def error_frame(kind: str, message: str = "Busy.") -> bytes:
    body = {"type": "error", "error": {"type": kind, "message": message, "details": {"error_code": "c"}}}
    return b"event: error\ndata: " + json.dumps(body).encode() + b"\n\n"


async def test_an_answer_that_begins_with_an_error_is_a_refusal():
    async with pair() as (upstream, provider, clock):
        upstream.script(sse_reply(error_frame("overloaded_error")), sse_reply(START, STOP))
        assert len(await read_events(provider, streamed_call())) == 2
        assert len(clock.slept_s) == 1
        upstream.script(sse_reply(error_frame("invalid_request_error", "Bad.")))
        error = await fail(provider, streamed_call())
        assert isinstance(error, InvalidRequest)
        assert error.message == "Bad."


async def test_an_error_in_the_middle_ends_the_stream_and_hides_our_key():
    async with pair() as (upstream, provider, _):
        upstream.script(sse_reply(START, error_frame("overloaded_error", f"key {KEY} is busy") + NEW))
        *_, last = await read_events(provider, streamed_call())
        assert isinstance(last, ErrorEvent)
        assert last.error.type == "overloaded_error"
        assert last.error.message == "key [key] is busy"
        assert last.error.details is not None
        assert last.error.details.error_code == "c"
        assert len(upstream.requests) == 1


@pytest.mark.parametrize(
    "broken", [b"event: error\ndata: not json\n\n", b'event: error\ndata: {"error":{"type":5}}\n\n']
)
async def test_an_error_that_cannot_be_read_is_still_an_error(broken: bytes):
    async with pair() as (upstream, provider, _):
        upstream.script(sse_reply(START, broken))
        *_, last = await read_events(provider, streamed_call())
        assert isinstance(last, ErrorEvent)
        assert last.error.message


@pytest.mark.parametrize("steps", [(START,), (START, NEW[:20])], ids=["after an event", "inside an event"])
async def test_an_end_without_message_stop_is_an_error(steps: tuple[Step | bytes, ...]):
    async with pair() as (upstream, provider, _):
        upstream.script(sse_reply(*steps))
        *_, last = await read_events(provider, streamed_call())
        assert isinstance(last, ErrorEvent)
        assert last.error.type == "api_error"


async def test_an_empty_stream_is_asked_for_again():
    async with pair() as (upstream, provider, _):
        upstream.script(sse_reply(), sse_reply(START, STOP))
        assert len(await read_events(provider, streamed_call())) == 2


REFUSALS: list[tuple[Reply, type[RengaError], str | None]] = [
    (json_reply(b'{"type":"error","error":{"type":"rate_limit_error","message":"Slow."}}', 429), RateLimited, "Slow."),
    (json_reply(b'{"error":{"type":"not_found_error","message":"model: x"}}', 404), NotFound, "model: x"),
    (json_reply(b'{"error":{"type":"overloaded_error","message":"O"}}', 500), Overloaded, "O"),
    (json_reply(b"<html>", 503), ApiError, None),
    (json_reply(b'{"error":"plain"}', 418), InvalidRequest, "plain"),
    (json_reply(b'{"detail":"Not here"}', 404), NotFound, "Not here"),
    (json_reply(b"", 302, (("location", "http://elsewhere"),)), ApiError, None),
    (json_reply(b"{}", 200), ApiError, None),
    (json_reply(b"[1]", 200), ApiError, None),
]


@pytest.mark.parametrize(("reply", "expected", "message"), REFUSALS)
async def test_refusals(reply: Reply, expected: type[RengaError], message: str | None):
    async with pair(changes={"max_retries": 0}) as (upstream, provider, _):
        upstream.script(reply)
        error = await fail(provider, make_call(SIMPLE_BODY))
        assert type(error) is expected
        assert message is None or error.message == message


async def test_a_refusal_keeps_its_code_and_its_retry_after():
    body = b'{"error":{"type":"invalid_request_error","message":"M","details":{"error_code":"thread_not_found"}}}'
    async with pair() as (upstream, provider, _):
        upstream.script(json_reply(body, 429, (("retry-after", "120"),)))
        error = await fail(provider, make_call(SIMPLE_BODY))
        assert error.error_code == "thread_not_found"
        assert error.retry_after_s == 120
        assert len(upstream.requests) == 1


async def test_our_key_is_never_in_an_error():
    async with pair(changes={"max_retries": 0}) as (upstream, provider, _):
        for status in (400, 401, 403, 500):
            body = {"error": {"type": "x", "message": f"bad key {KEY}"}}
            upstream.script(json_reply(json.dumps(body).encode(), status))
            error = await fail(provider, make_call(SIMPLE_BODY))
            assert KEY not in error.sentence()


async def test_counting_asks_the_counting_route_with_the_same_body():
    async with pair() as (upstream, provider, _):
        upstream.script(json_reply(b'{"input_tokens":17,"context_management":{}}'))
        assert await provider.count_tokens(*make_call(SIMPLE_BODY).count_arguments()) == 17
        assert upstream.requests[0].path == "/v1/messages/count_tokens"
        assert json.loads(upstream.requests[0].body) == {**SIMPLE_BODY, "model": "big-model"}


async def test_models_are_listed():
    async with pair() as (upstream, provider, _):
        upstream.script(json_reply(b'{"data":[{"id":"claude-opus-5-5"},{"id":"b","x":1}],"has_more":false}'))
        assert await provider.models() == ("claude-opus-5-5", "b")


async def test_health_says_what_to_do():
    async with pair(None) as (_, provider, _clock):
        health = provider.health()
        assert not health.ready
        assert "UPSTREAM_KEY" in health.detail
    assert "not started" in provider.health().detail


async def test_what_models_can_do_is_a_table():
    async with pair(changes={"max_output_tokens": 64_000}) as (_, provider, _clock):
        newest = provider.capabilities("claude-haiku-5-5")
        assert (newest.prefill, newest.effort, newest.max_input_tokens) == (False, True, 1_000_000)
        assert newest.max_output_tokens == 64_000
        assert {"thread", "container", "mcp_servers"} <= newest.fields
        older = provider.capabilities("claude-haiku-4-5-20251001")
        assert (older.prefill, older.effort, older.max_input_tokens) == (True, False, 200_000)
        assert not provider.capabilities("other-model").effort


async def test_breakpoints_are_added_where_they_pay_and_nothing_else_changes() -> None:
    clock = ToldClock()
    async with ScriptedUpstream() as upstream:
        upstream.always("/v1/messages", json_reply(msgspec.json.encode(MESSAGE)))
        settings = make_settings("anthropic", upstream.url, None)
        provider = AnthropicProvider("upstream", settings, KEY, clock, AutomaticBreakpoints(clock))
        await provider.start()
        try:
            turn = {"role": "user", "content": "Go on."}
            body = {**SIMPLE_BODY, "system": "Known. " * 800}
            for number in range(2):
                await read(provider, make_call({**body, "messages": [{**turn, "content": str(number)}]}))
            own = {**body, "cache_control": {"type": "ephemeral", "ttl": "1h"}}
            await read(provider, make_call(own))
        finally:
            await provider.stop()
    first, second, third = [json.loads(request.body) for request in upstream.requests]
    assert first["system"] == body["system"]
    assert second["system"] == [{"type": "text", "text": body["system"], "cache_control": {"type": "ephemeral"}}]
    assert third == {**own, "model": "big-model"}
