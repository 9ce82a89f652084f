"""Whole answers, given again to the same question of the same key.

Owns: what makes two questions the same, which questions and answers qualify, lives, and memory.
Must never know: who answers, HTTP, whether a key opted in.
Invariants: a key is only ever given answers to its own questions; whatever could change an answer is part of what a
question is known by, unknown fields included; an answer that broke off, failed or was refused is never kept; memory is
bounded in bytes, in this process, and gone with it.

What qualifies. The question: it asks for tokens, leaves sampling alone or asks for none (`temperature` 0), and uses no
tool that a server runs and nothing that only some targets do, because such answers depend on the moment. The answer:
complete, and ended by itself, by a stop sequence, by a tool call or by `max_tokens`.
"""

from __future__ import annotations

from collections import OrderedDict
from hashlib import blake2b
from typing import Any, Literal, TypeAlias, cast

import msgspec
from msgspec import Struct

from renga.clock import Clock
from renga.config.cache import CacheSettings
from renga.protocols.messages.billing_header import strip_billing_line
from renga.protocols.messages.events.event_types import Message
from renga.protocols.messages.inference_request import InferenceRequest
from renga.protocols.messages.request import MessageRequest
from renga.protocols.messages.rules.builtin_tools import builtin_definition

Freshness: TypeAlias = Literal["hit", "stale"]

_KEPT_STOP_REASONS = frozenset({"end_turn", "max_tokens", "stop_sequence", "tool_use"})

_MEANINGLESS = ("stream", "metadata", "service_tier", "cache_control", "billing_policy", "diagnostics")
"""Top-level fields that choose how an answer is delivered, billed or reported, never what it says."""

_ENTRY_OVERHEAD_BYTES = 500
_ENTRY_SHARE = 8
"""No answer may take more than this part of the memory."""

_encode_sorted = msgspec.json.Encoder(order="deterministic").encode


class StoredAnswer(Struct, frozen=True):
    """An answer that was given before."""

    message: Message
    freshness: Freshness
    target: str
    """Who gave it."""


class _StoredEntry(Struct, frozen=True):
    message: bytes
    target: str
    stored_ns: int

    @property
    def size_bytes(self) -> int:
        return len(self.message) + _ENTRY_OVERHEAD_BYTES


_decode_message = msgspec.json.Decoder(Message).decode


def name_question(request: InferenceRequest) -> bytes | None:
    """What a request is known by as a question; None for one whose answers are not given again.

    Cost: decodes and encodes the body once, 10 ms a megabyte.
    """
    if not _qualifies(request.message):
        return None
    fields = cast("dict[str, Any]", msgspec.json.decode(request.body))
    for name in _MEANINGLESS:
        fields.pop(name, None)
    _strip_billing(fields)
    rest = (request.caller.key_id, request.version, sorted(request.betas), sorted(request.forwarded_headers))
    return blake2b(_encode_sorted((rest, fields)), digest_size=16).digest()


def _qualifies(request: MessageRequest) -> bool:
    is_sampled = request.temperature or request.top_p not in (None, 1) or request.top_k is not None
    if is_sampled or request.max_tokens == 0 or request.required_features:
        return False
    return all(tool.type in (None, "custom") or builtin_definition(tool) is not None for tool in request.tools)


def _strip_billing(fields: dict[str, Any]) -> None:
    """Leave a client's billing line out, which is new with every request."""
    system: object = fields.get("system")
    if isinstance(system, str):
        fields["system"] = strip_billing_line(system)
    elif isinstance(system, list) and system:
        first = cast("list[dict[str, Any]]", system)[0]
        first["text"] = strip_billing_line(str(first.get("text", "")))


class ResponseCache:
    """The answers themselves. Use it from one event loop."""

    def __init__(self, settings: CacheSettings, clock: Clock) -> None:
        self.for_all = settings.responses
        """Whether every key's answers are stored, not only those that opted in."""
        self._clock = clock
        self._max_bytes = settings.response_bytes
        self._ttl_ns = round(settings.response_ttl_s * 1e9)
        self._stale_ns = round(settings.stale_if_error_s * 1e9)
        self._entries: OrderedDict[bytes, _StoredEntry] = OrderedDict()
        self._bytes = 0

    @property
    def size_bytes(self) -> int:
        """How much memory the stored answers take, in bytes."""
        return self._bytes

    def find(self, name: bytes, *, stale: bool = False) -> StoredAnswer | None:
        """A stored answer; with `stale`, also one whose time is over but not long."""
        entry = self._entries.get(name)
        if entry is None:
            return None
        age_ns = self._clock.monotonic_ns() - entry.stored_ns
        if age_ns >= self._ttl_ns + self._stale_ns:
            self._drop(name)
            return None
        is_fresh = age_ns < self._ttl_ns
        if not is_fresh and not stale:
            return None
        self._entries.move_to_end(name)
        return StoredAnswer(_decode_message(entry.message), "hit" if is_fresh else "stale", entry.target)

    def keep(self, name: bytes, message: Message, target: str) -> bool:
        """Store an answer, if it qualifies. Returns whether it did."""
        if message.stop_reason not in _KEPT_STOP_REASONS:
            return False
        entry = _StoredEntry(msgspec.json.encode(message), target, self._clock.monotonic_ns())
        if entry.size_bytes * _ENTRY_SHARE > self._max_bytes:
            return False
        self._drop(name)
        self._entries[name] = entry
        self._bytes += entry.size_bytes
        while self._bytes > self._max_bytes:
            self._drop(next(iter(self._entries)))
        return True

    def _drop(self, name: bytes) -> None:
        entry = self._entries.pop(name, None)
        if entry is not None:
            self._bytes -= entry.size_bytes
