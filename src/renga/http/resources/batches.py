"""The Message Batches resource over HTTP.

Owns: which owner a request speaks for, pages, absolute addresses, results as a stream of lines.
Must never know: how batches are kept or run (`services/batches` does).

Source: docs/reference/messages-api.md, "Endpoints" and "Message batches".
"""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from renga.domain.batches import BatchTerms, PageQuery
from renga.errors import NotFound
from renga.http.exchange.asgi import Header
from renga.http.exchange.body import read_pieces
from renga.http.exchange.http_exchange import HttpExchange
from renga.http.exchange.query import read_last, read_limit
from renga.http.http_services import HttpServices
from renga.http.messages.surface import read_betas, read_forwarded, read_version
from renga.http.route_table import Route
from renga.protocols.resources.batches import MessageBatch
from renga.services.batches import BatchService

_LINES: Header = (b"content-type", b"application/x-jsonl")


async def create_batch(exchange: HttpExchange, parts: HttpServices) -> None:
    """Take a batch in, however long its body."""
    batches = _batches(parts)
    own = exchange.identity.terms
    terms = BatchTerms(
        read_version(exchange),
        read_betas(exchange),
        read_forwarded(exchange),
        tiers=own.tiers,
        response_cache=own.response_cache,
    )
    body = read_pieces(exchange, batches.max_body_bytes)
    batch = await batches.create(exchange.identity.owner, terms, body)
    await _respond(exchange, batch)


async def list_batches(exchange: HttpExchange, parts: HttpServices) -> None:
    """A page of the key's batches, newest first."""
    query = exchange.query()
    page = await _batches(parts).list_page(
        exchange.identity.owner,
        PageQuery(read_limit(query), read_last(query, "after_id"), read_last(query, "before_id")),
    )
    shown = replace(page, data=tuple(_with_address(batch, exchange) for batch in page.data))
    await exchange.respond(200, msgspec.json.encode(shown))


async def get_batch(exchange: HttpExchange, parts: HttpServices) -> None:
    """Answer with the one batch that the path names."""
    await _respond(exchange, await _batches(parts).find(exchange.identity.owner, exchange.parameters["batch_id"]))


async def cancel_batch(exchange: HttpExchange, parts: HttpServices) -> None:
    """Ask for the end of a batch."""
    await _respond(exchange, await _batches(parts).cancel(exchange.identity.owner, exchange.parameters["batch_id"]))


async def delete_batch(exchange: HttpExchange, parts: HttpServices) -> None:
    """Delete a batch that has ended, with its results."""
    deleted = await _batches(parts).delete(exchange.identity.owner, exchange.parameters["batch_id"])
    await exchange.respond(200, msgspec.json.encode(deleted))


async def read_results(exchange: HttpExchange, parts: HttpServices) -> None:
    """The results of a batch that has ended, one JSON object a line."""
    lines = await _batches(parts).open_results(exchange.identity.owner, exchange.parameters["batch_id"])
    await exchange.start_stream([_LINES])
    async for some in lines:
        await exchange.write(some)
    await exchange.end()


ROUTES: tuple[Route, ...] = (
    Route("POST", "/v1/messages/batches", create_batch, scope="batches"),
    Route("GET", "/v1/messages/batches", list_batches, scope="batches"),
    Route("GET", "/v1/messages/batches/{batch_id}", get_batch, scope="batches"),
    Route("DELETE", "/v1/messages/batches/{batch_id}", delete_batch, scope="batches"),
    Route("POST", "/v1/messages/batches/{batch_id}/cancel", cancel_batch, scope="batches"),
    Route("GET", "/v1/messages/batches/{batch_id}/results", read_results, scope="batches"),
)


def _batches(parts: HttpServices) -> BatchService:
    if parts.batches is None:
        raise NotFound("This server takes no batches.")
    return parts.batches


async def _respond(exchange: HttpExchange, batch: MessageBatch) -> None:
    await exchange.respond(200, msgspec.json.encode(_with_address(batch, exchange)))


def _with_address(batch: MessageBatch, exchange: HttpExchange) -> MessageBatch:
    """With an absolute `results_url`, as this client reaches the server; SDKs follow a path as well."""
    host = exchange.headers.get(b"host", b"")
    if batch.results_url is None or not host or not _is_plain(host):
        return batch
    scheme = exchange.headers.get(b"x-forwarded-proto") or exchange.scope["scheme"].encode("ascii")
    prefix = "https" if scheme == b"https" else "http"
    return replace(batch, results_url=f"{prefix}://{host.decode('ascii')}{batch.results_url}")


def _is_plain(host: bytes) -> bool:
    """Whether it is a host, and a port perhaps: it goes into an address that clients follow."""
    return host.isascii() and all(byte in _HOST_BYTES for byte in host)


_HOST_BYTES = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:[]")
