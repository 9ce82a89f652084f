"""The database: every statement, over one SQLAlchemy engine.

Owns: opening (files only their owner can read), the statements for ledger and secrets; the other tables' modules.
Must never know: what the rows mean.
Invariants: any thread may call any method, each call is one transaction of its own; SQLite has one writer at a time,
and others wait up to `_BUSY_TIMEOUT_S` for it; the ledger is only ever inserted into.
Importing this module imports SQLAlchemy (about 150 ms, 25 MB): a server does it on its store thread.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import msgspec
from sqlalchemy import Connection, Engine, create_engine, event, exc, select
from sqlalchemy.engine import URL, make_url

from renga.domain.ledger import LedgerRow
from renga.errors import ConfigError
from renga.store import schema
from renga.store.errors import DatabaseFailed
from renga.store.tables import definitions
from renga.store.tables.audit import AuditTable
from renga.store.tables.keys import KeyTable
from renga.store.tables.outcomes import OutcomeTable
from renga.store.tables.reports import ReportTable
from renga.store.tables.usage import UsageTable
from renga.store.tables.workspaces import WorkspaceTable
from renga.store.transactions import Transactions, failures

_BUSY_TIMEOUT_S = 5.0
_WAL_RETRY_S = 0.01
_POSTGRESQL_PATIENCE = {
    "connect_timeout": 3,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
"""A server whose host has vanished is given up in 10 s: the system's own patience is a quarter of an hour, in which the
ledger could write nothing to disk either. Source: libpq documentation, connection parameters."""
_STATEMENT_ROWS = 64
"""Rows a statement. Preparing them holds the interpreter lock, 3 us a row, while the event loop waits for it."""


class Database(Transactions):
    """An open database, up to date."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.keys = KeyTable(self)
        self.workspaces = WorkspaceTable(self)
        self.audit = AuditTable(self)
        self.usage = UsageTable(self)
        self.reports = ReportTable(self)
        self._append_statement = _make_append_statement("?" if engine.dialect.name == "sqlite" else "%s")
        self.outcomes = OutcomeTable(self)

    def close(self) -> None:
        """Release its connections. Idempotent."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def version(self) -> str | None:
        """The migration it is at."""
        with self.reading() as connection:
            return schema.read_version(connection)

    # Ledger

    def write_rows(self, rows: Sequence[LedgerRow]) -> None:
        """Append rows, all or none. A row whose `request_id` is there already stays as it is, so that a retry is safe.

        Raises: DatabaseAway if it is worth trying again; DatabaseFailed if a row itself is at fault.
        """
        with self.writing() as connection:
            self.append_rows(connection, rows)

    def append_rows(self, connection: Connection, rows: Sequence[LedgerRow]) -> None:
        """The same within a transaction of the caller's, for rows that must stand or fall with something else."""
        for start in range(0, len(rows), _STATEMENT_ROWS):
            values = [_to_values(row) for row in rows[start : start + _STATEMENT_ROWS]]
            connection.exec_driver_sql(self._append_statement, values)

    def read_rows(self, after: int = 0, limit: int = 1000) -> list[LedgerRow]:
        """Rows in the order they were written, skipping the first `after` of them."""
        query = select(definitions.ledger).order_by(definitions.ledger.c.row_number).offset(after).limit(limit)
        with self.reading() as connection:
            found = connection.execute(query).mappings().all()
        return [msgspec.convert({name: row[name] for name in LedgerRow.__struct_fields__}, LedgerRow) for row in found]

    # Secrets

    def ensure_secret(self, name: str, fresh: bytes) -> bytes:
        """The stored secret of this name; `fresh` becomes it if there is none."""
        settings = definitions.settings
        with self.writing() as connection:
            insert = self.insert(settings).values(name=f"secret:{name}", secret=fresh).on_conflict_do_nothing()
            connection.execute(insert)
            return connection.execute(select(settings.c.secret).where(settings.c.name == f"secret:{name}")).scalar_one()


