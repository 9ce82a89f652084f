"""chat.completions chunks as the events of a Messages stream.

Owns: block boundaries and indexes, tool ids, signatures, and what a finish means here.
Must never know: sockets, or which server it is.
Invariants: blocks never overlap and their indexes are dense, however the deltas of parallel tool calls interleave; tool
arguments concatenate to a JSON object; a stream that did not say how it finished ends in an error, never in a message.

Usage: these servers tell it at the end. `message_start` carries what was counted beforehand, `message_delta` what the
server says, and the latter is what is billed. Both are disjoint: cached tokens are taken out of the prompt's count.

Source: docs/reference/messages-api.md, "Streaming events"; OpenAI chat.completions streaming reference.
"""

from __future__ import annotations

import msgspec
from msgspec import UNSET, Struct, UnsetType

from renga import ids
from renga.errors import ApiError
from renga.protocols.messages import blocks
from renga.protocols.messages.events import event_types
from renga.protocols.messages.events.event_types import Batch, StopReason
from renga.protocols.messages.signature import Signer
from renga.protocols.openai.chat_types import ChatUsage, Choice, ChoiceDelta, Chunk, ToolCallDelta

STOP_REASONS: dict[str, StopReason] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}
"""What each `finish_reason` means. One that is not here is an ordinary end."""

BROKEN_FINISHES = frozenset({"error", "abort"})
"""The server gave the answer up."""

_EMPTY_OBJECT = msgspec.Raw(b"{}")
_DIRECT = blocks.DirectCaller()


class StreamState(Struct, frozen=True):
    """What the reader of one answer must know of its request."""

    answered_as: str
    signer: Signer
    input_tokens: int
    """As counted beforehand."""
    max_tokens: int
    stop_sequences: tuple[str, ...] = ()
    shows_thinking: bool = False
    """Whether thinking blocks are written at all."""
    omits_thinking: bool = False
    """Whether they are written without their text."""
    is_serial: bool = False
    """Whether only one tool may be called."""


class _StreamTool(Struct):
    """A tool call on its way. It waits while another one is being written."""

    name: str = ""
    waiting: str = ""
    """Arguments that have come and not gone."""
    written: str = ""
    is_open: bool = False
    is_done: bool = False


