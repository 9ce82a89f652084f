"""Limits that servers share, when things go wrong: killed and frozen counts, killed servers, lost reports."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from msgspec.structs import replace

from renga.accounting.ledger.lease import Lease
from renga.accounting.limits.account import AccountContext
from renga.accounting.limits.shared import valkey_session
from renga.accounting.limits.shared.shared_limits import SharedLimits
from renga.accounting.limits.shared.valkey_connection import ValkeyAway, ValkeyRefused, connect, parse_address
from renga.accounting.limits.shared.valkey_session import SessionTiming, load_scripts
from renga.accounting.limits.token_buckets import LimitReached
from renga.config import LimitSettings
from renga.domain.keys import KeyLimits
from renga.errors import Overloaded
from renga.protocols.messages.events.event_types import Usage
from renga.store.database import Database, open_database
from renga.testing.fake_clock import ToldClock
from renga.testing.metering import DEAR, USD, MeteredLedger, MeteredRequest, MeterSetup, read_state
from renga.testing.servers.valkey import PROGRAM, ValkeyServer

CLOCK = "renga:{limits}:clock"
QUICK = SessionTiming(beat_s=0.02)
LIMIT_S = 45.0
SHORT_S = 0.25
"""How long a request waits for a count that hangs. Elsewhere it waits longer than any machine needs."""


class WallClock(ToldClock):
    """The machine's time, which the count has too."""

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()

    def now(self) -> datetime:
        return datetime.now(UTC)


class Servers:
    """Makes servers that share one count."""

    def __init__(self, valkey: ValkeyServer, database: Database) -> None:
        self.valkey = valkey
        self.database = database
        self.timing = QUICK
        self.timeout_s = 5.0
        self.when_away = "closed"
        self.has_own_time = False
        self.meters: list[MeteredLedger] = []

    def settings(self, settings: LimitSettings) -> LimitSettings:
        return replace(settings, shared_url=self.valkey.url, shared_timeout_s=self.timeout_s, when_away=self.when_away)

    def share(self, settings: LimitSettings, context: AccountContext) -> SharedLimits:
        scripts = load_scripts(f"{{0, redis.call('GET', '{CLOCK}')}}") if self.has_own_time else None
        return SharedLimits(settings, context, scripts, self.timing)

    async def set_time(self, now_us: int) -> None:
        if self.has_own_time:
            self.valkey.call("SET", CLOCK, str(now_us))

    async def start(self, clock: ToldClock | None = None, **limits: float) -> MeteredLedger:
        meter = MeteredLedger(MeterSetup(limits, {"ws": KeyLimits()}, clock=clock or WallClock()), self, self.database)
        self.meters.append(meter)
        await meter.start()
        return meter


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    with open_database(f"sqlite:///{tmp_path_factory.mktemp('shared') / 'renga.db'}") as opened:
        yield opened


@pytest.fixture(scope="module")
def running() -> Iterator[ValkeyServer]:
    if PROGRAM is None:
        pytest.skip("neither valkey-server nor redis-server is installed")
    with ValkeyServer() as server:
        yield server


@pytest.fixture
async def servers(running: ValkeyServer, database: Database) -> AsyncIterator[Servers]:
    running.call("FLUSHALL")
    made = Servers(running, database)
    yield made
    for meter in made.meters:
        await meter.stop()


def shared(meter: MeteredLedger) -> SharedLimits:
    assert meter.quotas.shared is not None
    return meter.quotas.shared


async def until(condition: Callable[[], bool]) -> None:
    """What other processes do has no event here; their effect is looked for."""
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.001)


async def told(meter: MeteredLedger) -> None:
    """Until everything is reported."""
    await until(lambda: shared(meter).unreported == 0)


def gauge(meter: MeteredLedger, name: str) -> float:
    found = [sample.value for family in meter.metrics.collect() for sample in family.samples if sample.name == name]
    assert len(found) == 1
    return found[0]


def key_of(number: int) -> MeteredRequest:
    """A key of its own, as the ledger outlives a test."""
    return MeteredRequest(key=f"key_{number}", max_tokens=10, input_bytes=40)


async def test_servers_share_a_limit(servers: Servers) -> None:
    first, second = await servers.start(concurrent_requests=3), await servers.start(concurrent_requests=3)
    leases = [await first.reserve(), await second.reserve(), await first.reserve()]
    assert "3 concurrent requests" in (await second.refusal()).message
    first.settle(leases[0], Usage(1, output_tokens=1))
    await told(first)
    await second.reserve()
    assert "3 concurrent requests" in (await first.refusal()).message
    await until(lambda: shared(first).status().detail.endswith("servers: 2"))
    assert gauge(first, "renga_shared_limits_up") == 1