def open_database(url: str) -> Database:
    """Open a database, creating and migrating it as needed.

    Raises: ConfigError if the URL is not one; DatabaseFailed if it cannot be opened; DatabaseTooNew.
    Cost: up to date: about 5 ms and two queries. New: about 200 ms for Alembic.
    """
    engine = _create_engine(_parse_url(url))
    database = Database(engine)
    try:
        with failures():
            with engine.connect() as connection:
                version = schema.read_version(connection)
            if version != schema.HEAD:
                with engine.connect().execution_options(renga_write=True) as connection, connection.begin():
                    schema.migrate(connection)
    except DatabaseFailed as failure:
        database.close()
        if failure.hint is None:
            place = engine.url.database if engine.dialect.name == "sqlite" else "the server that store.url names"
            failure.hint = f"look at {place}: is it there, is it Renga's, and has it room?"
        raise
    except BaseException:
        database.close()
        raise
    return database


def _parse_url(text: str) -> URL:
    try:
        url = make_url(text)
    except exc.ArgumentError as error:
        raise ConfigError(
            "not a database URL", path="store.url", hint="as sqlite:////var/lib/renga/renga.db"
        ) from error
    if url.get_backend_name() not in ("sqlite", "postgresql"):
        raise ConfigError(f"no support for {url.get_backend_name()}", path="store.url", hint="use sqlite or postgresql")
    return url.set(drivername="postgresql+psycopg") if url.drivername == "postgresql" else url


def _create_engine(url: URL) -> Engine:
    def encode_json(value: object) -> str:
        return msgspec.json.encode(value).decode()

    sqlite_url = url.get_backend_name() == "sqlite"
    arguments = {"timeout": _BUSY_TIMEOUT_S} if sqlite_url else _POSTGRESQL_PATIENCE
    if sqlite_url and url.database:
        _create_private_file(Path(url.database))
    try:
        engine = create_engine(
            url,
            json_serializer=encode_json,
            json_deserializer=msgspec.json.decode,
            connect_args=arguments,
            # Values of statements are in no log and no error, at any level.
            hide_parameters=True,
            pool_pre_ping=not sqlite_url,
        )
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{error.name} is not installed", path="store.url", hint="scripts/install postgres"
        ) from error
    if sqlite_url:
        event.listen(engine, "connect", _configure_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _create_private_file(path: Path) -> None:
    """SQLite gives its -wal and -shm files the permissions of the main one, so this is enough for all three."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise DatabaseFailed(
            f"cannot write {path}: {error.strerror}", hint="set store.data_dir or RENGA_STORE_DATA_DIR"
        ) from error


def _configure_sqlite(connection: Any, _record: object) -> None:
    # The driver would start transactions by its own rules, which leave DDL outside; `_begin_sqlite` does it instead.
    connection.isolation_level = None
    # NORMAL in WAL mode: a killed process loses nothing that was committed, a power cut may lose the last commits.
    _switch_to_wal(connection)
    connection.execute("PRAGMA synchronous=NORMAL").close()


def _switch_to_wal(connection: Any) -> None:
    """SQLite does not wait here as it does elsewhere: of programs that meet at a new file all but one are refused."""
    until_s = time.monotonic() + _BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL").close()
            return
        except sqlite3.OperationalError:
            if time.monotonic() > until_s:
                raise
            time.sleep(_WAL_RETRY_S)


def _begin_sqlite(connection: Connection) -> None:
    # IMMEDIATE takes the write lock at once, so that the wait for another writer happens here and not half-way.
    writing = connection.get_execution_options().get("renga_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")


def _make_append_statement(mark: str) -> str:
    """The one statement that is not left to SQLAlchemy, whose part in each row costs more than the row (docs/log)."""
    names = LedgerRow.__struct_fields__
    return (
        f"INSERT INTO {definitions.ledger.name} ({', '.join(names)}) VALUES ({', '.join(mark for _ in names)}) "  # noqa: S608
        "ON CONFLICT DO NOTHING"
    )


def _to_values(row: LedgerRow) -> tuple[object, ...]:
    """In the order of the statement's columns."""
    values = list(msgspec.structs.astuple(row))
    values[_ATTEMPTS] = msgspec.json.encode(row.attempts).decode()
    return tuple(values)


_ATTEMPTS = LedgerRow.__struct_fields__.index("attempts")
