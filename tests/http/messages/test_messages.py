"""POST /v1/messages over a live socket: whole answers, streams, and what reaches the provider."""

import asyncio

import msgspec
import pytest

from renga.config import ServerSettings
from renga.errors import InvalidRequest, Overloaded
from renga.protocols.messages.blocks import TextBlock, ThinkingBlock, ToolUseBlock
from renga.protocols.messages.events.event_types import (
    CompleteMessage,
    ContentBlockDelta,
    ErrorBody,
    ErrorEvent,
    Evidence,
    Message,
    MessageStop,
    Ping,
    RawEvent,
    TextDelta,
    Usage,
)
from renga.protocols.messages.events.message_split import split
from renga.testing.stream_checker import check_stream

KEY = {"x-api-key": "sk-renga-test"}
RICH = Message(
    model="haiku",
    id="msg_01abc",
    content=(
        ThinkingBlock("Let me see", "c2ln"),
        TextBlock("I will call both"),
        ToolUseBlock("toolu_1", "f", msgspec.Raw(b'{"a":1}')),
        ToolUseBlock("toolu_2", "g", msgspec.Raw(b"{}")),
    ),
    stop_reason="tool_use",
    usage=Usage(7, cache_read_input_tokens=2, output_tokens=30),
)


def scripted(*batches):
    async def script(call):
        for batch in batches:
            yield batch

    return script


def whole(message):
    return CompleteMessage(msgspec.json.encode(message), message)


