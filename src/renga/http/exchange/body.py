"""Request bodies: read within a size and a time, whole or in pieces, and decoded where the client compressed them.

Owns: the limits. Must never know: what the body says.
Invariants: no more than `max_body_bytes` of a body is ever taken, before and after decoding; `read_pieces` holds one
piece of it at a time.

Source: docs/reference/messages-api.md, "Transport" and "Errors".
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Iterator

from renga.errors import InvalidRequest, RequestTooLarge
from renga.http.exchange.http_exchange import HttpExchange
from renga.http.exchange.request_watchdog import ClientLeft

_INLINE_BYTES = 256 * 1024
"""Compressed bodies up to this are decoded where they are; larger ones would hold up the loop for milliseconds."""

_PROGRESS_BYTES = 1024 * 1024
"""A client that sends a long body gets `server.body_timeout_s` for each of these."""

_WINDOWS = {b"gzip": 16 + zlib.MAX_WBITS, b"x-gzip": 16 + zlib.MAX_WBITS, b"deflate": zlib.MAX_WBITS}


async def read_body(exchange: HttpExchange, max_body_bytes: int) -> bytes:
    """The request's body, decoded.

    Raises: RequestTooLarge, InvalidRequest; the rest of the body may still be on its way then.
    """
    _check_charset(exchange)
    declared = exchange.headers.get(b"content-length")
    if declared is not None and declared.isdigit() and int(declared) > max_body_bytes:
        raise _too_large(max_body_bytes)
    body = await _receive_whole(exchange, max_body_bytes)
    encoding = _encoding(exchange)
    if not encoding:
        return body
    if len(body) <= _INLINE_BYTES:
        return _decompress(body, encoding, max_body_bytes)
    return await asyncio.to_thread(_decompress, body, encoding, max_body_bytes)


def read_pieces(exchange: HttpExchange, max_body_bytes: int) -> AsyncIterator[bytes]:
    """A body too long to be held, decoded, piece by piece as it comes. What can be refused by its head is, at once.

    Raises: RequestTooLarge, InvalidRequest; the rest of the body may still be on its way then.
    """
    _check_charset(exchange)
    declared = exchange.headers.get(b"content-length")
    if declared is not None and declared.isdigit() and int(declared) > max_body_bytes:
        raise _too_large(max_body_bytes)
    encoding = _encoding(exchange)
    # From here on and not from the first piece on: who watches for the client to leave would take the pieces.
    exchange.watchdog.expect_body()
    return _read_pieces(exchange, max_body_bytes, _PieceDecoder(encoding, max_body_bytes) if encoding else None)


async def _read_pieces(
    exchange: HttpExchange, max_body_bytes: int, decoder: _PieceDecoder | None
) -> AsyncIterator[bytes]:
    size = progress = 0
    more = True
    while more:
        message = await exchange.receive()
        if message["type"] == "http.disconnect":
            raise ClientLeft
        piece: bytes = message.get("body", b"")
        more = bool(message.get("more_body"))
        size += len(piece)
        if size > max_body_bytes:
            raise _too_large(max_body_bytes)
        if size - progress >= _PROGRESS_BYTES:
            progress = size
            exchange.watchdog.note_body_progress()
        if decoder is None:
            yield piece
            continue
        for decoded in decoder.feed(piece):
            yield decoded
    if decoder is not None:
        decoder.close()
    exchange.watchdog.note_body_read()


class _PieceDecoder:
    """Decompresses a body piece by piece, a bounded amount at a time."""

    def __init__(self, encoding: bytes, max_body_bytes: int) -> None:
        self._encoding = encoding
        self._max_body_bytes = max_body_bytes
        self._head: bytes | None = b""
        """Of a deflate body, until there is enough of it to tell which kind it is."""
        self._decoder = zlib.decompressobj(_WINDOWS[encoding])
        self._size = 0

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """What this piece brings, a part at a time: it may be a thousand times as long."""
        if self._head is not None:
            self._head += piece
            if len(self._head) < 2:
                return
            piece, self._head = self._head, None
            if self._encoding == b"deflate" and not _has_zlib_header(piece):
                self._decoder = zlib.decompressobj(-zlib.MAX_WBITS)
        while piece:
            try:
                part = self._decoder.decompress(piece, _PROGRESS_BYTES)
            except zlib.error:
                raise _not_valid(self._encoding) from None
            self._size += len(part)
            if self._size > self._max_body_bytes:
                raise _too_large_decoded(self._max_body_bytes)
            yield part
            piece = self._decoder.unconsumed_tail
            if self._decoder.unused_data:
                raise _not_valid(self._encoding)

    def close(self) -> None:
        """Raises: InvalidRequest if the body ended too early."""
        if not self._decoder.eof:
            raise _not_valid(self._encoding)


def _encoding(exchange: HttpExchange) -> bytes:
    """How the client compressed the body; empty where it did not.

    Raises: InvalidRequest.
    """
    encoding = exchange.headers.get(b"content-encoding", b"").strip().lower()
    if not encoding or encoding == b"identity":
        return b""
    if encoding not in _WINDOWS:
        raise InvalidRequest(
            f"Content-Encoding {encoding[:40].decode('latin-1')!r} is not supported.",
            hint="send gzip, deflate, or plain JSON",
            error_code="request_body_encoding_unsupported",
        )
    return encoding


async def _receive_whole(exchange: HttpExchange, max_body_bytes: int) -> bytes:
    exchange.watchdog.expect_body()
    message = await exchange.receive()
    body: bytes = message.get("body", b"")
    if message.get("more_body"):
        parts = [body]
        size = len(body)
        while message.get("more_body"):
            if size > max_body_bytes:
                raise _too_large(max_body_bytes)
            message = await exchange.receive()
            parts.append(message.get("body", b""))
            size += len(parts[-1])
        body = b"".join(parts)
    if message["type"] == "http.disconnect":
        raise ClientLeft
    if len(body) > max_body_bytes:
        raise _too_large(max_body_bytes)
    exchange.watchdog.note_body_read()
    return body


def _decompress(body: bytes, encoding: bytes, max_body_bytes: int) -> bytes:
    window = _WINDOWS[encoding]
    if encoding == b"deflate" and not _has_zlib_header(body):
        window = -zlib.MAX_WBITS  # what many clients send as deflate: RFC 9110 section 8.4.1.2
    decoder = zlib.decompressobj(window)
    try:
        decoded = decoder.decompress(body, max_body_bytes + 1)
    except zlib.error:
        decoded = b""
    if len(decoded) > max_body_bytes:
        raise _too_large_decoded(max_body_bytes)
    if not decoder.eof or decoder.unused_data:
        raise _not_valid(encoding)
    return decoded


def _not_valid(encoding: bytes) -> InvalidRequest:
    return InvalidRequest(f"The body is not valid {encoding.decode()}.", error_code="request_body_encoding_invalid")


def _too_large_decoded(max_body_bytes: int) -> RequestTooLarge:
    return RequestTooLarge(
        f"The body is larger than {max_body_bytes} bytes after decoding.",
        error_code="request_body_too_large_after_decoding",
    )


def _has_zlib_header(body: bytes) -> bool:
    """Whether a deflate body begins with a zlib header.

    Source: RFC 1950 section 2.2.
    """
    return len(body) >= 2 and body[0] & 0x0F == 8 and (body[0] << 8 | body[1]) % 31 == 0


def _check_charset(exchange: HttpExchange) -> None:
    content_type = exchange.headers.get(b"content-type", b"")
    if b"charset=" not in content_type:
        return
    charset = content_type.partition(b"charset=")[2].partition(b";")[0].strip(b' "').lower()
    if charset not in (b"utf-8", b"utf8", b"us-ascii", b"ascii"):
        raise InvalidRequest(
            f"Charset {charset[:40].decode('latin-1')!r} is not supported.",
            hint="send UTF-8",
            error_code="unsupported_charset",
        )


def _too_large(max_body_bytes: int) -> RequestTooLarge:
    return RequestTooLarge(f"The body is larger than {max_body_bytes} bytes.")
