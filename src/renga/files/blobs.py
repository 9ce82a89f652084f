"""Bytes, stored once under the hash of what they are.

Owns: the seam to whatever keeps bytes, and the folder that keeps them by default.
Must never know: who owns them, or that they are files of the API.
Invariants: a blob is there whole or not at all, after a power cut too; equal bytes are kept once; nobody but the
server's user can read them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Protocol

CHUNK_BYTES = 1024 * 1024
"""What is read at a time: one trip to a thread costs 50 us, one MiB on disk 300."""


class Blobs(Protocol):
    """A keeper of bytes. Every method blocks, so none is for the event loop's thread; any other may call any."""

    def place(self, sha256: bytes, incoming: Path) -> None:
        """Keep what is in a file of our own, which stays as it is and is never written to again.

        Raises: OSError; nothing is kept then.
        """
        ...

    def has(self, sha256: bytes) -> bool:
        """Whether the bytes with this hash are here."""
        ...

    def read(self, sha256: bytes) -> Iterator[bytes]:
        """The bytes, about `CHUNK_BYTES` at a time.

        Raises: FileNotFoundError at the first step if they are not here.
        """
        ...

    def remove(self, sha256: bytes) -> None:
        """Forget these bytes. Nothing happens if they are not here."""
        ...

    def older_than(self, time_s: float) -> Iterator[bytes]:
        """Everything that was placed before this time, in seconds since 1970."""
        ...


class DiskBlobs:
    """A folder: `ab/cdef...`, by the hash in hexadecimal."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def place(self, sha256: bytes, incoming: Path) -> None:
        target = self._path(sha256)
        make_private_folder(target.parent)
        try:
            # A second name for bytes that are safe on disk: it is there at once and whole.
            target.hardlink_to(incoming)
        except FileExistsError:
            with suppress(FileNotFoundError):
                os.utime(target)  # the same bytes count as placed now
        for folder in (target.parent, self._folder):
            sync_folder(folder)

    def has(self, sha256: bytes) -> bool:
        return self._path(sha256).is_file()

    def read(self, sha256: bytes) -> Iterator[bytes]:
        with self._path(sha256).open("rb", buffering=0) as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk

    def remove(self, sha256: bytes) -> None:
        self._path(sha256).unlink(missing_ok=True)

    def older_than(self, time_s: float) -> Iterator[bytes]:
        for path in self._folder.glob("[0-9a-f][0-9a-f]/*"):
            with suppress(FileNotFoundError, ValueError):
                if path.stat().st_mtime < time_s:
                    yield bytes.fromhex(path.parent.name + path.name)

    def _path(self, sha256: bytes) -> Path:
        name = sha256.hex()
        return self._folder / name[:2] / name[2:]


def make_private_folder(folder: Path) -> None:
    """Make a folder and its missing parents, readable by this user only."""
    for missing in reversed([each for each in (folder, *folder.parents) if not each.exists()]):
        missing.mkdir(mode=0o700, exist_ok=True)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder outlive a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
