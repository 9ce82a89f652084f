"""The database's version: what it is, and how it is brought up to date.

Forward only. A server that finds its database up to date pays one query; Alembic (100 ms, 10 MB) is imported only
otherwise.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, inspect, text

from renga.store.errors import DatabaseTooNew

HEAD = "0006"
"""The newest migration. A test holds it against the folder."""

_MIGRATIONS = Path(__file__).parent / "migrations"
_LOCK_NUMBER = 0x72656E6761
"""Names the migration lock in PostgreSQL; the letters of `renga`."""


def read_version(connection: Connection) -> str | None:
    """The migration the database is at; None for an empty one."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def migrate(connection: Connection) -> None:
    """Bring the database up to date, in the transaction that is open on `connection`.

    Raises: DatabaseTooNew if it is ahead of this program; nothing was changed then.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _LOCK_NUMBER})
    version = read_version(connection)
    if version == HEAD:
        return
    if version is not None and version > HEAD:
        raise DatabaseTooNew(
            f"the database is at version {version}, this Renga knows {HEAD}", hint="use the newer Renga again"
        )
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, HEAD)
