"""A client that leaves ends its work at once, wherever it stood."""

import asyncio
import time

import msgspec
import pytest

from renga.config import ServerSettings
from renga.protocols.messages.blocks import TextBlock
from renga.protocols.messages.events.event_types import ContentBlockDelta, Message, TextDelta, Usage
from renga.protocols.messages.events.message_split import split
from renga.testing.stream_checker import check_stream

KEY = {"x-api-key": "sk-renga-test"}
LIMIT_S = 2.0
"""It takes milliseconds and may take 0.2 s; a busy machine has ten times that. Nothing else would end it at all."""
MESSAGE = Message(
    model="m", id="msg_1", content=(TextBlock("x"),), stop_reason="end_turn", usage=Usage(7, output_tokens=3)
)


async def leave_and_measure(served, connection):
    """Seconds from leaving until the provider's stream was closed."""
    connection.abort()
    left_at = time.monotonic()
    async with asyncio.timeout(30):
        await served.provider.closed.wait()
    return time.monotonic() - left_at


@pytest.fixture
async def ask(served, hello):
    """Sends a request and leaves the connection open."""

    async def send(**fields):
        connection = await served.connect()
        await connection.send("POST", "/v1/messages", KEY, msgspec.json.encode({**hello, **fields}))
        return connection

    return send


@pytest.mark.parametrize("stream", [True, False])
async def test_before_the_first_event(served, ask, stream):
    started = asyncio.Event()

    async def script(call):
        started.set()
        await asyncio.Event().wait()
        yield []

    served.provider.script = script
    connection = await ask(stream=stream)
    await started.wait()
    assert await leave_and_measure(served, connection) < LIMIT_S
    assert [outcome.status for outcome in served.ledger.outcomes] == ["canceled"]
    assert served.ledger.open == []


@pytest.mark.parametrize("stream", [True, False])
async def test_between_events(served, ask, stream):
    waiting = asyncio.Event()

    async def script(call):
        yield split(MESSAGE)[:4]
        waiting.set()
        await asyncio.Event().wait()

    served.provider.script = script
    connection = await ask(stream=stream)
    await waiting.wait()
    assert await leave_and_measure(served, connection) < LIMIT_S
    (outcome,) = served.ledger.outcomes
    assert outcome.status == "canceled"
    assert outcome.usage.input_tokens == 7


async def test_while_events_flow(served, ask):
    flowing = asyncio.Event()

    async def script(call):
        yield split(MESSAGE)[:3]
        while True:
            yield [ContentBlockDelta(0, TextDelta("word "))]
            await asyncio.sleep(0.001)
            flowing.set()

    served.provider.script = script
    connection = await ask(stream=True)
    await flowing.wait()
    assert await leave_and_measure(served, connection) < LIMIT_S


async def test_a_client_that_stops_reading_and_leaves(served, ask):
    """The server waits for room to write then, and not for events."""
    pushed = asyncio.Event()
    text = "word " * 20_000

    async def script(call):
        yield split(MESSAGE)[:3]
        for count in range(10_000):
            yield [ContentBlockDelta(0, TextDelta(text))]
            await asyncio.sleep(0)
            if count == 20:
                pushed.set()

    served.provider.script = script
    connection = await ask(stream=True)
    await pushed.wait()
    assert await leave_and_measure(served, connection) < LIMIT_S


async def test_a_client_that_reads_nothing_is_given_up(serve, hello):
    served = await serve(ServerSettings(ping_interval_s=0.02))
    text = "word " * 200_000

    async def script(call):
        yield split(MESSAGE)[:3]
        while True:
            yield [ContentBlockDelta(0, TextDelta(text))]
            await asyncio.sleep(0)

    served.provider.script = script
    async with await served.connect() as connection:
        await connection.send("POST", "/v1/messages", KEY, msgspec.json.encode({**hello, "stream": True}))
        connection.stop_reading()
        async with asyncio.timeout(30):
            await served.provider.closed.wait()
        assert [outcome.status for outcome in served.ledger.outcomes] == ["canceled"]
        connection.abort()


@pytest.mark.parametrize("stream", [True, False])
async def test_a_server_that_stops_says_so(served, ask, stream):
    waiting = asyncio.Event()

    async def script(call):
        yield split(MESSAGE)[:4]
        waiting.set()
        await asyncio.Event().wait()

    served.provider.script = script
    connection = await ask(stream=stream)
    await waiting.wait()
    served.cancel_requests()
    response = await connection.read()
    if stream:
        assert check_stream(response.body).events[-1][1]["error"]["type"] == "overloaded_error"
    else:
        assert (response.status, response.headers["retry-after"]) == (529, "1")
    assert served.ledger.open == []
    await connection.close()


async def test_leaving_after_the_end_changes_nothing(served, ask):
    connection = await ask(stream=False)
    assert (await connection.read()).status == 200
    connection.abort()
    assert (await served.ask("GET", "/health")).status == 200
    assert [outcome.status for outcome in served.ledger.outcomes] == ["succeeded"]


async def test_a_slow_answer_reaches_a_client_that_stays(served, ask):
    gate = asyncio.Event()

    async def script(call):
        await gate.wait()
        yield split(MESSAGE)

    served.provider.script = script
    connections = [await ask(stream=stream) for stream in (True, False)]
    asyncio.get_running_loop().call_later(0.25, gate.set)
    for connection in connections:
        assert (await connection.read()).status == 200
        await connection.send("GET", "/health", KEY)
        assert (await connection.read()).status == 200
        await connection.close()
    assert [outcome.status for outcome in served.ledger.outcomes] == ["succeeded", "succeeded"]
