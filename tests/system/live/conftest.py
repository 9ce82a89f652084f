"""A whole server in this process, on real sockets and a real database, between a client and a replayed upstream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from renga.app import App, build
from renga.config import load_config
from renga.http.server.uvicorn_server import build_server_config
from renga.store.database import Database, open_database
from renga.testing.http_client import RawHttpConnection, RawHttpResponse
from renga.testing.servers.listening import listening
from renga.testing.servers.replayed_upstream import Answerer, ReplayedUpstream
from renga.testing.servers.served import write_known_key

_POLL_S = 0.002
"""A loop without a pause would keep the interpreter from the server's threads."""
SECRET = "sk-renga-known-beforehand"
CONFIG = """\
[engine]
enabled = false

[store]
data_dir = "{folder}"

[ledger]
flush_interval_s = 0.02

[tiers]
haiku = ["up/small"]
opus = ["up/large"]

[prices."up/small"]
input_usd = 1.0
output_usd = 5.0

[prices."up/large"]
input_usd = 5.0
output_usd = 25.0

[providers.up]
kind = "anthropic"
base_url = "{url}"
max_retries = 0
"""


@dataclass
class Live:
    """A running server and what stands around it."""

    app: App
    port: int
    upstream: ReplayedUpstream
    folder: Path

    async def send(self, method: str, path: str, body: object = b"", secret: str = SECRET) -> RawHttpResponse:
        """One request on a connection of its own."""
        data = body if isinstance(body, bytes) else msgspec.json.encode(body)
        async with await RawHttpConnection.open("127.0.0.1", self.port) as connection:
            await connection.send(method, path, {"x-api-key": secret}, data)
            return await connection.read()

    async def ask(self, prompt: str, model: str = "auto", secret: str = SECRET, **fields: object) -> RawHttpResponse:
        """One question."""
        body = {"model": model, "max_tokens": 64, "messages": [{"role": "user", "content": prompt}], **fields}
        return await self.send("POST", "/v1/messages", body, secret)

    def open_database(self) -> Database:
        return open_database(f"sqlite:///{self.folder / 'renga.db'}")

    async def until(self, holds: Callable[[], bool]) -> None:
        """Let the server work until something holds; the test's own time limit ends it."""
        while not holds():
            await asyncio.sleep(_POLL_S)


@asynccontextmanager
async def living(folder: Path, answer: Answerer, config: str) -> AsyncIterator[Live]:
    async with ReplayedUpstream(answer) as upstream:
        file = folder / "renga.toml"
        file.write_text(CONFIG.format(folder=folder, url=upstream.url) + config)
        write_known_key(folder, SECRET)
        settings = load_config(file, {})
        app = build(settings)
        async with listening(build_server_config(app.asgi, settings.server)) as server:
            await app.wait_store()
            yield Live(app, server.port, upstream, folder)


@pytest.fixture
def live(tmp_path: Path) -> Callable[[Answerer, str], AbstractAsyncContextManager[Live]]:
    """Starts a server: `async with live(answer, config) as server`."""

    def start(answer: Answerer, config: str = "") -> AbstractAsyncContextManager[Live]:
        return living(tmp_path, answer, config)

    return start
