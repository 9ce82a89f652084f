"""kill -9 of everything in turn, under load: is a row lost or doubled, a budget wrong, and how long does it take?

    python -m benchmarks.faults [--rounds 20] [--victims server,engine,valkey,postgresql] [--batches]

Two servers share a PostgreSQL and a Valkey; six clients ask them without a pause. A round kills a server, an engine,
Valkey and PostgreSQL, one after the other, and starts each again (the engine is started by its server). Valkey keeps
nothing on disk, so each of its deaths loses its counts. At the end every answer that a client has whole must have one
ledger row with the cost that the client was told, and what Valkey counts of the day must be the sum of the ledger.
`--batches` adds the rounds of `benchmarks.faults.batches` over PostgreSQL. Needs valkey-server or redis-server, and
PostgreSQL.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field

from benchmarks.faults.load import Client, Findings, audit, read_ledger
from benchmarks.needs import need_postgresql, need_valkey
from renga.store.database import open_database
from renga.testing.batch_audit import wavering_upstream
from renga.testing.servers.postgresql import PostgresqlServer
from renga.testing.servers.served import Served, ServedSettings, respawned, served
from renga.testing.servers.valkey import ValkeyServer

LIMIT_S = 90.0
DOWN_S = 1.5
"""How long Valkey and PostgreSQL stay away."""
VICTIMS = ("server", "engine", "valkey", "postgresql")

CONFIG = """\
[engine]
enabled = {engine}
threads = 1

[limits]
budget_usd_per_day = 100_000_000.0
shared_url = "{valkey}"
when_away = "local"

[tiers]
haiku = [{haiku}]
sonnet = ["wavering/one"]

[prices."wavering/*"]
input_usd = 1.0
output_usd = 5.0

[providers.wavering]
kind = "anthropic"
base_url = "{upstream}"
"""


@dataclass
class Fault:
    """What one kind of death did, over all rounds."""

    recovery_s: list[float] = field(default_factory=list)
    answers_meanwhile: list[int] = field(default_factory=list)
    """Answers of all clients from the kill until the recovery."""


class Scene:
    """Everything that runs."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self.upstream = stack.enter_context(wavering_upstream(delay_s=0.01))
        self.postgresql = stack.enter_context(PostgresqlServer())
        self.valkey = stack.enter_context(ValkeyServer())
        self.store_url = self.postgresql.create_database()
        self.servers = [self._serve(engine=True), self._serve(engine=False)]
        self.clients = [
            Client(lambda: self.servers[0], "sonnet"),
            Client(lambda: self.servers[0], "sonnet"),
            Client(lambda: self.servers[0], "haiku"),
            Client(lambda: self.servers[0], "haiku", stream=True),
            Client(lambda: self.servers[1], "sonnet"),
            Client(lambda: self.servers[1], "sonnet"),
        ]
        for client in self.clients:
            client.start()

    def _serve(self, *, engine: bool) -> Served:
        config = CONFIG.format(
            engine=str(engine).lower(),
            haiku='"local/hokku"' if engine else "",
            valkey=self.valkey.url,
            upstream=self.upstream.url,
        )
        return self._stack.enter_context(served(ServedSettings(config, store_url=self.store_url)))

    # Each kills something and returns when it works again.

    def kill_server(self) -> None:
        victim = random.randrange(2)
        self.servers[victim] = self._stack.enter_context(respawned(self.servers[victim]))
        began = time.monotonic()
        mine = [client for client in self.clients if client.server() is self.servers[victim]]
        wait_for("answers of the server", lambda: all(client.answers_since(began) for client in mine))

    def kill_engine(self) -> None:
        children = self.servers[0].children()
        assert children, "no engine runs"
        began = time.monotonic()
        for child in children:
            os.kill(child, signal.SIGKILL)
        local = self.clients[2:4]
        wait_for(
            "answers of the engine",
            lambda: (
                self.servers[0].children() not in ([], children)
                and all(client.answers_since(began + 0.2) for client in local)
            ),
        )

    def kill_valkey(self) -> None:
        self.valkey.kill()
        time.sleep(DOWN_S)
        self.valkey.start()
        wait_for("the shared limits", lambda: all(gauge(each, "renga_shared_limits_up") == 1 for each in self.servers))

    def kill_postgresql(self) -> None:
        self.postgresql.kill()
        time.sleep(DOWN_S)
        self.postgresql.start()
        began = time.time_ns() // 1000
        with open_database(self.store_url) as database:
            # Rows of both servers from after the start, and nothing of before it left on disk.
            wait_for(
                "the ledger",
                lambda: (
                    len(database.ledger.read_rows(after=max(0, count_rows(database) - 1))) > 0
                    and last_row_us(database) > began
                    and not any(list(each.folder.glob("ledger.spool*")) for each in self.servers)
                ),
            )

    def settle(self) -> None:
        """Until nothing waits anywhere."""
        for client in self.clients:
            client.stop()
        for server in self.servers:
            for name in ("renga_open_leases", "renga_ledger_queue_rows", "renga_shared_limits_unreported"):
                wait_for(name, lambda server=server, name=name: gauge(server, name) == 0)


