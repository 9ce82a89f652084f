"""The way to the shared count: its connection's life, and the reports that leave on it.

Owns: connecting anew, catching up, beats, the order of reports, and saying once that it went away or came back.
Must never know: limits, what a report says.
Invariants: a report leaves in the turn of the loop that made it, and before whatever is asked later;
nothing is asked before everything that was not heard has been said again.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from renga.accounting.limits.shared.outbox import Outbox, OutboxReport
from renga.accounting.limits.shared.valkey_connection import (
    Reply,
    ValkeyAddress,
    ValkeyAway,
    ValkeyConnection,
    ValkeyRefused,
    ValkeyScript,
    connect,
    encode_argument,
    make_script,
)

_log = logging.getLogger("renga.limits")

PREFIX = b"renga:{limits}:"
"""The braces keep all keys in one slot of a cluster."""
_ENTRIES = 100_000
"""That wait while it is away, at about 250 bytes each."""
_RETRY_S = (0.05, 1.0)
"""The shortest and the longest time between two tries to connect."""


class SessionTiming(Struct, frozen=True):
    """How long things count that nobody renews, and how long a call may take."""

    lease_s: float = 30.0
    """What runs, once its server is silent."""
    beat_s: float = 5.0
    """How often a server says that it is there."""
    patience_s: float = 15.0
    """How long a server counts as there."""


class LoadedScripts(Struct, frozen=True):
    """The two scripts that count limits inside Valkey."""

    reserve: ValkeyScript
    settle: ValkeyScript


class SessionListener(Protocol):
    """Is told what happens on the connection to Valkey."""

    def heard(self, born: int, servers: int) -> None:
        """A report was acknowledged: since when the count counts, and how many servers share it."""
        ...

    def renew(self) -> None:
        """Add an entry for everything that still runs."""
        ...

    def lost(self) -> None:
        """The shared count cannot be reached any more."""
        ...

    def found(self) -> None:
        """The shared count can be reached again."""
        ...


def load_scripts(read_time: str = "redis.call('TIME')") -> LoadedScripts:
    """The scripts of this package. Tests may say where they read the time."""
    folder = Path(__file__).parent
    periods, reserve, settle = (
        folder.joinpath(f"{name}.lua").read_text("utf-8").replace("redis.call('TIME')", read_time)
        for name in ("periods", "reserve", "settle")
    )
    return LoadedScripts(make_script(periods + reserve), make_script(periods + settle))


class ValkeySession:
    """This server's way to the shared count."""

    def __init__(
        self,
        address: ValkeyAddress,
        timeout_s: float,
        scripts: LoadedScripts,
        timing: SessionTiming,
        listener: SessionListener,
    ) -> None:
        self._address = address
        self._timeout_s = timeout_s
        self._scripts = scripts
        self._timing = timing
        self._listener = listener
        self.server = os.urandom(6).hex().encode()
        """Our name among those that share."""
        self.connection: ValkeyConnection | None = None
        """None while it is away."""
        self.why = "not connected yet"
        self.reports = Outbox(_ENTRIES)
        self._is_sending = False
        self._is_noted = False
        self._tried = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connect; returns when it is there, or the first try has failed."""
        if self._task is None:
            self._task = asyncio.create_task(self._live(), name="renga-shared-limits")
        await self._tried.wait()

    async def stop(self) -> None:
        """Say what is left to say, and leave; what could not be said stays in `reports`. Idempotent."""
        task, self._task = self._task, None
        if task is None:
            return
        connection = self.connection
        if connection is not None:
            try:
                async with asyncio.timeout(self._timeout_s):
                    while self.reports.has_entries:
                        await self._post(connection, self.reports.make())
                    await self._post(connection, self.reports.make())
            except (ValkeyAway, ValkeyRefused, TimeoutError):
                pass
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    def send_soon(self) -> None:
        """Send what waits at the end of this turn of the loop."""
        if not self._is_sending and self.connection is not None:
            self._is_sending = True
            asyncio.get_running_loop().call_soon(self.send)

    def send(self) -> None:
        """Send what waits now, so that it is heard before what is asked next."""
        self._is_sending = False
        connection = self.connection
        while connection is not None and self.reports.has_entries:
            self._post(connection, self.reports.make())

    def _post(self, connection: ValkeyConnection, report: OutboxReport) -> asyncio.Future[Reply]:
        """Send a report; its reply is noted whenever it comes."""
        timing = self._timing
        head = (
            self.server,
            b"%d" % report.number,
            b"%d" % (timing.lease_s * 1_000_000),
            b"%d" % (timing.patience_s * 1_000_000),
        )
        arguments = (*map(encode_argument, head), *report.entries)
        future = connection.run(self._scripts.settle, PREFIX, arguments, len(head) + report.arguments)

        def note(done: asyncio.Future[Reply]) -> None:
            failure = None if done.cancelled() else done.exception()
            if isinstance(failure, ValkeyRefused):
                if str(failure).startswith("ERR"):
                    # A script failed on it, and would again. Dollars are counted anew from the ledger.
                    _log.error("the shared limits: a report of %d entries failed: %s", len(report.entries), failure)
                    self.reports.give_up()
                # Also where it forgot its scripts: connecting anew brings them, and keeps the order of the reports.
                connection.close(str(failure))
            elif failure is None and not done.cancelled():
                self.reports.acknowledge(report)
                self._note_reply(done.result())

        future.add_done_callback(note)
        return future

    def _note_reply(self, reply: Reply) -> None:
        assert isinstance(reply, list)
        born, servers = reply[0], reply[2]
        assert isinstance(born, int) and isinstance(servers, int)
        self._listener.heard(born, servers)

    async def _live(self) -> None:
        """Connect, catch up, stay; again and again."""
        shortest_s, longest_s = _RETRY_S
        delay_s = shortest_s
        scripts = (self._scripts.reserve, self._scripts.settle)
        while True:
            try:
                connection = await connect(self._address, scripts, self._timeout_s)
                await self._catch_up(connection)
            except Exception as failure:
                if not isinstance(failure, ValkeyAway | ValkeyRefused):
                    _log.exception("the shared limits: a mistake of ours")
                self._note_away(str(failure) or type(failure).__name__)
                self._tried.set()
                # Not all servers at the same moment.
                await asyncio.sleep(delay_s * random.uniform(0.5, 1.0))  # noqa: S311
                delay_s = min(2 * delay_s, longest_s)
                continue
            self.connection = connection
            began_s = asyncio.get_running_loop().time()
            if self._is_noted:
                self._is_noted = False
                self._listener.found()
            self._tried.set()
            self.send()
            try:
                await self._stay(connection)
            finally:
                self.connection = None
                connection.close("the server ends")
            self._note_away(connection.reason)
            # One that lets us in and refuses what we ask (it is full, say) is not asked in a hurry.
            lived_s = asyncio.get_running_loop().time() - began_s
            if lived_s < self._timing.beat_s:
                await asyncio.sleep(delay_s)
                delay_s = min(2 * delay_s, longest_s)
            else:
                delay_s = shortest_s

    async def _catch_up(self, connection: ValkeyConnection) -> None:
        """Say everything that was not heard, oldest first, and what still runs.

        Raises: ValkeyAway, ValkeyRefused.
        """
        reports = self.reports
        try:
            for report in reports.unacknowledged:
                await self._post(connection, report)
            if reports.has_lost:
                reports.has_lost = False
                reports.add(encode_argument(b"N"), 1)
            self._listener.renew()
            while reports.has_entries:
                await self._post(connection, reports.make())
            await self._post(connection, reports.make())
        except BaseException as failure:
            connection.close(str(failure))
            raise

    async def _stay(self, connection: ValkeyConnection) -> None:
        """Until the connection ends, report at intervals that this server lives and what it runs."""
        while not connection.closed.is_set():
            try:
                async with asyncio.timeout(self._timing.beat_s):
                    await connection.closed.wait()
            except TimeoutError:
                self._listener.renew()
                self._post(connection, self.reports.make())
                self.send()

    def _note_away(self, why: str) -> None:
        """Say once that it is away, and not at every try."""
        self.why = why
        if not self._is_noted:
            self._is_noted = True
            self._listener.lost()
