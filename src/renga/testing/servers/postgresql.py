"""A PostgreSQL of our own, for tests and benchmarks: started, stopped, killed and started again.

Owns: finding the programs, the user that may run them, and that nothing of it is left behind.
Must never know: what is kept in it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from itertools import count
from pathlib import Path
from typing import Self

_PLACES = [*os.environ.get("PATH", "").split(os.pathsep), *map(str, Path("/usr/lib/postgresql").glob("*/bin"))]
_INITDB, _PG_CTL = (shutil.which(name, path=os.pathsep.join(_PLACES)) for name in ("initdb", "pg_ctl"))
_NUMBERS = count()
_MEMORY = Path("/dev/shm")  # noqa: S108 - the scratch folder in it has a random name
"""Where there is no disk to wait for: each database of a test is a copy of 7 MB, and is removed again."""
AVAILABLE = _INITDB is not None and _PG_CTL is not None
"""Whether it is installed here. psycopg is asked for apart."""


class PostgresqlServer:
    """One server on a Unix socket in a scratch folder. A context manager."""

    def __init__(self) -> None:
        # It refuses to run as root; Debian's package brings a user for it.
        self._owner = "postgres" if os.geteuid() == 0 else None
        self._scratch = tempfile.TemporaryDirectory(prefix="renga-pg-", dir=_MEMORY if _MEMORY.is_dir() else None)
        self._folder = self._scratch.name
        if self._owner:
            shutil.chown(self._folder, self._owner)

    def __enter__(self) -> Self:
        try:
            # Without flushes to disk, which only a power cut could tell.
            self._run(_INITDB, "-D", self._data, "-U", "renga", "--auth=trust", "--no-sync")
            self.start()
        except BaseException:
            self._scratch.cleanup()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(subprocess.CalledProcessError):  # it is stopped already
            self.kill()
        self._scratch.cleanup()

    def start(self) -> None:
        """Start the server and return once it accepts connections."""
        options = f"-c listen_addresses='' -c unix_socket_directories={self._folder} -c fsync=off"
        self._run(_PG_CTL, "-D", self._data, "-w", "-l", f"{self._folder}/log", "-o", options, "start")

    def stop(self) -> None:
        """As an operator stops it: clients are thrown out, nothing is lost. Returns once it is gone."""
        self._run(_PG_CTL, "-D", self._data, "-w", "-m", "fast", "stop")

    def kill(self) -> None:
        """As a crash ends it. The next start recovers."""
        self._run(_PG_CTL, "-D", self._data, "-w", "-m", "immediate", "stop")

    def create_database(self) -> str:
        """The URL of a new, empty database."""
        import psycopg

        name = f"renga_{next(_NUMBERS)}"
        with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return self._url(name)

    def _url(self, database: str) -> str:
        return f"postgresql://renga@/{database}?host={self._folder}"

    @property
    def _data(self) -> str:
        return f"{self._folder}/data"

    def _run(self, program: str | None, *arguments: str) -> None:
        if program is None:
            raise RuntimeError("PostgreSQL is not installed")
        # Its log is its own: a pipe that the server inherits would never end.
        command = [program, *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, user=self._owner, cwd=self._folder)
