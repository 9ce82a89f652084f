"""Parts of batches as dbos workflows: the one file that knows dbos.

Owns: the queue, which part runs when and in which process, and taking over from dead processes.
Must never know: what running a part means.
Invariants: a part is started by one living worker at a time; one whose worker died is started again by another; nothing
about single requests is kept here, so a batch costs a few rows and not hundreds of thousands (docs/decisions/0019).

dbos is one per process and costs 26 MB and 0.3 s of import, so it is imported when the first batch is there.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from renga.jobs.runner import Part

if TYPE_CHECKING:
    from dbos import DBOSConfig

_log = logging.getLogger("renga.batches")

_APPLICATION = "renga"
_VERSION = "batches-1"
"""Of what the workflows store. A new Renga goes on with an older one's parts as long as this stays."""
_QUEUE = "renga-batches"
_WORKFLOW = "renga-batch-part"
_POLL_S = 0.5
_SCHEMA = "renga_dbos"
_LIVE = ["ENQUEUED", "DELAYED", "PENDING"]
_RESTING = ["ENQUEUED", "DELAYED", "SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"]
_STOP_WAIT_S = 5.0
_PRIORITY_MAX = 2_000_000_000


class SchedulerSettings(Struct, frozen=True):
    """Where the schedule is kept, and who this is."""

    url: str
    """Of dbos's own database file, or of the PostgreSQL that holds ours."""
    worker_id: str
    parts_at_once: int


class Scheduler:
    """The schedule of parts. Its methods block, so they are not for the event loop's thread."""

    def __init__(self, settings: SchedulerSettings, run_part: Callable[[Part], float | None]) -> None:
        """`run_part` is called on a thread of dbos's; it returns in how many seconds to go on with a part, or None."""
        self._settings = settings
        self._run_part = run_part
        self._dbos: Any = None
        self._workflow: Any = None
        self._changing = threading.Lock()
        self._at_work = 0
        self._returned = threading.Condition()

    @property
    def started(self) -> bool:
        return self._dbos is not None

    def start(self) -> None:
        """Import and launch dbos. Cost: 0.3 s of import, 0.2 s for a new database, 0.02 s for an old one."""
        with self._changing:
            self._launch()

    def _launch(self) -> None:
        from dbos import DBOS

        if self._settings.url.startswith("sqlite:///"):
            _prepare_file(Path(self._settings.url.removeprefix("sqlite:///")))
        config: DBOSConfig = {
            "name": _APPLICATION,
            "system_database_url": self._settings.url,
            "dbos_system_schema": _SCHEMA,
            "application_version": _VERSION,
            "executor_id": self._settings.worker_id,
            "log_level": "WARNING",
            "use_listen_notify": False,
            "notification_listener_polling_interval_sec": 0.25,
            "sys_db_pool_size": 4,
        }
        if self._settings.url.startswith("sqlite:///"):
            config["db_engine_kwargs"] = {"pool_events": [(_add_unixepoch, "connect")]}
        logging.getLogger("dbos").setLevel(logging.WARNING)
        DBOS(config=config)

        def work(batch_id: str, offset: int, count: int, turn: int) -> None:
            self._work(Part(batch_id, offset, count), turn)

        self._workflow = DBOS.workflow(name=_WORKFLOW, max_recovery_attempts=None)(work)
        DBOS.launch()
        DBOS.register_queue(
            _QUEUE,
            worker_concurrency=self._settings.parts_at_once,
            polling_interval_sec=_POLL_S,
            on_conflict="always_update",
        )
        self._dbos = DBOS

    def enqueue(self, parts: Sequence[Part]) -> None:
        """Put parts into the line; those that are in it, or were, stay as they are.

        The further a part is inside its batch, the later its turn: so that batches take turns, and a short one is not
        kept waiting by a long one.
        """
        for part in parts:
            self._enqueue(part, turn=0, delay_s=None)

    def is_live(self, batch_id: str) -> bool:
        """Whether any part of a batch runs or waits, anywhere."""
        found = self._dbos.list_workflows(
            workflow_id_prefix=f"{batch_id}.", status=_LIVE, limit=1, load_input=False, load_output=False
        )
        return bool(found)

    def is_running(self, batch_id: str) -> bool:
        """Whether any part of a batch runs, anywhere."""
        found = self._dbos.list_workflows(
            workflow_id_prefix=f"{batch_id}.", status="PENDING", limit=1, load_input=False, load_output=False
        )
        return bool(found)

    def forget(self, batch_id: str) -> None:
        """Delete what is kept of a batch, except of parts that run."""
        found = self._dbos.list_workflows(
            workflow_id_prefix=f"{batch_id}.", status=_RESTING, load_input=False, load_output=False
        )
        ids = [each.workflow_id for each in found]
        if ids:
            self._dbos.delete_workflows(ids)

    def take_over(self, worker_id: str) -> None:
        """Put what a dead worker ran back into the line."""
        # dbos leaves finding the dead to a paid service; what that service calls is not part of its public names
        self._dbos._recover_pending_workflows([worker_id])

    def stop(self) -> None:
        """Wait for the parts at work, which must have been told to return, and end dbos's threads. Idempotent."""
        with self._changing:
            if self._dbos is None:
                return
            with self._returned:
                self._returned.wait_for(lambda: not self._at_work, _STOP_WAIT_S)
            self._wait_recorded()
            self._dbos.destroy(destroy_registry=True)
            self._dbos = None

    def _wait_recorded(self) -> None:
        """Wait until dbos has written that the parts returned: those it has not would run once more."""
        deadline = time.monotonic() + _STOP_WAIT_S
        mine = self._settings.worker_id
        while time.monotonic() < deadline and self._dbos.list_workflows(
            status="PENDING", executor_id=mine, limit=1, load_input=False, load_output=False
        ):
            time.sleep(0.02)

    def _work(self, part: Part, turn: int) -> None:
        """The workflow: one part, and whatever happens, no exception, which dbos would take for its final result."""
        with self._returned:
            self._at_work += 1
        try:
            rest_s = self._run_part(part)
            if rest_s is not None:
                self._enqueue(part, turn=turn + 1, delay_s=rest_s)
        except Exception:
            _log.exception("a part of %s stopped; it is scheduled again", part.batch_id)
        finally:
            with self._returned:
                self._at_work -= 1
                self._returned.notify_all()

    def _enqueue(self, part: Part, *, turn: int, delay_s: float | None) -> None:
        from dbos import SetEnqueueOptions, SetWorkflowID

        priority = min(1 + part.offset // max(part.count, 1), _PRIORITY_MAX)
        with (
            SetWorkflowID(f"{part.batch_id}.{part.offset}.{part.count}.{turn}"),
            SetEnqueueOptions(priority=priority, delay_seconds=delay_s),
        ):
            self._dbos.enqueue_workflow(_QUEUE, self._workflow, part.batch_id, part.offset, part.count, turn)


def _add_unixepoch(connection: sqlite3.Connection, _: object) -> None:
    """Give a connection the `unixepoch('subsec')` that dbos asks for on Python 3.12 and later.

    SQLite has it from 3.42 on, and answers NULL before; Debian 12 has 3.40.
    Source: dbos 3.4, `get_sqlite_timestamp_expr`; release notes of SQLite 3.42.
    """

    def now_s(_: object) -> float:
        return round(time.time(), 3)

    connection.create_function("unixepoch", 1, now_s)


def _prepare_file(path: Path) -> None:
    """Make dbos's file, for its owner's eyes only, and let readers and the writer not wait for each other."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    connection = sqlite3.connect(path)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
    finally:
        connection.close()
