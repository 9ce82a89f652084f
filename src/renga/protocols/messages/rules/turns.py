"""The conversation: rules between turns, and merging turns of one role.

Owns: what `messages` must look like for every target. Must never know: the request's other fields.
Invariant: after `check_turns`, every tool_use is answered exactly once, directly after it, and no text block is empty.

Source: docs/reference/messages-api.md, "API versions", "Request fields" and "Content blocks in a request"; tool_result
order: public documentation "Handle tool calls".
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from renga.errors import InvalidRequest
from renga.protocols.messages.blocks import (
    CompactionBlock,
    ContainerUploadBlock,
    DocumentBlock,
    ImageBlock,
    InputBlock,
    RedactedThinkingBlock,
    SearchResultBlock,
    TextBlock,
    ThinkingBlock,
    ToolAdditionBlock,
    ToolRemovalBlock,
    ToolResultBlock,
    ToolUseBlock,
)
from renga.protocols.messages.request import ApiVersion, Turn

MAX_TURNS = 100_000
"""Source: docs/reference/messages-api.md, "Request fields"."""

_ONLY_IN: dict[type, str] = {
    ToolUseBlock: "assistant",
    ThinkingBlock: "assistant",
    RedactedThinkingBlock: "assistant",
    ToolResultBlock: "user",
    ImageBlock: "user",
    SearchResultBlock: "user",
    ContainerUploadBlock: "user",
}
"""Blocks that make sense in one role only. Documents are a matter of the API version."""

_SURROGATE = re.compile(rb"\\u[dD]").search
_IN_SYSTEM = (TextBlock, ToolAdditionBlock, ToolRemovalBlock)
_FEATURES: dict[type, str] = {
    ContainerUploadBlock: "container_upload",
    CompactionBlock: "messages.compaction",
    ToolAdditionBlock: "messages.tool_addition",
    ToolRemovalBlock: "messages.tool_removal",
}


class TurnCheck:
    """One walk over `messages`. What it found stands in `required_features` and `is_marked` afterwards."""

    def __init__(self, version: ApiVersion) -> None:
        self.required_features: list[str] = []
        self.is_marked = False
        """Whether a block has cache_control."""
        self._newer = version != "2023-06-01"
        self._role = ""
        """Of the run of turns with one role that the walk is in."""
        self._tool_uses: dict[str, str] = {}
        """Every tool_use met so far, with its path."""
        self._open: dict[str, str] = {}
        """Those of the last assistant run that have no result yet."""
        self._past_results = False
        """Whether this user run has had something other than results."""

    def check(self, turns: Sequence[Turn]) -> None:
        """Walk the conversation.

        Raises: InvalidRequest that names the first thing wrong.
        """
        if not turns:
            raise InvalidRequest("At least one message is required.", path="messages")
        if len(turns) > MAX_TURNS:
            raise InvalidRequest(f"At most {MAX_TURNS} messages are allowed, not {len(turns)}.", path="messages")
        if turns[0].role != "user":
            raise InvalidRequest("The first message must have the role user.", path="messages.0.role")
        last = len(turns) - 1
        for index, turn in enumerate(turns):
            if turn.role != self._role:
                self._enter_run(turn.role, index)
            content = turn.content
            if not content:
                if index != last or turn.role != "assistant":
                    raise InvalidRequest(
                        "Content must not be empty, except in a last message of the assistant.",
                        path=f"messages.{index}.content",
                    )
            elif isinstance(content, str):
                self._past_results = True
            else:
                self._check_blocks(content, turn.role, index)
            if is_given(turn.clear_at):
                self.required_features.append("messages.clear_at")
            if is_given(turn.output_config):
                self.required_features.append("messages.output_config")
        if self._open:
            raise _unanswered(self._open)

    def _enter_run(self, role: str, index: int) -> None:
        if role == "system" and not self._newer:
            raise InvalidRequest(
                "System messages mid-conversation need API version 2026-10-21.",
                path=f"messages.{index}.role",
                hint="use the top-level system field",
            )
        if self._open and self._role != "assistant":
            raise _unanswered(self._open)
        if self._open and role != "user":
            raise _unanswered(self._open)
        self._role = role
        self._past_results = False

    def _check_blocks(self, blocks: Sequence[InputBlock], role: str, turn_index: int) -> None:
        for index, block in enumerate(blocks):
            kind = type(block)
            if kind is TextBlock:
                self._past_results = True
                self._check_text(block, role, f"messages.{turn_index}.content.{index}")  # pyright: ignore[reportArgumentType]
                continue
            path = f"messages.{turn_index}.content.{index}"
            if _ONLY_IN.get(kind, role) != role or (role == "system" and kind not in _IN_SYSTEM):
                raise InvalidRequest(f"A {_tag(block)} block cannot stand in a {role} message.", path=path)
            if getattr(block, "cache_control", None):
                self.is_marked = True
            if kind in _FEATURES:
                self.required_features.append(_FEATURES[kind])
            if isinstance(block, ToolResultBlock):
                self._check_result(block, path)
                continue
            self._past_results = True
            if isinstance(block, ToolUseBlock):
                self._check_use(block, path)
            elif isinstance(block, DocumentBlock) and role == "assistant" and self._newer:
                raise InvalidRequest("Documents in assistant messages ended with API version 2026-10-21.", path=path)
            elif isinstance(block, SearchResultBlock):
                for part_index, part in enumerate(block.content):
                    self._check_text(part, role, f"{path}.content.{part_index}")

    def _check_text(self, block: TextBlock, role: str, path: str) -> None:
        if not block.text:
            raise InvalidRequest("Text content blocks must not be empty.", path=f"{path}.text")
        if block.cache_control:
            self.is_marked = True
        if self._newer and role == "user" and is_given(block.citations):
            raise InvalidRequest(
                "Citations on text in user messages ended with API version 2026-10-21.", path=f"{path}.citations"
            )

    def _check_use(self, block: ToolUseBlock, path: str) -> None:
        if not block.id:
            raise InvalidRequest("A tool_use needs an id.", path=f"{path}.id")
        if block.id in self._tool_uses:
            raise InvalidRequest(
                f"The tool_use id {block.id!r} was used before, at {self._tool_uses[block.id]}.", path=f"{path}.id"
            )
        check_object(block.input, f"{path}.input")
        self._tool_uses[block.id] = path
        self._open[block.id] = path

    def _check_result(self, block: ToolResultBlock, path: str) -> None:
        if self._open.pop(block.tool_use_id, None) is None:
            known = self._tool_uses.get(block.tool_use_id)
            why = (
                f"the tool_use at {known} is answered already, or not by the message directly after it"
                if known
                else "no tool_use in the message before has this id"
            )
            raise InvalidRequest(f"Unexpected tool_use_id {block.tool_use_id!r}: {why}.", path=f"{path}.tool_use_id")
        if self._past_results:
            raise InvalidRequest("Results of tools must come before anything else in their message.", path=path)
        if isinstance(block.content, tuple):
            for index, part in enumerate(block.content):
                if isinstance(part, TextBlock) and not part.text:
                    raise InvalidRequest("Text content blocks must not be empty.", path=f"{path}.content.{index}.text")
                if getattr(part, "cache_control", None):
                    self.is_marked = True


def merge_turns(turns: tuple[Turn, ...]) -> tuple[Turn, ...]:
    """Join consecutive turns of one role, and leave out an empty last turn of the assistant.

    Cost: nothing is copied where there is nothing to merge.
    """
    if not turns[-1].content:
        turns = turns[:-1]
    previous = ""
    for turn in turns:
        if turn.role == previous:
            break
        previous = turn.role
    else:
        return turns
    merged: list[Turn] = []
    for turn in turns:
        if merged and merged[-1].role == turn.role:
            merged[-1] = Turn(turn.role, (*_blocks(merged[-1].content), *_blocks(turn.content)))
        else:
            merged.append(turn)
    return tuple(merged)


def _blocks(content: str | tuple[InputBlock, ...]) -> tuple[InputBlock, ...]:
    return (TextBlock(content),) if isinstance(content, str) else content


def _unanswered(uses: dict[str, str]) -> InvalidRequest:
    identifier, path = next(iter(uses.items()))
    return InvalidRequest(
        f"The tool_use {identifier!r} has no tool_result in the message directly after it.",
        path=path,
        hint="each tool_use needs one tool_result, at the start of the next user message",
    )


def check_object(raw: msgspec.Raw, path: str) -> None:
    """Make sure that a raw value can be read as an object later on.

    Raises: InvalidRequest when it is something else, or holds an escape that is no character.
    """
    data = bytes(raw)
    if not data.startswith(b"{"):
        raise InvalidRequest("Must be an object.", path=path)
    # The decoder passes over raw values without a look at their escapes, and only surrogates can be wrong.
    if _SURROGATE(data):
        try:
            msgspec.json.decode(data)
        except msgspec.DecodeError:
            raise InvalidRequest("Not valid JSON: an escape that is half a character.", path=path) from None


def is_given(raw: msgspec.Raw | msgspec.UnsetType) -> bool:
    """Whether a raw field is there and not null."""
    return isinstance(raw, msgspec.Raw) and bytes(raw) != b"null"


def _tag(block: InputBlock) -> str:
    return str(block.__struct_config__.tag)
