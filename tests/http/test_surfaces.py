"""Two formats on one port: whatever is said to a client, before and after a request is one, has its own format."""

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest
from tests.http.conftest import HELLO, KEY, SECRET, serving
from tests.http.surface_of_frames import FRAME_ROUTES, FRAME_SURFACES, read_frames

from renga.config import ServerSettings
from renga.errors import Overloaded
from renga.protocols.messages.events.message_split import split

FRAME_KEY = {"x-frame-key": SECRET}
ASK = "/frames/mine/models/haiku:ask"
STREAM = "/frames/mine/models/haiku:stream"


@pytest.fixture
async def serve_both() -> AsyncIterator:
    contexts = []

    async def start(**settings):
        context = serving(ServerSettings(**settings), None, FRAME_ROUTES, FRAME_SURFACES)
        contexts.append(context)
        return await context.__aenter__()

    yield start
    for context in contexts:
        await context.__aexit__(None, None, None)


@pytest.fixture
async def both(serve_both):
    return await serve_both()


def assert_frame_error(response, status, name):
    assert (response.status, response.headers["x-frame-error"]) == (status, name)
    assert response.headers["content-type"] == "application/x-frames"
    body = response.json()
    assert set(body) == {"oops", "id"}
    assert body["id"] == response.headers["x-frame-id"]
    assert "request-id" not in response.headers
    return body["oops"]


def assert_messages_error(response, status, error_type):
    assert (response.status, response.headers["content-type"]) == (status, "application/json")
    body = response.json()
    assert (body["type"], body["error"]["type"]) == ("error", error_type)
    assert body["request_id"] == response.headers["request-id"]


async def test_an_answer_has_the_format_of_its_route(both, hello):
    response = await both.ask("POST", ASK, {"ask": "Hi", "shout": True}, FRAME_KEY)
    assert (response.status, response.body) == (201, b"HELLO THERE")
    assert (response.headers["x-tokens"], response.headers["renga-target"]) == ("3", "local/hokku")
    assert response.headers["x-frame-id"] == both.provider.calls[0].request_id
    assert both.provider.calls[0].message.model == "haiku"
    assert both.ledger.requests[0].surface == "frames"
    assert (await both.ask("POST", ASK.replace(":ask", ":count"), {"ask": "Hi"}, FRAME_KEY)).body == b"7"
    assert (await both.ask("POST", "/v1/messages", hello)).json()["content"][0]["text"] == "Hello there"
    assert both.ledger.requests[-1].surface == "messages"
    assert both.ledger.open == []


async def test_a_stream_has_the_frames_of_its_route(both):
    response = await both.ask("POST", STREAM, {"ask": "Hi"}, FRAME_KEY)
    assert (response.status, response.headers["content-type"]) == (200, "application/x-frames")
    assert read_frames(response.body) == [(b"T", b"1:Hello there"), (b"E", b"2:")]
    assert both.ledger.open == []


async def test_a_silence_is_filled_as_the_format_does(serve_both):
    both = await serve_both(ping_interval_s=0.05)
    goes_on = asyncio.Event()

    async def script(request):
        events = split(HELLO)
        yield events[:-1]
        await goes_on.wait()
        yield events[-1:]

    both.provider.script = script
    async with await both.connect() as connection:
        await connection.send("POST", STREAM, FRAME_KEY, msgspec.json.encode({"ask": "Hi"}))
        await connection.read_head()
        data = b""
        async with asyncio.timeout(30):
            async for chunk in connection.read_chunks():
                data += chunk
                if len(read_frames(data)) == 3:
                    goes_on.set()
    kinds = [kind for kind, _ in read_frames(data)]
    assert (kinds[:3], set(kinds[3:-1]) - {b"K"}, kinds[-1]) == ([b"T", b"K", b"K"], set(), b"E")
    assert [int(payload.partition(b":")[0]) for _, payload in read_frames(data)] == list(range(1, len(kinds) + 1))


async def test_an_answer_that_breaks_off_ends_as_the_format_does(both):
    async def script(request):
        yield split(HELLO)[:4]
        raise Overloaded("Full.")

    both.provider.script = script
    response = await both.ask("POST", STREAM, {"ask": "Hi"}, FRAME_KEY)
    kinds = [kind for kind, _ in read_frames(response.body)]
    assert (response.status, kinds) == (200, [b"T", b"X"])
    assert b"Full." in response.body
    assert_frame_error(await both.ask("POST", ASK, {"ask": "Hi"}, FRAME_KEY), 503, "Overloaded")


