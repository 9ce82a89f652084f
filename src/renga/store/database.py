"""Every statement, over one SQLAlchemy engine.

Owns: opening (files only their owner can read), transactions, the statements for keys, ledger, usage and secrets.
Must never know: what the rows mean.
Invariants: any thread may call any method, each call is one transaction of its own; SQLite has one writer at a time,
and others wait up to `_BUSY_TIMEOUT_S` for it; the ledger is only ever inserted into.
Importing this module imports SQLAlchemy (about 150 ms, 25 MB): a server does it on its store thread.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import msgspec
from sqlalchemy import Connection, Engine, Select, Table, case, create_engine, event, exc, func, select, update
from sqlalchemy.engine import URL, make_url
from sqlalchemy.sql import ColumnElement

from renga.errors import ConfigError
from renga.store import schema, tables
from renga.store.errors import DatabaseAway, DatabaseFailed
from renga.store.rows import Dimension, KeyLimits, KeyRow, KeyTerms, LedgerRow, UsageQuery, UsageRow

if TYPE_CHECKING:
    from sqlalchemy.dialects.postgresql import Insert as PostgresqlInsert
    from sqlalchemy.dialects.sqlite import Insert as SqliteInsert

_BUSY_TIMEOUT_S = 5.0
_STATEMENT_ROWS = 64
"""Rows a statement. Preparing them holds the interpreter lock, 10 us a row, while the event loop waits for it."""
_DAY_US = 86_400_000_000
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
_GENERATION = "keys_generation"


class Database:
    """An open database, up to date."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.insert = _find_insert(engine.dialect.name)
        """`INSERT ... ON CONFLICT` in this database's dialect."""

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
        statement = self.insert(tables.ledger).on_conflict_do_nothing()
        with self.writing() as connection:
            for start in range(0, len(rows), _STATEMENT_ROWS):
                connection.execute(statement, [_to_columns(row) for row in rows[start : start + _STATEMENT_ROWS]])

    def read_rows(self, after: int = 0, limit: int = 1000) -> list[LedgerRow]:
        """Rows in the order they were written, skipping the first `after` of them."""
        query = select(tables.ledger).order_by(tables.ledger.c.row_number).offset(after).limit(limit)
        with self.reading() as connection:
            found = connection.execute(query).mappings().all()
        return [msgspec.convert({name: row[name] for name in LedgerRow.__struct_fields__}, LedgerRow) for row in found]

    def read_usage(self, query: UsageQuery) -> list[UsageRow]:
        """Sums by group, ordered by group."""
        with self.reading() as connection:
            found = connection.execute(_usage_statement(query)).all()
        width = len(query.by)
        return [
            UsageRow(
                tuple(_render_group(by, value) for by, value in zip(query.by, row[:width], strict=True)),
                *(int(number or 0) for number in row[width:]),
            )
            for row in found
        ]

    # Keys

    def create_key(self, key: KeyRow) -> None:
        with self.writing() as connection:
            self._bump_generation(connection)
            connection.execute(tables.keys.insert(), [_to_key_columns(key)])

    def create_first_key(self, key: KeyRow) -> bool:
        """Create it only if there has never been a key. Returns whether it did."""
        with self.writing() as connection:
            # The update also locks the row, so that of two servers on one PostgreSQL only one makes the first key.
            self._bump_generation(connection)
            if connection.execute(select(func.count()).select_from(tables.keys)).scalar():
                return False
            connection.execute(tables.keys.insert(), [_to_key_columns(key)])
            return True

    def revoke_key(self, key_id: str, at_us: int) -> bool:
        """Returns whether there was such a key that still worked."""
        keys = tables.keys
        with self.writing() as connection:
            self._bump_generation(connection)
            statement = update(keys).where(keys.c.key_id == key_id, keys.c.revoked_us.is_(None))
            return connection.execute(statement.values(revoked_us=at_us)).rowcount > 0

    def write_limits(self, key_id: str, limits: KeyLimits) -> bool:
        """Replace the limits of a key. Returns whether there is such a key."""
        keys = tables.keys
        with self.writing() as connection:
            self._bump_generation(connection)
            statement = update(keys).where(keys.c.key_id == key_id).values(limits=msgspec.to_builtins(limits))
            return connection.execute(statement).rowcount > 0

    def read_keys(self) -> list[KeyRow]:
        """All keys, revoked ones too, oldest first."""
        with self.reading() as connection:
            found = connection.execute(select(tables.keys).order_by(tables.keys.c.created_us, tables.keys.c.key_id))
            return [_to_key(row) for row in found.mappings()]

    def write_last_used(self, used_us: Mapping[str, int]) -> None:
        """Stamp keys. Does not count as a change of the keys."""
        keys = tables.keys
        with self.writing() as connection:
            for key_id, at_us in used_us.items():
                connection.execute(update(keys).where(keys.c.key_id == key_id).values(last_used_us=at_us))

    def read_generation(self) -> int:
        """Grows with every change of the keys, whichever process makes it. One cheap query."""
        settings = tables.settings
        with self.reading() as connection:
            return connection.execute(select(settings.c.number).where(settings.c.name == _GENERATION)).scalar() or 0

    # Secrets

    def ensure_secret(self, name: str, fresh: bytes) -> bytes:
        """The stored secret of this name; `fresh` becomes it if there is none."""
        settings = tables.settings
        with self.writing() as connection:
            insert = self.insert(settings).values(name=f"secret:{name}", secret=fresh).on_conflict_do_nothing()
            connection.execute(insert)
            return connection.execute(select(settings.c.secret).where(settings.c.name == f"secret:{name}")).scalar_one()

    def _bump_generation(self, connection: Connection) -> None:
        settings = tables.settings
        connection.execute(update(settings).where(settings.c.name == _GENERATION).values(number=settings.c.number + 1))

    @contextmanager
    def reading(self) -> Generator[Connection]:
        """A transaction that only reads.

        Raises: DatabaseAway, DatabaseFailed.
        """
        with _failures(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Generator[Connection]:
        """A transaction that writes: committed at its end, rolled back by any error.

        Raises: DatabaseAway, DatabaseFailed; nothing was written then.
        """
        with _failures(), self._engine.connect().execution_options(renga_write=True) as connection, connection.begin():
            yield connection


def open_database(url: str) -> Database:
    """Open a database, creating and migrating it as needed.

    Raises: ConfigError if the URL is not one; DatabaseFailed if it cannot be opened; DatabaseTooNew.
    Cost: up to date: about 5 ms and two queries. New: about 200 ms for Alembic.
    """
    engine = _create_engine(_parse_url(url))
    database = Database(engine)
    try:
        with _failures():
            with engine.connect() as connection:
                version = schema.read_version(connection)
            if version != schema.HEAD:
                with engine.connect().execution_options(renga_write=True) as connection, connection.begin():
                    schema.migrate(connection)
    except BaseException:
        database.close()
        raise
    return database


def _find_insert(dialect: str) -> Callable[[Table], SqliteInsert | PostgresqlInsert]:
    """The `INSERT ... ON CONFLICT` of a database. The other's dialect stays unloaded: it costs 25 ms."""
    if dialect == "postgresql":
        from sqlalchemy.dialects.postgresql import insert

        return insert
    from sqlalchemy.dialects.sqlite import insert

    return insert


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
    arguments = {"timeout": _BUSY_TIMEOUT_S} if sqlite_url else {}
    if sqlite_url and url.database:
        _create_private_file(Path(url.database))
    try:
        engine = create_engine(
            url,
            json_serializer=encode_json,
            json_deserializer=msgspec.json.decode,
            connect_args=arguments,
            pool_pre_ping=not sqlite_url,
        )
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{error.name} is not installed", path="store.url", hint=f"pip install {error.name}"
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
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL"):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin_sqlite(connection: Connection) -> None:
    # IMMEDIATE takes the write lock at once, so that the wait for another writer happens here and not half-way.
    writing = connection.get_execution_options().get("renga_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")


@contextmanager
def _failures() -> Generator[None]:
    """SQLAlchemy's errors as ours; a statement's values are never part of the message."""
    try:
        yield
    except (exc.OperationalError, exc.InterfaceError, exc.TimeoutError, exc.PendingRollbackError) as error:
        raise DatabaseAway(f"the database failed: {_reason(error)}") from error
    except (exc.SQLAlchemyError, UnicodeError, OverflowError) as error:
        raise DatabaseFailed(f"the database refused: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    original = getattr(error, "orig", None)
    return str(original or type(error).__name__).strip().partition("\n")[0]


def _to_key_columns(key: KeyRow) -> dict[str, object]:
    return {
        **msgspec.structs.asdict(key),
        "limits": msgspec.to_builtins(key.limits),
        "terms": msgspec.to_builtins(key.terms),
    }


def _to_key(row: Mapping[Any, Any]) -> KeyRow:
    # NULL where the key is older than the column.
    fields: dict[str, Any] = {
        **row,
        "limits": msgspec.convert(row["limits"] or {}, KeyLimits),
        "terms": msgspec.convert(row["terms"] or {}, KeyTerms),
    }
    return KeyRow(**fields)


def _to_columns(row: LedgerRow) -> dict[str, object]:
    values = msgspec.structs.asdict(row)
    values["attempts"] = [msgspec.to_builtins(attempt) for attempt in row.attempts]
    return values


def _usage_statement(query: UsageQuery) -> Select[Any]:
    ledger = tables.ledger
    columns: dict[Dimension, ColumnElement[Any]] = {
        "day": ledger.c.time_us // _DAY_US,
        "key": ledger.c.key_id,
        "tier": ledger.c.tier,
        "target": ledger.c.target,
        "surface": ledger.c.surface,
        "status": ledger.c.status,
    }
    groups = [columns[name].label(name) for name in query.by]
    statement = select(
        *groups,
        func.count(),
        func.sum(case((ledger.c.status.in_(("failed", "partial")), 1), else_=0)),
        func.sum(ledger.c.input_tokens),
        func.sum(ledger.c.cache_creation_5m_tokens + ledger.c.cache_creation_1h_tokens),
        func.sum(ledger.c.cache_read_tokens),
        func.sum(ledger.c.output_tokens),
        func.sum(ledger.c.thinking_tokens),
        func.sum(ledger.c.cost_nano_usd),
        func.sum(case((ledger.c.cost_nano_usd.is_(None), 1), else_=0)),
    )
    if query.since_us is not None:
        statement = statement.where(ledger.c.time_us >= query.since_us)
    if query.until_us is not None:
        statement = statement.where(ledger.c.time_us < query.until_us)
    if query.key_id is not None:
        statement = statement.where(ledger.c.key_id == query.key_id)
    if groups:
        statement = statement.group_by(*groups).order_by(*groups)
    return statement


def _render_group(dimension: Dimension, value: object) -> str | None:
    if value is None:
        return None
    if dimension == "day":
        return date.fromordinal(_EPOCH_ORDINAL + int(str(value))).isoformat()
    return str(value)
