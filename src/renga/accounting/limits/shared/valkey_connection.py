"""One connection to Valkey or Redis, and as much of their protocol as running scripts needs.

Owns: addresses, requests and replies as bytes, and that no call waits longer than it may.
Must never know: limits.
Invariants: replies come in the order of the calls; calls of one turn of the event loop leave in one write; a connection
that was silent for too long is closed, and every call on it fails then, exactly once.

Source: Redis serialization protocol specification, RESP2. The reasons for not using a client library are measured in
docs/decisions/0024.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Sequence
from hashlib import sha1
from typing import TypeAlias, cast
from urllib.parse import unquote, urlsplit

from msgspec import Struct

from renga.errors import ConfigError

Reply: TypeAlias = "int | bytes | list[Reply] | None"

_SCHEMES = {"valkey": False, "redis": False, "valkeys": True, "rediss": True, "unix": False}
"""And whether they mean TLS."""
_PORT = 6379


class ValkeyAway(Exception):
    """It cannot be reached, broke off, or did not answer in time. A call that failed so may have been executed."""


class ValkeyRefused(Exception):
    """Raised when Valkey answers with an error; the first word is its code."""


class ValkeyAddress(Struct, frozen=True):
    """Where it is, and how to get in."""

    host: str
    port: int
    path: str
    """Of a Unix socket; "" for TCP."""
    username: str
    password: str
    database: int
    tls: bool

    @property
    def name(self) -> str:
        """How people are told where it is; never with its password."""
        return self.path or f"{self.host}:{self.port}"


class ValkeyScript(Struct, frozen=True):
    """A Lua script, and the name by which the server knows it."""

    source: bytes
    sha: bytes


def make_script(source: str) -> ValkeyScript:
    """A script of this text, with the digest that names it."""
    encoded = source.encode()
    return ValkeyScript(encoded, sha1(encoded, usedforsecurity=False).hexdigest().encode())


def parse_address(url: str) -> ValkeyAddress:
    """`valkey://user:password@host:6379/0`, `valkeys://` for TLS, `unix:///run/valkey.sock?db=1`.

    Raises: ConfigError, without repeating the address, which may hold a password.
    """
    hint = "write valkey://host:6379/0, valkeys:// for TLS, or unix:///path"
    try:
        parts = urlsplit(url)
        tls = _SCHEMES[parts.scheme]
        is_unix = parts.scheme == "unix"
        number = parts.query.removeprefix("db=") if is_unix else parts.path.removeprefix("/")
        port, database = parts.port or _PORT, int(number or 0)
    except (KeyError, ValueError):
        raise ConfigError("limits.shared_url is no address of Valkey or Redis", hint=hint) from None
    if not (parts.path if is_unix else parts.hostname):
        raise ConfigError("limits.shared_url names no server", hint=hint)
    return ValkeyAddress(
        host="" if is_unix else parts.hostname or "",
        port=port,
        path=parts.path if is_unix else "",
        username=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        database=database,
        tls=tls,
    )


def encode_argument(value: bytes) -> bytes:
    """One argument of a call, as the protocol has it."""
    return b"$%d\r\n%b\r\n" % (len(value), value)


async def connect(address: ValkeyAddress, scripts: Sequence[ValkeyScript], timeout_s: float) -> ValkeyConnection:
    """A connection that has logged in and knows the scripts.

    Raises: ValkeyAway; ValkeyRefused, as for a wrong password.
    """
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(timeout_s):
            connection = ValkeyConnection(timeout_s)
            if address.path:
                await loop.create_unix_connection(lambda: connection, address.path)
            else:
                context = ssl.create_default_context() if address.tls else None
                await loop.create_connection(lambda: connection, address.host, address.port, ssl=context)
    except (OSError, TimeoutError) as failure:
        raise ValkeyAway(_describe(failure)) from None
    try:
        if address.password:
            names = (address.username.encode(),) if address.username else ()
            await connection.call(b"AUTH", *names, address.password.encode())
        if address.database:
            await connection.call(b"SELECT", b"%d" % address.database)
        for script in scripts:
            await connection.call(b"SCRIPT", b"LOAD", script.source)
    except BaseException:
        connection.close("it did not let us in")
        raise
    return connection


class ValkeyConnection(asyncio.Protocol):
    """An open connection to a Valkey or Redis server."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._outbox: list[bytes] = []
        self._waiting: deque[asyncio.Future[Reply]] = deque()
        self._buffer = b""
        self._heard_s = 0.0
        self._watch: asyncio.TimerHandle | None = None
        self.closed = asyncio.Event()
        self.reason = ""
        """Why it was closed."""

    def run(self, script: ValkeyScript, key: bytes, arguments: Sequence[bytes], count: int) -> asyncio.Future[Reply]:
        """Run a script on one key. `arguments` are `count` encoded ones, in any number of pieces.

        Raises (the future): ValkeyAway; ValkeyRefused, with NOSCRIPT where the server has forgotten its scripts.
        """
        head = b"*%d\r\n$7\r\nEVALSHA\r\n$40\r\n%b\r\n$1\r\n1\r\n%b" % (count + 4, script.sha, encode_argument(key))
        return self._send((head, *arguments))

    def run_source(
        self, script: ValkeyScript, key: bytes, arguments: Sequence[bytes], count: int
    ) -> asyncio.Future[Reply]:
        """Run a script that the server does not know yet; it knows it from then on."""
        head = b"*%d\r\n$4\r\nEVAL\r\n%b$1\r\n1\r\n%b"
        return self._send((head % (count + 4, encode_argument(script.source), encode_argument(key)), *arguments))

    def call(self, *words: bytes) -> asyncio.Future[Reply]:
        """Send any command, and wait for its reply."""
        return self._send((b"*%d\r\n" % len(words), *map(encode_argument, words)))

    def close(self, reason: str) -> None:
        """Give it up: what waits fails. Idempotent."""
        if self.closed.is_set():
            return
        self.reason = reason
        self.closed.set()
        if self._watch is not None:
            self._watch.cancel()
        if self._transport is not None:
            self._transport.abort()
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_exception(ValkeyAway(reason))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._heard_s = self._loop.time()
        buffer = self._buffer + data if self._buffer else data
        at = 0
        try:
            while at < len(buffer):
                reply, at = _parse(buffer, at)
                future = self._waiting.popleft()
                if future.done():
                    continue
                if isinstance(reply, ValkeyRefused):
                    future.set_exception(reply)
                else:
                    future.set_result(reply)
        except _Incomplete:
            pass
        except (ValueError, IndexError):
            self.close("it does not speak the protocol")
        self._buffer = buffer[at:]

    def connection_lost(self, exc: Exception | None) -> None:
        self.close(_describe(exc) if exc else "it closed the connection")

    def _send(self, pieces: Sequence[bytes]) -> asyncio.Future[Reply]:
        future: asyncio.Future[Reply] = self._loop.create_future()
        if self.closed.is_set():
            future.set_exception(ValkeyAway(self.reason))
            return future
        if not self._outbox:
            self._loop.call_soon(self._flush)
        if not self._waiting:
            # Silence counts from here on.
            self._heard_s = self._loop.time()
        self._outbox += pieces
        self._waiting.append(future)
        if self._watch is None:
            self._watch = self._loop.call_later(self._timeout_s, self._look)
        return future

    def _flush(self) -> None:
        if self._transport is not None and not self.closed.is_set():
            self._transport.write(b"".join(self._outbox))
        self._outbox.clear()

    def _look(self) -> None:
        """One timer for all calls: a timer each would cost as much as the call."""
        self._watch = None
        if not self._waiting:
            return
        left_s = self._heard_s + self._timeout_s - self._loop.time()
        if left_s <= 0:
            self.close(f"no answer within {self._timeout_s:g} s")
        else:
            self._watch = self._loop.call_later(left_s, self._look)


