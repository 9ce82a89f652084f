"""The database, for commands that read or change it themselves, beside a server that may be running."""

from __future__ import annotations

import getpass
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from renga.config import Config, database_url
from renga.domain.audit import Author

if TYPE_CHECKING:
    from renga.store.database import Database


def open_configured_database(config: Config) -> Database:
    """The database of these settings; a context manager.

    Raises: ConfigError, DatabaseFailed.
    """
    from renga.store.database import open_database

    return open_database(database_url(config.store))


def now_us() -> int:
    """The time of day in microseconds, as the tables hold it."""
    return int(datetime.now(UTC).timestamp() * 1_000_000)


def author() -> Author:
    """Who uses the command line, for the audit."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = str(os.getuid())
    return Author(f"cli:{user}", now_us())


def render_time(time_us: int | None) -> str:
    """2026-11-21 09:30 in UTC; `never` for None."""
    if time_us is None:
        return "never"
    return datetime.fromtimestamp(time_us / 1_000_000, UTC).strftime("%Y-%m-%d %H:%M")
