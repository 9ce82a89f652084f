"""Transactions over one SQLAlchemy engine: what every table's module is made of.

Owns: beginning and ending transactions, SQLAlchemy's errors as ours.
Must never know: tables.
Invariants: any thread may open a transaction; what fails inside one leaves nothing written.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, Table, exc

from renga.store.errors import DatabaseAway, DatabaseFailed

if TYPE_CHECKING:
    from sqlalchemy.dialects.postgresql import Insert as PostgresqlInsert
    from sqlalchemy.dialects.sqlite import Insert as SqliteInsert


class Transactions:
    """What a table's statements run in: transactions over one engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.insert = _find_insert(engine.dialect.name)
        """`INSERT ... ON CONFLICT` in this database's dialect."""
        self.parameter_mark = "?" if engine.dialect.name == "sqlite" else "%s"
        """What stands for a value in a statement that is handed to the driver as it is."""

    @contextmanager
    def reading(self) -> Generator[Connection]:
        """A transaction that only reads.

        Raises: DatabaseAway, DatabaseFailed.
        """
        with failures(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Generator[Connection]:
        """A transaction that writes: committed at its end, rolled back by any error.

        Raises: DatabaseAway, DatabaseFailed; nothing was written then.
        """
        with failures(), self._engine.connect().execution_options(renga_write=True) as connection, connection.begin():
            yield connection


@contextmanager
def failures() -> Generator[None]:
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


def _find_insert(dialect: str) -> Callable[[Table], SqliteInsert | PostgresqlInsert]:
    """The `INSERT ... ON CONFLICT` of a database. The other's dialect stays unloaded: it costs 25 ms."""
    if dialect == "postgresql":
        from sqlalchemy.dialects.postgresql import insert

        return insert
    from sqlalchemy.dialects.sqlite import insert

    return insert
