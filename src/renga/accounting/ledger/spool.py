"""Files for ledger rows that the database would not take: one JSON object a line, written when it takes rows again.

Must never know: why the database did not.
Invariants: a row is in a file or was refused with an exception; a half-written last line is skipped; several processes
may share the folder, and no row of one is removed by another before the database has it. Rows are removed only by
`clear`, so a process that is killed between writing them to the database and clearing leaves them to be written again:
the database takes each once.
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import msgspec

from renga.accounting.ledger.journal import Journal
from renga.domain.ledger import LedgerRow

_log = logging.getLogger("renga.ledger")

BYTES_MAX = 256 * 1024 * 1024
"""About 400,000 rows."""
_NUMBERS = count()


class SpoolFull(Exception):
    """The file is at its limit; nothing was written."""


class Spool:
    """Rows on disk. Used by one thread of each process."""

    def __init__(self, path: Path, *, bytes_max: int = BYTES_MAX, journal: Journal | None = None) -> None:
        self.journal = journal
        """Where the rows are that wait for neither: those since the last flush."""
        self._path = path
        self._bytes_max = bytes_max

    def append(self, rows: Sequence[LedgerRow]) -> None:
        """Raises: SpoolFull or OSError; then none of the rows count as written."""
        data = b"".join(msgspec.json.encode(row) + b"\n" for row in rows)
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._locked(os.O_CREAT | os.O_WRONLY | os.O_APPEND) as file:
            size = os.fstat(file).st_size
            if size + len(data) > self._bytes_max:
                raise SpoolFull(f"{self._path} is at its limit of {self._bytes_max} bytes")
            written = os.write(file, data)
            if written != len(data):
                # A full disk. What is there of the rows must not be half of one.
                os.ftruncate(file, size)
                raise OSError(f"{self._path}: no room for {len(data)} bytes")

    def has_rows(self) -> bool:
        """Whether there is anything to write. About 30 us."""
        return any(self._path.parent.glob(f"{self._path.name}*"))

    def claim(self) -> list[Path]:
        """The files with rows to write. What was appended until now is set apart under a name of its own, so that
        appending goes on beside.
        """
        try:
            with self._locked(os.O_WRONLY):
                self._path.rename(self._path.with_name(f"{self._path.name}.{os.getpid()}-{next(_NUMBERS)}"))
        except FileNotFoundError:
            pass
        return sorted(self._path.parent.glob(f"{self._path.name}.*"))

    def read(self, file: Path, rows_max: int) -> Iterator[list[LedgerRow]]:
        """The rows of a claimed file, at most so many at a time."""
        rows: list[LedgerRow] = []
        try:
            with file.open("rb") as lines:
                for number, line in enumerate(lines, 1):
                    try:
                        rows.append(msgspec.json.decode(line, type=LedgerRow))
                    except msgspec.DecodeError:
                        _log.exception("%s:%d is not a ledger row; skipped", file, number)
                    if len(rows) >= rows_max:
                        yield rows
                        rows = []
        except FileNotFoundError:
            # Another process has written and cleared it.
            return
        if rows:
            yield rows

    def clear(self, file: Path) -> None:
        """Delete a claimed file whose rows are in the database."""
        file.unlink(missing_ok=True)

    @contextmanager
    def _locked(self, flags: int) -> Generator[int]:
        """The file, open and locked, and still the one of this name."""
        while True:
            file = os.open(self._path, flags, 0o600)
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
                if self._is_current(file):
                    yield file
                    return
            finally:
                os.close(file)

    def _is_current(self, file: int) -> bool:
        """Whether the file was not set apart while we waited for the lock."""
        try:
            return os.path.samestat(os.fstat(file), self._path.stat())
        except FileNotFoundError:
            return False
