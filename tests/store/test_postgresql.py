"""PostgreSQL keeps every promise of the store. Runs where a server and psycopg are installed, skipped elsewhere."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from renga.testing.file_suite import FileTableSuite
from renga.testing.outcome_suite import OutcomeSuite
from renga.testing.store_suite import StoreSuite

pytest.importorskip("psycopg")

PLACES = [*os.environ["PATH"].split(os.pathsep), *map(str, Path("/usr/lib/postgresql").glob("*/bin"))]
INITDB, PG_CTL = (shutil.which(name, path=os.pathsep.join(PLACES)) for name in ("initdb", "pg_ctl"))
NUMBERS = count()


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A server of our own on a Unix socket; the URL of its first database."""
    if INITDB is None or PG_CTL is None:
        pytest.skip("PostgreSQL is not installed")
    # It refuses to run as root; Debian's package brings a user for it.
    owner = "postgres" if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory(prefix="renga-pg-") as folder:
        if owner:
            shutil.chown(folder, owner)

        def run(*command: str) -> None:
            subprocess.run(command, check=True, capture_output=True, user=owner, cwd=folder)

        data = f"{folder}/data"
        run(INITDB, "-D", data, "-U", "renga", "--auth=trust", "--no-sync")
        options = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off"
        run(PG_CTL, "-D", data, "-w", "-l", f"{folder}/log", "-o", options, "start")
        yield f"postgresql://renga@/postgres?host={folder}"
        run(PG_CTL, "-D", data, "-m", "immediate", "stop")


@pytest.fixture
def url(server: str) -> str:
    """A fresh database."""
    import psycopg

    name = f"renga_{next(NUMBERS)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return server.replace("/postgres?", f"/{name}?")


class TestPostgresql(StoreSuite):
    pass


class TestOutcomes(OutcomeSuite):
    pass


class TestFiles(FileTableSuite):
    pass
