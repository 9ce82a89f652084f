"""A zero-delay upstream: every answer is bytes that were rendered before the first request came.

Speaks `POST /v1/messages` and `POST /v1/chat/completions`, whole or as a stream of `events` text deltas, and answers
200 to any GET. A stream leaves in one write, each event in its own HTTP chunk; a request whose text holds `PACE_EACH`
gets one write per event and per turn of the event loop instead, which is the most a gateway can be asked to do.

Run by gateway.py in a process of its own: `python benchmarks/gateway_upstream.py --events 64`; prints its port.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
from typing import cast

import uvloop

PACE_EACH = b"pace-each-event"
"""In the body of a request: write the events one by one."""
STREAMED = re.compile(rb'"stream"\s*:\s*true')
LENGTH = re.compile(rb"\r\ncontent-length:\s*(\d+)", re.IGNORECASE)
WORDS = ("haiku", " opens", " the", " verse", ",", " others", " carry", " on")


def chunk(data: bytes) -> bytes:
    """One HTTP chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def whole(body: object) -> bytes:
    """A JSON answer with its head."""
    data = json.dumps(body, separators=(",", ":")).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(data), data)


def texts(events: int) -> list[str]:
    """The text deltas of an answer."""
    return [WORDS[index % len(WORDS)] for index in range(events)]


def anthropic_message(events: int, *, empty: bool = False) -> dict[str, object]:
    """A Message, whole or as `message_start` carries it."""
    return {
        "model": "claude-haiku-5-5",
        "id": "msg_01benchmark0000000000000",
        "type": "message",
        "role": "assistant",
        "content": [] if empty else [{"type": "text", "text": "".join(texts(events))}],
        "stop_reason": None if empty else "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 180,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": 1 if empty else events,
            "service_tier": "standard",
        },
    }


def anthropic_events(events: int) -> list[bytes]:
    """The Messages stream, one `bytes` per event."""
    parts: list[dict[str, object]] = [
        {"type": "message_start", "message": anthropic_message(events, empty=True)},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    ]
    for text in texts(events):
        parts.append({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}})
    usage = {"input_tokens": 180, "output_tokens": events}
    parts.append({"type": "content_block_stop", "index": 0})
    parts.append({"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": usage})
    parts.append({"type": "message_stop"})
    return [f"event: {part['type']}\ndata: {json.dumps(part, separators=(',', ':'))}\n\n".encode() for part in parts]


def openai_message(events: int) -> dict[str, object]:
    """The same answer in the chat completions shape."""
    message = {"role": "assistant", "content": "".join(texts(events))}
    return {
        "id": "chatcmpl-benchmark",
        "object": "chat.completion",
        "created": 1760000000,
        "model": "claude-haiku-5-5",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 180, "completion_tokens": events, "total_tokens": 180 + events},
    }


def openai_events(events: int) -> list[bytes]:
    """The same stream in the chat completions shape: as many data lines as the Messages stream has events."""

    def line(delta: dict[str, str], finish: str | None) -> bytes:
        part = {
            "id": "chatcmpl-benchmark",
            "object": "chat.completion.chunk",
            "created": 1760000000,
            "model": "claude-haiku-5-5",
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
        }
        return f"data: {json.dumps(part, separators=(',', ':'))}\n\n".encode()

    head = [line({"role": "assistant", "content": ""}, None), line({"content": ""}, None)]
    tail = [line({}, None), line({}, "stop"), b"data: [DONE]\n\n"]
    return [*head, *(line({"content": text}, None) for text in texts(events)), *tail]


class Answers:
    """Everything this upstream can say, rendered once."""

    def __init__(self, events: int) -> None:
        head = (
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
            b"cache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        self.head = head
        self.whole = {
            "/v1/messages": whole(anthropic_message(events)),
            "/v1/chat/completions": whole(openai_message(events)),
        }
        streams = {"/v1/messages": anthropic_events(events), "/v1/chat/completions": openai_events(events)}
        self.chunks = {path: [chunk(event) for event in parts] for path, parts in streams.items()}
        self.burst = {path: head + b"".join(parts) + b"0\r\n\r\n" for path, parts in self.chunks.items()}
        self.models = whole({"object": "list", "data": [{"id": "claude-haiku-5-5", "object": "model"}]})


class Upstream(asyncio.Protocol):
    """One connection. Requests come one at a time, which is what pooled clients do."""

    def __init__(self, answers: Answers) -> None:
        self.answers = answers
        self.buffer = b""
        self.loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.buffer = self.buffer + data if self.buffer else data
        head, separator, body = self.buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        found = LENGTH.search(head)
        if found is not None and len(body) < int(found[1]):
            return
        self.buffer = b""
        path = head.split(b" ", 2)[1].partition(b"?")[0].decode()
        if path not in self.answers.whole:
            self.transport.write(self.answers.models)
        elif STREAMED.search(body) is None:
            self.transport.write(self.answers.whole[path])
        elif PACE_EACH in body:
            self.transport.write(self.answers.head)
            self.loop.call_soon(self.write_each, path, 0)
        else:
            self.transport.write(self.answers.burst[path])

    def write_each(self, path: str, index: int) -> None:
        """One event, then give the loop a turn so that it leaves in a write of its own."""
        chunks = self.answers.chunks[path]
        if self.transport.is_closing():
            return
        if index == len(chunks):
            self.transport.write(b"0\r\n\r\n")
            return
        self.transport.write(chunks[index])
        self.loop.call_soon(self.write_each, path, index + 1)


async def serve(events: int, port: int) -> None:
    answers = Answers(events)
    server = await asyncio.get_running_loop().create_server(lambda: Upstream(answers), "127.0.0.1", port)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="zero-delay upstream for gateway.py")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--events", type=int, default=64, help="text deltas in an answer")
    parser.add_argument("--core", type=int, default=None, help="the core to run on")
    options = parser.parse_args()
    if options.core is not None:
        os.sched_setaffinity(0, {options.core})
    uvloop.run(serve(options.events, options.port))
