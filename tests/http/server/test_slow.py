"""Clients that are slow on purpose or by accident: each is given up in time, and nobody else notices."""

import asyncio
import socket
import time

import pytest
from tests.http.conftest import HELLO, KEY, SECRET

from renga.config import ServerSettings
from renga.protocols.messages.events.event_types import ContentBlockDelta, TextDelta
from renga.protocols.messages.events.message_split import split

HASTY = ServerSettings(head_timeout_s=0.2, body_timeout_s=0.4, write_timeout_s=0.3, idle_timeout_s=1)


@pytest.fixture
async def hasty(serve):
    return await serve(HASTY)


async def test_a_head_that_does_not_end_is_told_so_and_cut(hasty):
    async with await hasty.connect() as connection:
        await connection.write(b"POST /v1/messages HTTP/1.1\r\nhost: t\r\n")
        response = await connection.read()
        assert response.status == 408
        assert response.json()["error"]["message"] == "The head did not come within 0.2 seconds."
        assert await connection.read_end() == b""


async def test_a_head_that_comes_in_drops_gets_no_more_time_than_another(hasty):
    began = time.monotonic()
    async with await hasty.connect() as connection:
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError, TimeoutError)):
            await connection.write(b"GET /health HTTP/1.1\r\n")
            for number in range(200):
                await connection.write(b"x-%d: y\r\n" % number)
                async with asyncio.timeout(0.02):
                    assert (await connection.read()).status == 408
                    raise ConnectionError
        assert time.monotonic() - began < 2


async def test_a_connection_without_a_request_ends(hasty):
    async with await hasty.connect() as connection:
        assert await asyncio.wait_for(connection.read_end(), 30) == b""


async def test_a_second_head_has_as_much_time_as_the_first(hasty):
    async with await hasty.connect() as connection:
        await connection.send("GET", "/health", {})
        assert (await connection.read()).status == 200
        await connection.write(b"GET /health HTTP/1.1\r\n")
        assert (await connection.read()).status == 408


async def test_an_idle_connection_ends(hasty):
    async with await hasty.connect() as connection:
        await connection.send("GET", "/health", {})
        assert (await connection.read()).status == 200
        assert await asyncio.wait_for(connection.read_end(), 30) == b""


async def test_a_half_head_behind_a_running_request_does_not_break_its_answer(hasty, hello):
    go_on = asyncio.Event()

    async def script(call):
        await go_on.wait()
        for event in split(HELLO):
            yield [event]

    hasty.provider.script = script
    async with await hasty.connect() as connection:
        await connection.send("POST", "/v1/messages", KEY, b'{"model":"haiku","max_tokens":9,"messages":[' + TURN)
        await connection.write(b"GET /health HTTP/1.1\r\n")
        await asyncio.sleep(0.4)  # longer than a head may take; nothing to wait for but time itself
        go_on.set()
        assert (await connection.read()).status == 200
        assert (await connection.read()).status == 408


async def test_who_reads_nothing_is_given_up_and_its_socket_aborted(hasty):
    flood = [ContentBlockDelta(0, TextDelta("x" * 65536))]

    async def script(call):
        start, opened, *_ = split(HELLO)
        yield [start, opened]
        while True:
            yield flood

    hasty.provider.script = script
    connection = await hasty.connect()
    connection.stop_reading()
    body = b'{"model":"haiku","max_tokens":9,"stream":true,"messages":[' + TURN
    await connection.send("POST", "/v1/messages", KEY, body)
    async with asyncio.timeout(30):
        await hasty.provider.closed.wait()
        while hasty.server.server_state.connections:
            await asyncio.sleep(0.01)
    assert [outcome.status for outcome in hasty.ledger.outcomes] == ["canceled"]
    connection.abort()


async def test_a_whole_answer_that_nobody_reads_is_dropped(hasty):
    """It is written at once and the request is over; the socket must not outlive it for long."""
    hasty.provider.script = large_answer
    connection = await hasty.connect()
    connection.stop_reading()
    body = b'{"model":"haiku","max_tokens":9,"messages":[' + TURN
    await connection.send("POST", "/v1/messages", {**KEY, "connection": "close"}, body)
    async with asyncio.timeout(30):
        while not hasty.ledger.outcomes or hasty.server.server_state.connections:
            await asyncio.sleep(0.01)
    connection.abort()


async def test_a_slow_reader_that_does_read_gets_everything(serve):
    hasty = await serve(ServerSettings(write_timeout_s=1))
    hasty.provider.script = large_answer
    body = b'{"model":"haiku","max_tokens":9,"messages":[' + TURN
    head = f"POST /v1/messages HTTP/1.1\r\nhost: t\r\nx-api-key: {SECRET}\r\ncontent-length: {len(body)}\r\n\r\n"
    loop = asyncio.get_running_loop()
    with socket.create_connection(("127.0.0.1", hasty.port)) as client:
        client.setblocking(False)
        await loop.sock_sendall(client, head.encode() + body)
        size = 0
        for _ in range(5):
            await asyncio.sleep(0.25)  # together more than it may read nothing
            size += len(await loop.sock_recv(client, 1 << 20))
        async with asyncio.timeout(30):
            while size < LARGE:
                size += len(await loop.sock_recv(client, 1 << 20))


async def test_a_slow_loris_does_not_keep_others_out(hasty):
    """Hundreds of half heads; an honest client is served meanwhile, and soon they are all gone."""
    lorises = await asyncio.gather(*(hasty.connect() for _ in range(200)))
    for loris in lorises:
        await loris.write(b"GET / HTTP/1.1\r\nx: ")
    assert (await hasty.ask("GET", "/health")).status == 200
    async with asyncio.timeout(30):
        while hasty.server.server_state.connections:
            await asyncio.sleep(0.01)
    for loris in lorises:
        loris.abort()


LARGE = 16 * 1024 * 1024
TURN = b'{"role":"user","content":"Hi"}]}'


async def large_answer(call):
    start, opened, _ping, _delta, *rest = split(HELLO)
    yield [start, opened, ContentBlockDelta(0, TextDelta("x" * LARGE)), *rest]
