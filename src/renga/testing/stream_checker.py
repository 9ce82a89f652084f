"""A checker of streams: is what a client would read in order, whole and consistent?

Owns: every rule that holds for a stream's bytes. Must never know: who made them.
Invariant: a stream that passes can be accumulated by every client we know of. Any test that opens a stream runs it.

Source: docs/reference/messages-api.md, "Streaming events" and "How SDKs read a stream".
"""

from __future__ import annotations

from typing import Any, cast

import msgspec

from renga.errors import ApiError
from renga.protocols.messages.events.event_order import DELTAS, KINDS, TERMINAL, Phase, advance

_COUNTS = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens")


class StreamChecker:
    """Walks the bytes of one stream, as they come or at once, and raises AssertionError at the first thing wrong."""

    def __init__(self, *, prompt_settles: bool = False) -> None:
        """`prompt_settles`: message_start's input counts are provisional, as from targets that tell them at the end."""
        self._prompt_settles = prompt_settles
        self.events: list[tuple[str, dict[str, Any]]] = []
        """What was read, by name and decoded."""
        self._pending = b""
        self._phase = Phase.START
        self._index = -1
        self._block: dict[str, Any] = {}
        self._input_json = ""
        self._has_text = False
        self._signatures = 0
        self._usage: dict[str, int] = {}
        self._stop_reason: str | None = None

    def push(self, data: bytes) -> None:
        """Check the next bytes of the stream, in pieces of any size."""
        *frames, self._pending = (self._pending + data).split(b"\n\n")
        for frame in frames:
            self._check_frame(frame)

    def finish(self) -> None:
        """Check that the stream has ended as streams end."""
        self._hold(not self._pending, f"the stream ends within a frame: {self._pending[:80]!r}")
        self._hold(self._phase in TERMINAL, f"the stream ends without a terminal event, {self._phase.value}")

    @property
    def kinds(self) -> list[str]:
        """The names of the events seen so far, in order."""
        return [kind for kind, _ in self.events]

    @property
    def text(self) -> str:
        """The text of all text blocks."""
        return "".join(
            data["delta"]["text"]
            for kind, data in self.events
            if kind == "content_block_delta" and data["delta"]["type"] == "text_delta"
        )

    def _hold(self, condition: bool, what: str) -> None:
        """Raise with the event's place and name. An explicit raise: this ships, and must work under -O."""
        if not condition:
            place = f"event {len(self.events) - 1} ({self.events[-1][0]})" if self.events else "before any event"
            raise AssertionError(f"{place}: {what}")

    def _check_frame(self, frame: bytes) -> None:
        lines = frame.split(b"\n")
        self._hold(
            len(lines) == 2 and lines[0].startswith(b"event: ") and lines[1].startswith(b"data: "),
            f"a frame is an event line and a data line, not {frame[:200]!r}",
        )
        kind = lines[0].removeprefix(b"event: ").decode()
        try:
            data: Any = msgspec.json.decode(lines[1].removeprefix(b"data: "))
        except msgspec.DecodeError as error:
            raise AssertionError(f"{kind}: the data is not JSON: {error}") from None
        self.events.append((kind, data))
        self._hold(isinstance(data, dict), "the data is not an object")
        self._hold(data.get("type") == kind, f"the data's type is {data.get('type')!r}")
        self._hold(kind in KINDS, "no client knows this event")
        try:
            self._phase = advance(self._phase, kind)
        except ApiError as error:
            self._hold(False, error.message)
        self._check_event(kind, cast("dict[str, Any]", data))

    def _check_event(self, kind: str, data: dict[str, Any]) -> None:
        if kind == "message_start":
            self._check_start(data)
        elif kind == "content_block_start":
            self._check_block_start(data)
        elif kind == "content_block_delta":
            self._check_delta(data)
        elif kind == "content_block_stop":
            self._check_block_stop(data)
        elif kind == "message_delta":
            self._check_message_delta(data)
        elif kind == "message_stop":
            self._hold(bool(self._stop_reason), "no message_delta gave a stop_reason")
        elif kind == "error":
            error: dict[str, Any] = data.get("error") or {}
            self._hold(bool(error.get("type")) and bool(error.get("message")), "an error needs type and message")

    def _check_start(self, data: dict[str, Any]) -> None:
        message: dict[str, Any] = data.get("message") or {}
        self._hold(str(message.get("id", "")).startswith("msg_"), f"the id is {message.get('id')!r}")
        self._hold(message.get("type") == "message" and message.get("role") == "assistant", "type or role is wrong")
        self._hold(bool(message.get("model")), "there is no model")
        self._hold(message.get("content") == [], "content is not empty")
        for name in ("stop_reason", "stop_sequence"):
            self._hold(name in message and message[name] is None, f"{name} is not null")
        self._check_usage(message.get("usage"), required=("input_tokens", "output_tokens"))
        self._hold(self._prompt_tokens() > 0, "the prompt has no tokens")

    def _check_block_start(self, data: dict[str, Any]) -> None:
        self._index += 1
        self._hold(data.get("index") == self._index, f"the index is {data.get('index')}, not {self._index}")
        self._block = data.get("content_block") or {}
        kind = self._block.get("type")
        self._input_json, self._signatures, self._has_text = "", 0, False
        empty: dict[str, dict[str, Any]] = {
            "text": {"text": ""},
            "thinking": {"thinking": "", "signature": ""},
            "tool_use": {"input": {}},
        }
        for name, value in empty.get(str(kind), {}).items():
            self._hold(self._block.get(name) == value, f"{name} starts as {self._block.get(name)!r}, not {value!r}")
        self._hold("citations" not in self._block or self._block["citations"] is not None, "citations is null")
        if kind == "tool_use":
            self._hold(bool(self._block.get("id")) and bool(self._block.get("name")), "a tool_use needs id and name")

    def _check_delta(self, data: dict[str, Any]) -> None:
        self._hold(data.get("index") == self._index, f"the index is {data.get('index')}, not {self._index}")
        delta: dict[str, Any] = data.get("delta") or {}
        kind, block_kind = str(delta.get("type")), str(self._block.get("type"))
        self._hold(kind in DELTAS.get(block_kind, frozenset()), f"a {kind} does not fit a {block_kind} block")
        self._hold(self._signatures == 0, "the signature is not the last delta of its block")
        if kind == "text_delta":
            self._hold(bool(delta.get("text")), "an empty text_delta")
            self._has_text = True
        elif kind == "input_json_delta":
            self._input_json += delta["partial_json"]
        elif kind == "signature_delta":
            self._signatures += 1
            self._hold(bool(delta.get("signature")), "an empty signature")

    def _check_block_stop(self, data: dict[str, Any]) -> None:
        self._hold(data.get("index") == self._index, f"the index is {data.get('index')}, not {self._index}")
        if self._block.get("type") == "tool_use":
            try:
                arguments: Any = msgspec.json.decode(self._input_json)
            except msgspec.DecodeError:
                arguments = None
            self._hold(isinstance(arguments, dict), f"the arguments are no object: {self._input_json[:200]!r}")
        elif self._block.get("type") == "text":
            self._hold(self._has_text, "an empty text block, which the API would not take back")
        elif self._block.get("type") == "thinking":
            self._hold(self._signatures == 1, "a thinking block needs one signature")

    def _check_message_delta(self, data: dict[str, Any]) -> None:
        delta: dict[str, Any] = data.get("delta") or {}
        for name in ("stop_reason", "stop_sequence"):
            self._hold(name in delta, f"there is no {name}")
        self._stop_reason = delta["stop_reason"] or self._stop_reason
        if delta["stop_reason"] == "stop_sequence":
            self._hold(bool(delta["stop_sequence"]), "the stop_sequence is not named")
        before = dict(self._usage)
        self._check_usage(data.get("usage"), required=("output_tokens",))
        for name in _COUNTS:
            grows = name == "output_tokens"
            was, now = before.get(name, 0), self._usage.get(name, 0)
            fits = now >= was if grows else now == was or self._prompt_settles
            self._hold(fits, f"{name} was {was} and is {now}")

    def _check_usage(self, usage: Any, *, required: tuple[str, ...]) -> None:
        self._hold(isinstance(usage, dict), "there is no usage")
        for name in required:
            self._hold(isinstance(usage.get(name), int), f"usage has no {name}")
        for name in _COUNTS:
            value = usage.get(name)
            if value is not None:
                self._hold(isinstance(value, int) and value >= 0, f"{name} is {value!r}")
                self._usage[name] = value

    def _prompt_tokens(self) -> int:
        return sum(self._usage.get(name, 0) for name in _COUNTS[:3])


def check_stream(data: bytes) -> StreamChecker:
    """Check a whole stream.

    Raises: AssertionError that names the event and what is wrong with it.
    """
    checker = StreamChecker()
    checker.push(data)
    checker.finish()
    return checker
