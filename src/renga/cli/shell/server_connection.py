"""Where a command's requests go: a server that runs, or one that is started for this command alone.

Owns: the temporary server (same application, real socket on loopback, a key that lives as long), and one HTTP request.
Invariant: both ways speak HTTP, so a command cannot tell them apart.
"""

from __future__ import annotations

import asyncio
import http.client
import os
import threading
import time
from collections.abc import Generator, Mapping
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from renga.errors import ApiError, ConfigError, RengaError, error_for_status

if TYPE_CHECKING:
    import socket

    import uvicorn

    from renga.config import Config

_START_WAIT_S = 30.0
_MODEL_WAIT_S = 120.0
"""A model's first start converts it: seconds for hokku, a minute for a large one."""
_POLL_S = 0.02
_RESPONSE_TIMEOUT_S = 600.0
_JSON = "application/json"
COMMAND_KEY_ID = "key_command"
"""Under which the ledger keeps what a command asked of its own server."""


class ServerConnection(Struct, frozen=True):
    """A server and a key for it."""

    url: str
    secret: str

    @contextmanager
    def request(self, method: str, path: str, body: bytes | None = None) -> Generator[http.client.HTTPResponse]:
        """Send one request. The response is read inside the context, as it comes; leaving it hangs up.

        Raises: ConfigError if nobody is there.
        """
        parts = urlsplit(self.url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        headers = {"x-api-key": self.secret, "accept": "*/*"}
        if body is not None:
            headers["content-type"] = _JSON
        with closing(kind(parts.hostname or "", parts.port, timeout=_RESPONSE_TIMEOUT_S)) as connection:
            try:
                connection.request(method, parts.path.rstrip("/") + path, body, headers)
                response = connection.getresponse()
            except (OSError, http.client.HTTPException) as error:
                hint = "start it with `renga serve`, or leave --url and RENGA_URL out"
                raise ConfigError(f"no answer from {self.url}: {error}", hint=hint) from error
            with response:
                yield response

    def get_json(self, path: str) -> object:
        """Raises: RengaError with the server's own words if it refuses."""
        with self.request("GET", path) as response:
            data = response.read()
        if response.status >= 400:
            raise read_error(response.status, data)
        return msgspec.json.decode(data)


@contextmanager
def open_connection(config: Config, url: str | None, environ: Mapping[str, str]) -> Generator[ServerConnection]:
    """A running server if `url` names one, else one of our own for as long as the context lasts."""
    if url:
        secret = environ.get("RENGA_KEY", "")
        if not secret:
            raise ConfigError("no key for that server", hint="set RENGA_KEY; `renga keys create` makes one")
        yield ServerConnection(url.rstrip("/"), secret)
        return
    with _serve_here(config) as connection:
        yield connection


def wait_ready(connection: ServerConnection, config: Config) -> None:
    """Wait until the server can answer. Only a local model needs time for that.

    Raises: ApiError with the reason if it cannot in time.
    """
    deadline = time.monotonic() + (_MODEL_WAIT_S if config.engine.enabled else 0.0)
    while True:
        with connection.request("GET", "/ready") as response:
            data = response.read()
        if response.status == 200:
            return
        if time.monotonic() > deadline:
            raise ApiError(f"no model is ready: {_describe_unready(data)}", hint="`renga doctor` says more")
        time.sleep(_POLL_S)


def read_error(status: int, body: bytes) -> RengaError:
    """A refused request in the server's words, as the error that its status stands for."""
    try:
        message = msgspec.json.decode(body)["error"]["message"]
    except (msgspec.DecodeError, KeyError, TypeError):
        message = body[:200].decode("utf-8", "replace")
    return error_for_status(status)(f"{status}: {message}")


def _describe_unready(body: bytes) -> str:
    try:
        providers = cast("dict[str, dict[str, str]]", msgspec.json.decode(body)["providers"])
    except (msgspec.DecodeError, KeyError, TypeError):
        return body[:200].decode("utf-8", "replace")
    return "; ".join(f"{name}: {provider.get('detail', '')}" for name, provider in providers.items()) or "no providers"


@contextmanager
def _serve_here(config: Config) -> Generator[ServerConnection]:
    """Serve on a free loopback port, on a thread, until the context ends."""
    import uvicorn

    from renga import ids
    from renga.accounting.keys.key_ring import KeyIdentity
    from renga.app import build
    from renga.http.server.uvicorn_server import build_server_config
    from renga.start import bind

    secret = ids.key_secret()
    app = build(config)
    app.keys.admit(secret, KeyIdentity(COMMAND_KEY_ID, "command line"))
    with bind(msgspec.structs.replace(config.server, host="127.0.0.1", port=0)) as listener:
        server = uvicorn.Server(build_server_config(app.asgi, config.server))
        thread = threading.Thread(target=_run, args=(server, listener), name="renga-server", daemon=True)
        thread.start()
        try:
            _wait_started(server, thread)
            asyncio.run(app.wait_store())
            yield ServerConnection(f"http://127.0.0.1:{listener.getsockname()[1]}", secret)
        finally:
            server.should_exit = True
            thread.join(_START_WAIT_S)


def _run(server: uvicorn.Server, listener: socket.socket) -> None:
    asyncio.run(server.serve(sockets=[listener]))


def _wait_started(server: uvicorn.Server, thread: threading.Thread) -> None:
    deadline = time.monotonic() + _START_WAIT_S
    while not server.started:
        if not thread.is_alive() or time.monotonic() > deadline:
            raise ApiError("the server did not start", hint="`renga doctor` looks for the reason")
        time.sleep(_POLL_S)


def environ() -> Mapping[str, str]:
    """The environment. Named here so that commands do not reach for it in several ways."""
    return os.environ
