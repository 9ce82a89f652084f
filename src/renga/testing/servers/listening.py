"""A door of Renga's in the process of a test: a uvicorn on a free port of loopback, for the length of a `with`.

Must never know: what is behind the door.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import uvicorn
from msgspec import Struct


class Listening(Struct, frozen=True):
    """A server that listens on a port, for the length of a test."""

    port: int
    server: uvicorn.Server


@asynccontextmanager
async def listening(config: uvicorn.Config) -> AsyncGenerator[Listening]:
    """Open a door, and close it with everything that came through: what Server.shutdown does, without its tenth of a
    second for good measure.
    """
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        await server.startup(sockets=[listener])
        try:
            yield Listening(listener.getsockname()[1], server)
        finally:
            for door in server.servers:
                door.close()
            for connection in list(server.server_state.connections):
                connection.transport.abort()  # pyright: ignore
            while server.server_state.tasks:
                await asyncio.wait(server.server_state.tasks)
            await server.lifespan.shutdown()
