"""A server's start, in the order that answers soonest: port, engine, everything else.

Owns: that order, and taking the port.
Must never know: what the application does.
Invariant: the engine's process is started before most of Renga is imported, so that both load at the same time.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from msgspec import Struct

from renga.config import AdminSettings, Config, EngineSettings, ServerSettings
from renga.errors import ConfigError

if TYPE_CHECKING:
    from renga.accounting.keys.key_ring import NewKey
    from renga.models.providers.local import StartedEngine

Application: TypeAlias = Callable[..., Awaitable[None]]

_BACKLOG = 2048
"""Connections that may wait to be accepted; what uvicorn uses too."""


class ServerInfo(Struct, frozen=True):
    """What a server says of itself once it listens."""

    url: str
    models: tuple[str, ...]
    """The local models' names, the default one first; () where none runs."""
    first_key: NewKey | None
    """The key that was made because there was none yet; its secret is never to be had again."""
    admin_url: str | None = None
    """The administrators' port; None where there is none."""
    advice: tuple[str, ...] = ()
    """What will not work as it is set up, and what to do."""


def serve(config: Config, announce: Callable[[ServerInfo], None]) -> None:
    """Serve until Ctrl-C or SIGTERM; running requests get `server.drain_timeout_s` to end.

    `announce` is called once the server listens and its keys are loaded.
    Raises: ConfigError if the port is taken or a part cannot be built; what opening the database raised.
    """
    with ExitStack() as listeners:
        listener = listeners.enter_context(bind(config.server))
        admin_listener = None if config.admin.port is None else listeners.enter_context(bind(config.admin))
        engine = _start_engine_early(config.engine)
        from renga.app import build
        from renga.http.server.uvicorn_server import ServerHooks, run_server
        from renga.models.providers.local import name_local_models

        try:
            app = build(config, create_first_key=True, engine=engine)
        except ConfigError:
            if engine is not None:
                engine.spawned.end()
            raise
        application: Application = app.asgi
        if admin_listener is not None:
            from renga.http.server.port_dispatcher import PortDispatcher

            application = PortDispatcher(app.asgi, {admin_listener.getsockname()[1]: app.admin()})
        models = name_local_models(config)

        async def listening() -> None:
            await app.wait_store()
            admin_url = None if admin_listener is None else _url(admin_listener)
            announce(ServerInfo(_url(listener), models, app.first_key, admin_url, tuple(app.advice())))

        sockets = [listener] if admin_listener is None else [listener, admin_listener]
        run_server(application, sockets, config.server, ServerHooks(listening, app.stop))


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _start_engine_early(settings: EngineSettings) -> StartedEngine | None:
    """Start the default engine now if its model is at hand; one that must be fetched or converted waits for `/health`,
    and so do the other models.

    Raises: ConfigError if there is no such model.
    """
    if not settings.enabled or settings.load == "first_use":
        return None
    if settings.model != "hokku" and not Path(settings.model).expanduser().is_dir():
        from renga.models.engine.loading.model_source import refuse_missing

        refuse_missing(settings.model)
        return None
    from renga.models.providers.local import start_engine

    return start_engine(settings)


def bind(settings: ServerSettings | AdminSettings) -> socket.socket:
    """Take the port of the clients or the administrators.

    Raises: ConfigError if it is taken or not ours to take.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port or 0))
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"cannot listen on {settings.host}:{settings.port}: {error.strerror}",
            hint="stop what listens there, or choose another port: --port, or server.port and admin.port",
        ) from error
    listener.listen(_BACKLOG)
    return listener
