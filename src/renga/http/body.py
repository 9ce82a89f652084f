"""Request bodies: read whole, within a size and a time, and decoded where the client compressed them.

Owns: the limits. Must never know: what the body says.
Invariant: no more than `max_body_bytes` of a body is ever held, before and after decoding.

Source: messages-api notes, sections 1.1 and 1.10 (error codes `request_body_*`, `unsupported_charset`).
"""

from __future__ import annotations

import asyncio
import zlib

from renga.errors import InvalidRequest, RequestTooLarge
from renga.http.exchange import Exchange
from renga.http.vigil import ClientLeft

_INLINE_BYTES = 256 * 1024
"""Compressed bodies up to this are decoded where they are; larger ones would hold up the loop for milliseconds."""

_WINDOWS = {b"gzip": 16 + zlib.MAX_WBITS, b"x-gzip": 16 + zlib.MAX_WBITS, b"deflate": zlib.MAX_WBITS}


async def read_body(exchange: Exchange, max_body_bytes: int) -> bytes:
    """The request's body, decoded.

    Raises: RequestTooLarge, InvalidRequest; the rest of the body may still be on its way then.
    """
    _check_charset(exchange)
    declared = exchange.headers.get(b"content-length")
    if declared is not None and declared.isdigit() and int(declared) > max_body_bytes:
        raise _too_large(max_body_bytes)
    body = await _receive_whole(exchange, max_body_bytes)
    encoding = exchange.headers.get(b"content-encoding", b"").strip().lower()
    if not encoding or encoding == b"identity":
        return body
    if encoding not in _WINDOWS:
        raise InvalidRequest(
            f"Content-Encoding {encoding[:40].decode('latin-1')!r} is not supported.",
            hint="send gzip, deflate, or plain JSON",
            error_code="request_body_encoding_unsupported",
        )
    if len(body) <= _INLINE_BYTES:
        return _decompress(body, encoding, max_body_bytes)
    return await asyncio.to_thread(_decompress, body, encoding, max_body_bytes)


async def _receive_whole(exchange: Exchange, max_body_bytes: int) -> bytes:
    exchange.vigil.body_expected()
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
    exchange.vigil.body_read()
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
        raise RequestTooLarge(
            f"The body is larger than {max_body_bytes} bytes after decoding.",
            error_code="request_body_too_large_after_decoding",
        )
    if not decoder.eof or decoder.unused_data:
        raise InvalidRequest(f"The body is not valid {encoding.decode()}.", error_code="request_body_encoding_invalid")
    return decoded


def _has_zlib_header(body: bytes) -> bool:
    """Source: RFC 1950 section 2.2."""
    return len(body) >= 2 and body[0] & 0x0F == 8 and (body[0] << 8 | body[1]) % 31 == 0


def _check_charset(exchange: Exchange) -> None:
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
