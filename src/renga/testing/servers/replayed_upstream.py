"""An upstream that answers each prompt as a script says, in the Messages shape, whole or streamed: recorded labels, for
one, with which routing is shown from end to end.

Must never know: who asks, what the answers are good for.
Invariant: the same model and prompt get the same answer, whatever else runs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import msgspec
from msgspec import Struct

from renga.testing.servers.scripted_upstream import ReceivedRequest, Reply, ScriptedUpstream, json_reply, sse_reply

Answerer: TypeAlias = Callable[[str, str], "str | Reply"]
"""Model and text of the last turn -> what it says, or a whole reply, an error for one."""


BYTES_A_TOKEN = 4
"""What the usage is made of."""


class _Turn(Struct):
    role: str
    content: str | list[dict[str, object]]


class _ReplayedRequest(Struct):
    model: str
    messages: list[_Turn]
    stream: bool = False


class ReplayedUpstream(ScriptedUpstream):
    """The server; `async with` starts and stops it."""

    def __init__(self, answer: Answerer, port: int = 0) -> None:
        super().__init__(port)
        self._answer = answer
        self._count = 0
        self.asked: list[tuple[str, str]] = []
        """Model and prompt of every request, in order."""

    def reply_for(self, received: ReceivedRequest) -> Reply:
        """The answer to a request; other paths are not there."""
        if received.path != "/v1/messages":
            return json_reply(b'{"type":"error","error":{"type":"not_found_error","message":"no"}}', status=404)
        asked = msgspec.json.decode(received.body, type=_ReplayedRequest)
        prompt = read_text(asked.messages[-1].content)
        self.asked.append((asked.model, prompt))
        said = self._answer(asked.model, prompt)
        if isinstance(said, Reply):
            return said
        self._count += 1
        message_id = f"msg_replayed{self._count:08d}"
        input_tokens = max(1, len(received.body) // BYTES_A_TOKEN)
        return (_stream if asked.stream else _whole)(message_id, asked.model, input_tokens, said)


def read_text(content: str | list[dict[str, object]]) -> str:
    """Join the text blocks of one turn into a text."""
    if isinstance(content, str):
        return content
    return "\n".join(str(block.get("text", "")) for block in content)


def overloaded() -> Reply:
    """The reply of an upstream that has too much to do."""
    return json_reply(
        b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}',
        status=529,
        headers=(("x-should-retry", "false"),),
    )


def _whole(message_id: str, model: str, input_tokens: int, said: str) -> Reply:
    return json_reply(
        msgspec.json.encode(
            {
                "type": "message",
                "id": message_id,
                "role": "assistant",
                "model": model,
                "content": [{"type": "text", "text": said}],
                "stop_reason": "end_turn",
                "stop_sequence": None,
                "usage": {"input_tokens": input_tokens, "output_tokens": _tokens(said)},
            }
        )
    )


def _stream(message_id: str, model: str, input_tokens: int, said: str) -> Reply:
    start: dict[str, object] = {
        "type": "message",
        "id": message_id,
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": input_tokens, "output_tokens": 1},
    }
    delta = {"stop_reason": "end_turn", "stop_sequence": None}
    return sse_reply(
        _frame("message_start", message=start),
        _frame("content_block_start", index=0, content_block={"type": "text", "text": ""}),
        _frame("content_block_delta", index=0, delta={"type": "text_delta", "text": said}),
        _frame("content_block_stop", index=0),
        _frame("message_delta", delta=delta, usage={"output_tokens": _tokens(said)}),
        _frame("message_stop"),
    )


def _frame(kind: str, **fields: object) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), msgspec.json.encode({"type": kind, **fields}))


def _tokens(text: str) -> int:
    return max(1, len(text) // BYTES_A_TOKEN)
