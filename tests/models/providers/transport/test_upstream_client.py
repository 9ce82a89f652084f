"""The way to an upstream, against a real server that misbehaves."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest
import uvloop

from renga.errors import ApiError, ConfigError, InvalidRequest, Overloaded, UpstreamTimedOut
from renga.models.providers.transport.upstream_client import Endpoint, Upstream, UpstreamLost, UpstreamUnreachable
from renga.testing.servers.scripted_upstream import (
    Cut,
    HoldOpen,
    Reply,
    Reset,
    ScriptedUpstream,
    Send,
    Stall,
    json_reply,
    sse_reply,
)

PATIENT = Endpoint("up", "", 2.0, 5.0, 5.0, 8)


@asynccontextmanager
async def pair(**changes: object) -> AsyncIterator[tuple[ScriptedUpstream, Upstream]]:
    """A server, and the way to it."""
    async with ScriptedUpstream() as server:
        upstream = Upstream(msgspec.structs.replace(PATIENT, base_url=server.url, **changes))
        upstream.open()
        try:
            yield server, upstream
        finally:
            upstream.close()


async def fetch(upstream: Upstream, body: bytes = b"{}") -> bytes:
    async with await upstream.post("/v1/messages", (("x-one", "1"),), body) as response:
        return await response.read()


async def test_a_request_arrives_as_it_was_sent():
    async with pair() as (server, upstream):
        server.script(json_reply(b'{"a":1}', headers=(("x-two", "2"), ("X-Two", "3"))))
        async with await upstream.post("/v1/messages?x=1", (("x-one", "1"),), b"body") as response:
            assert response.status == 200
            assert response.header("x-two") == "2, 3"
            assert await response.read() == b'{"a":1}'
        request = server.requests[0]
        assert (request.method, request.path, request.body) == ("POST", "/v1/messages?x=1", b"body")
        assert request.header("x-one") == "1"
        assert request.header("host") == server.url.removeprefix("http://")
        assert request.header("content-length") == "4"
        assert request.header("accept-encoding") == "identity"
        assert (request.header("user-agent") or "").startswith("renga/")


async def test_a_base_url_may_have_a_path_and_a_version():
    async with ScriptedUpstream() as server:
        for base_url, path in ((server.url + "/proxy/", "/proxy/v1/x"), (server.url + "/v1", "/v1/x")):
            upstream = Upstream(msgspec.structs.replace(PATIENT, base_url=base_url))
            upstream.open()
            server.script(json_reply(b"{}"))
            async with await upstream.get("/v1/x", ()) as response:
                await response.read()
            assert server.requests[-1].path == path
            upstream.close()


@pytest.mark.parametrize(
    "url", ["ftp://a", "localhost:8000", "http://", "http://a:99999", "http://u:p@a", "http://a/?q=1", "http://a:x"]
)
def test_a_base_url_that_is_none_is_refused_at_start(url: str):
    with pytest.raises(ConfigError):
        Upstream(msgspec.structs.replace(PATIENT, base_url=url))


async def test_a_connection_is_used_again():
    async with pair() as (server, upstream):
        for _ in range(5):
            server.script(json_reply(b"{}"))
            await fetch(upstream)
        assert server.connections_opened == 1
        assert upstream.open_connections == 1


async def test_a_connection_that_the_upstream_closes_is_not():
    async with pair() as (server, upstream):
        closing = (("connection", "close"),)
        server.script(json_reply(b"{}", headers=closing), json_reply(b"{}"))
        await fetch(upstream)
        await fetch(upstream)
        assert server.connections_opened == 2


async def test_an_idle_connection_that_died_costs_no_request():
    async with pair() as (server, upstream):
        server.script(json_reply(b"1"), json_reply(b"2"))
        await fetch(upstream)
        for connection in tuple(server.connections):
            assert connection.transport is not None
            connection.transport.abort()
        # Not even the news of it has reached us: the request is written, lost, and asked again elsewhere.
        assert await fetch(upstream) == b"2"
        assert server.connections_opened == 2


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
async def test_bodies_are_read_to_their_end_however_framed(framing: str):
    async with pair() as (server, upstream):
        steps = tuple(Send(b"x" * size) for size in (1, 70_000, 3, 500_000))
        server.script(Reply(steps=steps, framing=framing))  # pyright: ignore[reportArgumentType]
        assert await fetch(upstream) == b"x" * 570_004


async def test_one_read_of_the_socket_is_one_chunk():
    async with pair() as (server, upstream):
        gate = asyncio.Event()
        server.script(sse_reply(b"a", HoldOpen(gate), b"b", b"c"))
        async with await upstream.post("/", (), b"") as response:
            assert await response.read_some() == b"a"
            gate.set()
            rest = b""
            while data := await response.read_some():
                rest += data
            assert rest == b"bc"


async def test_a_reader_that_is_slow_holds_the_upstream_back():
    async with pair() as (server, upstream):
        server.script(sse_reply(*[b"x" * 100_000] * 200))
        async with await upstream.post("/", (), b"") as response:
            await response.read_some()
            connection = next(iter(server.connections))
            await connection.blocked.wait()
            total = 100_000 * 200
            seen = 0
            while data := await response.read_some():
                seen += len(data)
            assert total - 600_000 < seen < total


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (sse_reply(b"a", Cut()), UpstreamLost),
        (sse_reply(b"a", Reset()), UpstreamLost),
        (Reply(steps=(Send(b"abc"), Cut()), headers=(("content-length", "9"),)), UpstreamLost),
        (
            Reply(steps=(Send(b"zz\r\nnot a chunk"),), framing="length", headers=(("transfer-encoding", "chunked"),)),
            UpstreamLost,
        ),
        (sse_reply(b"a", Stall()), UpstreamTimedOut),
        (Reply(head_after=asyncio.Event()), UpstreamTimedOut),
    ],
    ids=["cut", "reset", "short", "bad framing", "stall", "no head"],
)
async def test_an_answer_that_breaks_off_is_an_error(reply: Reply, error: type[Exception]):
    async with pair(first_event_timeout_s=0.1, idle_timeout_s=0.1) as (server, upstream):
        server.script(reply, json_reply(b"after"))
        with pytest.raises(error):
            await fetch(upstream)
        assert await fetch(upstream) == b"after"
        assert upstream.open_connections == 1


async def test_the_first_bytes_may_take_as_long_as_the_head():
    async with pair(first_event_timeout_s=5.0, idle_timeout_s=0.05) as (server, upstream):
        gate = asyncio.Event()
        server.script(sse_reply(HoldOpen(gate), b"late", Stall()))
        async with await upstream.post("/", (), b"") as response:
            asyncio.get_running_loop().call_later(0.15, gate.set)
            assert await response.read_some() == b"late"
            with pytest.raises(UpstreamTimedOut):
                await response.read_some()


async def test_nobody_there():
    upstream = Upstream(msgspec.structs.replace(PATIENT, base_url="http://127.0.0.1:9"))
    upstream.open()
    with pytest.raises(UpstreamUnreachable) as caught:
        await fetch(upstream)
    assert "127.0.0.1:9" in caught.value.sentence()
    assert caught.value.retryable


async def test_a_name_that_does_not_exist():
    upstream = Upstream(msgspec.structs.replace(PATIENT, base_url="http://no-such-host.invalid"))
    upstream.open()
    with pytest.raises((UpstreamUnreachable, UpstreamTimedOut)):
        await fetch(upstream)


async def test_a_redirect_is_not_followed():
    async with pair() as (server, upstream):
        server.script(json_reply(b"", 307, (("location", "/elsewhere"),)))
        async with await upstream.post("/", (), b"") as response:
            assert response.status == 307
        assert len(server.requests) == 1


async def test_a_header_cannot_bring_others_with_it():
    async with pair() as (server, upstream):
        for value in ("a\r\nx-evil: 1", "a\nb", "a\0b", "snow\N{SNOWMAN}"):
            with pytest.raises(InvalidRequest):
                await upstream.post("/", (("x-one", value),), b"")
        assert not server.requests


async def test_a_body_is_bounded():
    async with pair() as (server, upstream):
        server.script(Reply(steps=(Send(b"x" * 100_000), Stall()), headers=(("content-length", "9000000"),)))
        with pytest.raises(ApiError):
            async with await upstream.post("/", (), b"") as response:
                await response.read(max_bytes=50_000)
        assert upstream.open_connections == 0


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    async with pair() as (server, upstream):
        server.script(json_reply(b"direct"))
        assert await fetch(upstream) == b"direct"


async def test_no_more_connections_than_allowed():
    async with pair(max_connections=2, first_event_timeout_s=0.1) as (server, upstream):
        gate = asyncio.Event()
        server.script(*[sse_reply(b"a", HoldOpen(gate))] * 2)
        responses = [await upstream.post("/", (), b"") for _ in range(2)]
        with pytest.raises(Overloaded):
            await upstream.post("/", (), b"")
        server.script(json_reply(b"third"))
        waiting = asyncio.ensure_future(fetch(upstream))
        await asyncio.sleep(0)
        responses[0].close()
        assert await waiting == b"third"
        responses[1].close()
        assert len(server.requests) == 3


async def test_closing_twice_gives_a_connection_back_once():
    async with pair(max_connections=1) as (server, upstream):
        for _ in range(3):
            server.script(json_reply(b"{}"))
            response = await upstream.post("/", (), b"")
            await response.read()
            response.close()
            response.close()
            response.finish()
        assert server.connections_opened == 1


async def test_the_end_of_the_framing_is_waited_for_in_the_background():
    async with pair() as (server, upstream):
        gate = asyncio.Event()
        server.script(sse_reply(b"message_stop", HoldOpen(gate)), json_reply(b"next"))
        response = await upstream.post("/", (), b"")
        assert await response.read_some() == b"message_stop"
        response.finish()
        gate.set()
        await upstream.wait_drained()
        assert await fetch(upstream) == b"next"
        assert server.connections_opened == 1


LOOPS = {"asyncio": asyncio.run, "uvloop": uvloop.run}


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("when", ["before the head", "in the body"])
def test_leaving_closes_the_connection_at_once(loop: str, when: str):
    async def leave() -> float:
        async with pair() as (server, upstream):
            begun = asyncio.Event()

            async def ask() -> None:
                async with await upstream.post("/", (), b"{}") as response:
                    await response.read_some()
                    begun.set()
                    await response.read_some()

            server.script(Reply(head_after=asyncio.Event()) if when == "before the head" else sse_reply(b"a", Stall()))
            asking = asyncio.ensure_future(ask())
            await (server.received(1) if when == "before the head" else begun.wait())
            start = time.monotonic()
            asking.cancel()
            await asyncio.wait_for(server.left_while_answering.wait(), 30)
            took = time.monotonic() - start
            assert upstream.open_connections == 0
            return took

    # Milliseconds, and 0.2 s at the most; a busy machine has ten times that, and no timeout is as short.
    assert LOOPS[loop](leave()) < 2
