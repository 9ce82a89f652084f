"""What benchmarks need beyond Renga itself: checked before anything starts, and said in one line with what to do."""

from __future__ import annotations

import importlib.util
import shutil

from renga.services.evals.datasets.locations import missing_reason
from renga.testing.servers import postgresql, valkey


def need_data(*names: str) -> None:
    """End the program with the command that obtains these data sets, unless they are here."""
    if reason := missing_reason(*names):
        raise SystemExit(reason)


def need_valkey() -> None:
    """End the program unless a Valkey or Redis server is installed."""
    if valkey.PROGRAM is None:
        raise SystemExit("neither valkey-server nor redis-server is installed: `apt-get install redis-server`")


def need_postgresql() -> None:
    """End the program unless a PostgreSQL server and its client library are installed."""
    if not postgresql.AVAILABLE:
        raise SystemExit("PostgreSQL is not installed: `apt-get install postgresql`")
    need_module("psycopg", "dev")


def need_module(name: str, extra: str) -> None:
    """End the program unless a module is installed that an extra of Renga's brings."""
    if importlib.util.find_spec(name) is None:
        raise SystemExit(f"{name} is not installed: `scripts/install {extra}`")


def need_program(name: str, package: str) -> None:
    """End the program unless a program is on the path."""
    if shutil.which(name) is None:
        raise SystemExit(f"{name} is not installed: `apt-get install {package}`")
