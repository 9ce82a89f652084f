"""What holds for every request: authentication, routes, errors in the API's shape, limits of bodies."""

import gzip
import re
import zlib

import msgspec
import pytest

from renga.config import ServerSettings
from renga.http.public_routes import OPEN_PATHS, PUBLIC_ROUTES

KEY = {"x-api-key": "sk-renga-test"}


def assert_error(response, status, error_type, code=None):
    assert response.status == status
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert body["type"] == "error"
    assert body["error"]["type"] == error_type
    assert body["error"]["message"]
    assert body["error"].get("details", {}).get("error_code") == code
    assert body["request_id"] == response.headers["request-id"]
    return body["error"]["message"]


def routes_that_need_a_key():
    return [
        (route.method, re.sub(r"{.*?}", "x", route.path)) for route in PUBLIC_ROUTES if route.path not in OPEN_PATHS
    ]


def test_few_routes_are_open():
    assert OPEN_PATHS == ("/", "/health", "/ready")


@pytest.mark.parametrize(("method", "path"), [*routes_that_need_a_key(), ("GET", "/no/such/route")])
@pytest.mark.parametrize("mount", ["", "/anthropic"])
async def test_nothing_else_works_without_a_key(served, method, path, mount):
    for headers in ({}, {"x-api-key": "wrong"}, {"authorization": "Basic eDp5"}, {"authorization": "Bearer nö"}):
        response = await served.ask(method, mount + path, b"{}", headers)
        assert_error(response, 401, "authentication_error")
        assert response.headers["www-authenticate"] == "Bearer"
    assert served.provider.calls == []


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer sk-renga-test"},
        {"authorization": "bearer  sk-renga-test "},
        {"x-api-key": "sk-renga-test"},
        {"api-key": "sk-renga-test"},
        {"x-api-key": "sk-renga-test", "authorization": "Bearer token-of-another-cloud"},
    ],
)
async def test_ways_to_send_a_key(served, hello, headers):
    assert (await served.ask("POST", "/v1/messages", hello, headers)).status == 200


async def test_the_same_routes_under_a_mount(served, hello):
    assert (await served.ask("POST", "/anthropic/v1/messages", hello)).status == 200
    assert (await served.ask("GET", "/anthropic/v1/models/haiku")).status == 200
    assert (await served.ask("HEAD", "/anthropic", headers={})).status == 200
    assert_error(await served.ask("GET", "/anthropicv1/models"), 404, "not_found_error")


async def test_an_unknown_route(served):
    assert "/v1/nothing" in assert_error(await served.ask("GET", "/v1/nothing"), 404, "not_found_error")
    for path, advice in (
        ("/v1/v1/messages", "base URL of an SDK ends before /v1"),
        ("/v1/messages/", "there is /v1/messages)"),
        ("/v1//messages", "there is /v1/messages)"),
        ("/v1/chat/completions", "speaks the Messages API"),
    ):
        assert advice in assert_error(await served.ask("POST", path), 404, "not_found_error")
    assert_error(await served.ask("POST", "/v1/complete", b"{}"), 404, "not_found_error")
    assert_error(await served.ask("GET", "/v1/models/"), 404, "not_found_error")


async def test_an_unknown_method(served):
    response = await served.ask("DELETE", "/v1/messages")
    assert "POST" in assert_error(response, 405, "invalid_request_error")
    assert response.headers["allow"] == "POST"
    assert (await served.ask("POST", "/")).headers["allow"] == "GET"


