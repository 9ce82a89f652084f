"""A real `renga serve` in a process of its own, for tests that must see what a user sees.

Owns: a scratch folder (settings, database, log), a key known beforehand, start, readiness, stop.
Must never know: what is asked of the server.
Invariants: nothing of the caller's environment that Renga or an SDK reads reaches the server; whatever happens, the
server and its children are gone when the context ends.
"""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct, structs

from renga import ids
from renga.accounting.keys.key_ring import digest_secret
from renga.config import StoreSettings, database_url
from renga.domain.keys import KeyRow
from renga.store.database import Database, open_database

_POLL_INTERVAL_S = 0.01
_STOP_LIMIT_S = 15.0
_RESPAWN_LIMIT_S = 60.0
_UNTIL_LIMIT_S = 45.0
_LOOK_INTERVAL_S = 0.03
_LOG_TAIL = 4000
_PRIVATE = ("RENGA_", "ANTHROPIC_", "OPENAI_")


class ServedSettings(Struct, frozen=True):
    """The configuration, key and database of a server that a test starts."""

    config: str = ""
    """renga.toml, without `server.port` and `[store]`, which are set here. May have a `[server]` table as its first."""
    secret: str = "sk-renga-known-beforehand"  # noqa: S105 - works on loopback, in a scratch database
    store_url: str = ""
    """Its database; empty: SQLite in its folder. Several servers may share one."""
    ready_limit_s: float = 60.0
    """How long until `/ready` says yes. The first start with a model converts it."""


class Served(Struct, frozen=True):
    """A server that runs in a process of its own, for tests."""

    port: int
    secret: str
    folder: Path
    process: subprocess.Popen[bytes]
    store_url: str = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return (self.folder / "server.log").read_text(errors="replace")

    def open_database(self) -> Database:
        """Its database, beside the server that writes it."""
        return open_database(self.store_url or _database_url(self.folder))

    def get(self, path: str) -> tuple[int, bytes]:
        """One GET with the key: status and body. OSError where nothing listens."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET", path, headers={"authorization": f"Bearer {self.secret}"})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def gauges(self) -> dict[str, float]:
        """The metrics without labels, by name."""
        status, body = self.get("/metrics")
        if status != 200:
            raise RuntimeError(f"/metrics answered {status}: {body[:500]!r}")
        lines = [line.split(" ") for line in body.decode().splitlines() if line and line[0] != "#" and "{" not in line]
        return {name: float(value) for name, value, *_ in lines}

    def children(self) -> list[int]:
        """Process ids directly below it: the engine, where one runs. Linux."""
        tasks = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        return [int(child) for task in tasks for child in task.read_text().split()]

    def wait_ready(self, limit_s: float) -> None:
        """Until `/ready` answers 200.

        Raises: RuntimeError with the end of its log if it ended or did not get there.
        """
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                if self.get("/ready")[0] == 200:
                    return
            except (OSError, http.client.HTTPException):
                pass
            time.sleep(_POLL_INTERVAL_S)
        status = self.process.poll()
        what = f"not ready after {limit_s:g} s" if status is None else f"ended with status {status}"
        raise RuntimeError(f"renga serve: {what}; its log ends:\n{self.log[-_LOG_TAIL:]}")

    def stop(self) -> int:
        """Ctrl-C, and force where that is not enough. Returns the exit status. Idempotent."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(_STOP_LIMIT_S)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
        return self.process.wait()


@contextmanager
def served(settings: ServedSettings) -> Generator[Served]:
    """A ready server for the length of a `with`."""
    with tempfile.TemporaryDirectory(prefix="renga-served-") as scratch:
        folder = Path(scratch)
        port = _free_port()
        config = folder / "renga.toml"
        config.write_text(_render_config(settings, port, folder))
        write_known_key(folder, settings.secret, settings.store_url)
        server = Served(port, settings.secret, folder, _spawn(folder, config), settings.store_url)
        try:
            server.wait_ready(settings.ready_limit_s)
            yield server
        finally:
            try:
                server.stop()
            finally:
                _kill_group(server.process.pid)


@contextmanager
def respawned(server: Served) -> Generator[Served]:
    """The same server again after kill -9, on what the first one left, for the length of a `with`."""
    _kill_group(server.process.pid)
    server.process.wait()
    again = structs.replace(server, process=_spawn(server.folder, server.folder / "renga.toml"))
    try:
        again.wait_ready(_RESPAWN_LIMIT_S)
        yield again
    finally:
        try:
            again.stop()
        finally:
            _kill_group(again.process.pid)


def wait_until(condition: Callable[[], bool]) -> None:
    """Look until it is so: what other processes do has no event here.

    Raises: AssertionError after a time in which any machine would have got there.
    """
    deadline = time.monotonic() + _UNTIL_LIMIT_S
    while not condition():
        assert time.monotonic() < deadline, f"it did not happen within {_UNTIL_LIMIT_S:g} s"
        time.sleep(_LOOK_INTERVAL_S)


def write_known_key(data_dir: Path, secret: str, store_url: str = "") -> None:
    """Store a key whose secret is chosen by the caller, in the database of a data folder. Makes the database.

    Where several servers share a database, the first one's key is everyone's.
    """
    digest = digest_secret(secret)
    row = KeyRow(ids.key_id(), "known", digest, secret[-4:], time.time_ns() // 1000)
    with open_database(store_url or _database_url(data_dir)) as database:
        if not any(each.secret_sha256 == digest for each in database.keys.read()):
            database.keys.create(row)


def _spawn(folder: Path, config: Path) -> subprocess.Popen[bytes]:
    variables = {name: value for name, value in os.environ.items() if not name.startswith(_PRIVATE)}
    variables["RENGA_CONFIG"] = str(config)
    with (folder / "server.log").open("ab") as log:
        return subprocess.Popen(
            [Path(sys.executable).with_name("renga"), "serve"],
            cwd=folder,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _render_config(settings: ServedSettings, port: int, folder: Path) -> str:
    """Its `[server]` table goes on from here, as TOML has each table once."""
    url = f'url = "{settings.store_url}"\n' if settings.store_url else ""
    store = f'[store]\ndata_dir = "{folder}"\n{url}\n'
    return f"{store}[server]\nport = {port}\n" + settings.config.removeprefix("[server]\n")


def _database_url(folder: Path) -> str:
    return database_url(StoreSettings(data_dir=str(folder)))


def _kill_group(group: int) -> None:
    """What the server should have ended itself."""
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return


def _free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