async def test_what_a_killed_server_held_lapses(servers: Servers) -> None:
    servers.has_own_time, servers.timing = True, SessionTiming()
    clock = ToldClock()
    limits = {"concurrent_requests": 1, "budget_usd_per_day": 1.0}
    dead, alive = await servers.start(clock, **limits), await servers.start(clock, **limits)
    dear = MeteredRequest(max_tokens=200_000, key="key_lapse")
    lease = await dead.reserve(dear)
    assert "concurrent" in (await alive.refusal(dear)).message
    await alive.advance(29)
    assert "concurrent" in (await alive.refusal(dear)).message
    await alive.advance(2)
    other = await alive.reserve(dear)
    # It was not dead, only silent: its dollars count, its place is not given back twice.
    dead.settle(lease, DEAR)
    await told(dead)
    assert (await alive.refusal(dear)).state.budget_left_nano_usd == 0
    alive.settle(other, None, "failed")


async def test_what_runs_is_renewed(servers: Servers) -> None:
    servers.has_own_time = True
    clock = ToldClock()
    meter = await servers.start(clock, concurrent_requests=1)
    await meter.reserve()

    def read_open() -> bytes:
        return servers.valkey.call("ZRANGE", "renga:{limits}:o:k:key_a", "0", "-1", "WITHSCORES")

    for _ in range(3):
        await meter.advance(25)
        due = str(clock.now_us() + 30_000_000).encode()
        await until(lambda due=due: due in read_open())
    await meter.refusal()


async def test_closed_while_it_is_away(servers: Servers, caplog: pytest.LogCaptureFixture) -> None:
    meter = await servers.start(requests_per_minute=1000, concurrent_requests=1, budget_usd_per_day=100)
    asked = key_of(1)
    lease = await meter.reserve(asked)
    with caplog.at_level(logging.WARNING):
        servers.valkey.kill()
        await until(lambda: shared(meter).status().is_away)
        for _ in range(3):
            with pytest.raises(Overloaded, match="Limits cannot be checked") as refused:
                await meter.reserve(asked)
        assert (refused.value.status, refused.value.retry_after_s) == (529, 1.0)
        assert gauge(meter, "renga_shared_limits_up") == 0
        # Its end is told when somebody listens again, and its dollars are in the ledger by then.
        meter.settle(lease, DEAR)
        meter.ledger.run(servers.database)
        servers.valkey.start()
        await until(lambda: not shared(meter).status().is_away)
    assert caplog.text.count("is away") == 1
    assert caplog.text.count("shared through") == 1
    assert gauge(meter, "renga_shared_limits_outages_total") == 1
    await meter.load()
    assert (await meter.state(asked)).budget_left_nano_usd == 99 * USD
    await meter.ask(DEAR, asked)
    assert (await meter.state(asked)).budget_left_nano_usd == 98 * USD
    assert shared(meter).open_holds == 0


async def test_a_share_of_the_limits_while_it_is_away(servers: Servers) -> None:
    servers.when_away = "local"
    limits = {"requests_per_minute": 4, "budget_usd_per_day": 9.0}
    meters = [await servers.start(**limits) for _ in range(2)]
    asked = key_of(2)
    await meters[0].ask(DEAR, asked)
    await told(meters[0])
    await meters[1].reserve(asked)
    await until(lambda: all(shared(meter).status().detail.endswith("servers: 2") for meter in meters))
    servers.valkey.kill()
    await until(lambda: all(shared(meter).status().is_away for meter in meters))
    assert shared(meters[0]).status().detail.endswith("1/2 of every limit holds here")
    for meter in meters:
        leases = [await meter.reserve(asked), await meter.reserve(asked)]
        refused = await meter.refusal(asked)
        assert "2 requests per minute" in refused.message
        # Half of what the first had left: both saw a dollar spent.
        assert refused.state.budget_left_nano_usd == 4 * USD
        for lease in leases:
            meter.settle(lease, DEAR)
            # As rows are written at once.
            meter.ledger.run(servers.database)
    servers.valkey.start()
    await until(lambda: not any(shared(meter).status().is_away for meter in meters))
    for meter in meters:
        await meter.load()
        assert (await meter.state(asked)).budget_left_nano_usd == 4 * USD


async def test_a_partition_counts_everything_once(servers: Servers) -> None:
    """It hangs and comes back with what it had: what it took before it answered, and what it is told twice."""
    servers.when_away, servers.timeout_s = "local", SHORT_S
    meter = await servers.start(budget_usd_per_day=100, concurrent_requests=8)
    asked = key_of(3)
    before, during = await meter.reserve(asked), await meter.reserve(asked)
    servers.valkey.freeze()
    meter.settle(before, DEAR)
    # Reserved there and here: it had the question, and we gave up on the answer.
    began = time.monotonic()
    both = await meter.reserve(asked)
    assert time.monotonic() - began < 10 * servers.timeout_s
    local = await meter.reserve(asked)
    meter.settle(local, DEAR)
    servers.valkey.thaw()
    await until(lambda: not shared(meter).status().is_away)
    meter.settle(during, DEAR)
    meter.settle(both, DEAR)
    await told(meter)
    lease = await meter.reserve(asked)
    assert read_state(lease).budget_left_nano_usd == 96 * USD
    meter.settle(lease, None, "failed")
    await told(meter)
    assert servers.valkey.call("ZCARD", f"renga:{{limits}}:o:k:{asked.key}") == b":0\r\n"
    assert servers.valkey.call("HGET", f"renga:{{limits}}:a:k:{asked.key}", "h") == b"$1\r\n0\r\n"


