"""Limits and budgets that all servers share, counted by a Valkey or a Redis.

Owns: what a request asks of the shared count, and what holds while it is away.
Must never know: where limits are set, prices, HTTP.
Invariants: a request waits for one round trip and no longer than `limits.shared_timeout_s`; reports (what ended, what
it cost) are never waited for, and each is applied exactly once; what a killed server held lapses by itself within
`SessionTiming.lease_s`. Everything but `refresh` runs on the event loop's thread.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from msgspec import Struct

from renga.accounting.limits.account import AccountContext, passed_periods, tell_passed
from renga.accounting.limits.limit_errors import render_refusal
from renga.accounting.limits.reservation import ReservationRequest, SettledUse
from renga.accounting.limits.shared.fallback_limits import FallbackLimits, SeenShare
from renga.accounting.limits.shared.opening_balance import OpeningBalance
from renga.accounting.limits.shared.shared_hold import (
    ARGUMENTS_AN_ACCOUNT,
    SharedHold,
    SharedHoldPart,
    make_parts,
    name_subject,
)
from renga.accounting.limits.shared.valkey_connection import (
    Reply,
    ValkeyAway,
    ValkeyConnection,
    ValkeyRefused,
    encode_argument,
    parse_address,
)
from renga.accounting.limits.shared.valkey_session import (
    PREFIX,
    LoadedScripts,
    SessionTiming,
    ValkeySession,
    load_scripts,
)
from renga.accounting.limits.spending import NOTHING, Spent
from renga.config import LimitSettings
from renga.domain.periods import find_periods
from renga.errors import Overloaded

if TYPE_CHECKING:
    from renga.store.database import Database

_log = logging.getLogger("renga.limits")

_TRIES = 4
_OPENING_BALANCE_WAIT_S = 2.0


class SharedStatus(Struct, frozen=True):
    """Whether the shared count is there, for people and probes."""

    is_away: bool
    detail: str


class SharedLimits:
    """The shared count, as one server sees it."""

    def __init__(
        self,
        settings: LimitSettings,
        context: AccountContext,
        scripts: LoadedScripts | None = None,
        timing: SessionTiming | None = None,
    ) -> None:
        self._settings = settings
        self._context = context
        self._scripts = scripts or load_scripts()
        self._address = parse_address(settings.shared_url)
        timing = timing or SessionTiming()
        self._lease_us = b"%d" % (timing.lease_s * 1_000_000)
        self._session = ValkeySession(self._address, settings.shared_timeout_s, self._scripts, timing, self)
        self._open: dict[bytes, SharedHold] = {}
        self._seen: dict[str, SeenShare] = {}
        self._warned: dict[tuple[bytes, str], int] = {}
        self._opening_balance = OpeningBalance(context.clock)
        self._fallback = FallbackLimits(context, self._seen)
        self._servers = 1
        self._next = 0
        self._outages = 0
        watch = context.metrics.watch
        watch("renga_shared_limits_up", "Whether the shared count of limits can be asked.", lambda: self._is_up)
        watch("renga_shared_limits_outages_total", "Times that it went away.", lambda: self._outages)
        watch("renga_shared_limits_unreported", "What it has not been told yet.", lambda: self.unreported)
        watch("renga_shared_limits_servers", "Servers that share it, as last seen.", lambda: self._servers)

    @property
    def _is_up(self) -> bool:
        return self._session.connection is not None

    @property
    def unreported(self) -> int:
        """Ends and dollars that the count has not acknowledged."""
        return self._session.reports.waiting

    @property
    def open_holds(self) -> int:
        """Requests that run under shared limits."""
        return len(self._open)

    def status(self) -> SharedStatus:
        """Whether it is there, and what holds if not."""
        name, servers = self._address.name, self._servers
        if self._is_up:
            return SharedStatus(False, f"shared through {name}; servers: {servers}")
        holds = "requests with limits are refused"
        if self._settings.when_away == "local":
            holds = f"1/{servers} of every limit holds here"
        return SharedStatus(True, f"{name} is away ({self._session.why}): {holds}")

    async def start(self) -> None:
        """Connect; returns when it is there, or the first try has failed."""
        await self._session.start()

    async def stop(self) -> None:
        """Send what is left to report and disconnect. Calling it again does nothing."""
        await self._session.stop()
        if self.unreported:
            _log.error("the shared limits: %d ends and costs could not be reported", self.unreported)

    def begin(self, reservation: ReservationRequest) -> SharedHold:
        """Open a hold that has taken nothing yet."""
        self._next += 1
        mark = b"~" if reservation.is_batch else b""
        at_us = self._context.spending.now_us() if reservation.has_budget else 0
        return SharedHold(
            reservation, b"%b%b-%d" % (mark, self._session.server, self._next), at_us, make_parts(reservation)
        )

    async def reserve(self, hold: SharedHold) -> None:
        """Take what a request is expected to need, the dollars it holds included, of both accounts or of none.

        Raises: LimitReached, BudgetSpent, Overloaded (away, and the settings say that this closes). The hold is to be
                settled or dropped in any case.
        Cost: one round trip; 20 us of our own time, about 60 us of the server's.
        """
        for _ in range(_TRIES):
            connection = self._session.connection
            if connection is None:
                break
            before = await self._read_before(hold)
            if before is None:
                continue
            # What has ended makes room first.
            self._session.send()
            hold.is_taken = True
            try:
                reply = await self._ask(connection, hold, before)
            except ValkeyAway:
                break
            except ValkeyRefused as failure:
                connection.close(str(failure))
                break
            assert isinstance(reply, list)
            if reply[0] == 0:
                self._take(hold, reply)
                return
            hold.is_taken = False
            born = reply[1]
            assert isinstance(born, int)
            self._note_born(born)
        self._reserve_away(hold)

    def settle(self, hold: SharedHold, used: SettledUse, nano_usd: int) -> None:
        """A request has ended. What it cost is told by `spend`, and here only for what the client is told."""
        hold.correct(used, nano_usd, self._context.clock.monotonic_ns())
        if hold.fallback_hold is not None:
            self._fallback.settle(hold.fallback_hold, used)
        if hold.is_taken or hold.fallback_hold is not None:
            self._open.pop(hold.id, None)
            for part in hold.parts:
                self._session.reports.add(hold.encode_end(part, used), 8)
            self._session.send_soon()

    def spend(self, key_id: str, workspace_id: str | None, nano_usd: int, at_us: int) -> None:
        """Count dollars of a key and its workspace, by the time of the ledger's row."""
        self._spend(name_subject("key", key_id), key_id, nano_usd, at_us)
        if workspace_id is not None:
            self._spend(name_subject("workspace", workspace_id), workspace_id, nano_usd, at_us)
        self._session.send_soon()

    def refresh(self, database: Database) -> None:
        """Read from the ledger what the count needs to know. Runs on the store thread."""
        self._opening_balance.refresh(database)

    def _spend(self, subject: bytes, name: str, nano_usd: int, at_us: int) -> None:
        words = (b"D", subject, b"%d" % at_us, b"%d" % nano_usd)
        self._session.reports.add(b"".join(map(encode_argument, words)), len(words))
        if not self._is_up:
            self._fallback.spend(name, nano_usd, at_us)
        seen = self._seen.get(name)
        if seen is not None:
            # Until the count says so itself.
            self._seen[name] = seen.add(nano_usd, at_us)

    async def _read_before(self, hold: SharedHold) -> list[Spent] | None:
        """What each account had spent before the count began; None after having waited for it."""
        found: list[Spent] = []
        for part in hold.parts:
            before = self._opening_balance.read(part.name) if part.limits.has_budget else NOTHING
            if before is None:
                if await self._opening_balance.wait(_OPENING_BALANCE_WAIT_S):
                    return None
                raise Overloaded(
                    "What this key has spent is not known yet.", hint="the database does not answer", retry_after_s=1.0
                )
            found.append(before)
        return found

    async def _ask(self, connection: ValkeyConnection, hold: SharedHold, before: list[Spent]) -> Reply:
        head = (hold.id, self._lease_us, b"%d" % self._opening_balance.until_us)
        arguments = [*map(encode_argument, head)]
        arguments += [hold.encode(part, spent) for part, spent in zip(hold.parts, before, strict=True)]
        count = len(head) + ARGUMENTS_AN_ACCOUNT * len(hold.parts)
        try:
            return await connection.run(self._scripts.reserve, PREFIX, arguments, count)
        except ValkeyRefused as failure:
            if not str(failure).startswith("NOSCRIPT"):
                raise
        # Somebody made it forget its scripts: the source itself is understood, and remembered.
        return await connection.run_source(self._scripts.reserve, PREFIX, arguments, count)

    def _take(self, hold: SharedHold, reply: list[Reply]) -> None:
        """Note what was taken.

        Raises: LimitReached, BudgetSpent.
        """
        refusal = hold.take(reply, self._context.clock.monotonic_ns())
        for part in hold.parts:
            if part.limits.has_budget:
                self._seen[part.name] = SeenShare(part.spent, part.now_us)
                self._warn(part)
        if refusal is None:
            # Not before: a beat would say that it runs, behind the question, and keep a place for who gets none.
            self._open[hold.id] = hold
            return
        hold.is_taken = False
        self._context.metrics.count_refusal(refusal.limit, refusal.kind)
        part = next(part for part in hold.parts if part.kind == refusal.kind)
        raise render_refusal(refusal, part.limits, hold.read(), part.now_us)

    def _warn(self, part: SharedHoldPart) -> None:
        """Log each soft budget once a period; every server that sees it does."""
        for name in passed_periods(part.limits, part.spent):
            periods = find_periods(part.now_us)
            start_us = periods.day_start_us if name == "day" else periods.month_start_us
            if self._warned.get((part.subject, name)) != start_us:
                self._warned[part.subject, name] = start_us
                tell_passed(self._context.metrics, part.kind, part.name, name, part.spent)

    def _reserve_away(self, hold: SharedHold) -> None:
        """What the settings say for the time without a shared count.

        Raises: Overloaded, LimitReached, BudgetSpent.
        """
        if self._settings.when_away == "closed":
            raise Overloaded(
                "Limits cannot be checked at the moment.", hint="the shared count is away", retry_after_s=1.0
            )
        hold.fallback_hold = self._fallback.reserve(hold.reservation, hold.nano_usd, self._servers)
        self._open[hold.id] = hold

    # What the session tells

    def heard(self, born: int, servers: int) -> None:
        """Note an acknowledgement; the shared count may have started anew since the last one."""
        self._note_born(born)
        self._servers = max(1, servers)

    def renew(self) -> None:
        """Say of everything that it still runs."""
        for hold in self._open.values():
            for part in hold.parts:
                self._session.reports.add(hold.encode_open(part), 3)

    def lost(self) -> None:
        """Count with this server's own share of the limits from now on."""
        self._outages += 1
        self._fallback.begin()
        _log.error("the shared limits: %s", self.status().detail)

    def found(self) -> None:
        """Note that all servers count together again."""
        _log.warning("the shared limits: %s again", self.status().detail)

    def _note_born(self, born: int) -> None:
        if born != self._opening_balance.until_us:
            periods = find_periods(born)
            self._opening_balance.move(born, {name: seen.read(periods) for name, seen in self._seen.items()})
