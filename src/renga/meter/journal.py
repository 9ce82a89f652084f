"""Ledger rows that wait for the store thread, on disk as well: kill -9 takes the memory of a process and not its files.

Must never know: what the rows mean, or the database.
Invariants: `append` has handed a row to the operating system when it returns, so that only a power cut can lose it; a
segment is removed only by `clear`; a segment is taken over by another process only when the one that wrote it is gone;
a half-written last line is skipped, for nobody was told that its request had ended.
Cost: 5 us a row, one file for each flush that had rows.
"""

from __future__ import annotations

import fcntl
import logging
import os
import threading
from contextlib import suppress
from pathlib import Path

import msgspec

from renga.store.rows import LedgerRow

_log = logging.getLogger("renga.ledger")
_PREFIX = "ledger.journal."


class Journal:
    """The rows since the last flush. `append` on the event loop's thread, everything else on the store thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._encode = msgspec.json.Encoder().encode
        self._lock = threading.Lock()
        self._file = -1
        self._path = folder
        self._has_rows = False
        self._is_failing = False
        self._locked: dict[Path, int] = {}
        """Segments that are this process's to clear, with the handles that hold their locks."""

    def append(self, row: LedgerRow) -> None:
        """Write a row down. Where the disk does not take it, it is in memory only, as the log says once."""
        data = self._encode(row) + b"\n"
        with self._lock:
            if self._file < 0:
                return
            try:
                written = os.write(self._file, data)
            except OSError as failure:
                written, reason = 0, str(failure)
            else:
                reason = "the disk is full"
            self._has_rows = True
            if written == len(data):
                self._is_failing = False
                return
            if written:
                # Half a line would spoil the next one too.
                os.ftruncate(self._file, os.fstat(self._file).st_size - written)
            if not self._is_failing:
                self._is_failing = True
                _log.error("ledger rows are only in memory until they are flushed: %s: %s", self._path, reason)

    def cut(self) -> Path | None:
        """Begin a new segment. Returns the one that was written until now; None if nothing was."""
        if self._file >= 0 and not self._has_rows:
            return None
        try:
            file, path = self._open_segment()
        except OSError as failure:
            _log.error("no new segment of the ledger's journal: %s", failure)
            return None
        with self._lock:
            old_file, self._file = self._file, file
            old_path, self._path = self._path, path
            has_rows, self._has_rows = self._has_rows, False
        if old_file < 0:
            return None
        self._locked[old_path] = old_file
        if not has_rows:
            self.clear(old_path)
            return None
        return old_path

    def clear(self, segment: Path) -> None:
        """The rows of a segment are in the database or in the spool."""
        segment.unlink(missing_ok=True)
        file = self._locked.pop(segment, -1)
        if file >= 0:
            os.close(file)

    def find_left(self) -> list[Path]:
        """Segments of processes that are gone. They are this one's from now on, until it clears them."""
        left: list[Path] = []
        for path in sorted(self._folder.glob(f"{_PREFIX}*")):
            if path in self._locked or path == self._path:
                continue
            with suppress(FileNotFoundError):  # another process has cleared it
                file = os.open(path, os.O_RDONLY)
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError:
                    os.close(file)  # somebody is still writing it
                    continue
                self._locked[path] = file
                left.append(path)
        return left

    def read(self, segment: Path) -> list[LedgerRow]:
        """The rows of a segment."""
        rows: list[LedgerRow] = []
        with suppress(FileNotFoundError):
            for line in segment.read_bytes().splitlines():
                try:
                    rows.append(msgspec.json.decode(line, type=LedgerRow))
                except msgspec.DecodeError:
                    _log.warning("%s: a half-written row was skipped", segment)
        return rows

    def _open_segment(self) -> tuple[int, Path]:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Processes in containers all have the same number, and may share a folder.
        name = os.urandom(8).hex()
        path, unlocked = self._folder / f"{_PREFIX}{name}", self._folder / f"ledger.new.{name}"
        file = os.open(unlocked, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND, 0o600)
        # Held until it is cleared or the process ends, however it ends: it says that somebody is responsible for it.
        fcntl.flock(file, fcntl.LOCK_EX)
        unlocked.rename(path)
        return file, path
