"""A PostgreSQL server of our own on a Unix socket, where its programs are installed.

Owns: finding the programs, a scratch cluster, start and stop. Must never know: what is kept in it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


class NotInstalled(Exception):
    """There is no PostgreSQL on this machine."""


@contextmanager
def postgresql() -> Generator[str]:
    """The URL of an empty database, for the length of a `with`.

    Raises: NotInstalled.
    """
    places = os.pathsep.join([*os.environ["PATH"].split(os.pathsep), *map(str, _debian_folders())])
    initdb, pg_ctl = (shutil.which(name, path=places) for name in ("initdb", "pg_ctl"))
    if initdb is None or pg_ctl is None:
        raise NotInstalled
    # It refuses to run as root; Debian's package brings a user for it.
    owner = "postgres" if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory(prefix="renga-pg-") as folder:
        if owner:
            shutil.chown(folder, owner)

        def run(*command: str) -> None:
            subprocess.run(command, check=True, capture_output=True, user=owner, cwd=folder)

        data = f"{folder}/data"
        run(initdb, "-D", data, "-U", "renga", "--auth=trust", "--no-sync")
        options = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off"
        run(pg_ctl, "-D", data, "-w", "-l", f"{folder}/log", "-o", options, "start")
        try:
            yield f"postgresql://renga@/postgres?host={folder}"
        finally:
            run(pg_ctl, "-D", data, "-m", "immediate", "stop")


def _debian_folders() -> list[Path]:
    return sorted(Path("/usr/lib/postgresql").glob("*/bin"))
