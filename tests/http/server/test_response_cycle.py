"""A response as bytes: the same that uvicorn's own cycle writes, which is the slow oracle here."""

import asyncio
import logging
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from renga.http.server.response_cycle import (
    JOINED_BODY_BYTES,
    CycleConnection,
    ResponseCycle,
    ResponseTerms,
    render_headers,
)

COMMON = [(b"date", b"Sat, 21 Nov 2026 10:00:00 GMT")]


class Wire(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.is_closed = False
        self.answered = 0

    def write(self, data: Any) -> None:
        self.writes.append(bytes(data))

    def close(self) -> None:
        self.is_closed = True

    def is_closing(self) -> bool:
        return self.is_closed

    def note_answered(self) -> None:
        self.answered += 1


def make_cycle(wire: Wire, method: str, *, keep_alive: bool) -> ResponseCycle:
    link = CycleConnection(wire, FlowControl(wire), wire.note_answered)
    return ResponseCycle({"method": method}, link, ResponseTerms(keep_alive, False, render_headers(COMMON)))


def make_oracle(wire: Wire, method: str, *, keep_alive: bool) -> RequestResponseCycle:
    log = logging.getLogger("oracle")
    return RequestResponseCycle(
        scope=cast(Any, {"method": method}),
        transport=wire,
        flow=FlowControl(wire),
        logger=log,
        access_logger=log,
        access_log=False,
        default_headers=COMMON,
        message_event=asyncio.Event(),
        expect_100_continue=False,
        keep_alive=keep_alive,
        on_response=wire.note_answered,
    )


async def send_all(cycle: ResponseCycle | RequestResponseCycle, messages: list[dict[str, Any]]) -> str:
    """Send until the first refusal, and say in a word how it went."""
    try:
        for message in messages:
            await cycle.send(cast(Any, message))
    except RuntimeError:
        return "refused"
    return "sent"


values = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E)).map(str.encode)
headers = st.lists(
    st.one_of(
        st.tuples(st.sampled_from([b"content-type", b"request-id", b"renga-plan"]), values),
        st.sampled_from([(b"connection", b"close"), (b"content-length", b"4"), (b"content-length", b"0")]),
    ),
    max_size=4,
    unique_by=lambda header: header[0],
)
start = st.builds(
    lambda status, given: {"type": "http.response.start", "status": status, "headers": given},
    st.sampled_from([200, 204, 304, 400, 529]),
    headers,
)
body = st.builds(
    lambda data, more: {"type": "http.response.body", "body": data, "more_body": more},
    st.sampled_from([b"", b"four", b"more than four"]),
    st.booleans(),
)
usual = st.tuples(start, st.lists(body, min_size=1, max_size=4)).map(lambda drawn: [drawn[0], *drawn[1]])
messages = st.one_of(usual, st.lists(st.one_of(start, body), max_size=4))


@given(messages, st.sampled_from(["GET", "POST", "HEAD"]), st.booleans())
def test_the_bytes_are_uvicorns(script: list[dict[str, Any]], method: str, keep_alive: bool):
    wire, wanted = Wire(), Wire()

    async def compare() -> tuple[str, str]:
        ours = await send_all(make_cycle(wire, method, keep_alive=keep_alive), script)
        return ours, await send_all(make_oracle(wanted, method, keep_alive=keep_alive), script)

    ours, theirs = asyncio.run(compare())
    assert ours == theirs
    assert (wire.is_closed, wire.answered) == (wanted.is_closed, wanted.answered)
    bodies = any(message["type"] == "http.response.body" for message in script[1:])
    if bodies and ours == "sent":
        assert b"".join(wire.writes) == b"".join(wanted.writes)
    else:
        # The head waits for the first piece of a body, and a response that is refused leaves as little as it can.
        assert b"".join(wanted.writes).startswith(b"".join(wire.writes))


@pytest.mark.parametrize(("size", "writes"), [(100, 1), (JOINED_BODY_BYTES, 1), (JOINED_BODY_BYTES + 1, 2)])
def test_head_and_body_leave_in_one_write(size: int, writes: int):
    wire = Wire()
    length = (b"content-length", b"%d" % size)
    script = [
        {"type": "http.response.start", "status": 200, "headers": [length]},
        {"type": "http.response.body", "body": b"x" * size},
    ]
    assert asyncio.run(_send(wire, script)) == "sent"
    assert len(wire.writes) == writes
    assert b"".join(wire.writes).endswith(b"\r\n\r\n" + b"x" * size)


@pytest.mark.parametrize("value", [b"a\nb: c", b"a\r\nb: c", b"a\rb", b"a\0", b"\n"])
def test_no_header_holds_a_line_end(value: bytes):
    wire = Wire()
    script = [{"type": "http.response.start", "status": 200, "headers": [(b"renga-plan", value)]}]
    assert asyncio.run(_send(wire, script)) == "refused"
    assert wire.writes == []


async def _send(wire: Wire, script: list[dict[str, Any]]) -> str:
    return await send_all(make_cycle(wire, "GET", keep_alive=True), script)
