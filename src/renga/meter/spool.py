"""A file for ledger rows that the database would not take: one JSON object a line, written on after a restart.

Must never know: why the database did not.
Invariant: a row is in the file or was refused with an exception; a half-written last line is skipped.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from renga.store.rows import LedgerRow

_log = logging.getLogger("renga.ledger")

BYTES_MAX = 256 * 1024 * 1024
"""About 400,000 rows."""


class SpoolFull(Exception):
    """The file is at its limit; nothing was written."""


class Spool:
    """Rows on disk. Used by one thread."""

    def __init__(self, path: Path, *, bytes_max: int = BYTES_MAX) -> None:
        self._path = path
        self._bytes_max = bytes_max

    def append(self, rows: Sequence[LedgerRow]) -> None:
        """Raises: SpoolFull or OSError; then none of the rows count as written."""
        data = b"".join(msgspec.json.encode(row) + b"\n" for row in rows)
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(self._path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600), "ab") as file:
            if file.tell() + len(data) > self._bytes_max:
                raise SpoolFull(f"{self._path} is at its limit of {self._bytes_max} bytes")
            file.write(data)

    def read(self) -> list[LedgerRow]:
        """The rows in the file; [] if there is none. One `stat` where there is none."""
        if not self._path.exists():
            return []
        rows: list[LedgerRow] = []
        for number, line in enumerate(self._path.read_bytes().splitlines(), 1):
            try:
                rows.append(msgspec.json.decode(line, type=LedgerRow))
            except msgspec.DecodeError:
                _log.exception("%s:%d is not a ledger row; skipped", self._path, number)
        return rows

    def clear(self) -> None:
        """The rows are in the database."""
        self._path.unlink(missing_ok=True)
