"""A zero-delay upstream for benchmarks: precomputed bytes in the Messages and chat.completions shapes.

Owns: answers that cost this process as little as Python allows, so that what stands in front of it is measured.
Must never know: scripting or faults; that is `testing/servers/scripted_upstream.py`.
Invariant: the same request gets the same bytes, ids included.
"""

from __future__ import annotations

import asyncio
from typing import cast

import msgspec
from msgspec import Struct


class EchoSettings(Struct, frozen=True):
    """How many events the echo server's answers have, and how they are written."""

    events: int = 100
    """Text deltas in a streamed answer."""
    events_per_write: int = 8
    """Deltas that leave in one write. Each is an HTTP chunk of its own, as inference servers send them."""
    model: str = "echo"


class EchoAnswers(Struct, frozen=True):
    """Whole HTTP responses, ready to write."""

    messages_json: bytes
    messages_sse: tuple[bytes, ...]
    chat_json: bytes
    chat_sse: tuple[bytes, ...]
    count_json: bytes
    models_json: bytes
    missing_json: bytes


TEXT = "token "
USAGE = {
    "input_tokens": 12,
    "cache_creation_input_tokens": 0,
    "cache_read_input_tokens": 0,
    "output_tokens": 1,
    "service_tier": "standard",
}


def render_json(value: object, status: str = "200 OK") -> bytes:
    """A whole HTTP response with a JSON body."""
    body = msgspec.json.encode(value)
    return f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


def render_stream(frames: list[bytes], events_per_write: int) -> tuple[bytes, ...]:
    """The writes of a chunked SSE response: the head travels with the first, the end with the last."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    chunks = [b"%x\r\n%b\r\n" % (len(frame), frame) for frame in frames]
    writes = [b"".join(chunks[at : at + events_per_write]) for at in range(0, len(chunks), events_per_write)]
    writes[0] = head + writes[0]
    writes[-1] += b"0\r\n\r\n"
    return tuple(writes)


def messages_frames(settings: EchoSettings) -> list[bytes]:
    """The server-sent events of an answer in the Messages API."""
    message: dict[str, object] = {"id": "msg_01echo", "type": "message", "role": "assistant", "content": []}
    empty = {"stop_reason": None, "stop_sequence": None}
    events: list[dict[str, object]] = [
        {"type": "message_start", "message": {**message, **empty, "model": settings.model, "usage": USAGE}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *(
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": TEXT}}
            for _ in range(settings.events)
        ),
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {**USAGE, "output_tokens": settings.events},
        },
        {"type": "message_stop"},
    ]
    return [
        b"event: %b\ndata: %b\n\n" % (cast(str, event["type"]).encode(), msgspec.json.encode(event)) for event in events
    ]


def chat_frames(settings: EchoSettings) -> list[bytes]:
    """The server-sent events of an answer in chat.completions."""
    base = {"id": "chatcmpl-echo", "object": "chat.completion.chunk", "created": 1, "model": settings.model}
    usage = {
        "prompt_tokens": 12,
        "completion_tokens": settings.events,
        "total_tokens": 12 + settings.events,
        "prompt_tokens_details": {"cached_tokens": 0},
    }

    def chunk(delta: dict[str, str], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return b"data: %b\n\n" % msgspec.json.encode({**base, "choices": [choice]})

    return [
        chunk({"role": "assistant", "content": ""}),
        *(chunk({"content": TEXT}) for _ in range(settings.events)),
        chunk({}, "stop"),
        b"data: %b\n\n" % msgspec.json.encode({**base, "choices": [], "usage": usage}),
        b"data: [DONE]\n\n",
    ]


def build_answers(settings: EchoSettings) -> EchoAnswers:
    """Render once every response that the echo server can give."""
    text = TEXT * settings.events
    whole = {
        "id": "msg_01echo",
        "type": "message",
        "role": "assistant",
        "model": settings.model,
        "content": [{"type": "text", "text": text}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {**USAGE, "output_tokens": settings.events},
    }
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 12, "completion_tokens": settings.events, "total_tokens": 12 + settings.events}
    chat = {"id": "chatcmpl-echo", "object": "chat.completion", "created": 1, "model": settings.model}
    missing = {"type": "error", "error": {"type": "not_found_error", "message": "no such route"}}
    return EchoAnswers(
        messages_json=render_json(whole),
        messages_sse=render_stream(messages_frames(settings), settings.events_per_write),
        chat_json=render_json({**chat, "choices": [choice], "usage": usage}),
        chat_sse=render_stream(chat_frames(settings), settings.events_per_write),
        count_json=render_json({"input_tokens": 12}),
        models_json=render_json({"object": "list", "data": [{"id": settings.model, "object": "model"}]}),
        missing_json=render_json(missing, "404 Not Found"),
    )


class EchoConnection(asyncio.Protocol):
    """Finds the end of each request and writes a precomputed answer."""

    def __init__(self, answers: EchoAnswers) -> None:
        self.answers = answers
        self.buffer = b""
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        buffer = self.buffer = self.buffer + data if self.buffer else data
        while True:
            end = buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = buffer[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            total = end + 4 + length
            if len(buffer) < total:
                return
            body = buffer[end + 4 : total]
            buffer = self.buffer = buffer[total:]
            self.answer(head.split(b" ", 2)[1], b'"stream":true' in body or b'"stream": true' in body)

    def answer(self, path: bytes, streamed: bool) -> None:
        assert self.transport is not None
        answers = self.answers
        path = path.partition(b"?")[0]
        if path.endswith(b"/count_tokens"):
            self.transport.write(answers.count_json)
        elif path.endswith(b"/models") or path.endswith(b"/health"):
            self.transport.write(answers.models_json)
        elif path.startswith(b"/v1/messages"):
            self.write(answers.messages_sse if streamed else (answers.messages_json,))
        elif path.startswith(b"/v1/chat/completions"):
            self.write(answers.chat_sse if streamed else (answers.chat_json,))
        else:
            self.transport.write(answers.missing_json)

    def write(self, writes: tuple[bytes, ...], at: int = 0) -> None:
        """One write a turn of the loop, so that each reaches the reader by itself and other connections get theirs."""
        if self.transport is None or self.transport.is_closing():
            return
        self.transport.write(writes[at])
        if at + 1 < len(writes):
            asyncio.get_running_loop().call_soon(self.write, writes, at + 1)


async def serve_echo(host: str, port: int, settings: EchoSettings) -> asyncio.Server:
    """Start an echo server; port 0 takes a free one."""
    answers = build_answers(settings)
    return await asyncio.get_running_loop().create_server(lambda: EchoConnection(answers), host, port)