async def test_what_runs_keeps_its_place_through_an_outage(servers: Servers) -> None:
    servers.when_away = "local"
    meter = await servers.start(concurrent_requests=2)
    lease = await meter.reserve()
    servers.valkey.kill()
    await until(lambda: shared(meter).status().is_away)
    local = await meter.reserve()
    servers.valkey.start()
    await until(lambda: not shared(meter).status().is_away)
    assert "2 concurrent" in (await meter.refusal()).message
    meter.settle(local, Usage(1, output_tokens=1))
    meter.settle(lease, Usage(1, output_tokens=1))
    await told(meter)
    await meter.reserve()
    await meter.reserve()


async def test_a_beat_keeps_no_place_for_who_is_refused(servers: Servers) -> None:
    meter = await servers.start(concurrent_requests=1)
    lease = await meter.reserve()
    await told(meter)
    servers.valkey.freeze()
    refusal = asyncio.create_task(meter.refusal())
    await asyncio.sleep(0)  # its question has left
    await until(lambda: shared(meter).unreported > 0)
    servers.valkey.thaw()
    assert "1 concurrent" in (await refusal).message
    meter.settle(lease, Usage(1, output_tokens=1))
    await told(meter)
    await meter.reserve()


async def test_lost_reports_make_the_ledger_count(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(valkey_session, "_ENTRIES", 3)
    servers.when_away, servers.timeout_s = "local", SHORT_S
    meter = await servers.start(budget_usd_per_day=100)
    asked = key_of(4)
    await meter.ask(DEAR, asked)
    await told(meter)
    servers.valkey.freeze()
    leases: list[Lease] = []
    for _ in range(5):
        leases.append(await meter.reserve(asked))
    for lease in leases:
        meter.settle(lease, DEAR)
    meter.ledger.run(servers.database)
    servers.valkey.thaw()
    await until(lambda: not shared(meter).status().is_away)
    await told(meter)
    await meter.load()
    assert (await meter.state(asked)).budget_left_nano_usd == 94 * USD


async def test_forgotten_scripts_are_sent_again(servers: Servers) -> None:
    servers.timing = SessionTiming()  # a beat that met the loss first would close the connection under the question
    meter = await servers.start(concurrent_requests=2)
    lease = await meter.reserve()
    servers.valkey.call("SCRIPT", "FLUSH")
    await meter.reserve()
    servers.valkey.call("SCRIPT", "FLUSH")
    meter.settle(lease, Usage(1, output_tokens=1))
    await told(meter)
    await until(lambda: not shared(meter).status().is_away)
    await meter.reserve()
    assert "concurrent" in (await meter.refusal()).message


async def test_a_client_that_leaves_while_asking_takes_nothing(servers: Servers) -> None:
    meter = await servers.start(concurrent_requests=1)
    asking = asyncio.create_task(meter.reserve())
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await told(meter)
    assert (shared(meter).open_holds, meter.ledger.open_leases) == (0, 0)
    await meter.reserve()


async def test_many_at_once_get_what_there_is(servers: Servers) -> None:
    meters = [await servers.start(requests_per_minute=50, budget_usd_per_day=1000) for _ in range(2)]

    async def ask(meter: MeteredLedger) -> bool:
        try:
            await meter.ask(Usage(5, output_tokens=5))
        except LimitReached:
            return False
        return True

    admitted = await asyncio.gather(*(ask(meters[number % 2]) for number in range(150)))
    # And what a fraction of a second brings.
    assert 50 <= sum(admitted) <= 52
    for meter in meters:
        await told(meter)
        assert shared(meter).open_holds == 0


# Reports and addresses


async def test_a_server_that_does_not_let_us_in(servers: Servers) -> None:
    address = parse_address(servers.valkey.url.replace("://", "://:wrong@"))
    with pytest.raises(ValkeyRefused):
        await connect(address, (), 5.0)


async def test_a_server_that_talks_of_something_else(tmp_path: Path) -> None:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        writer.close()

    path = tmp_path / "s"
    async with await asyncio.start_unix_server(greet, path) as listener:
        with pytest.raises(ValkeyAway):
            await connect(parse_address(f"unix://{path}?db=1"), (), 5.0)
        listener.close()
