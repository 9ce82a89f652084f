"""Ledger rows that wait for the store thread, on disk as well: kill -9 takes the memory of a process and not its files.

Must never know: what the rows mean, or the database.
Invariants: `append` has handed a row to the operating system when it returns, so that only a power cut can lose it; a
segment is removed only by `clear`; a segment is taken over by another process only when the one that wrote it is gone;
a half-written row is skipped, for nobody was told that its request had ended.

A segment is a file of JSON lines, zeros behind them. Its first `MAPPED_BYTES` are mapped memory: an assignment keeps
the interpreter lock, where a system call gives it up and has to get it back. What does not fit there is written behind,
and so is everything where a file cannot be mapped. No JSON holds a NUL, so that a row which was cut short anywhere is
none: that is all the checksum that rows need. Their blocks are reserved beforehand: a full disk is an error at the next
`cut`, not a signal that ends the process in the middle of a row.
Cost: 1.5 us a row, 5 us behind the mapped part; one file for each flush that had rows.
"""

from __future__ import annotations

import fcntl
import logging
import mmap
import os
import threading
from contextlib import suppress
from pathlib import Path

import msgspec

from renga.domain.ledger import LedgerRow

_log = logging.getLogger("renga.ledger")
_PREFIX = "ledger.journal."

MAPPED_BYTES = 2 * 1024 * 1024
"""About 3,000 rows: more than come in between two flushes."""


class _Segment:
    """One file, and how much of it is written."""

    def __init__(self, path: Path, file: int, mapped_bytes: int) -> None:
        self.path = path
        self.file = file
        self.size = 0
        self._map = _map(file, mapped_bytes)
        self._mapped_bytes = 0 if self._map is None else mapped_bytes

    def write(self, data: bytearray) -> None:
        """Write behind what is there.

        Raises: OSError; the segment is as it was then.
        """
        size = self.size
        end = size + len(data)
        if self._map is not None and end <= self._mapped_bytes:
            self._map[size:end] = data
        else:
            try:
                written = os.pwrite(self.file, data, size)
                if written != len(data):
                    raise OSError("the disk is full")
            except OSError:
                # Half a line would spoil the next one too.
                os.ftruncate(self.file, max(size, self._mapped_bytes))
                raise
        self.size = end

    def unmap(self) -> None:
        """Nothing more will be written. The file stays open, for its lock says that somebody is responsible."""
        if self._map is not None:
            self._map.close()
            self._map = None


class Journal:
    """The rows since the last flush. `append` on the event loop's thread, everything else on the store thread."""

    def __init__(self, folder: Path, *, mapped_bytes: int = MAPPED_BYTES) -> None:
        self._folder = folder
        self._mapped_bytes = mapped_bytes
        self._encode_into = msgspec.json.Encoder().encode_into
        self._line = bytearray()
        """The last row that was written: its memory serves for the next."""
        self._lock = threading.Lock()
        self._segment: _Segment | None = None
        self._is_failing = False
        self._locked: dict[Path, int] = {}
        """Segments that are this process's to clear, with the handles that hold their locks."""

    def append(self, row: LedgerRow) -> None:
        """Write a row down. Where the disk does not take it, it is in memory only, as the log says once."""
        line = self._line
        self._encode_into(row, line)
        line += b"\n"
        with self._lock:
            segment = self._segment
            if segment is None:
                return
            try:
                segment.write(line)
            except OSError as failure:
                if not self._is_failing:
                    self._is_failing = True
                    _log.error("ledger rows are only in memory until they are flushed: %s: %s", segment.path, failure)
            else:
                self._is_failing = False

    def cut(self) -> Path | None:
        """Begin a new segment. Returns the one that was written until now; None if nothing was."""
        if self._segment is not None and not self._segment.size:
            return None
        try:
            segment = self._open_segment()
        except OSError as failure:
            _log.error("no new segment of the ledger's journal: %s", failure)
            return None
        with self._lock:
            before, self._segment = self._segment, segment
        if before is None:
            return None
        before.unmap()
        self._locked[before.path] = before.file
        return before.path

    def clear(self, segment: Path) -> None:
        """Delete a segment whose rows are in the database or in the spool."""
        segment.unlink(missing_ok=True)
        file = self._locked.pop(segment, -1)
        if file >= 0:
            os.close(file)

    def find_left(self) -> list[Path]:
        """Segments of processes that are gone. They are this one's from now on, until it clears them."""
        left: list[Path] = []
        for path in sorted(self._folder.glob(f"{_PREFIX}*")):
            if path in self._locked or (self._segment is not None and path == self._segment.path):
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

    def read_own(self) -> list[LedgerRow]:
        """The rows that this process has on disk. What is in memory alone is lost when the process ends."""
        current = () if self._segment is None else (self._segment.path,)
        return [row for segment in (*self._locked, *current) for row in self.read(segment)]

    def read(self, segment: Path) -> list[LedgerRow]:
        """The ledger rows that one segment of the journal holds."""
        rows: list[LedgerRow] = []
        with suppress(FileNotFoundError):
            for line in segment.read_bytes().rstrip(b"\0").splitlines():
                try:
                    rows.append(msgspec.json.decode(line, type=LedgerRow))
                except msgspec.DecodeError:
                    _log.warning("%s: a half-written row was skipped", segment)
        return rows

    def _open_segment(self) -> _Segment:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Processes in containers all have the same number, and may share a folder.
        name = os.urandom(8).hex()
        path, unlocked = self._folder / f"{_PREFIX}{name}", self._folder / f"ledger.new.{name}"
        file = os.open(unlocked, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        # Held until it is cleared or the process ends, however it ends: it says that somebody is responsible for it.
        fcntl.flock(file, fcntl.LOCK_EX)
        unlocked.rename(path)
        return _Segment(path, file, self._mapped_bytes)


def _map(file: int, length: int) -> mmap.mmap | None:
    """The beginning of an empty file as memory whose blocks are there; None where that cannot be had."""
    if not length:
        return None
    try:
        _reserve(file, length)
        return mmap.mmap(file, length)
    except OSError as failure:
        _log.debug("a segment of the ledger's journal is written, not mapped: %s", failure)
        os.ftruncate(file, 0)
        return None


def _reserve(file: int, length: int) -> None:
    """Have the file's blocks, so that no write to the mapping can find the disk full.

    Raises: OSError if the disk has no room for them.
    """
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, length)
    elif os.pwrite(file, bytes(length), 0) != length:  # macOS
        raise OSError("the disk is full")
