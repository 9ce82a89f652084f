"""The Messages API as a surface: how its requests are read, and how answers, streams and errors look.

Owns: its headers, and putting its codecs (`protocols/messages`) behind the seam `http/exchange/surface.py`.
Must never know: which target answers, or how.

Source: docs/reference/messages-api.md, "Transport", "Request fields", "Errors" and "What this server does".
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Struct

from renga.accounting.limits.token_buckets import LimitReached, LimitState
from renga.errors import InvalidRequest, RengaError
from renga.http.exchange.asgi import JSON, Header
from renga.http.exchange.error_headers import render_error_headers
from renga.http.exchange.surface import DecodedRequest, HeaderNames, RequestHead, SurfaceReply
from renga.http.messages.limit_headers import render_limits
from renga.protocols.messages.decode import decode_count, decode_request
from renga.protocols.messages.errors import encode_error
from renga.protocols.messages.events.accumulator import MessageAccumulator
from renga.protocols.messages.inference_request import InferenceRequest
from renga.protocols.messages.request import ApiVersion, MessageRequest
from renga.protocols.messages.stream import MessageStreamEncoder

_VERSIONS: dict[bytes | None, ApiVersion] = {
    None: "2023-06-01",
    b"2023-06-01": "2023-06-01",
    b"2026-10-21": "2026-10-21",
}
"""A request without the header is one of the older version: people who write curl lines forget it."""

_FORWARDED = (b"anthropic-user-profile-id", b"anthropic-workspace-id")


class TokenCount(Struct, frozen=True):
    """The body of an answer to `POST /v1/messages/count_tokens`."""

    input_tokens: int


class _MessageEncoder(Struct, frozen=True):
    """Answers as messages; nothing of the request has a part in how they look."""

    def encode_message(self, answer: MessageAccumulator) -> SurfaceReply:
        return SurfaceReply(200, answer.body(), (JSON,))

    def open_stream(self, request_id: str) -> MessageStreamEncoder:
        return MessageStreamEncoder(request_id)


_ENCODER: Final = _MessageEncoder()


class MessagesSurface(Struct, frozen=True):
    """What clients of the Messages API speak."""

    name: str = "messages"
    header_names: HeaderNames = HeaderNames(
        request_id=b"request-id",
        keys=(b"x-api-key", b"api-key"),
        stream=(
            (b"content-type", b"text/event-stream; charset=utf-8"),
            (b"cache-control", b"no-cache"),
            # It keeps nginx from collecting events before it passes them on.
            (b"x-accel-buffering", b"no"),
        ),
    )

    def decode(self, head: RequestHead, body: bytes) -> DecodedRequest:
        """Read the body of `POST /v1/messages`."""
        version = read_version(head)
        return _make_request(head, decode_request(body, version), body, version)

    def decode_count(self, head: RequestHead, body: bytes) -> DecodedRequest:
        """Read the body of `POST /v1/messages/count_tokens`."""
        version = read_version(head)
        return _make_request(head, decode_count(body, version), body, version)

    def encode_count(self, tokens: int) -> SurfaceReply:
        """The count as the only field of an object."""
        return SurfaceReply(200, msgspec.json.encode(TokenCount(tokens)), (JSON,))

    def encode_error(self, error: RengaError, request_id: str) -> SurfaceReply:
        """The error's own status, and a body with its type, its message and the request's id."""
        limits = self.encode_limits(error.state) if isinstance(error, LimitReached) else ()
        return SurfaceReply(
            error.status, encode_error(error, request_id), (JSON, *render_error_headers(error), *limits)
        )

    def encode_limits(self, state: LimitState) -> list[Header]:
        """The `anthropic-ratelimit-*` headers, and ours for budgets."""
        return render_limits(state)


MESSAGES: Final = MessagesSurface()
"""The surface of most routes."""


def read_version(head: RequestHead) -> ApiVersion:
    """The API version that a request asks for.

    Raises: InvalidRequest for one that does not exist.
    """
    given = head.headers.get(b"anthropic-version")
    version = _VERSIONS.get(given)
    if version is None:
        named = (given or b"")[:40].decode("latin-1")
        raise InvalidRequest(
            f"anthropic-version: {named!r} is not a version of the API.", hint="use 2026-10-21 or 2023-06-01"
        )
    return version


def read_betas(head: RequestHead) -> tuple[str, ...]:
    """The values of anthropic-beta, which may be repeated and is a list each time. Unknown ones pass."""
    if b"anthropic-beta" not in head.headers:
        return ()
    text = b",".join(head.header_values(b"anthropic-beta")).decode("latin-1")
    return tuple(dict.fromkeys(beta.strip() for beta in text.split(",") if beta.strip()))


def read_forwarded(head: RequestHead) -> tuple[tuple[str, str], ...]:
    """The headers that an Anthropic-family target should see."""
    headers = head.headers
    return tuple((name.decode("ascii"), headers[name].decode("latin-1")) for name in _FORWARDED if name in headers)


def _make_request(head: RequestHead, message: MessageRequest, body: bytes, version: ApiVersion) -> DecodedRequest:
    """The request as every later step sees it."""
    inference = InferenceRequest(
        message,
        body,
        head.caller,
        head.request_id,
        MESSAGES.name,
        head.arrived_ns,
        version,
        read_betas(head),
        read_forwarded(head),
    )
    return DecodedRequest(inference, _ENCODER, message.stream)
