"""A small HTTP client over a bare socket, for what ordinary clients will not do: half requests, slow bodies, leaving.

Owns: one connection. Must never know: the Messages API.
Invariant: nothing is sent or read that the test did not ask for.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any, Self

import msgspec
from msgspec import Struct


class RawHttpResponse(Struct, frozen=True):
    """A response, read to its end."""

    status: int
    headers: dict[str, str]
    """By lower-case name."""
    body: bytes

    def json(self) -> Any:
        """Decode the body of the response as JSON."""
        return msgspec.json.decode(self.body)


class RawHttpConnection:
    """One connection to a server, used by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._method = "GET"

    @classmethod
    async def open(cls, host: str, port: int) -> Self:
        """Open a connection to a server over plain TCP."""
        return cls(*await asyncio.open_connection(host, port, limit=1 << 24))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close as a client does that is done."""
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()

    def abort(self) -> None:
        """Leave at once, as a killed client does."""
        self._writer.transport.abort()

    def stop_reading(self) -> None:
        """Stay, and read nothing more: what the server sends fills the buffers between."""
        self._writer.transport.pause_reading()  # pyright: ignore[reportAttributeAccessIssue]

    async def write(self, data: bytes) -> None:
        """Send bytes to the server exactly as they are."""
        self._writer.write(data)
        await self._writer.drain()

    async def send_head(self, method: str, path: str, headers: Mapping[str, str]) -> None:
        """Send a request's head, and nothing of its body."""
        self._method = method
        lines = [f"{method} {path} HTTP/1.1", "host: test", *(f"{name}: {value}" for name, value in headers.items())]
        await self.write("\r\n".join((*lines, "", "")).encode("latin-1"))

    async def send(self, method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> None:
        """Send one whole request, with its content-length where it has a body."""
        given = (
            dict(headers) if not body and method in ("GET", "HEAD") else {**headers, "content-length": str(len(body))}
        )
        await self.send_head(method, path, given)
        if body:
            await self.write(body)

    async def read_head(self) -> RawHttpResponse:
        """Read the status line and headers of a response."""
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status_line, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        return RawHttpResponse(int(status_line.split(" ")[1]), headers, b"")

    async def read_chunks(self) -> AsyncIterator[bytes]:
        """Read a chunked body piece by piece, to its end.

        Raises: asyncio.IncompleteReadError when the server cuts it.
        """
        while size := int(await self._reader.readuntil(b"\r\n"), 16):
            yield await self._reader.readexactly(size)
            await self._reader.readexactly(2)
        await self._reader.readexactly(2)

    async def read(self) -> RawHttpResponse:
        """Read a whole response, with a chunked or sized body."""
        head = await self.read_head()
        if self._method == "HEAD" or head.status in (204, 304):
            return head
        if head.headers.get("transfer-encoding") == "chunked":
            body = b"".join([chunk async for chunk in self.read_chunks()])
        else:
            body = await self._reader.readexactly(int(head.headers["content-length"]))
        return RawHttpResponse(head.status, head.headers, body)

    async def read_end(self) -> bytes:
        """Read until the server closes the connection."""
        return await self._reader.read()
