"""Any interleaving of requests on two servers that share their limits, held against one server that counts for itself.

The state machine asks both the same: they must let in and keep out the same requests for the same reasons and waits,
and tell clients the same numbers. At the end nothing runs, nothing is held, and no budget is passed by more than one
request.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from tests.accounting.limits.test_limits_suite import InProcess, Shared

from renga.accounting.ledger.lease import Lease
from renga.accounting.limits.account import Hold
from renga.accounting.limits.reservation import SettledUse
from renga.accounting.limits.token_buckets import LimitReached, LimitState
from renga.domain.keys import KeyLimits
from renga.protocols.messages.events.event_types import Usage
from renga.store.database import Database, open_database
from renga.testing.fake_clock import ToldClock
from renga.testing.metering import MeteredLedger, MeteredRequest, MeterSetup, read_state
from renga.testing.servers.valkey import PROGRAM, ValkeyServer

_T = TypeVar("_T")

LIMITS = {
    "requests_per_minute": 9, "input_tokens_per_minute": 900, "output_tokens_per_minute": 700,
    "concurrent_requests": 3, "budget_usd_per_day": 0.004, "warn_usd_per_day": 0.002,
}  # fmt: skip
COMMON = KeyLimits(
    requests_per_minute=12, output_tokens_per_minute=900, concurrent_requests=4, budget_nano_usd_per_day=6_000_000
)
LEASE_S = 30
EXAMPLES = int(os.environ.get("TEST_INTERLEAVINGS", "5"))
"""More are run by hand: 1,000 take 5 minutes."""
LIMIT_S = 45.0


class Running:
    """A request that both sides let in."""

    def __init__(self, server: int, asked: MeteredRequest, lease: Lease, twin: Lease) -> None:
        self.server, self.asked, self.lease, self.twin = server, asked, lease, twin


class Interleavings(RuleBasedStateMachine):
    """Two servers on one count, and their twin."""

    valkey: ValkeyServer
    database: Database

    def __init__(self) -> None:
        super().__init__()
        self.valkey.call("FLUSHALL")
        self.loop = asyncio.Runner()
        self.clock, self.running = ToldClock(), list[Running]()
        self.spent: dict[str, int] = {}
        self.dearest: dict[str, int] = {}
        self.setup = MeterSetup(LIMITS, {"ws": COMMON}, clock=self.clock)
        self.counting = Shared(self.valkey)
        self.servers = [MeteredLedger(self.setup, self.counting, self.database) for _ in range(2)]
        self.twin = MeteredLedger(self.setup, InProcess(), self.database)
        for meter in (*self.servers, self.twin):
            self.loop.run(meter.start())

    @rule(
        server=st.integers(0, 1),
        key=st.sampled_from(["key_a", "key_b"]),
        workspace=st.sampled_from([None, "ws"]),
        max_tokens=st.integers(1, 400),
        input_bytes=st.integers(0, 1600),
        is_batch=st.booleans(),
    )
    def reserve(
        self, server: int, key: str, workspace: str | None, max_tokens: int, input_bytes: int, is_batch: bool
    ) -> None:
        asked = MeteredRequest(max_tokens, input_bytes, key, workspace, tier="batch" if is_batch else "standard")
        lease, told = self.try_reserve(self.servers[server], asked)
        twin, expected = self.try_reserve(self.twin, asked)
        assert told == expected
        if lease is not None and twin is not None:
            self.running.append(Running(server, asked, lease, twin))

    @precondition(lambda self: self.running)
    @rule(
        data=st.data(),
        input_tokens=st.integers(0, 500),
        output_tokens=st.integers(0, 500),
        status=st.sampled_from(["succeeded", "failed", "canceled", "partial"]),
    )
    def settle(self, data: st.DataObject, input_tokens: int, output_tokens: int, status: str) -> None:
        ended = self.running.pop(data.draw(st.integers(0, len(self.running) - 1)))
        usage = (
            None
            if status == "failed"
            else Usage(input_tokens, output_tokens=min(output_tokens, ended.asked.max_tokens))
        )
        server = self.servers[ended.server]
        cost = self.do(lambda: server.settle(ended.lease, usage, status)) or 0  # type: ignore[arg-type]
        self.twin.settle(ended.twin, usage, status)  # type: ignore[arg-type]
        self.wait_told()
        for name in (ended.asked.key, ended.asked.workspace):
            if name is not None:
                self.spent[name] = self.spent.get(name, 0) + cost
                self.dearest[name] = max(cost, self.dearest.get(name, 0))

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def drop(self, data: st.DataObject) -> None:
        ended = self.running.pop(data.draw(st.integers(0, len(self.running) - 1)))
        self.do(lambda: self.servers[ended.server].ledger.drop(ended.lease))
        self.twin.ledger.drop(ended.twin)
        self.wait_told()

    @rule(milliseconds=st.integers(1, 15_000))
    def wait(self, milliseconds: int) -> None:
        self.pass_time(milliseconds / 1000)

    @rule()
    def kill(self) -> None:
        """The second server is gone, and a new one takes its place; what it held lapses."""
        shared = self.servers[1].quotas.shared
        assert shared is not None
        lost = [each for each in self.running if each.server == 1]
        self.running = [each for each in self.running if each.server == 0]
        self.renew()
        shared.renew = lambda: None  # type: ignore[method-assign]
        self.pass_time(LEASE_S + 1)
        for each in lost:
            hold = each.twin.hold
            while isinstance(hold, Hold):
                used = SettledUse(hold.input_tokens, hold.output_tokens)
                hold.account.settle(hold, used, self.clock.monotonic_ns())
                hold = hold.workspace_hold
        self.loop.run(self.servers[1].stop())
        self.servers[1] = MeteredLedger(self.setup, self.counting, self.database)
        self.loop.run(self.servers[1].start())

    @invariant()
    def nothing_is_passed(self) -> None:
        """Budgets, by more than one request; the rest is the twin's to know."""
        for name, spent in self.spent.items():
            assert spent < (6_000_000 if name == "ws" else 4_000_000) + self.dearest[name]

    def teardown(self) -> None:
        try:
            while self.running:
                ended = self.running.pop()
                self.do(lambda ended=ended: self.servers[ended.server].settle(ended.lease, None, "failed"))
            self.wait_told()
            for key in ("key_a", "key_b"):
                # Whoever asks next forgets what has lapsed.
                self.try_reserve(self.servers[0], MeteredRequest(100_000, key=key, workspace="ws", target="local/free"))
            for meter in self.servers:
                for lease in tuple(meter.ledger._open):  # pyright: ignore[reportPrivateUsage]
                    self.do(lambda meter=meter, lease=lease: meter.ledger.drop(lease))
            self.wait_told()
            for subject in ("k:key_a", "k:key_b", "w:ws"):
                for kind in ("o", "b"):
                    assert self.valkey.call("ZCARD", f"renga:{{limits}}:{kind}:{subject}") == b":0\r\n"
                assert self.valkey.call("HGET", f"renga:{{limits}}:a:{subject}", "h") in (b"$-1\r\n", b"$1\r\n0\r\n")
        finally:
            for meter in self.servers:
                self.loop.run(meter.stop())
            self.loop.close()

    def try_reserve(self, meter: MeteredLedger, asked: MeteredRequest) -> tuple[Lease | None, tuple[object, ...]]:
        """The lease, and everything that a client learns."""
        try:
            lease = self.loop.run(meter.reserve(asked))
        except LimitReached as refused:
            return None, (refused.message, refused.retry_after_s, refused.error_code, *describe(refused.state))
        return lease, describe(read_state(lease))

    def do(self, act: Callable[[], _T]) -> _T:
        """On the event loop."""

        async def run() -> _T:
            return act()

        return self.loop.run(run())

    def pass_time(self, seconds: float) -> None:
        for _ in range(1 + int(seconds) // (LEASE_S - 1)):
            self.renew()
            self.loop.run(self.servers[0].advance(seconds / (1 + int(seconds) // (LEASE_S - 1))))

    def renew(self) -> None:
        """As the beats do."""
        for meter in self.servers:
            shared = meter.quotas.shared
            assert shared is not None
            shared.renew()
            self.do(shared._session.send)  # pyright: ignore[reportPrivateUsage]
        self.wait_told()

    def wait_told(self) -> None:
        async def wait() -> None:
            deadline = time.monotonic() + LIMIT_S
            while any(meter.quotas.shared and meter.quotas.shared.unreported for meter in self.servers):
                assert time.monotonic() < deadline
                await asyncio.sleep(0)

        self.loop.run(wait())


def describe(state: LimitState) -> tuple[object, ...]:
    return (
        state.requests, state.input_tokens, state.output_tokens, state.budget_left_nano_usd, state.warnings,
    )  # fmt: skip


@pytest.fixture(scope="module")
def valkey() -> Iterator[ValkeyServer]:
    if PROGRAM is None:
        pytest.skip("neither valkey-server nor redis-server is installed")
    with ValkeyServer() as running:
        yield running


def test_two_servers_count_as_one(valkey: ValkeyServer, tmp_path: Path) -> None:
    with open_database(f"sqlite:///{tmp_path / 'renga.db'}") as database:
        Interleavings.valkey, Interleavings.database = valkey, database
        run_state_machine_as_test(
            Interleavings,
            settings=settings(
                max_examples=EXAMPLES,
                stateful_step_count=30,
                deadline=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            ),
        )