async def test_whole_answer(served, hello):
    response = await served.ask("POST", "/v1/messages", hello)
    assert response.status == 200
    assert response.headers["content-type"] == "application/json"
    assert response.json() == {
        "model": "hokku",
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "content": [{"type": "text", "text": "Hello there"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 7,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": 3,
        },
    }
    assert served.ledger.open == []
    assert [outcome.status for outcome in served.ledger.outcomes] == ["succeeded"]


async def test_headers_of_a_whole_answer(served, hello):
    served.provider.script = scripted([*split(RICH), Evidence(-0.25, -3.0, 30)])
    headers = (await served.ask("POST", "/v1/messages", hello)).headers
    assert headers["request-id"].startswith("req_")
    assert headers["renga-target"] == "local/hokku"
    assert headers["renga-plan"]
    assert int(headers["renga-overhead-us"]) >= 0
    assert headers["renga-cost-usd"] == "1.234000042"
    assert headers["renga-mean-logprob"] == "-0.250000"


async def test_the_answer_of_a_target_that_did_not_stream_is_passed_on_as_it_came(served, hello):
    data = b'{"model":"haiku", "id":"msg_1","content":[],"usage":{"input_tokens":1,"output_tokens":1},"new_field":[1]}'
    served.provider.script = scripted([CompleteMessage(data, RICH)])
    assert (await served.ask("POST", "/v1/messages", hello)).body == data


async def stream(served, hello, **fields):
    response = await served.ask("POST", "/v1/messages", {**hello, "stream": True, **fields})
    assert response.status == 200
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert response.headers["cache-control"] == "no-cache"
    assert response.headers["renga-target"] == "local/hokku"
    return check_stream(response.body)


@pytest.mark.parametrize("message", [RICH, msgspec.structs.replace(RICH, content=(), stop_reason="max_tokens")])
async def test_a_stream_says_what_the_whole_answer_says(served, hello, message):
    served.provider.script = scripted([whole(message)])
    checker = await stream(served, hello)
    served.provider.script = scripted(split(message))
    answer = (await served.ask("POST", "/v1/messages", hello)).json()
    blocks = [data["content_block"]["type"] for kind, data in checker.events if kind == "content_block_start"]
    assert blocks == [block["type"] for block in answer["content"]]
    assert checker.text == "".join(block["text"] for block in answer["content"] if block["type"] == "text")
    assert checker.kinds[-2:] == ["message_delta", "message_stop"]


async def test_the_first_ping_follows_the_first_block(served, hello):
    events = [event for event in split(RICH) if not isinstance(event, Ping)]
    served.provider.script = scripted(*([event] for event in events))
    checker = await stream(served, hello)
    assert checker.kinds[:3] == ["message_start", "content_block_start", "ping"]
    assert checker.kinds.count("ping") == 1


async def test_relayed_events_keep_unknown_fields_and_padding(served, hello):
    start = (
        b'{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[],'
        b'"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":3,"output_tokens":1},"later":1}}   '
    )
    end = (
        b'{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":2}}'
    )
    events = [
        RawEvent("message_start", start),
        RawEvent(
            "content_block_start", b'{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}'
        ),
        RawEvent(
            "content_block_delta",
            b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hi","later":2}}',
        ),
        RawEvent("content_block_stop", b'{"type":"content_block_stop","index":0 }'),
        RawEvent("message_delta", end),
        RawEvent("message_stop", b'{"type":"message_stop"}'),
    ]
    served.provider.script = scripted(events)
    response = await served.ask("POST", "/v1/messages", {**hello, "stream": True})
    checker = check_stream(response.body)
    assert b"data: " + start + b"\n\n" in response.body
    assert "ping" not in checker.kinds
    assert served.ledger.outcomes[0].usage.output_tokens == 2


async def test_an_error_in_mid_stream_is_the_last_event(served, hello):
    failing = [*split(RICH)[:4], ErrorEvent(ErrorBody("overloaded_error", "The engine died.")), MessageStop()]
    served.provider.script = scripted(failing)
    checker = await stream(served, hello)
    assert checker.kinds[-1] == "error"
    error = checker.events[-1][1]
    assert error["error"] == {"type": "overloaded_error", "message": "The engine died."}
    assert error["request_id"].startswith("req_")
    assert served.ledger.outcomes[0].status == "partial"


async def test_an_upstream_that_sends_on_after_its_error_is_cut(served, hello):
    error = RawEvent("error", b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}')
    served.provider.script = scripted([split(RICH)[0], error, RawEvent("message_stop", b'{"type":"message_stop"}')])
    assert (await stream(served, hello)).kinds == ["message_start", "error"]


@pytest.mark.parametrize("failure", [ValueError("a prompt"), Overloaded("Full.")])
async def test_a_provider_that_raises_in_mid_stream_ends_in_an_error_event(served, hello, failure):
    async def script(call):
        yield split(RICH)[:4]
        raise failure

    served.provider.script = script
    checker = await stream(served, hello)
    assert checker.kinds[-1] == "error"
    assert "a prompt" not in str(checker.events[-1])
    assert served.ledger.open == []


async def test_a_stream_that_breaks_off_ends_in_an_error_event(served, hello):
    served.provider.script = scripted(split(RICH)[:5])
    assert (await stream(served, hello)).kinds[-1] == "error"


async def test_a_whole_answer_that_breaks_off_is_an_error(served, hello):
    served.provider.script = scripted(split(RICH)[:5])
    response = await served.ask("POST", "/v1/messages", hello)
    assert response.status == 500
    assert response.json()["error"]["type"] == "api_error"


async def test_an_error_before_the_first_event_is_a_response(served, hello):
    async def script(call):
        raise InvalidRequest("The prompt is too long.", path="messages", error_code="some_code")
        yield []

    served.provider.script = script
    for body in (hello, {**hello, "stream": True}):
        response = await served.ask("POST", "/v1/messages", body)
        assert response.status == 400
        assert response.json()["error"] == {
            "type": "invalid_request_error",
            "message": "messages: The prompt is too long.",
            "details": {"error_code": "some_code"},
        }
        assert response.json()["request_id"] == response.headers["request-id"]


async def test_the_client_that_waits_longest_is_told_to_come_back(served, hello):
    async def script(call):
        raise Overloaded("Full.", retry_after_s=2.2)
        yield []

    served.provider.script = script
    response = await served.ask("POST", "/v1/messages", hello)
    assert (response.status, response.headers["retry-after"]) == (529, "3")


async def test_a_silent_stream_is_kept_alive_by_pings(serve, hello):
    served = await serve(ServerSettings(ping_interval_s=0.02))
    gate = asyncio.Event()

    async def script(call):
        yield split(RICH)[:2]
        await gate.wait()
        yield split(RICH)[2:]

    served.provider.script = script
    async with await served.connect() as connection:
        await connection.send("POST", "/v1/messages", KEY, msgspec.json.encode({**hello, "stream": True}))
        await connection.read_head()
        body = b""
        async for chunk in connection.read_chunks():
            body += chunk
            if body.count(b"event: ping") >= 3:
                gate.set()
    check_stream(body)


async def test_what_follows_the_end_is_read_but_not_sent(served, hello):
    served.provider.script = scripted(split(RICH), [Evidence(-0.5, -1.0, 30)])
    assert (await stream(served, hello)).kinds[-1] == "message_stop"
    assert served.ledger.outcomes[0].mean_logprob == -0.5


async def test_a_batch_leaves_in_one_write(served, hello):
    deltas = [ContentBlockDelta(0, TextDelta(word)) for word in ["one", "two", "three"]]
    text = msgspec.structs.replace(RICH, content=(TextBlock("x"),), stop_reason="end_turn")
    start, block, ping, _, *rest = split(text)
    served.provider.script = scripted([start, block, ping], deltas, rest)
    async with await served.connect() as connection:
        await connection.send("POST", "/v1/messages", KEY, msgspec.json.encode({**hello, "stream": True}))
        await connection.read_head()
        chunks = [chunk async for chunk in connection.read_chunks()]
    assert len(chunks) == 3
    assert chunks[1].count(b"text_delta") == 3
    check_stream(b"".join(chunks))


async def test_what_reaches_the_provider(served, hello):
    headers = {
        **KEY,
        "anthropic-version": "2026-10-21",
        "anthropic-beta": "one-2025-01-01, two-2025-01-01,one-2025-01-01",
        "anthropic-user-profile-id": "profile",
    }
    body = b' {"model":"haiku","max_tokens":5,"messages":[{"role":"user","content":"Hi"}],"speed":"fast"}'
    response = await served.ask("POST", "/v1/messages?beta=true", body, headers)
    assert response.status == 200
    (call,) = served.provider.calls
    assert call.body == body
    assert call.version == "2026-10-21"
    assert call.betas == ("one-2025-01-01", "two-2025-01-01")
    assert call.caller.key_id == "key_test"
    assert call.request_id == response.headers["request-id"]
    assert call.forwarded_headers == (("anthropic-user-profile-id", "profile"),)


async def test_the_version_may_be_absent_but_not_unknown(served, hello):
    await served.ask("POST", "/v1/messages", hello)
    assert served.provider.calls[0].version == "2023-06-01"
    response = await served.ask("POST", "/v1/messages", hello, {**KEY, "anthropic-version": "2024-01-01"})
    assert response.status == 400
    assert "anthropic-version" in response.json()["error"]["message"]


async def test_count_tokens(served, hello):
    del hello["max_tokens"]
    response = await served.ask("POST", "/v1/messages/count_tokens", hello)
    assert response.json() == {"input_tokens": 7}


async def test_thread_is_refused_with_its_code(served, hello):
    response = await served.ask("POST", "/v1/messages", {**hello, "thread": {"type": "create"}})
    assert response.status == 400
    assert response.json()["error"]["details"] == {"error_code": "thread_unsupported_request"}


async def test_an_unknown_model_is_not_found(served, hello):
    response = await served.ask("POST", "/v1/messages", {**hello, "model": "no-such"})
    assert response.status == 404
    assert response.json()["error"]["type"] == "not_found_error"
