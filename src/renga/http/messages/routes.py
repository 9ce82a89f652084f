"""`POST /v1/messages` and `POST /v1/messages/count_tokens`.

Owns: what of HTTP reaches the one path, and what of an answer reaches HTTP.
Must never know: which target answers, or how.

Source: messages-api notes, sections 1.1, 1.4, 1.10 and 7 (rule 2).
"""

from __future__ import annotations

from functools import lru_cache

import msgspec

from renga.domain.reasons import render_reasons
from renga.errors import InvalidRequest
from renga.http.exchange.body import read_body
from renga.http.exchange.http_exchange import JSON, Header, HttpExchange
from renga.http.http_services import HttpServices
from renga.http.messages.event_stream import write_stream
from renga.http.messages.limit_headers import render_limits, render_usd
from renga.inference import Answer, Caller, InferenceRequest, answer
from renga.inference import count_tokens as count
from renga.protocols.messages.decode import ApiVersion, MessageRequest, decode_count, decode_request
from renga.protocols.messages.events.accumulator import fold

_VERSIONS: dict[bytes | None, ApiVersion] = {
    None: "2023-06-01",
    b"2023-06-01": "2023-06-01",
    b"2026-10-21": "2026-10-21",
}
"""A request without the header is one of the older version: people who write curl lines forget it."""

_FORWARDED = (b"anthropic-user-profile-id", b"anthropic-workspace-id")


class TokenCount(msgspec.Struct, frozen=True):
    """The answer of the route that counts a prompt's tokens."""

    input_tokens: int


async def create(exchange: HttpExchange, parts: HttpServices) -> None:
    """Answer a Messages request, whole or as a stream."""
    version = api_version(exchange)
    body = await read_body(exchange, parts.settings.max_body_bytes)
    request = decode_request(body, version)
    answered = await answer(_read_request(exchange, request, body, version), parts.answering)
    try:
        if request.stream:
            headers = _answer_headers(answered)
            await write_stream(exchange, answered, headers, ping_interval_s=parts.settings.ping_interval_s)
        else:
            await _respond_whole(exchange, answered)
    finally:
        await answered.close()


async def count_tokens(exchange: HttpExchange, parts: HttpServices) -> None:
    """Count the tokens of a request without answering it."""
    version = api_version(exchange)
    body = await read_body(exchange, parts.settings.max_body_bytes)
    request = decode_count(body, version)
    tokens = await count(_read_request(exchange, request, body, version), parts.answering)
    await exchange.respond(200, msgspec.json.encode(TokenCount(tokens)))


def api_version(exchange: HttpExchange) -> ApiVersion:
    """The API version that a request asks for.

    Raises: InvalidRequest for one that does not exist.
    """
    given = exchange.headers.get(b"anthropic-version")
    version = _VERSIONS.get(given)
    if version is None:
        named = (given or b"")[:40].decode("latin-1")
        raise InvalidRequest(
            f"anthropic-version: {named!r} is not a version of the API.", hint="use 2026-10-21 or 2023-06-01"
        )
    return version


async def _respond_whole(exchange: HttpExchange, answered: Answer) -> None:
    body = (await fold(answered)).body()
    cost_nano_usd = (await answered.close()).cost_nano_usd
    headers = [JSON, *_answer_headers(answered)]
    if cost_nano_usd is not None:
        headers.append((b"renga-cost-usd", render_usd(cost_nano_usd)))
    if answered.mean_logprob is not None:
        headers.append((b"renga-mean-logprob", b"%.6f" % answered.mean_logprob))
    await exchange.respond(200, body, headers)


def _read_request(
    exchange: HttpExchange, message: MessageRequest, body: bytes, version: ApiVersion
) -> InferenceRequest:
    """The request as every later step sees it."""
    identity = exchange.identity
    terms = identity.terms
    return InferenceRequest(
        message,
        body,
        Caller(exchange.key_id, identity.workspace_id, terms.tiers, terms.response_cache),
        exchange.request_id,
        "messages",
        exchange.arrived_ns,
        version,
        read_betas(exchange),
        read_forwarded(exchange),
    )


def read_betas(exchange: HttpExchange) -> tuple[str, ...]:
    """The values of anthropic-beta, which may be repeated and is a list each time. Unknown ones pass."""
    if b"anthropic-beta" not in exchange.headers:
        return ()
    text = b",".join(exchange.header_values(b"anthropic-beta")).decode("latin-1")
    return tuple(dict.fromkeys(beta.strip() for beta in text.split(",") if beta.strip()))


def read_forwarded(exchange: HttpExchange) -> tuple[tuple[str, str], ...]:
    """The headers that an Anthropic-family target should see."""
    headers = exchange.headers
    return tuple((name.decode("ascii"), headers[name].decode("latin-1")) for name in _FORWARDED if name in headers)


def _answer_headers(answered: Answer) -> tuple[Header, ...]:
    limits = answered.limits
    return (
        (b"renga-target", header_value(answered.target_name)),
        (b"renga-plan", header_value(render_reasons(answered.reasons))),
        (b"renga-overhead-us", b"%d" % answered.overhead_us),
        *(() if answered.confidence is None else ((b"renga-confidence", b"%.4f" % answered.confidence),)),
        *(() if answered.cache_status is None else ((b"renga-cache", answered.cache_status.encode()),)),
        *(() if limits is None else render_limits(limits)),
    )


@lru_cache(maxsize=512)
def header_value(text: str) -> bytes:
    """A text as a header's value. Names of models may come from clients, and a line feed would end the header."""
    return bytes(byte if 0x20 <= byte < 0x7F else 0x3F for byte in text.encode("ascii", "replace"))
