"""kill -9 of servers while batches run: is every request answered once, stored once and billed once?

    python -m benchmarks.faults.batches [--rounds 20] [--requests 400] [--postgresql]

Each round makes a batch against an upstream that never answers twice alike, kills the server at a random moment
(while the batch comes in, while it waits, while it runs, while it ends) and starts it again. At the end every batch
must have one result a request, one ledger row a request, of the same try as the result, and the exact sum of costs.
With --postgresql two servers share a database of one, and each round kills one of them. Prints one line of JSON.
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import statistics
import subprocess
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field

from sqlalchemy import func, select

from benchmarks.needs import need_postgresql
from renga.store.tables import definitions
from renga.testing.batch_audit import audit_batch, make_requests, wavering_config, wavering_upstream
from renga.testing.servers.postgresql import PostgresqlServer
from renga.testing.servers.served import Served, ServedSettings, respawned, served

END_LIMIT_S = 180.0


@dataclass
class Report:
    rounds: int = 0
    batches: int = 0
    requests: int = 0
    rows: int = 0
    cost_nano_usd: int = 0
    killed_while_coming_in: int = 0
    upstream_answers: int = 0
    faults: list[str] = field(default_factory=list)
    recovery_s: list[float] = field(default_factory=list)
    """From the start command after a kill until the first further outcome of a batch that was running."""


def ask(server: Served, method: str, path: str, body: object = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    try:
        data = None if body is None else json.dumps(body).encode()
        connection.request(method, path, data, {"x-api-key": server.secret, "content-type": "application/json"})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def create(server: Served, count: int) -> None:
    """Make a batch. The server may be killed meanwhile; the list of batches says afterwards whether it is there."""
    with suppress(OSError, http.client.HTTPException):
        ask(server, "POST", "/v1/messages/batches", {"requests": make_requests(count)})


def list_batches(server: Served) -> list[dict[str, object]]:
    status, body = ask(server, "GET", "/v1/messages/batches?limit=1000")
    assert status == 200, body
    return json.loads(body)["data"]


def wait_ended(server: Served) -> list[dict[str, object]]:
    deadline = time.monotonic() + END_LIMIT_S
    while time.monotonic() < deadline:
        batches = list_batches(server)
        if all(batch["processing_status"] == "ended" for batch in batches):
            return batches
        time.sleep(0.2)
    raise SystemExit(f"not ended after {END_LIMIT_S:g} s: {batches}\n{server.log[-3000:]}")


def count_outcomes(server: Served) -> int:
    with server.open_database() as database, database.reading() as connection:
        query = (
            select(func.count())
            .select_from(definitions.batch_requests)
            .where(definitions.batch_requests.c.outcome.is_not(None))
        )
        return connection.execute(query).scalar_one()


def run_sqlite(options: argparse.Namespace) -> Report:
    report = Report()
    with wavering_upstream(delay_s=0.02) as upstream, ExitStack() as stack:
        server = stack.enter_context(served(ServedSettings(wavering_config(upstream.url))))
        for _ in range(options.rounds):
            maker = subprocess.Popen(
                ["python3", "-c", _MAKER, str(server.port), server.secret],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            assert maker.stdin is not None
            maker.stdin.write(json.dumps({"requests": make_requests(options.requests)}).encode())
            maker.stdin.close()
            time.sleep(random.uniform(0.05, 3.0))
            began = time.monotonic()
            before = count_outcomes(server)
            server = stack.enter_context(respawned(server))
            maker.wait()
            report.rounds += 1
            report.killed_while_coming_in += maker.returncode != 0
            if any(batch["processing_status"] != "ended" for batch in list_batches(server)):
                while count_outcomes(server) <= before and time.monotonic() - began < 30:
                    time.sleep(0.02)
                report.recovery_s.append(round(time.monotonic() - began, 2))
        judge(server, wait_ended(server), options.requests, report)
        report.upstream_answers = upstream.answered
    return report


_MAKER = """
import http.client, sys
connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=30)
connection.request("POST", "/v1/messages/batches", sys.stdin.buffer.read(), {"x-api-key": sys.argv[2]})
sys.exit(connection.getresponse().status != 200)
"""
"""A client in a process of its own, which may be cut off."""


def run_postgresql(options: argparse.Namespace) -> Report:
    """Two servers on one database; each round one of them is killed and starts again after the other took over."""
    report = Report()
    with wavering_upstream(delay_s=0.02) as upstream, PostgresqlServer() as postgresql, ExitStack() as stack:
        config, url = wavering_config(upstream.url), postgresql.create_database()
        servers = [stack.enter_context(served(ServedSettings(config, store_url=url))) for _ in range(2)]
        for number in range(options.rounds):
            create(servers[number % 2], options.requests)
            time.sleep(random.uniform(0.2, 3.0))
            victim = random.randrange(2)
            servers[victim] = stack.enter_context(respawned(servers[victim]))
            report.rounds += 1
        judge(servers[0], wait_ended(servers[0]), options.requests, report)
        report.upstream_answers = upstream.answered
    return report


def judge(server: Served, batches: list[dict[str, object]], count: int, report: Report) -> None:
    with server.open_database() as database:
        for batch in batches:
            status, body = ask(server, "GET", f"/v1/messages/batches/{batch['id']}/results")
            assert status == 200, body
            audit = audit_batch(database, str(batch["id"]), body.splitlines(), count)
            report.batches += 1
            report.requests += audit.results
            report.rows += audit.rows
            report.cost_nano_usd += audit.cost_nano_usd
            report.faults += audit.faults


def main() -> int:
    parser = argparse.ArgumentParser(description="kill -9 servers while batches run")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--requests", type=int, default=400)
    parser.add_argument("--postgresql", action="store_true", help="two servers on a PostgreSQL, one of them killed")
    options = parser.parse_args()
    if options.postgresql:
        need_postgresql()
    report = run_postgresql(options) if options.postgresql else run_sqlite(options)
    shown = report.__dict__ | {"faults": report.faults[:10], "fault_count": len(report.faults)}
    if report.recovery_s:
        shown["recovery_median_s"] = statistics.median(report.recovery_s)
    print(json.dumps(shown))
    return 1 if report.faults else 0


if __name__ == "__main__":
    raise SystemExit(main())
