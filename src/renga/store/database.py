"""The database: every statement, over one SQLAlchemy engine.

Owns: opening it (files only their owner can read) and its version; the tables are in `store/tables`.
Must never know: what the rows mean.
Invariants: any thread may call any method, each call is one transaction of its own; SQLite has one writer at a time,
and others wait up to `_BUSY_TIMEOUT_S` for it; the ledger is only ever inserted into.
Importing this module imports SQLAlchemy (about 150 ms, 25 MB): a server does it on its store thread.
"""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path
from typing import Any, Self

import msgspec
from sqlalchemy import Connection, Engine, create_engine, event, exc
from sqlalchemy.engine import URL, make_url

from renga.errors import ConfigError
from renga.store import schema
from renga.store.errors import DatabaseFailed
from renga.store.tables.audit import AuditTable
from renga.store.tables.batch_runs import BatchRunTable
from renga.store.tables.batches import BatchTable
from renga.store.tables.files import FileTable
from renga.store.tables.keys import KeyTable
from renga.store.tables.ledger import LedgerTable
from renga.store.tables.outcomes import OutcomeTable
from renga.store.tables.reports import ReportTable
from renga.store.tables.secrets import SecretTable
from renga.store.tables.spending import SpendingTable
from renga.store.tables.usage import UsageTable
from renga.store.tables.workers import WorkerTable
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


class Database(Transactions):
    """An open database, up to date."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.ledger = LedgerTable(self)
        self.keys = KeyTable(self)
        self.workspaces = WorkspaceTable(self)
        self.audit = AuditTable(self)
        self.usage = UsageTable(self)
        self.reports = ReportTable(self)
        self.outcomes = OutcomeTable(self)
        self.files = FileTable(self)
        self.batches = BatchTable(self)
        self.batch_runs = BatchRunTable(self, self.ledger)
        self.workers = WorkerTable(self)
        self.spending = SpendingTable(self)
        self.secrets = SecretTable(self)

    def close(self) -> None:
        """Release its connections; a second call does nothing."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def version(self) -> str | None:
        """The migration that it is at; None where it is empty."""
        with self.reading() as connection:
            return schema.read_version(connection)


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