class _Incomplete(Exception):
    """Raised when the rest of a reply has not arrived yet."""


def _parse(buffer: bytes, at: int) -> tuple[Reply | ValkeyRefused, int]:
    """The reply that begins at a place, and where it ends.

    Raises: _Incomplete; ValueError if it is none.
    """
    end = buffer.find(b"\r\n", at)
    if end < 0:
        raise _Incomplete
    kind, line, after = buffer[at], buffer[at + 1 : end], end + 2
    if kind == 0x3A:  # :
        return int(line), after
    if kind == 0x2B:  # +
        return line, after
    if kind == 0x2D:  # -
        return ValkeyRefused(line.decode("utf-8", "replace")), after
    length = int(line)
    if length < 0:
        return None, after
    if kind == 0x24:  # $
        if len(buffer) < after + length + 2:
            raise _Incomplete
        return buffer[after : after + length], after + length + 2
    if kind != 0x2A:  # *
        raise ValueError(kind)
    numbers = buffer[after : after + 24 * length].split(b"\r\n", length)
    if len(numbers) > length and all(number[:1] == b":" for number in numbers[:-1]):
        # What our scripts reply: in one go, in a third of the time.
        return [int(number[1:]) for number in numbers[:-1]], after + sum(map(len, numbers[:-1])) + 2 * length
    items: list[Reply] = []
    for _ in range(length):
        item, after = _parse(buffer, after)
        if isinstance(item, ValkeyRefused):
            raise ValueError("an error within a reply")
        items.append(item)
    return items, after


def _describe(failure: BaseException) -> str:
    if isinstance(failure, TimeoutError):
        return "it did not answer in time"
    return getattr(failure, "strerror", None) or type(failure).__name__
