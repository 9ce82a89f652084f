"""Bytes on their way in: written to a private file as they come, and hashed.

Must never know: where they end up, or who sends them.
Invariants: no more than `CHUNK_BYTES` and what came last is in memory; the file is removed at the end: who wants its
bytes gives them another name first.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from renga.files.blobs import CHUNK_BYTES, make_private_folder
from renga.ids import file_id

HEAD_BYTES = 4096
"""How much of the beginning is kept, to see what kind of file it is."""
_ABANDONED_S = 86_400.0


class Intake:
    """One file that is coming in. An asynchronous context, at whose end it is gone."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / file_id()
        self.size_bytes = 0
        self.head = b""
        """The first `HEAD_BYTES`."""
        self._hash = hashlib.sha256()
        self._handle = -1
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._lock = threading.Lock()
        """A write that was cancelled goes on in its thread; the handle must not be closed, and reused, under it."""

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._create)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self._close)

    async def write(self, data: bytes | bytearray) -> None:
        """Take the next bytes.

        Raises: OSError, as when the disk is full.
        """
        if len(self.head) < HEAD_BYTES:
            self.head += bytes(data[: HEAD_BYTES - len(self.head)])
        self.size_bytes += len(data)
        self._waiting.append(bytes(data))
        self._waiting_bytes += len(data)
        if self._waiting_bytes >= CHUNK_BYTES:
            await asyncio.to_thread(self._flush)

    async def finish(self) -> bytes:
        """Everything has come: the file is safe on disk. Returns its hash."""
        await asyncio.to_thread(self._sync)
        return self._hash.digest()

    def _create(self) -> None:
        make_private_folder(self.path.parent)
        self._handle = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)

    def _flush(self) -> None:
        waiting, self._waiting, self._waiting_bytes = self._waiting, [], 0
        data = memoryview(b"".join(waiting))
        with self._lock:
            self._hash.update(data)
            while data:
                data = data[os.write(self._handle, data) :]

    def _sync(self) -> None:
        self._flush()
        os.fsync(self._handle)

    def _close(self) -> None:
        with self._lock, suppress(OSError):
            if self._handle >= 0:
                os.close(self._handle)
            self._handle = -1
            self.path.unlink(missing_ok=True)


def clear_abandoned(folder: Path) -> None:
    """Remove what a killed process left half-way a day ago or earlier. Blocks."""
    if not folder.is_dir():
        return
    before_s = time.time() - _ABANDONED_S
    for path in folder.iterdir():
        with suppress(OSError):
            if path.stat().st_mtime < before_s:
                path.unlink()
