"""The handlers of every route that asks for an answer or for a count of tokens, in whichever format.

Owns: what of HTTP reaches the one path, and what of an answer reaches HTTP. Must never know: which target answers,
how, or how requests and answers look: the route's surface does.
"""

from __future__ import annotations

from renga.domain.reasons import render_reasons
from renga.http.exchange.asgi import Header
from renga.http.exchange.body import read_body
from renga.http.exchange.header_values import header_value, render_usd
from renga.http.exchange.http_exchange import HttpExchange
from renga.http.exchange.stream_writer import write_stream
from renga.http.http_services import HttpServices
from renga.inference import Answer, answer
from renga.inference import count_tokens as count
from renga.protocols.messages.events.accumulator import fold


async def answer_request(exchange: HttpExchange, parts: HttpServices) -> None:
    """Answer a request, whole or as a stream."""
    body = await read_body(exchange, parts.settings.max_body_bytes)
    decoded = exchange.surface.decode(exchange, body)
    encoder = decoded.encoder
    answered = await answer(decoded.inference, parts.answering)
    try:
        if decoded.stream:
            stream = encoder.open_stream(exchange.request_id)
            headers = _render_answer_headers(exchange, answered)
            interval_s = parts.settings.ping_interval_s
            await write_stream(exchange, answered, stream, headers, ping_interval_s=interval_s)
            return
        reply = encoder.encode_message(await fold(answered))
        cost_nano_usd = (await answered.close()).cost_nano_usd
        headers = _render_answer_headers(exchange, answered)
        if cost_nano_usd is not None:
            headers.append((b"renga-cost-usd", render_usd(cost_nano_usd)))
        if answered.mean_logprob is not None:
            headers.append((b"renga-mean-logprob", b"%.6f" % answered.mean_logprob))
        await exchange.reply(reply, headers)
    finally:
        await answered.close()


async def count_request_tokens(exchange: HttpExchange, parts: HttpServices) -> None:
    """Count the tokens of a request without answering it."""
    body = await read_body(exchange, parts.settings.max_body_bytes)
    decoded = exchange.surface.decode_count(exchange, body)
    await exchange.reply(exchange.surface.encode_count(await count(decoded.inference, parts.answering)))


def _render_answer_headers(exchange: HttpExchange, answered: Answer) -> list[Header]:
    """Who answered and why, and what is left of the key's limits."""
    headers: list[Header] = [
        (b"renga-target", header_value(answered.target_name)),
        (b"renga-plan", header_value(render_reasons(answered.reasons))),
        (b"renga-overhead-us", b"%d" % answered.overhead_us),
    ]
    if answered.confidence is not None:
        headers.append((b"renga-confidence", b"%.4f" % answered.confidence))
    if answered.cache_status is not None:
        headers.append((b"renga-cache", answered.cache_status.encode()))
    limits = answered.limits
    if limits is not None:
        headers += exchange.surface.encode_limits(limits)
    return headers
