"""An upstream's error answers, as Renga's own errors: one table for every upstream that speaks HTTP.

Owns: what an upstream's status and error body mean to our client.
Must never know: which upstream it is, beyond its name.
Invariants: a client never reads our upstream key, in whatever an upstream echoes; an upstream that refuses *our* key is
a fault of this server and not of the client's key, so it is an ApiError, which another target may mend.

Source: docs/reference/messages-api.md, "Errors" and "Errors of OpenAI-compatible servers".
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, cast

import msgspec
from msgspec import Struct

from renga.errors import (
    ApiError,
    Conflict,
    InvalidRequest,
    NotFound,
    Overloaded,
    PaymentRequired,
    PermissionDenied,
    RateLimited,
    RengaError,
    RequestTooLarge,
    UpstreamTimedOut,
    error_for_status,
)
from renga.models.providers.transport.retry import UpstreamRefusal, read_retry_after
from renga.models.providers.transport.upstream_client import UpstreamResponse

MAX_ERROR_BYTES = 256 * 1024
"""More of an error than this is not read."""
MAX_MESSAGE_CHARACTERS = 2000

BY_TYPE: dict[str, type[RengaError]] = {
    error.type: error
    for error in (
        InvalidRequest,
        PaymentRequired,
        PermissionDenied,
        NotFound,
        Conflict,
        RequestTooLarge,
        RateLimited,
        ApiError,
        UpstreamTimedOut,
        Overloaded,
    )
}
"""By `error.type`, which says more than a status that a proxy on the way may have changed."""

OUR_FAULT = frozenset({401, 407})
"""Statuses that are about this server's key or path to the upstream."""


TOO_LONG = ("context_length_exceeded", "exceed_context_size_error")
"""What OpenAI (`code`) and llama.cpp (`type`) call a prompt beyond the context."""

TOO_LONG_WORDS = "maximum context length"
"""What vLLM and its kin write of it; they have no code for it."""


class UpstreamErrorText(Struct, frozen=True):
    """The fields of an error body that could be read."""

    type: str | None = None
    message: str | None = None
    error_code: str | None = None


class ErrorSource(Struct, frozen=True):
    """Which upstream the errors are of, and its key."""

    name: str
    secret: str | None
    key_hint: str
    """Where its key comes from, for the operator: `set ANTHROPIC_API_KEY`."""


async def read_refusal(response: UpstreamResponse, source: ErrorSource, now: datetime) -> UpstreamRefusal:
    """Read a response that is not a success, and close it."""
    async with response:
        try:
            body = await response.read(MAX_ERROR_BYTES)
        except RengaError:
            body = b""
    error = render_refusal(response.status, body, source)
    error.retry_after_s = read_retry_after(response.headers, now)
    return UpstreamRefusal(error, response.status, response.headers)


def render_refusal(status: int, body: bytes, source: ErrorSource) -> RengaError:
    """The error that a status and a body stand for."""
    if status in OUR_FAULT:
        return ApiError(f"{source.name} refused this server's key.", hint=source.key_hint)
    if status < 400:
        return ApiError(f"{source.name} answered with status {status}.", hint="check the provider's base_url")
    told = read_body(body)
    error_class = BY_TYPE.get(told.type or "") or error_for_status(status)
    text = clean_message(told.message or f"{source.name} answered with status {status}.", source.secret)
    if told.type in TOO_LONG or told.error_code in TOO_LONG or TOO_LONG_WORDS in text:
        # Agents look for these words to make their conversation shorter.
        return error_class(f"prompt is too long: {text}")
    return error_class(text, error_code=told.error_code)


def clean_message(message: str, secret: str | None) -> str:
    """An upstream's message, bounded and without our key."""
    if secret:
        message = message.replace(secret, "[key]")
    return message[:MAX_MESSAGE_CHARACTERS]


def read_body(body: bytes) -> UpstreamErrorText:
    """Read an error body of either family, whatever a proxy on the way made of it."""
    try:
        parsed: Any = msgspec.json.decode(body)
    except msgspec.MsgspecError:
        return UpstreamErrorText()
    outer = _object(parsed)
    error = outer.get("error")
    inner = _object(error)
    details = _object(inner.get("details"))
    message = inner.get("message") or error or outer.get("message") or outer.get("detail")
    if message is not None and not isinstance(message, str):
        message = msgspec.json.encode(message).decode()
    return UpstreamErrorText(
        type=_text(inner.get("type")), message=message, error_code=_text(details.get("error_code") or inner.get("code"))
    )


def _object(value: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
