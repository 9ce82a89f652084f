"""Which workers live: so that what a dead one ran is taken over, and what a living one runs is left alone.

Owns: this process's heartbeat and its lock file, and the judgement of others.
Must never know: what workers do.
Invariants: a worker on this machine is known to be dead at once, because the kernel lets its lock go; one elsewhere
when it has not been seen for `DEAD_AFTER_S`. A judgement may be wrong (a machine that slept): then some requests run
twice, and are still stored once.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from pathlib import Path

from renga.store.database_handle import DatabaseHandle

HEARTBEAT_S = 2.0
DEAD_AFTER_S = 15.0


class Heartbeat:
    """This worker's signs of life, and what it knows of the others'."""

    def __init__(self, database: DatabaseHandle, folder: Path) -> None:
        self._database = database
        self._folder = folder
        self.worker_id = f"worker-{secrets.token_hex(8)}"
        self._lock: int | None = None

    def take_lock(self) -> None:
        """Take the lock that is this worker's as long as its process lives.

        Idempotent: what follows it in a start may fail, and then all of it is tried again.

        Raises: OSError.
        """
        if self._lock is not None:
            return
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = os.open(self._path(self.worker_id), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

    async def record(self, now_us: int) -> None:
        """Say in the database that this worker lives at this moment."""
        await self._database.run_in_background(
            lambda database: database.workers.record_heartbeat(self.worker_id, now_us)
        )

    async def find_dead(self, now_us: int) -> list[str]:
        """Workers that are dead, whose work is to be taken over."""
        seen = await self._database.run_in_background(lambda database: database.workers.read_heartbeats())
        return [
            worker
            for worker, seen_us in seen.items()
            if worker != self.worker_id and self._is_dead(worker, now_us - seen_us)
        ]

    async def reap(self, worker_id: str) -> None:
        """Forget a dead worker, whose work was taken over."""
        await self._database.run_in_background(lambda database: database.workers.reap_worker(worker_id))
        self._path(worker_id).unlink(missing_ok=True)

    async def sign_off(self) -> None:
        """This worker ends, and has nothing left. Idempotent."""
        if self._lock is not None:
            await self._database.run_in_background(lambda database: database.workers.reap_worker(self.worker_id))
            os.close(self._lock)
            self._lock = None
            self._path(self.worker_id).unlink(missing_ok=True)

    def _is_dead(self, worker_id: str, unseen_us: int) -> bool:
        try:
            lock = os.open(self._path(worker_id), os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return unseen_us > DEAD_AFTER_S * 1_000_000  # not of this machine
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        else:
            return True
        finally:
            os.close(lock)

    def _path(self, worker_id: str) -> Path:
        return self._folder / f"{Path(worker_id).name}.lock"