def gauge(server: Served, name: str) -> float | None:
    try:
        return server.gauges().get(name)
    except (OSError, RuntimeError):
        return None


def count_rows(database) -> int:
    from sqlalchemy import func, select

    from renga.store.tables import definitions

    with database.reading() as connection:
        return connection.execute(select(func.count()).select_from(definitions.ledger)).scalar_one()


def last_row_us(database) -> int:
    from sqlalchemy import func, select

    from renga.store.tables import definitions

    with database.reading() as connection:
        return connection.execute(select(func.max(definitions.ledger.c.time_us))).scalar_one() or 0


def wait_for(what: str, is_there: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        if is_there():
            return
        time.sleep(0.02)
    raise SystemExit(f"{what}: not there after {LIMIT_S:g} s")


def run(rounds: int, victims: list[str]) -> tuple[dict[str, Fault], Findings, list[Client]]:
    faults = {victim: Fault() for victim in victims}
    with ExitStack() as stack:
        scene = Scene(stack)
        wait_for("the first answers", lambda: all(client.told for client in scene.clients))
        kills = {
            "server": scene.kill_server,
            "engine": scene.kill_engine,
            "valkey": scene.kill_valkey,
            "postgresql": scene.kill_postgresql,
        }
        for number in range(rounds):
            for victim in victims:
                time.sleep(random.uniform(0.2, 0.8))
                began = time.monotonic()
                kills[victim]()
                faults[victim].recovery_s.append(time.monotonic() - began)
                meanwhile = sum(client.answers_since(began) for client in scene.clients)
                faults[victim].answers_meanwhile.append(meanwhile)
            print(f"round {number + 1} of {rounds}", flush=True)
        scene.settle()
        with open_database(scene.store_url) as database:
            findings = audit(scene.clients, read_ledger(database), scene.valkey)
        left = [path.name for each in scene.servers for path in each.folder.glob("ledger.spool*")]
        assert not left, left
        return faults, findings, scene.clients


def show(faults: dict[str, Fault], findings: Findings, clients: list[Client]) -> None:
    print("\n| killed | times | back after, median | worst | answers meanwhile, median |")
    print("|---|---:|---:|---:|---:|")
    for victim, fault in faults.items():
        median, worst = statistics.median(fault.recovery_s), max(fault.recovery_s)
        meanwhile = statistics.median(fault.answers_meanwhile)
        print(f"| {victim} | {len(fault.recovery_s)} | {median:.2f} s | {worst:.2f} s | {meanwhile:.0f} |")
    refused = sum((client.refused for client in clients), start=type(clients[0].refused)())
    print(f"\nanswers that clients have whole: {findings.answered}; ledger rows: {findings.rows}")
    print(f"requests whose connection broke: {findings.cut}; refused: {dict(refused)}")
    print(f"rows lost: {len(findings.lost_rows)}; doubled: {findings.doubled_rows}; unknown: {findings.unknown_rows}")
    print(f"costs that differ from what the client was told: {len(findings.wrong_costs)}")
    print(f"ledger: {findings.ledger_nano_usd / 1e9:.2f} dollars; the shared count of the day differs by "
          f"{findings.budget_difference_nano_usd / 1e9:.9f}")  # fmt: skip
    for each in (*findings.lost_rows[:5], *findings.wrong_costs[:5]):
        print("  ", each)


def main() -> int:
    parser = argparse.ArgumentParser(description="kill -9 of everything in turn, under load")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--victims", default=",".join(VICTIMS), help="some of " + ", ".join(VICTIMS))
    parser.add_argument("--batches", action="store_true", help="the rounds of benchmarks.faults.batches as well")
    options = parser.parse_args()
    need_valkey()
    need_postgresql()
    faults, findings, clients = run(options.rounds, options.victims.split(","))
    show(faults, findings, clients)
    is_good = findings.good
    if options.batches:
        from benchmarks.faults.batches import run_postgresql

        report = run_postgresql(argparse.Namespace(rounds=options.rounds, requests=200))
        print(f"\nworkers of batches, killed {report.rounds} times: {report.requests} results and {report.rows} rows "
              f"of {report.batches} batches; faults: {len(report.faults)}")  # fmt: skip
        is_good = is_good and not report.faults
    return 0 if is_good else 1


if __name__ == "__main__":
    raise SystemExit(main())