async def test_head(served):
    assert (await served.ask("HEAD", "/", headers={})).status == 200
    response = await served.ask("HEAD", "/v1/models")
    assert response.status == 200
    assert int(response.headers["content-length"]) > 0
    assert (await served.ask("HEAD", "/v1/nothing")).status == 404


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff", b'{"model": "haiku"} x', b"[" * 100_000])
async def test_a_body_that_is_no_request(served, body):
    assert_error(await served.ask("POST", "/v1/messages", body), 400, "invalid_request_error")


@pytest.fixture
async def small(serve):
    return await serve(ServerSettings(max_body_bytes=2048, body_timeout_s=0.2))


async def test_a_body_too_large_is_refused_before_it_is_read(small):
    async with await small.connect() as connection:
        await connection.send_head("POST", "/v1/messages", {**KEY, "content-length": "1000000000"})
        response = await connection.read()
        assert_error(response, 413, "request_too_large")
        assert response.headers["connection"] == "close"


async def test_a_client_that_sends_on_still_gets_the_answer(small):
    async with await small.connect() as connection:
        await connection.send("POST", "/v1/messages", KEY, b" " * 5_000_000)
        assert_error(await connection.read(), 413, "request_too_large")
        assert await connection.read_end() == b""


async def test_a_chunked_body_too_large(small):
    async with await small.connect() as connection:
        await connection.send_head("POST", "/v1/messages", {**KEY, "transfer-encoding": "chunked"})
        for _ in range(5):
            await connection.write(b"400\r\n" + b" " * 1024 + b"\r\n")
        await connection.write(b"0\r\n\r\n")
        assert_error(await connection.read(), 413, "request_too_large")


async def test_a_body_of_just_the_limit(small, hello):
    body = msgspec.json.encode(hello).ljust(2048)
    assert (await small.ask("POST", "/v1/messages", body)).status == 200
    assert_error(await small.ask("POST", "/v1/messages", body + b" "), 413, "request_too_large")


async def test_a_body_that_does_not_come(small):
    async with await small.connect() as connection:
        await connection.send_head("POST", "/v1/messages", {**KEY, "content-length": "100"})
        await connection.write(b'{"model"')
        assert_error(await connection.read(), 408, "invalid_request_error", "request_body_timeout")


async def test_a_body_that_comes_late_but_in_time(serve, hello):
    served = await serve(ServerSettings(body_timeout_s=10))
    body = msgspec.json.encode(hello)
    async with await served.connect() as connection:
        await connection.send_head("POST", "/v1/messages", {**KEY, "content-length": str(len(body))})
        for byte in (body[:10], body[10:40], body[40:]):
            await connection.write(byte)
        assert (await connection.read()).status == 200


async def test_a_client_that_leaves_within_its_body(served):
    connection = await served.connect()
    await connection.send_head("POST", "/v1/messages", {**KEY, "content-length": "100"})
    await connection.write(b'{"model"')
    connection.abort()
    assert (await served.ask("GET", "/health")).status == 200
    assert served.provider.calls == []


def raw_deflate(data):
    encoder = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return encoder.compress(data) + encoder.flush()


@pytest.mark.parametrize(
    ("encoding", "encode"),
    [("gzip", gzip.compress), ("deflate", zlib.compress), ("deflate", raw_deflate), ("identity", bytes)],
)
async def test_compressed_bodies(served, hello, encoding, encode):
    body = msgspec.json.encode(hello)
    response = await served.ask("POST", "/v1/messages", encode(body), {**KEY, "content-encoding": encoding})
    assert response.status == 200
    assert served.provider.calls[0].body == body


async def test_a_large_compressed_body(served, hello):
    hello["messages"] = [{"role": "user", "content": "".join(map(str, range(400_000)))}]
    body = gzip.compress(msgspec.json.encode(hello), 1)
    assert len(body) > 256 * 1024
    assert (await served.ask("POST", "/v1/messages", body, {**KEY, "content-encoding": "gzip"})).status == 200


@pytest.mark.parametrize(
    ("encoding", "body", "status", "error_type", "code"),
    [
        ("br", b"x", 400, "invalid_request_error", "request_body_encoding_unsupported"),
        ("gzip", b"not gzip", 400, "invalid_request_error", "request_body_encoding_invalid"),
        ("gzip", gzip.compress(b"{}", mtime=0)[:-4], 400, "invalid_request_error", "request_body_encoding_invalid"),
        ("gzip", gzip.compress(b"{}", mtime=0) + b"x", 400, "invalid_request_error", "request_body_encoding_invalid"),
        ("deflate", b"", 400, "invalid_request_error", "request_body_encoding_invalid"),
        (
            "gzip",
            gzip.compress(b" " * 100_000, mtime=0),
            413,
            "request_too_large",
            "request_body_too_large_after_decoding",
        ),
    ],
)
async def test_bodies_that_cannot_be_decoded(small, encoding, body, status, error_type, code):
    response = await small.ask("POST", "/v1/messages", body, {**KEY, "content-encoding": encoding})
    assert_error(response, status, error_type, code)


async def test_charsets(served, hello):
    for content_type, status in (("text/plain", 200), ('application/json; charset="UTF-8"', 200)):
        assert (await served.ask("POST", "/v1/messages", hello, {**KEY, "content-type": content_type})).status == status
    response = await served.ask("POST", "/v1/messages", hello, {**KEY, "content-type": "text/json; charset=utf-16"})
    assert_error(response, 400, "invalid_request_error", "unsupported_charset")


async def test_an_unexpected_error_is_told_without_its_words(served, hello, caplog):
    hello["messages"][0]["content"] = "the user's prompt"

    async def script(call):
        raise KeyError(call.message.messages[0].content)
        yield []

    served.provider.script = script
    response = await served.ask("POST", "/v1/messages", hello)
    assert assert_error(response, 500, "api_error") == "Internal error."
    assert "KeyError" in caplog.text
    assert response.headers["request-id"] in caplog.text
    assert "the user's prompt" not in caplog.text
    assert served.ledger.open == []


async def test_one_connection_serves_many_requests(served, hello):
    async with await served.connect() as connection:
        for _ in range(3):
            await connection.send("POST", "/v1/messages", KEY, msgspec.json.encode(hello))
            assert (await connection.read()).status == 200
        await connection.send("POST", "/v1/messages", KEY, b"{")
        assert (await connection.read()).status == 400
        await connection.send("GET", "/v1/models", KEY)
        assert (await connection.read()).status == 200


async def test_request_ids_differ(served):
    identifiers = {(await served.ask("GET", "/health")).headers["request-id"] for _ in range(3)}
    assert len(identifiers) == 3


async def test_a_websocket_is_closed_politely(served):
    from renga.http.guard import Guard

    sent = []

    async def send(message):
        sent.append(message)

    await Guard.__call__(object.__new__(Guard), {"type": "websocket"}, None, send)
    assert sent[0]["type"] == "websocket.close"


async def test_the_hooks_frame_the_life(serve):
    served = await serve(ServerSettings())
    assert served.hooks.calls == ["startup"]