class ChatReader:
    """Turns one answer's chunks into events. `push` every chunk, then `finish`."""

    def __init__(self, reading: StreamState) -> None:
        self._reading = reading
        self._index = -1
        self._open: str | None = None
        self._started = False
        self._leading_space = ""
        self._thought: list[str] = []
        self._wrote_any = False
        self._tools: dict[int, _StreamTool] = {}
        self._late_text: list[str] = []
        self._finish: Choice | None = None
        self._usage: ChatUsage | None = None
        self._delta_count = 0
        self._refused = False

    def push(self, chunk: Chunk) -> Batch:
        """The events that a chunk brings.

        Raises: ApiError when a tool's arguments cannot be what the server sent.
        """
        events: Batch = []
        if not self._started:
            self._started = True
            events.append(self._start())
        if chunk.usage is not None:
            self._usage = chunk.usage
        for choice in chunk.choices or ():
            if choice.index != 0:
                continue
            delta = choice.message or choice.delta
            if delta is not None and self._reading.max_tokens:
                self._take(delta, events)
            if choice.finish_reason:
                self._finish = choice
        return events

    def finish(self) -> Batch:
        """The events that end the message.

        Raises: ApiError when the answer broke off, or calls a tool with arguments that are no JSON object.
        """
        finish = self._finish
        if finish is None or finish.finish_reason in BROKEN_FINISHES:
            raise ApiError("The model's server ended its answer in the middle.", hint="send the request again")
        events: Batch = []
        self._end_tools(events, cut=finish.finish_reason == "length")
        if late := "".join(self._late_text).strip():
            self._begin("text", blocks.TextBlock(""), events)
            events.append(event_types.ContentBlockDelta(self._index, event_types.TextDelta(late)))
        self._close(events)
        reason, sequence = self._stop(finish)
        events += (
            event_types.MessageDelta(event_types.MessageDeltaBody(reason, sequence), self._final_usage()),
            event_types.MessageStop(),
        )
        return events

    def _start(self) -> event_types.MessageStart:
        usage = event_types.Usage(input_tokens=self._reading.input_tokens, service_tier="standard")
        return event_types.MessageStart(
            event_types.Message(model=self._reading.answered_as, id=ids.message_id(), usage=usage)
        )

    def _take(self, delta: ChoiceDelta, events: Batch) -> None:
        thought = delta.reasoning_content or delta.reasoning
        if thought:
            self._delta_count += 1
            self._take_thought(thought, events)
        text = delta.content or delta.refusal
        self._refused = self._refused or bool(delta.refusal)
        if text:
            self._delta_count += 1
            self._take_text(text, events)
        for call in delta.tool_calls or ():
            self._delta_count += 1
            self._take_tool(call, events)

    def _take_thought(self, text: str, events: Batch) -> None:
        if not self._reading.shows_thinking or self._tools:
            return
        if self._open != "thinking":
            self._begin("thinking", blocks.ThinkingBlock("", ""), events)
        if not self._reading.omits_thinking:
            self._thought.append(text)
            events.append(event_types.ContentBlockDelta(self._index, event_types.ThinkingDelta(text)))

    def _take_text(self, text: str, events: Batch) -> None:
        if self._tools:
            self._late_text.append(text)
            return
        if self._open != "text":
            # White space alone makes no block: templates write it before tool calls and after thinking.
            text = self._leading_space + text
            self._leading_space = text if text.isspace() else ""
            if self._leading_space:
                return
            if self._wrote_any:
                text = text.lstrip()
            self._begin("text", blocks.TextBlock(""), events)
        events.append(event_types.ContentBlockDelta(self._index, event_types.TextDelta(text)))

    # Tools. The first call is written as it comes; another waits until the one before it is a whole JSON object.

    def _take_tool(self, call: ToolCallDelta, events: Batch) -> None:
        key = call.index if call.index is not None else self._guess_index(call)
        if self._reading.is_serial and key not in self._tools and self._tools:
            return
        tool = self._tools.setdefault(key, _StreamTool())
        if call.function is not None:
            tool.name = tool.name or call.function.name or ""
            arguments = call.function.arguments or ""
            tool.waiting += arguments if isinstance(arguments, str) else msgspec.json.encode(arguments).decode()
        self._write_tools(events)

    def _guess_index(self, call: ToolCallDelta) -> int:
        """A server that sends no index sends each call whole: an id or a name begins the next one."""
        begins = call.id is not None or (call.function is not None and bool(call.function.name))
        return len(self._tools) if begins or not self._tools else len(self._tools) - 1

    def _write_tools(self, events: Batch) -> None:
        """Write what can be written without two blocks being open at once."""
        newest = next(reversed(self._tools))
        for key, tool in self._tools.items():
            if tool.is_done:
                continue
            if not tool.is_open:
                if not tool.name:
                    return
                self._begin_tool(tool, events)
                events.append(event_types.ContentBlockDelta(self._index, event_types.InputJsonDelta("")))
            self._write_waiting(tool, events)
            if key == newest or not _is_object(tool.written):
                return
            self._close(events)
            tool.is_done = True

    def _end_tools(self, events: Batch, *, cut: bool) -> None:
        """Write what is left of every call, in order. `cut`: the length ran out, so the last may be unfinished."""
        for tool in self._tools.values():
            if tool.is_done:
                if tool.waiting.strip():
                    raise ApiError("The model's server went on with a tool call that had ended.")
                continue
            if not tool.is_open:
                self._begin_tool(tool, events)
            if not (tool.written + tool.waiting).strip():
                tool.waiting = "{}"
            self._write_waiting(tool, events)
            if not tool.name or not (cut or _is_object(tool.written)):
                raise ApiError(f"The model called {tool.name or 'no tool'} with arguments that are not a JSON object.")
            self._close(events)
            tool.is_done = True

    def _begin_tool(self, tool: _StreamTool, events: Batch) -> None:
        self._begin(
            "tool_use", blocks.ToolUseBlock(ids.tool_use_id(), tool.name, _EMPTY_OBJECT, caller=_DIRECT), events
        )
        tool.is_open = True

    def _write_waiting(self, tool: _StreamTool, events: Batch) -> None:
        if tool.waiting:
            events.append(event_types.ContentBlockDelta(self._index, event_types.InputJsonDelta(tool.waiting)))
            tool.written += tool.waiting
            tool.waiting = ""

    # Blocks

    def _begin(self, kind: str, block: blocks.OutputBlock, events: Batch) -> None:
        self._close(events)
        self._index += 1
        self._open = kind
        self._wrote_any = True
        events.append(event_types.ContentBlockStart(self._index, block))

    def _close(self, events: Batch) -> None:
        if self._open is None:
            return
        if self._open == "thinking":
            signature = self._reading.signer.sign("".join(self._thought))
            events.append(event_types.ContentBlockDelta(self._index, event_types.SignatureDelta(signature)))
            self._thought.clear()
        events.append(event_types.ContentBlockStop(self._index))
        self._open = None

    # The end

    def _stop(self, finish: Choice) -> tuple[StopReason, str | None]:
        if not self._reading.max_tokens:
            return "max_tokens", None
        reason = STOP_REASONS.get(finish.finish_reason or "", "end_turn")
        if self._tools and reason == "end_turn":
            return "tool_use", None
        if self._refused and reason == "end_turn":
            return "refusal", None
        if reason == "end_turn" and finish.stop_reason in self._reading.stop_sequences:
            return "stop_sequence", str(finish.stop_reason)
        if reason == "max_tokens" and self._usage and 0 < self._usage.completion_tokens < self._reading.max_tokens:
            return "model_context_window_exceeded", None
        return reason, None

    def _final_usage(self) -> event_types.DeltaUsage:
        usage = self._usage
        if usage is None:
            return event_types.DeltaUsage(output_tokens=self._delta_count, input_tokens=self._reading.input_tokens)
        details = usage.prompt_tokens_details
        cached = min((details.cached_tokens if details else None) or 0, usage.prompt_tokens)
        reasoned = usage.completion_tokens_details
        thinking: event_types.OutputTokensDetails | UnsetType = UNSET
        if reasoned is not None and reasoned.reasoning_tokens is not None:
            thinking = event_types.OutputTokensDetails(reasoned.reasoning_tokens)
        return event_types.DeltaUsage(
            output_tokens=usage.completion_tokens if self._reading.max_tokens else 0,
            input_tokens=usage.prompt_tokens - cached,
            cache_creation_input_tokens=0,
            cache_read_input_tokens=cached,
            output_tokens_details=thinking,
        )


def _is_object(text: str) -> bool:
    """Whether this is a whole JSON object."""
    try:
        return isinstance(msgspec.json.decode(text), dict)
    except msgspec.DecodeError:
        return False