async def test_a_server_that_stops_ends_a_stream_as_the_format_does(both):
    async def script(request):
        yield split(HELLO)[:4]
        await asyncio.Event().wait()

    both.provider.script = script
    async with await both.connect() as connection:
        await connection.send("POST", STREAM, FRAME_KEY, msgspec.json.encode({"ask": "Hi"}))
        await connection.read_head()
        chunks = connection.read_chunks()
        data = await anext(chunks)
        both.cancel_requests()
        data += b"".join([chunk async for chunk in chunks])
    assert [kind for kind, _ in read_frames(data)] == [b"T", b"X"]
    assert b"stopping" in data


async def test_errors_of_a_route_have_its_format(both, hello):
    assert_frame_error(await both.ask("POST", ASK, {"ask": "Hi"}, {}), 401, "Unauthenticated")
    assert_frame_error(await both.ask("POST", ASK, {"ask": "Hi"}, KEY), 401, "Unauthenticated")
    assert "`ask`" in assert_frame_error(await both.ask("POST", ASK, b"{}", FRAME_KEY), 400, "InvalidRequest")
    refused = await both.ask("GET", ASK, b"", FRAME_KEY)
    assert_frame_error(refused, 405, "MethodNotAllowed")
    assert refused.headers["allow"] == "POST"
    assert_messages_error(await both.ask("POST", "/v1/messages", hello, {}), 401, "authentication_error")
    assert_messages_error(await both.ask("POST", "/v1/messages", b"{}"), 400, "invalid_request_error")


async def test_a_path_that_is_not_there_is_missed_in_the_format_of_its_beginning(both):
    assert "/frames/nowhere" in assert_frame_error(
        await both.ask("POST", "/frames/nowhere", b"", FRAME_KEY), 404, "NotFound"
    )
    assert_frame_error(await both.ask("POST", "/frames/nowhere", b"", {}), 401, "Unauthenticated")
    assert_messages_error(await both.ask("POST", "/nowhere"), 404, "not_found_error")


async def test_a_body_too_large_or_too_slow_is_refused_in_the_format(serve_both):
    both = await serve_both(max_body_bytes=100, body_timeout_s=0.2)
    refused = await both.ask("POST", ASK, b"x" * 200, FRAME_KEY)
    assert_frame_error(refused, 413, "RequestTooLarge")
    async with await both.connect() as connection:
        await connection.send_head("POST", ASK, {**FRAME_KEY, "content-length": "50"})
        assert_frame_error(await connection.read(), 408, "RequestTimedOut")


async def test_what_never_becomes_a_request_is_refused_in_the_format_of_its_path(serve_both):
    both = await serve_both(head_timeout_s=0.2)
    for path, check in (("/frames/x", assert_frame_error), ("/v1/messages", assert_messages_error)):
        is_frames = check is assert_frame_error
        async with await both.connect() as connection:
            await connection.write(f"POST {path} HTTP/1.1\r\nhost: t\r\n".encode())
            check(await connection.read(), 408, "RequestTimedOut" if is_frames else "invalid_request_error")
        async with await both.connect() as connection:
            await connection.write(f"POST {path} HTTP/1.1\r\nx: ".encode() + b"x" * 70_000)
            check(await connection.read(), 431, "HeadTooLarge" if is_frames else "invalid_request_error")
        async with await both.connect() as connection:
            await connection.write(f"POST {path} HTTP/1.1\r\nbad header\r\n\r\n".encode())
            check(await connection.read(), 400, "InvalidRequest" if is_frames else "invalid_request_error")
    async with await both.connect() as connection:
        await connection.write(b"GARBAGE\r\n\r\n")
        assert_messages_error(await connection.read(), 400, "invalid_request_error")


async def test_a_connection_too_many_is_told_in_the_format_of_its_path(serve_both):
    both = await serve_both(max_connections=1)
    async with await both.connect() as first:
        await first.send("GET", "/health", {})
        assert (await first.read()).status == 200
        assert_frame_error(await both.ask("POST", ASK, {"ask": "Hi"}, FRAME_KEY), 503, "Overloaded")
        assert_messages_error(await both.ask("POST", "/v1/messages", b"{}"), 529, "overloaded_error")
