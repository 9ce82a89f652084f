"""Durable work as dbos workflows: the one file that knows dbos.

Owns: the queues, which task runs when and in which process, and taking over from dead processes.
Must never know: what a task does, or whose it is.
Invariants: a task is started by one living worker at a time; one whose worker died is started again by another; a task
is its plain arguments and nothing else is kept of it, so work in large tasks costs few rows (docs/decisions/0019).

dbos is one per process and costs 26 MB and 0.3 s of import, so it is imported when the first task is there.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from msgspec import Struct

if TYPE_CHECKING:
    from dbos import DBOSConfig

_log = logging.getLogger("renga.durable")

Argument: TypeAlias = str | int

_APPLICATION = "renga"
_VERSION = "batches-1"
"""Of what the workflows store. A new Renga goes on with an older one's tasks as long as this stays."""
_POLL_S = 0.5
_SCHEMA = "renga_dbos"
_UNFINISHED = ["ENQUEUED", "DELAYED", "PENDING"]
_NOT_RUNNING = ["ENQUEUED", "DELAYED", "SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"]
_STOP_WAIT_S = 5.0
_PRIORITY_MAX = 2_000_000_000


class RuntimeSettings(Struct, frozen=True):
    """Where the schedule is kept, and who this is."""

    url: str
    """Of dbos's own database file, or of the PostgreSQL that holds ours."""
    worker_id: str


class DurableTask(Struct, frozen=True):
    """One task: what its queue's function is called with. It is known by its arguments, so it is queued once."""

    group: str
    """The first argument: what the task is part of, as a batch. Tasks are looked for and forgotten by it."""
    rest: tuple[Argument, ...] = ()
    """The further arguments."""
    priority: int = 1
    """From 1 on; the lower number runs first."""

    @property
    def name(self) -> str:
        """Its arguments as one word, by which it is known."""
        return ".".join(map(str, (self.group, *self.rest)))


class DurableQueue(Struct, frozen=True):
    """Tasks of one kind, and what runs them."""

    name: str
    workflow: str
    """The name under which dbos keeps the function; it must stay what it was for tasks to outlive an update."""
    tasks_at_once: int
    """In one process."""
    make_task: Callable[..., DurableTask]
    """The task of these arguments, as they come back out of the database."""
    run_task: Callable[[DurableTask], float | None]
    """Called on a thread of dbos's; it returns in how many seconds to go on with the task, or None where it is done."""


class WorkflowRuntime:
    """The schedule of durable work. Its methods block, so they are not for the event loop's thread."""

    def __init__(self, settings: RuntimeSettings, queues: Sequence[DurableQueue]) -> None:
        self._settings = settings
        self._queues = {queue.name: queue for queue in queues}
        self._dbos: Any = None
        self._workflows: dict[str, Any] = {}
        self._changing = threading.Lock()
        self._running_tasks = 0
        self._returned = threading.Condition()

    @property
    def started(self) -> bool:
        """Whether dbos was launched in this process."""
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
        for queue in self._queues.values():
            self._workflows[queue.name] = self._register_workflow(DBOS, queue)
        DBOS.launch()
        for queue in self._queues.values():
            DBOS.register_queue(
                queue.name,
                worker_concurrency=queue.tasks_at_once,
                polling_interval_sec=_POLL_S,
                on_conflict="always_update",
            )
        self._dbos = DBOS

    def _register_workflow(self, dbos: Any, queue: DurableQueue) -> Any:
        """What dbos calls for each task of a queue: with the task's arguments, and how often it was gone on with."""

        def run_workflow(*arguments: Argument) -> None:
            *own, turn = arguments
            self._run_task(queue, queue.make_task(*own), int(turn))

        return dbos.workflow(name=queue.workflow, max_recovery_attempts=None)(run_workflow)

    def enqueue(self, queue_name: str, tasks: Sequence[DurableTask]) -> None:
        """Put tasks into a queue; those that are in it, or were, stay as they are."""
        queue = self._queues[queue_name]
        for task in tasks:
            self._enqueue(queue, task, turn=0, delay_s=None)

    def is_unfinished(self, group: str) -> bool:
        """Whether any task of a group runs or waits, anywhere."""
        return self._has_tasks(group, _UNFINISHED)

    def is_running(self, group: str) -> bool:
        """Whether any task of a group runs, anywhere."""
        return self._has_tasks(group, ["PENDING"])

    def forget(self, group: str) -> None:
        """Delete what is kept of a group, except of tasks that run."""
        found = self._dbos.list_workflows(
            workflow_id_prefix=f"{group}.", status=_NOT_RUNNING, load_input=False, load_output=False
        )
        ids = [each.workflow_id for each in found]
        if ids:
            self._dbos.delete_workflows(ids)

    def take_over(self, worker_id: str) -> None:
        """Put what a dead worker ran back into the queues."""
        # dbos leaves finding the dead to a paid service; what that service calls is not part of its public names
        self._dbos._recover_pending_workflows([worker_id])

    def stop(self) -> None:
        """Wait for the tasks at work, which must have been told to return, and end dbos's threads. Idempotent."""
        with self._changing:
            if self._dbos is None:
                return
            with self._returned:
                self._returned.wait_for(lambda: not self._running_tasks, _STOP_WAIT_S)
            self._wait_recorded()
            self._dbos.destroy(destroy_registry=True)
            self._dbos = None

    def _has_tasks(self, group: str, status: Sequence[str]) -> bool:
        found = self._dbos.list_workflows(
            workflow_id_prefix=f"{group}.", status=list(status), limit=1, load_input=False, load_output=False
        )
        return bool(found)

    def _wait_recorded(self) -> None:
        """Wait until dbos has written that the tasks returned: those it has not would run once more."""
        deadline = time.monotonic() + _STOP_WAIT_S
        mine = self._settings.worker_id
        while time.monotonic() < deadline and self._dbos.list_workflows(
            status="PENDING", executor_id=mine, limit=1, load_input=False, load_output=False
        ):
            time.sleep(0.02)

    def _run_task(self, queue: DurableQueue, task: DurableTask, turn: int) -> None:
        """Run one task, and whatever happens raise no exception, which dbos would take for its final result."""
        with self._returned:
            self._running_tasks += 1
        try:
            wait_s = queue.run_task(task)
            if wait_s is not None:
                self._enqueue(queue, task, turn=turn + 1, delay_s=wait_s)
        except Exception:
            _log.exception("a task of %s stopped; it is scheduled again", task.group)
        finally:
            with self._returned:
                self._running_tasks -= 1
                self._returned.notify_all()

    def _enqueue(self, queue: DurableQueue, task: DurableTask, *, turn: int, delay_s: float | None) -> None:
        from dbos import SetEnqueueOptions, SetWorkflowID

        with (
            SetWorkflowID(f"{task.name}.{turn}"),
            SetEnqueueOptions(priority=min(task.priority, _PRIORITY_MAX), delay_seconds=delay_s),
        ):
            self._dbos.enqueue_workflow(queue.name, self._workflows[queue.name], task.group, *task.rest, turn)


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
