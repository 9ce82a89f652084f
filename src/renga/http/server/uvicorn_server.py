"""The event loop and uvicorn around an ASGI application.

Owns: uvicorn's settings, what signals do, the order at the end.
Must never know: what the application does.
Invariant: Ctrl-C and SIGTERM drain running requests and then stop every part; a second one does not wait.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import resource
import signal
import socket
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from types import FrameType
from typing import Any, cast

import uvicorn
import uvloop
from msgspec import Struct

from renga.config import ServerSettings
from renga.http.exchange.surface import SurfacedApplication
from renga.http.server.connection_limiter import ConnectionLimiter
from renga.http.server.h1_protocol import ConnectionTerms, HttpProtocol, Timeouts

_log = logging.getLogger("renga.start")

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_OTHER_FILES = 256
"""The database's, the engine's, logs and listeners."""
_YOUNG_OBJECTS = 50_000
"""Allocations between two looks of the garbage collector."""


class ServerHooks(Struct, frozen=True):
    """Callbacks for the moments when the server begins to listen and has ended."""

    listening: Callable[[], Awaitable[None]]
    """Awaited once connections are accepted; what it raises ends the server."""
    ended: Callable[[], Awaitable[None]]
    """Awaited last, however serving ended."""


def build_server_config(application: SurfacedApplication, settings: ServerSettings) -> uvicorn.Config:
    """Uvicorn's settings, the same for every server that Renga starts."""
    terms = ConnectionTerms(
        Timeouts(head_s=settings.head_timeout_s, write_s=settings.write_timeout_s),
        ConnectionLimiter(settings.max_connections, settings.max_connections_per_address),
        application.surface_of,
    )
    return uvicorn.Config(
        application,
        # uvicorn calls it as it would call the class
        http=cast("type[asyncio.Protocol]", partial(HttpProtocol, terms=terms)),
        ws="none",
        proxy_headers=False,
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=settings.idle_timeout_s,
        timeout_graceful_shutdown=max(1, round(settings.drain_timeout_s)),
    )


def run_server(
    application: SurfacedApplication,
    listeners: Sequence[socket.socket],
    settings: ServerSettings,
    hooks: ServerHooks,
) -> None:
    """Serve on these sockets until a signal; running requests get `drain_timeout_s` to end."""
    server = _Server(build_server_config(application, settings), hooks.listening)
    _raise_file_limit(settings.max_connections)

    async def run() -> None:
        try:
            await server.serve(sockets=list(listeners))
        finally:
            await hooks.ended()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())


def _raise_file_limit(connections: int) -> None:
    """Let the process have as many open files as its connections may need, as far as the system allows.

    Shells and containers often begin with 1,024, of which a request to an upstream takes two.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * connections + _OTHER_FILES
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
        soft = allowed
    # Not all of them wait for an upstream at once: what is said at every start is heard by nobody.
    if soft < connections + _OTHER_FILES:
        most = max(0, soft - _OTHER_FILES) // 2
        _log.warning(
            "%d files may be open, enough for about %d connections that are answered by upstreams; "
            "server.max_connections is %d",
            soft,
            most,
            connections,
        )


def _relax_collector() -> None:
    """Let the garbage collector pass over everything that was loaded, and look at young objects less often.

    Requests leave few cycles behind; collecting every 700 allocations took 8 % of the server's time (docs/log.md).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS, 20, 100)


class _Server(uvicorn.Server):
    """uvicorn, telling when it listens, and ending quietly on a signal instead of raising it again."""

    def __init__(self, config: uvicorn.Config, listening: Callable[[], Awaitable[None]]) -> None:
        super().__init__(config)
        self._listening = listening

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        try:
            await self._listening()
        except Exception:
            # The application's life would be cut off in the middle, and uvicorn would log that as its failure.
            await self.shutdown(sockets)
            raise
        _relax_collector()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        running = len(self.server_state.tasks)
        if running and not self.should_exit:
            _log.warning(
                "stopping: running requests (%d) have %g s to end; Ctrl-C again ends them now",
                running,
                self.config.timeout_graceful_shutdown,
            )
        super().handle_exit(sig, frame)

    @contextmanager
    def capture_signals(self) -> Generator[None, Any]:
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in _SIGNALS:
                loop.remove_signal_handler(number)
